// SPDX-License-Identifier: Apache-2.0
//
// LocationArena: the memory of the tables of a LocationIndex. It comes in blocks of one size, so
// that whatever a table leaves behind fits the next one: nothing is lost between them, and what
// grows is made of what has grown. Smaller pieces, heads and ends of tables, share blocks. Memory
// is mapped in large segments with huge pages; the oldest segment that has room is used first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "firn/base/mutex.h"

namespace firn::index {

class LocationArena {
 public:
  static constexpr size_t kAlignment = 256;
  static constexpr size_t kBlock = size_t{16} << 10;

  explicit LocationArena(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  ~LocationArena();
  LocationArena(const LocationArena&) = delete;
  LocationArena& operator=(const LocationArena&) = delete;

  // Zeroed memory at a multiple of kAlignment, or null if the system or the limit refuses.
  // `bytes` is a multiple of kAlignment; above kBlock it is rounded up to blocks. Neither of these
  // throws, as callers hold locks of buckets. A piece that is released while there is no memory to
  // note it down is lost to the arena, and counts as used.
  void* allocate(size_t bytes) noexcept EXCLUDES(mutex_);
  void release(void* memory, size_t bytes) noexcept EXCLUDES(mutex_);

  // Gives all free blocks back to the system. Huge pages that are in use in part are split by it.
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
    size_t blocks = 0;
    size_t page_blocks = 0;  // what the first touch of one makes resident
    size_t free_count = 0;
    size_t first_free = 0;       // no block before it is free
    std::vector<uint64_t> free;  // a bit for each block
    std::vector<bool> touched;   // resident
    std::vector<bool> dirty;     // not zeros

    [[nodiscard]] bool is_free(size_t block) const {
      return (free[block / 64] >> block % 64 & 1) != 0;
    }
    void set_free(size_t first, size_t count, bool value);
    // The first free block from `from` on, or `blocks`.
    [[nodiscard]] size_t next_free(size_t from) const;
    // Moves first_free on; false if so many blocks in a row are nowhere free from `first` on.
    bool find_run(size_t count, size_t& first);
  };
  struct Taken {
    uintptr_t begin = 0;
    bool dirty = false;
  };

  // These throw std::bad_alloc, and nothing has changed: take_blocks, take_piece, free_piece,
  // add_piece, map_segment.
  Taken take(size_t bytes) REQUIRES(mutex_);
  Taken take_blocks(size_t count) REQUIRES(mutex_);
  Taken take_run(Segment& segment, size_t first, size_t count) REQUIRES(mutex_);
  void free_blocks(uintptr_t begin, size_t count) REQUIRES(mutex_);
  uintptr_t take_piece(size_t bytes) REQUIRES(mutex_);
  void free_piece(uintptr_t begin, size_t bytes) REQUIRES(mutex_);
  void add_piece(uintptr_t begin, size_t bytes) REQUIRES(mutex_);
  void remove_piece(std::map<uintptr_t, size_t>::iterator piece) REQUIRES(mutex_);
  void change_piece(std::map<uintptr_t, size_t>::iterator piece, uintptr_t begin, size_t bytes)
      REQUIRES(mutex_);
  Segment* map_segment(size_t bytes_min) REQUIRES(mutex_);
  // Gives back what is free and touched, in units of so many blocks, or of pages if it is 0.
  void give_back(size_t unit) REQUIRES(mutex_);
  void give_back_in(Segment& segment, size_t unit) REQUIRES(mutex_);

  const uint64_t bytes_max_;
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Segment>> segments_ GUARDED_BY(mutex_);  // oldest first
  std::map<uintptr_t, Segment*> by_address_ GUARDED_BY(mutex_);
  std::map<uintptr_t, size_t> pieces_ GUARDED_BY(mutex_);  // free ones, none a whole block
  std::set<std::pair<size_t, uintptr_t>> pieces_by_size_ GUARDED_BY(mutex_);
  size_t first_free_ GUARDED_BY(mutex_) = 0;  // no segment before it has a free block
  uint64_t mapped_ GUARDED_BY(mutex_) = 0;
  uint64_t used_ GUARDED_BY(mutex_) = 0;
  uint64_t resident_ GUARDED_BY(mutex_) = 0;
  uint64_t give_back_at_ GUARDED_BY(mutex_) = 0;  // when so much is free
};

}  // namespace firn::index
