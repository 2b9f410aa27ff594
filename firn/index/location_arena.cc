// SPDX-License-Identifier: Apache-2.0
#include "firn/index/location_arena.h"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>  // its macros do nothing in other builds
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes)
#endif

#include "firn/base/check.h"
#include "firn/base/units.h"

namespace firn::index {
namespace {

constexpr size_t kHugePage = 2 * kMiB;
constexpr size_t kFirstSegment = 256 * kKiB;
constexpr size_t kSegmentMax = 64 * kMiB;
constexpr size_t kPage = 4 * kKiB;
constexpr size_t kBlock = 32 * kKiB;  // what is given back, at least

constexpr size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::byte* pointer(uintptr_t address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

// Maps a range that begins at a multiple of `alignment`; 0 if the system refuses.
uintptr_t map_aligned(size_t bytes, size_t alignment) {
  const size_t slack = alignment - kPage;
  void* const mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return 0;
  const auto begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = round_up(begin, alignment);
  const size_t front = aligned - begin;
  if (front != 0) munmap(mapped, front);
  if (slack != front) munmap(pointer(aligned + bytes), slack - front);
  return aligned;
}

void unmap(uintptr_t begin, size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(pointer(begin), bytes);
  munmap(pointer(begin), bytes);
}

}  // namespace

LocationArena::~LocationArena() {
  for (const auto& [begin, segment] : segments_)
    unmap(begin, segment.bytes);
}

void* LocationArena::allocate(size_t bytes) {
  CHECK(bytes > 0 && bytes % kAlignment == 0, "tables come in multiples of the alignment");
  std::vector<MutableByteSpan> dirty;
  uintptr_t begin = 0;
  {
    MutexLock lock(mutex_);
    auto found = free_by_size_.lower_bound({bytes, 0});
    if (found == free_by_size_.end()) {
      if (!map_segment(bytes)) return nullptr;
      found = free_by_size_.lower_bound({bytes, 0});
    }
    const auto [extent_bytes, address] = *found;
    begin = address;
    remove_extent(free_.find(address));
    if (extent_bytes > bytes) add_extent(address + bytes, extent_bytes - bytes);
    used_ += bytes;
    dirty = touch(begin, bytes);
  }
  ASAN_UNPOISON_MEMORY_REGION(pointer(begin), bytes);
  for (const MutableByteSpan range : dirty)
    std::memset(range.data(), 0, range.size());
  return pointer(begin);
}

void LocationArena::release(void* memory, size_t bytes) {
  MutexLock lock(mutex_);
  // A reader that comes too late is caught by the address sanitizer.
  ASAN_POISON_MEMORY_REGION(memory, bytes);
  auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t segment = segment_of(begin).begin;
  used_ -= bytes;
  // Merges with the neighbours, but not across segments, which may be given back one by one.
  if (const auto next = free_.find(begin + bytes);
      next != free_.end() && segment_of(next->first).begin == segment) {
    bytes += next->second;
    remove_extent(next);
  }
  if (auto previous = free_.lower_bound(begin); previous != free_.begin()) {
    --previous;
    if (previous->first + previous->second == begin &&
        segment_of(previous->first).begin == segment) {
      begin = previous->first;
      bytes += previous->second;
      remove_extent(previous);
    }
  }
  add_extent(begin, bytes);
  // What growth has left behind is too small for the next tables; it is worth keeping only until
  // its neighbours are free, too. Blocks that are partly in use stay, so ask again only after more.
  constexpr uint64_t kShare = 64;
  constexpr uint64_t kIdle = 256 * kKiB;
  if (free_touched_ > trim_at_) {
    trim_locked();
    trim_at_ = free_touched_ + used_ / kShare + kIdle;
  }
}

void LocationArena::trim() {
  MutexLock lock(mutex_);
  trim_locked();
}

LocationArena::Usage LocationArena::usage() const {
  MutexLock lock(mutex_);
  Usage usage{.used = used_, .free_touched = free_touched_};
  for (const auto& [begin, segment] : segments_)
    usage.resident += touched_bytes_in(begin, segment.bytes);
  return usage;
}

uint64_t LocationArena::used() const {
  MutexLock lock(mutex_);
  return used_;
}

bool LocationArena::map_segment(size_t bytes_min) {
  // An eighth of what there is: few mappings for a large index, little waste for a small one.
  const size_t wanted = mapped_ == 0 ? kFirstSegment : std::min<size_t>(mapped_ / 8, kSegmentMax);
  const bool small = std::max(wanted, bytes_min) <= kFirstSegment;
  const size_t unit = small ? kFirstSegment : kHugePage;
  const size_t bytes = round_up(std::max(wanted, bytes_min), unit);
  if (bytes > bytes_max_ || mapped_ > bytes_max_ - bytes) return false;
  const uintptr_t begin = map_aligned(bytes, small ? kPage : kHugePage);
  if (begin == 0) return false;
  // Refused where huge pages are not built in; then pages are small, and that is all.
  if (!small) madvise(pointer(begin), bytes, MADV_HUGEPAGE);
  mapped_ += bytes;
  const size_t page_bytes = small ? kBlock : kHugePage;
  segments_.emplace(begin, Segment{.begin = begin,
                                   .bytes = bytes,
                                   .page_bytes = page_bytes,
                                   .touched = std::vector<bool>(bytes / kBlock),
                                   .fresh = std::vector<bool>(bytes / page_bytes, true)});
  add_extent(begin, bytes);
  return true;
}

LocationArena::Segment& LocationArena::segment_of(uintptr_t address) {
  auto segment = segments_.upper_bound(address);
  CHECK(segment != segments_.begin(), "the arena releases what it allocated");
  return (--segment)->second;
}

// Requires: the range lies in one segment.
uint64_t LocationArena::touched_bytes_in(uintptr_t begin, size_t bytes) const {
  const Segment& segment = std::prev(segments_.upper_bound(begin))->second;
  uint64_t touched = 0;
  for (uintptr_t at = begin; at < begin + bytes;) {
    const size_t block = (at - segment.begin) / kBlock;
    const uintptr_t end = std::min(begin + bytes, segment.begin + (block + 1) * kBlock);
    if (segment.touched[block]) touched += end - at;
    at = end;
  }
  return touched;
}

void LocationArena::add_extent(uintptr_t begin, size_t bytes) {
  free_.emplace(begin, bytes);
  free_by_size_.emplace(bytes, begin);
  free_touched_ += touched_bytes_in(begin, bytes);
}

void LocationArena::remove_extent(Extents::iterator extent) {
  free_touched_ -= touched_bytes_in(extent->first, extent->second);
  free_by_size_.erase({extent->second, extent->first});
  free_.erase(extent);
}

// A range that is touched makes the whole of its huge page resident if the page is fresh; such a
// page was all in one free extent, with this range at its front, and so is the rest of it.
std::vector<MutableByteSpan> LocationArena::touch(uintptr_t begin, size_t bytes) {
  Segment& segment = segment_of(begin);
  std::vector<MutableByteSpan> dirty;
  for (uintptr_t at = begin; at < begin + bytes;) {
    const size_t offset = at - segment.begin;
    const size_t page = offset / segment.page_bytes;
    const size_t block = offset / kBlock;
    const bool fresh = segment.fresh[page];
    const size_t unit_end = fresh ? (page + 1) * segment.page_bytes : (block + 1) * kBlock;
    const uintptr_t end = std::min(begin + bytes, segment.begin + unit_end);
    if (!fresh && segment.touched[block]) {
      dirty.emplace_back(pointer(at), end - at);
    } else {
      segment.fresh[page] = false;
      std::fill(segment.touched.begin() + static_cast<ptrdiff_t>(block),
                segment.touched.begin() + static_cast<ptrdiff_t>(unit_end / kBlock), true);
      free_touched_ += segment.begin + unit_end - end;
    }
    at = end;
  }
  return dirty;
}

void LocationArena::trim_locked() {
  const Extents extents = free_;
  for (const auto& [begin, bytes] : extents) {
    Segment& segment = segment_of(begin);
    const auto extent = free_.find(begin);
    if (bytes == segment.bytes) {
      remove_extent(extent);
      unmap(begin, bytes);
      mapped_ -= bytes;
      segments_.erase(begin);
      continue;
    }
    remove_extent(extent);
    give_back(begin, bytes);
    add_extent(begin, bytes);
  }
}

// Whole blocks only. A huge page that is in use in part is split by this, and made of small pages
// when it is used again.
void LocationArena::give_back(uintptr_t begin, size_t bytes) {
  Segment& segment = segment_of(begin);
  const size_t first = (begin - segment.begin + kBlock - 1) / kBlock;
  const size_t end = (begin + bytes - segment.begin) / kBlock;
  if (first >= end) return;
  const auto blocks = segment.touched.begin();
  const auto at = [&](size_t block) { return blocks + static_cast<ptrdiff_t>(block); };
  if (std::find(at(first), at(end), true) == at(end)) return;
  if (madvise(pointer(segment.begin + first * kBlock), (end - first) * kBlock, MADV_DONTNEED) != 0)
    return;
  std::fill(at(first), at(end), false);
  const size_t in_page = segment.page_bytes / kBlock;
  for (size_t page = first / in_page; page * in_page < end; ++page)
    segment.fresh[page] =
        std::find(at(page * in_page), at((page + 1) * in_page), true) == at((page + 1) * in_page);
}

}  // namespace firn::index
