// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/absence_filter.h"

#include <algorithm>
#include <new>

#include "firn/base/check.h"

namespace firn::freezer {
namespace {

constexpr uint64_t kRecordsPerBlock = 32;  // 16 bits each
constexpr uint64_t kFirstLevelRecords = 1 << 14;
constexpr int kBitsPerRecord = 6;

// The bits of a record in its block, of nine bits of the hash each.
template <class Visitor>
bool all_of_bits(uint64_t hash, const Visitor& visit) {
  for (int i = 0; i < kBitsPerRecord; ++i, hash >>= 9)
    if (!visit(hash >> 6 & 7, uint64_t{1} << (hash & 63))) return false;
  return true;
}

// Of the high bits; the low ones choose bits in the block.
uint64_t block_of(uint64_t hash, uint64_t count) {
  return ((hash >> 32) * count) >> 32;
}

}  // namespace

AbsenceFilter::AbsenceFilter(uint64_t seed, uint64_t records_expected, size_t memory_max_bytes)
    : seed_(seed | 1), memory_max_bytes_(memory_max_bytes) {
  CHECK(memory_max_bytes >= kBlockBytes, "a filter has a block at least");
  add_level(std::max(records_expected + records_expected / 4, kFirstLevelRecords));
}

uint64_t AbsenceFilter::spread(uint32_t hash) const {
  uint64_t spread = (hash + seed_) * 0x9E3779B97F4A7C15u;
  spread = (spread ^ (spread >> 32)) * seed_;
  spread = (spread ^ (spread >> 29)) * 0xD6E8FEB86659FD93u;
  return spread ^ (spread >> 32);
}

void AbsenceFilter::add_level(uint64_t records) {
  const uint64_t blocks_left = (memory_max_bytes_ - memory_bytes()) / kBlockBytes;
  const uint64_t wanted = (records + kRecordsPerBlock - 1) / kRecordsPerBlock;
  const uint64_t count = std::min({wanted, blocks_left, uint64_t{UINT32_MAX}});
  if (count == 0) {
    levels_.back().capacity = UINT64_MAX;  // the last one takes the rest
    return;
  }
  levels_.reserve(levels_.size() + 1);
  auto* const blocks = static_cast<Block*>(std::calloc(count, sizeof(Block)));
  if (blocks == nullptr) throw std::bad_alloc();
  levels_.push_back({std::unique_ptr<Block[], Free>(blocks), count, count * kRecordsPerBlock, 0});
}

void AbsenceFilter::add(uint32_t hash) {
  if (levels_.back().added >= levels_.back().capacity) add_level(records_);
  Level& level = levels_.back();
  const uint64_t spread_hash = spread(hash);
  Block& block = level.blocks[block_of(spread_hash, level.block_count)];
  (void)all_of_bits(spread_hash, [&](uint64_t word, uint64_t bit) {
    block[word] |= bit;
    return true;
  });
  ++level.added;
  ++records_;
}

bool AbsenceFilter::may_contain(uint32_t hash) const {
  const uint64_t spread_hash = spread(hash);
  return std::ranges::any_of(levels_, [&](const Level& level) {
    const Block& block = level.blocks[block_of(spread_hash, level.block_count)];
    return all_of_bits(spread_hash,
                       [&](uint64_t word, uint64_t bit) { return (block[word] & bit) != 0; });
  });
}

size_t AbsenceFilter::memory_bytes() const {
  size_t bytes = 0;
  for (const Level& level : levels_)
    bytes += level.block_count * kBlockBytes;
  return bytes;
}

}  // namespace firn::freezer
