// SPDX-License-Identifier: Apache-2.0
//
// LocationCore: how it is made, what it allocates, and operations on whole shards.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>

#include "firn/base/check.h"
#include "firn/base/units.h"
#include "firn/index/location_arena.h"
#include "firn/index/location_core.h"

namespace firn::index {

template <class Policy>
LocationCore<Policy>::LocationCore(Domain& domain, unsigned shard_bits, uint64_t memory_bytes_max)
    : domain_(domain),
      shard_bits_(shard_bits),
      arena_(std::make_unique<LocationArena>(memory_bytes_max)),
      shards_(std::make_unique<Shard[]>(size_t{1} << shard_bits)),
      counts_(std::make_unique<LocationCount<Policy>[]>(size_t{1} << shard_bits)) {}

// Tables in use go with the arena.
template <class Policy>
LocationCore<Policy>::~LocationCore() {
  domain_.drain(this);
}

template <class Policy>
LocationStatus LocationCore<Policy>::make_tables(uint64_t expected_entries) {
  for (size_t i = 0; i < shard_count(); ++i) {
    const Ref ref = allocate_table(class_for(share_of(expected_entries), shards_[i]));
    if (!ref) return LocationStatus::no_memory;
    Policy::store(shards_[i].ref, ref.word, std::memory_order_release);
  }
  return LocationStatus::done;
}

// What one shard gets of so many entries with random hashes: five standard deviations above the
// average, so that none of them grows.
template <class Policy>
uint64_t LocationCore<Policy>::share_of(uint64_t entries) const {
  const double average = static_cast<double>(entries) / static_cast<double>(shard_count());
  constexpr double kDeviations = 5;
  return static_cast<uint64_t>(average + (shard_bits_ == 0 ? 0 : kDeviations * std::sqrt(average)));
}

// The smallest class of the shard's phase that takes so many entries without growing.
template <class Policy>
unsigned LocationCore<Policy>::class_for(uint64_t entries, const Shard& shard) const {
  unsigned size_class = Policy::kSmallestTable;
  while (growth_limit(kBucketCounts[size_class], number_of(shard)) < entries &&
         size_class + 1 < kSizeClasses)
    size_class = larger_class(size_class, phase_of(shard));
  return size_class;
}

[[nodiscard]] constexpr size_t arena_bytes(size_t exact) {
  return round_up(exact, LocationArena::kAlignment);
}

template <class Policy>
size_t LocationCore<Policy>::block_bytes(Ref ref, uint32_t block) {
  return arena_bytes(buckets_in_block(ref.bucket_count(), block) * sizeof(Bucket));
}

template <class Policy>
typename LocationCore<Policy>::Ref LocationCore<Policy>::allocate_head(unsigned size_class) const {
  const uint32_t blocks = block_count(kBucketCounts[size_class]);
  const size_t bytes = arena_bytes(sizeof(Table) + blocks * sizeof(Word));
  void* const memory = allocate(bytes);
  if (memory == nullptr) return {};
  auto* const table = static_cast<Table*>(memory);
  table->head_bytes = bytes;
  table->size_class = size_class;
  return Ref::of(table, size_class);
}

// Memory for buckets `first` to `last` and all of their chains. Several threads may be at it.
template <class Policy>
bool LocationCore<Policy>::add_blocks(Ref ref, uint32_t first, uint32_t last) const {
  const ChainRange end = chain_range(last, ref.bucket_count());
  const uint32_t blocks = block_count(end.first + end.size);
  uint32_t number = chain_range(first, ref.bucket_count()).first / kBlock;
  for (; number < blocks; ++number) {
    Word& address = ref.table().blocks()[number];
    uint64_t expected = Policy::load(address, std::memory_order_acquire);
    if (expected != 0) continue;
    const size_t bytes = block_bytes(ref, number);
    void* const memory = allocate(bytes);
    if (memory == nullptr) return false;
    Policy::reach(LocationPoint::block_allocated);
    if (!Policy::compare_exchange(address, expected, reinterpret_cast<uintptr_t>(memory)))
      arena_->release(memory, bytes);
  }
  return true;
}

template <class Policy>
typename LocationCore<Policy>::Ref LocationCore<Policy>::allocate_table(unsigned size_class) const {
  const Ref ref = allocate_head(size_class);
  if (!ref || add_blocks(ref, 0, ref.bucket_count() - 1)) return ref;
  release_table(ref);
  return {};
}

template <class Policy>
typename LocationCore<Policy>::Ref LocationCore<Policy>::allocate_table_in_place(
    unsigned size_class, std::byte* buckets) const {
  const Ref ref = allocate_head(size_class);
  if (!ref) return ref;
  ref.table().in_place = true;
  for (uint32_t number = 0; number < ref.block_count(); ++number)
    Policy::store(ref.table().blocks()[number],
                  reinterpret_cast<uintptr_t>(buckets) + size_t{number} * kBlock * sizeof(Bucket),
                  std::memory_order_release);
  return ref;
}

template <class Policy>
void LocationCore<Policy>::release_table(Ref ref) const {
  Table& table = ref.table();
  uint64_t link = Policy::load(table.stash, std::memory_order_acquire);
  while (link != 0) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): links are words, so that they are atomic
    auto* const stash = reinterpret_cast<LocationStash<Policy>*>(link);
    link = Policy::load(stash->next, std::memory_order_acquire);
    arena_->release(stash, stash->bytes);
  }
  for (uint32_t number = 0; number < ref.block_count() && !table.in_place; ++number) {
    const uint64_t block = Policy::load(table.blocks()[number], std::memory_order_acquire);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are words, so that they are atomic
    if (block != 0) arena_->release(reinterpret_cast<void*>(block), block_bytes(ref, number));
  }
  arena_->release(&table, table.head_bytes);
}

template <class Policy>
LocationStatus LocationCore<Policy>::clear(Shard& shard) {
  if (stalled()) domain_.collect();
  if (stalled()) return LocationStatus::stalled;
  return rebuild(shard, Policy::kSmallestTable, true);
}

template <class Policy>
LocationStatus LocationCore<Policy>::reserve(Shard& shard, uint64_t entries) {
  const unsigned size_class = class_for(share_of(entries), shard);
  for (;;) {
    const LocationStatus status = finish_growth(shard);
    if (status != LocationStatus::done) return status;
    if (current_table(shard).bucket_count() >= kBucketCounts[size_class])
      return LocationStatus::done;
    if (const auto grown = rebuild(shard, size_class, false); grown != LocationStatus::done)
      return grown;
  }
}

template <class Policy>
LocationStatus LocationCore<Policy>::shrink(Shard& shard) {
  constexpr uint64_t kSparsePercent = 35;
  if (const auto status = finish_growth(shard); status != LocationStatus::done) return status;
  const Ref ref = current_table(shard);
  const auto count = std::max<int64_t>(
      static_cast<int64_t>(Policy::load(count_of(shard), std::memory_order_relaxed)), 0);
  const auto entries = static_cast<uint64_t>(count);
  if (entries * 100 >= ref.slot_count() * kSparsePercent) return LocationStatus::done;
  // Room for a quarter more than there is, so that the next insert does not grow it again.
  const unsigned size_class = class_for(entries + entries / 4, shard);
  if (kBucketCounts[size_class] >= ref.bucket_count()) return LocationStatus::done;
  if (stalled()) domain_.collect();
  if (stalled()) return LocationStatus::stalled;
  return rebuild(shard, size_class, false);
}

template <class Policy>
LocationStatus LocationCore<Policy>::maintain(Shard& shard) {
  if (const auto status = finish_growth(shard); status != LocationStatus::done) return status;
  rebuild_if_drifted(shard, current_table(shard));
  return finish_growth(shard);
}

template <class Policy>
void LocationCore<Policy>::trim() {
  domain_.collect();
  arena_->trim();
}

template <class Policy>
typename LocationCore<Policy>::Placed LocationCore<Policy>::place_private(Ref ref, InShardHash hash,
                                                                          uint64_t word,
                                                                          bool may_stash) const {
  Locked home{.ref = ref, .number = hash.home(ref.bucket_count()), .bucket = nullptr, .header = 0};
  home.bucket = &ref.bucket(home.number);
  home.header = home.bucket->load_header();
  return place(home, hash, word, may_stash);
}

template <class Policy>
bool LocationCore<Policy>::add_private(Ref ref, InShardHash hash, uint64_t word) const {
  return place_private(ref, hash, word, false) != Placed::full;
}

template <class Policy>
bool LocationCore<Policy>::add_stashed(Ref ref, InShardHash hash, uint64_t word) const {
  return place_private(ref, hash, word, true) != Placed::no_memory;
}

template <class Policy>
bool LocationCore<Policy>::is_quiet() const {
  bool quiet = true;
  for (size_t i = 0; i < shard_count(); ++i)
    quiet = quiet && !current_table(shards_[i]).successor();
  return quiet;
}

template <class Policy>
void LocationCore<Policy>::install(Shard& shard, Ref ref, uint64_t entries) {
  const Ref empty = current_table(shard);
  if (ref.table().in_place)
    Policy::fetch_add(bytes_external_, uint64_t{ref.bucket_count()} * sizeof(Bucket));
  Policy::store(shard.ref, ref.word, std::memory_order_release);
  Policy::store(count_of(shard), entries, std::memory_order_relaxed);
  release_table(empty);
}

}  // namespace firn::index
