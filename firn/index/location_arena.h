// SPDX-License-Identifier: Apache-2.0
//
// LocationArena: the memory of the tables of a LocationIndex. Tables of many sizes come and go, and
// the first touch of new memory is slow, so freed tables are merged with their neighbours and used
// again for larger ones. Large pieces are mapped at once, with huge pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"

namespace firn::index {

class LocationArena {
 public:
  static constexpr size_t kAlignment = 256;

  explicit LocationArena(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  ~LocationArena();
  LocationArena(const LocationArena&) = delete;
  LocationArena& operator=(const LocationArena&) = delete;

  // Zeroed memory at a multiple of kAlignment, or null if the system or the limit refuses.
  // `bytes` is a multiple of kAlignment.
  void* allocate(size_t bytes) EXCLUDES(mutex_);
  void release(void* memory, size_t bytes) EXCLUDES(mutex_);

  // Gives free memory back to the system, as far as it is whole blocks.
  void trim() EXCLUDES(mutex_);

  struct Usage {
    uint64_t used = 0;
    uint64_t free_touched = 0;
    uint64_t resident = 0;
  };
  [[nodiscard]] Usage usage() const EXCLUDES(mutex_);
  [[nodiscard]] uint64_t used() const EXCLUDES(mutex_);

 private:
  // A range mapped at once.
  struct Segment {
    uintptr_t begin = 0;
    size_t bytes = 0;
    size_t page_bytes = 0;      // what the first touch makes resident
    std::vector<bool> touched;  // by block: resident
    std::vector<bool> fresh;    // by page: not a block of it is
  };
  using Extents = std::map<uintptr_t, size_t>;

  bool map_segment(size_t bytes_min) REQUIRES(mutex_);
  Segment& segment_of(uintptr_t address) REQUIRES(mutex_);
  [[nodiscard]] uint64_t touched_bytes_in(uintptr_t begin, size_t bytes) const REQUIRES(mutex_);
  void add_extent(uintptr_t begin, size_t bytes) REQUIRES(mutex_);
  void remove_extent(Extents::iterator extent) REQUIRES(mutex_);
  // Marks the blocks of a range as touched; returns the ranges of it that must be zeroed.
  std::vector<MutableByteSpan> touch(uintptr_t begin, size_t bytes) REQUIRES(mutex_);
  void trim_locked() REQUIRES(mutex_);
  void give_back(uintptr_t begin, size_t bytes) REQUIRES(mutex_);

  const uint64_t bytes_max_;
  mutable Mutex mutex_;
  std::map<uintptr_t, Segment> segments_ GUARDED_BY(mutex_);
  Extents free_ GUARDED_BY(mutex_);
  std::set<std::pair<size_t, uintptr_t>> free_by_size_ GUARDED_BY(mutex_);
  uint64_t mapped_ GUARDED_BY(mutex_) = 0;
  uint64_t used_ GUARDED_BY(mutex_) = 0;
  uint64_t free_touched_ GUARDED_BY(mutex_) = 0;
  uint64_t trim_at_ GUARDED_BY(mutex_) = 0;  // when so much is free
};

}  // namespace firn::index
