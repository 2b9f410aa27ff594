// SPDX-License-Identifier: Apache-2.0
#include "firn/index/location_arena.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

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
constexpr size_t kSmallSegment = 256 * kKiB;  // without huge pages, until there are ...
constexpr size_t kSmallSegments = 2 * kMiB;   // ... so many bytes of them
constexpr size_t kSegmentMax = 64 * kMiB;
constexpr size_t kPage = 4 * kKiB;

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

// Bits `first` to `first + count - 1`.
void set_bits(std::vector<bool>& bits, size_t first, size_t count, bool value) {
  std::fill_n(bits.begin() + static_cast<ptrdiff_t>(first), count, value);
}
size_t count_bits(const std::vector<bool>& bits, size_t first, size_t count) {
  const auto begin = bits.begin() + static_cast<ptrdiff_t>(first);
  return static_cast<size_t>(std::count(begin, begin + static_cast<ptrdiff_t>(count), true));
}

size_t blocks_of(size_t bytes) {
  return divide_rounding_up(bytes, LocationArena::kBlock);
}
// What an allocation takes.
size_t taken_bytes(size_t bytes) {
  return bytes < LocationArena::kBlock ? bytes : blocks_of(bytes) * LocationArena::kBlock;
}

}  // namespace

void LocationArena::Segment::set_free(size_t first, size_t count, bool value) {
  for (size_t block = first; block < first + count; ++block) {
    const uint64_t bit = uint64_t{1} << block % 64;
    free[block / 64] = value ? free[block / 64] | bit : free[block / 64] & ~bit;
  }
  free_count = value ? free_count + count : free_count - count;
  if (value) first_free = std::min(first_free, first);
}

size_t LocationArena::Segment::next_free(size_t from) const {
  for (size_t word = from / 64; word < free.size(); ++word) {
    const uint64_t bits =
        free[word] & (word == from / 64 ? ~uint64_t{0} << from % 64 : ~uint64_t{0});
    if (bits != 0) return word * 64 + static_cast<size_t>(std::countr_zero(bits));
  }
  return blocks;
}

bool LocationArena::Segment::find_run(size_t count, size_t& first) {
  if (free_count < count) return false;
  first_free = next_free(first_free);
  for (first = first_free; first + count <= blocks; first = next_free(first)) {
    size_t length = 1;
    while (length < count && is_free(first + length))
      ++length;
    if (length == count) return true;
    first += length;
  }
  return false;
}

LocationArena::~LocationArena() {
  for (const auto& segment : segments_)
    unmap(segment->begin, segment->blocks * kBlock);
}

LocationArena::Taken LocationArena::take(size_t bytes) {
  try {
    if (bytes < kBlock) return {.begin = take_piece(bytes), .dirty = true};
    return take_blocks(blocks_of(bytes));
  } catch (const std::bad_alloc&) {
    return {};
  }
}

void* LocationArena::allocate(size_t bytes) noexcept {
  CHECK(bytes > 0 && bytes % kAlignment == 0, "memory comes in multiples of the alignment");
  Taken taken;
  {
    MutexLock lock(mutex_);
    taken = take(bytes);
    if (taken.begin == 0) return nullptr;
    used_ += taken_bytes(bytes);
  }
  ASAN_UNPOISON_MEMORY_REGION(pointer(taken.begin), bytes);
  std::byte* const memory = pointer(taken.begin);
  if (taken.dirty) {
    std::memset(memory, 0, bytes);
  } else {
    // Page faults come here, and not at the first use.
    for (size_t at = 0; at < bytes; at += kPage)
      const_cast<volatile std::byte&>(memory[at]) = std::byte{0};
  }
  return memory;
}

void LocationArena::release(void* memory, size_t bytes) noexcept {
  MutexLock lock(mutex_);
  // A reader that comes too late is caught by the address sanitizer.
  ASAN_POISON_MEMORY_REGION(memory, taken_bytes(bytes));
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  try {
    if (bytes < kBlock)
      free_piece(begin, bytes);
    else
      free_blocks(begin, blocks_of(bytes));
  } catch (const std::bad_alloc&) {
    return;
  }
  used_ -= taken_bytes(bytes);
  // Growth takes what it leaves behind; more than that is free after clearing or shrinking. Whole
  // pages only, and those that are in use in part stay, so ask again only after more.
  constexpr uint64_t kIdle = 4 * kMiB;
  const uint64_t idle = resident_ - used_;
  if (idle > std::max(give_back_at_, used_ / 4 + kIdle)) {
    give_back(0);
    give_back_at_ = resident_ - used_ + kIdle;
  } else if (idle < kIdle) {
    give_back_at_ = 0;
  }
}

void LocationArena::trim() {
  MutexLock lock(mutex_);
  give_back(1);
}

LocationArena::Usage LocationArena::usage() const {
  MutexLock lock(mutex_);
  return {.used = used_, .free_touched = resident_ - used_, .resident = resident_};
}

uint64_t LocationArena::used() const {
  MutexLock lock(mutex_);
  return used_;
}

LocationArena::Segment* LocationArena::map_segment(size_t bytes_min) {
  // An eighth of what there is: few mappings for a large index, little waste for a small one.
  const bool small = bytes_min <= kSmallSegment && mapped_ < kSmallSegments;
  const size_t wanted = small ? kSmallSegment : std::min<size_t>(mapped_ / 8, kSegmentMax);
  const size_t unit = small ? kSmallSegment : kHugePage;
  const size_t bytes = round_up(std::max(wanted, bytes_min), unit);
  if (bytes > bytes_max_ || mapped_ > bytes_max_ - bytes) return nullptr;
  // All that may throw comes before the mapping.
  const size_t blocks = bytes / kBlock;
  auto segment = std::make_unique<Segment>(Segment{.blocks = blocks,
                                                   .page_blocks = small ? 1 : kHugePage / kBlock,
                                                   .free = std::vector<uint64_t>(blocks / 64 + 1),
                                                   .touched = std::vector<bool>(blocks),
                                                   .dirty = std::vector<bool>(blocks)});
  std::map<uintptr_t, Segment*> address;
  address.emplace(0, segment.get());
  if (segments_.size() == segments_.capacity()) segments_.reserve(2 * segments_.size() + 1);
  segment->begin = map_aligned(bytes, small ? kBlock : kHugePage);
  if (segment->begin == 0) return nullptr;
  ASAN_POISON_MEMORY_REGION(pointer(segment->begin), bytes);
  // Refused where huge pages are not built in; then pages are small, and that is all.
  if (!small) madvise(pointer(segment->begin), bytes, MADV_HUGEPAGE);
  mapped_ += bytes;
  segment->set_free(0, blocks, true);
  auto node = address.extract(address.begin());
  node.key() = segment->begin;
  by_address_.insert(std::move(node));
  segments_.push_back(std::move(segment));
  return segments_.back().get();
}

LocationArena::Taken LocationArena::take_blocks(size_t count) {
  while (first_free_ < segments_.size() && segments_[first_free_]->free_count == 0)
    ++first_free_;
  size_t first = 0;
  for (size_t i = first_free_; i < segments_.size(); ++i)
    if (segments_[i]->find_run(count, first)) return take_run(*segments_[i], first, count);
  Segment* const segment = map_segment(count * kBlock);
  if (segment == nullptr) return {};
  return take_run(*segment, 0, count);
}

// The first touch of a huge page makes all of it resident, in zeros.
LocationArena::Taken LocationArena::take_run(Segment& segment, size_t first, size_t count) {
  segment.set_free(first, count, false);
  const bool dirty = count_bits(segment.dirty, first, count) != 0;
  set_bits(segment.dirty, first, count, true);
  for (size_t block = first; block < first + count; ++block) {
    if (segment.touched[block]) continue;
    const size_t page = block - block % segment.page_blocks;
    const bool fresh = count_bits(segment.touched, page, segment.page_blocks) == 0;
    const size_t touched = fresh ? segment.page_blocks : 1;
    set_bits(segment.touched, fresh ? page : block, touched, true);
    resident_ += touched * kBlock;
  }
  return {.begin = segment.begin + first * kBlock, .dirty = dirty};
}

void LocationArena::free_blocks(uintptr_t begin, size_t count) {
  const auto found = by_address_.upper_bound(begin);
  CHECK(found != by_address_.begin(), "the arena releases what it allocated");
  Segment& segment = *std::prev(found)->second;
  segment.set_free((begin - segment.begin) / kBlock, count, true);
  first_free_ = 0;
}

uintptr_t LocationArena::take_piece(size_t bytes) {
  auto found = pieces_by_size_.lower_bound({bytes, 0});
  if (found == pieces_by_size_.end()) {
    const uintptr_t block = take_blocks(1).begin;
    if (block == 0) return 0;
    try {
      add_piece(block + bytes, kBlock - bytes);
    } catch (const std::bad_alloc&) {
      free_blocks(block, 1);
      return 0;
    }
    return block;
  }
  const auto [piece_bytes, begin] = *found;
  const auto piece = pieces_.find(begin);
  if (piece_bytes > bytes)
    change_piece(piece, begin + bytes, piece_bytes - bytes);
  else
    remove_piece(piece);
  return begin;
}

// Merges with the neighbours in the same block: one of them becomes the piece.
void LocationArena::free_piece(uintptr_t begin, size_t bytes) {
  const auto next = pieces_.lower_bound(begin);
  const bool before_next =
      next != pieces_.end() && next->first == begin + bytes && next->first % kBlock != 0;
  const auto previous = next == pieces_.begin() ? pieces_.end() : std::prev(next);
  const bool after_previous = previous != pieces_.end() &&
                              previous->first + previous->second == begin && begin % kBlock != 0;
  if (!before_next && !after_previous) return add_piece(begin, bytes);
  const uintptr_t first = after_previous ? previous->first : begin;
  const uintptr_t end = before_next ? next->first + next->second : begin + bytes;
  if (before_next && after_previous) remove_piece(next);
  const auto merged = after_previous ? previous : next;
  if (end - first != kBlock) return change_piece(merged, first, end - first);
  remove_piece(merged);
  free_blocks(first, 1);
}

void LocationArena::add_piece(uintptr_t begin, size_t bytes) {
  // Both or neither: merging allocates nothing.
  std::map<uintptr_t, size_t> by_address{{begin, bytes}};
  std::set<std::pair<size_t, uintptr_t>> by_size{{bytes, begin}};
  pieces_.merge(by_address);
  pieces_by_size_.merge(by_size);
}

void LocationArena::change_piece(std::map<uintptr_t, size_t>::iterator piece, uintptr_t begin,
                                 size_t bytes) {
  auto by_size = pieces_by_size_.extract({piece->second, piece->first});
  auto by_address = pieces_.extract(piece);
  by_size.value() = {bytes, begin};
  by_address.key() = begin;
  by_address.mapped() = bytes;
  pieces_by_size_.insert(std::move(by_size));
  pieces_.insert(std::move(by_address));
}

void LocationArena::remove_piece(std::map<uintptr_t, size_t>::iterator piece) {
  pieces_by_size_.erase({piece->second, piece->first});
  pieces_.erase(piece);
}

void LocationArena::give_back(size_t unit) {
  std::erase_if(segments_, [&](const std::unique_ptr<Segment>& segment) REQUIRES(mutex_) {
    if (segment->free_count != segment->blocks) {
      give_back_in(*segment, unit == 0 ? segment->page_blocks : unit);
      return false;
    }
    resident_ -= count_bits(segment->touched, 0, segment->blocks) * kBlock;
    mapped_ -= segment->blocks * kBlock;
    by_address_.erase(segment->begin);
    unmap(segment->begin, segment->blocks * kBlock);
    return true;
  });
  first_free_ = 0;
}

void LocationArena::give_back_in(Segment& segment, size_t unit) {
  const auto idle = [&](size_t first) {
    size_t free = 0;
    while (free < unit && segment.is_free(first + free))
      ++free;
    return free == unit && count_bits(segment.touched, first, unit) != 0;
  };
  for (size_t first = 0; first < segment.blocks; first += unit) {
    const size_t begin = first;
    while (first < segment.blocks && idle(first))
      first += unit;
    const size_t count = first - begin;
    if (count == 0 ||
        madvise(pointer(segment.begin + begin * kBlock), count * kBlock, MADV_DONTNEED) != 0)
      continue;
    resident_ -= count_bits(segment.touched, begin, count) * kBlock;
    set_bits(segment.touched, begin, count, false);
    set_bits(segment.dirty, begin, count, false);
  }
}

}  // namespace firn::index
