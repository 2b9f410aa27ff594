// SPDX-License-Identifier: Apache-2.0
//
// IntervalSet: a set of 64-bit indices kept as disjoint inclusive ranges. Adjacent ranges are
// always merged, so a dense set costs one range whatever its size. Use it to know which indices a
// store holds, where the gaps are and which items are missing.
//
//   {1, 2, 3, 7, 9, 10}  ->  [1,3] [7,7] [9,10]
//
// Memory: ranges live in sorted chunks of at most 256, found through a small map, so that a range
// costs 16 bytes plus slack: at most 24 bytes on average however they were inserted, even when
// every other index is missing. Removals join small chunks.
//
//   chunks_:   0 -> [1,3] [7,7] ...      the map key is a lower bound of the starts in the chunk
//            512 -> [512,600] ...        and an upper bound of the starts in the chunk before
//
// Invariants: ranges ascend, are disjoint and never adjacent; no chunk is empty.
// Cost: insert, find and next_gap are O(log n); remove is O(log n + ranges removed).
// Threads: not thread-safe; concurrent const calls are fine.
// Iterators are invalidated by every change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

namespace firn {

// Inclusive on both sides.
struct IndexRange {
  uint64_t start = 0;
  uint64_t end = 0;

  friend bool operator==(const IndexRange&, const IndexRange&) = default;
};

// What surrounds an index; see IntervalSet::next_gap.
struct IndexGap {
  std::optional<uint64_t> current_end;
  std::optional<uint64_t> next_start;

  friend bool operator==(const IndexGap&, const IndexGap&) = default;
};

class IntervalSet {
  using Chunk = std::vector<IndexRange>;
  using Chunks = std::map<uint64_t, Chunk>;

 public:
  // Bidirectional; ascending by start.
  class Iterator {
   public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = IndexRange;
    using difference_type = std::ptrdiff_t;
    using pointer = const IndexRange*;
    using reference = const IndexRange&;

    Iterator() = default;
    reference operator*() const { return chunk_->second[position_]; }
    pointer operator->() const { return &chunk_->second[position_]; }
    Iterator& operator++();
    Iterator operator++(int);
    Iterator& operator--();
    Iterator operator--(int);
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class IntervalSet;
    Iterator(Chunks::const_iterator chunk, size_t position) : chunk_(chunk), position_(position) {}

    Chunks::const_iterator chunk_{};
    size_t position_ = 0;
  };

  // Ascending ranges, for a range-based for or the adaptors of std::views.
  class Ranges {
   public:
    Ranges(Iterator first, Iterator last) : first_(first), last_(last) {}
    [[nodiscard]] Iterator begin() const { return first_; }
    [[nodiscard]] Iterator end() const { return last_; }

   private:
    Iterator first_;
    Iterator last_;
  };

  // True when `index` was absent.
  bool insert(uint64_t index);

  // Adds every index of [start, end]; nothing when start > end. O(log n + ranges swallowed).
  void insert_range(uint64_t start, uint64_t end);

  // Removes every index of [start, end]; nothing when start > end.
  void remove(uint64_t start, uint64_t end);

  void clear();

  [[nodiscard]] bool contains(uint64_t index) const { return find(index).has_value(); }

  // The range that contains `index`.
  [[nodiscard]] std::optional<IndexRange> find(uint64_t index) const;

  [[nodiscard]] std::optional<uint64_t> first_index() const;
  [[nodiscard]] std::optional<uint64_t> last_index() const;

  // current_end: the end of the range that contains `index`. next_start: the start of the first
  // range that starts after `index`.
  [[nodiscard]] IndexGap next_gap(uint64_t index) const;

  // Up to `max` absent indices >= start, ascending. Only indices that lie before some range count:
  // nothing after the last range is missing. Memory grows with the answer, not with `max`; a `max`
  // of 0 returns nothing.
  [[nodiscard]] std::vector<uint64_t> missing_items(uint64_t start, size_t max) const;

  // All ranges. For descending order: set.ranges() | std::views::reverse.
  [[nodiscard]] Ranges ranges() const { return {begin(), end()}; }

  // The range that contains `from`, if any, and all ranges after it.
  [[nodiscard]] Ranges ranges_from(uint64_t from) const;

  // The last range that starts before `index`. With the start of a range it steps backwards.
  [[nodiscard]] std::optional<IndexRange> range_before(uint64_t index) const;

  [[nodiscard]] bool empty() const { return range_count_ == 0; }
  [[nodiscard]] size_t range_count() const { return range_count_; }

  // How many indices the set holds. The full set has 2^64, reported as 2^64 - 1.
  [[nodiscard]] uint64_t item_count() const;

  // Estimate of the heap memory held.
  [[nodiscard]] size_t memory_bytes() const;

 private:
  struct Place {
    Chunks::iterator chunk;
    size_t position;
  };

  [[nodiscard]] Iterator begin() const { return {chunks_.begin(), 0}; }
  [[nodiscard]] Iterator end() const { return {chunks_.end(), 0}; }
  // The last range with start <= index, or end().
  [[nodiscard]] Iterator last_at_or_before(uint64_t index) const;
  // The first range with start > index, or end().
  [[nodiscard]] Iterator first_after(uint64_t index) const;
  [[nodiscard]] Place mutable_place(const Iterator& iterator);
  [[nodiscard]] Chunks::iterator chunk_for_start(uint64_t start);
  void add(IndexRange range);
  void erase_starts_between(uint64_t start, uint64_t end);
  void merge_small(Chunks::iterator chunk);

  Chunks chunks_;
  size_t range_count_ = 0;
  uint64_t item_count_ = 0;  // modulo 2^64
};

}  // namespace firn
