// SPDX-License-Identifier: Apache-2.0
#include "bench/random_loads.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include <sys/mman.h>

#include "bench/report.h"
#include "firn/base/bytes.h"
#include "firn/base/crc32c.h"
#include "firn/base/prefetch.h"
#include "firn/base/random.h"

namespace firn::bench {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

RandomLoads::RandomLoads(size_t bytes)
    : count_(bytes / sizeof(Line)), mapped_bytes_(bytes + 2 * kHugePage) {
  mapping_ =
      ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping_ == MAP_FAILED) give_up("no memory for the floor");
  auto* const begin = static_cast<std::byte*>(mapping_);
  const size_t skipped = kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage;
  ::madvise(begin + skipped, bytes, MADV_HUGEPAGE);
  lines_ = reinterpret_cast<Line*>(begin + skipped);
  make_cycle();
}

RandomLoads::~RandomLoads() {
  ::munmap(mapping_, mapped_bytes_);
}

// Sattolo's shuffle makes one cycle of all lines.
void RandomLoads::make_cycle() {
  std::vector<uint32_t> next(count_);
  std::iota(next.begin(), next.end(), 0);
  Random random(count_);
  for (size_t i = count_ - 1; i > 0; --i)
    std::swap(next[i], next[random.below(i)]);
  for (size_t i = 0; i < count_; ++i)
    lines_[i].next = next[i];
}

size_t RandomLoads::line_of(uint64_t key) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<size_t>((Wide{key} * count_) >> 64);
}

uint64_t RandomLoads::dependent(size_t count) const {
  uint64_t at = 0;
  for (size_t i = 0; i < count; ++i)
    at = lines_[at].next;
  return at;
}

uint64_t RandomLoads::independent(std::span<const uint64_t> keys) const {
  uint64_t sum = 0;
  for (const uint64_t key : keys)
    sum += lines_[line_of(key)].next;
  return sum;
}

uint64_t RandomLoads::prefetched(std::span<const uint64_t> keys) const {
  uint64_t sum = 0;
  std::array<const Line*, kGroup> group{};
  for (size_t first = 0; first + kGroup <= keys.size(); first += kGroup) {
    for (size_t i = 0; i < kGroup; ++i) {
      group[i] = &lines_[line_of(keys[first + i])];
      prefetch(group[i]);
    }
    for (const Line* line : group)
      sum += line->next;
  }
  return sum;
}

uint64_t RandomLoads::checked_copies(std::span<const uint64_t> keys, size_t size_bytes) const {
  constexpr size_t kCopiesAhead = 16;
  Bytes copy(size_bytes);
  const auto* const bytes = reinterpret_cast<const std::byte*>(lines_);
  const size_t last = count_ * sizeof(Line) - size_bytes;
  const auto place_of = [&](uint64_t key) {
    return bytes + std::min(line_of(key) * sizeof(Line) + key % sizeof(Line), last);
  };
  uint64_t sum = 0;
  for (size_t i = 0; i < keys.size() + kCopiesAhead; ++i) {
    if (i >= kCopiesAhead) {
      std::memcpy(copy.data(), place_of(keys[i - kCopiesAhead]), size_bytes);
      sum += crc32c(copy);
    }
    if (i >= keys.size()) continue;
    const std::byte* const place = place_of(keys[i]);
    for (size_t at = 0; at < size_bytes + sizeof(Line); at += sizeof(Line))
      prefetch(place + std::min(at, size_bytes - 1));
  }
  return sum;
}

uint64_t RandomLoads::prefetched_stores(std::span<const uint64_t> keys) {
  uint64_t sum = 0;
  std::array<Line*, kGroup> group{};
  for (size_t first = 0; first + kGroup <= keys.size(); first += kGroup) {
    for (size_t i = 0; i < kGroup; ++i) {
      group[i] = &lines_[line_of(keys[first + i])];
      prefetch_to_write(group[i]);
    }
    for (Line* line : group)
      sum += ++line->changes;
  }
  return sum;
}

}  // namespace firn::bench
