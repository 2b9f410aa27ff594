// SPDX-License-Identifier: Apache-2.0
//
// CachedReads: ranges sought in a PageCache one after another, each of which waits for memory while
// those behind it are prepared: when one is pushed, the bytes of an earlier one begin to load, and
// those of a still earlier one are there.
//
//   CachedReads<size_t> reads(cache);
//   for (...) reads.push(wanted, i, visit);   // visit(i, wanted) for some range pushed before
//   reads.finish(visit);                      // for the others
//
// Threads: one, in one ReadSection.
#pragma once

#include <array>
#include <cstddef>

#include "firn/io/page_cache.h"

namespace firn {

template <class Context>
class CachedReads {
 public:
  explicit CachedReads(const PageCache& cache) : cache_(cache) {}
  [[nodiscard]] const PageCache& cache() const { return cache_; }

  template <class Visit>
  void push(const PageCache::Wanted& wanted, const Context& context, Visit&& visit) {
    if (pushed_ - visited_ == kRingSize) visit_next(visit);
    Item& item = ring_[pushed_++ % kRingSize];
    item = {wanted, context};
    cache_.fetch_entry(item.wanted);
    if (pushed_ - fetched_ > kDistance) fetch_next();
  }

  template <class Visit>
  void finish(Visit&& visit) {
    while (fetched_ < pushed_)
      fetch_next();
    while (visited_ < pushed_)
      visit_next(visit);
  }

  // Calls visit(wanted) for all that were pushed and not yet visited.
  template <class Visit>
  void for_each_left(Visit&& visit) const {
    for (size_t i = visited_; i < pushed_; ++i)
      visit(ring_[i % kRingSize].wanted);
  }

 private:
  static constexpr size_t kDistance = 8;
  static constexpr size_t kRingSize = 2 * kDistance;

  struct Item {
    PageCache::Wanted wanted;
    Context context;
  };

  void fetch_next() { cache_.fetch(ring_[fetched_++ % kRingSize].wanted); }

  template <class Visit>
  void visit_next(Visit&& visit) {
    Item& item = ring_[visited_++ % kRingSize];
    visit(item.context, item.wanted);
  }

  const PageCache& cache_;
  std::array<Item, kRingSize> ring_;
  size_t pushed_ = 0;
  size_t fetched_ = 0;
  size_t visited_ = 0;
};

}  // namespace firn
