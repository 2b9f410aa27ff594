// SPDX-License-Identifier: Apache-2.0
//
// Walks over a LocationIndex: the entries of a home under its lock, of a shard while it grows, and
// the figures about them.
#pragma once

#include <algorithm>
#include <utility>

#include "firn/index/location_core.h"
#include "firn/index/location_home_entries.h"

namespace firn::index {

// A bit for each slot of a bucket that has an entry of the home. Without branches: there is no
// pattern in which slots are whose. If the bucket's lock is not held, a slot that is being filled
// for another home may look like one of this home, as its tag and its word do not belong together.
// With the home's lock held it is never the other way round: none of its entries can come, and
// those that are there were published, tag and word, before.
template <class Policy>
inline uint32_t LocationCore<Policy>::slots_of(const Locked& home, Bucket& bucket,
                                               uint64_t header) {
  const uint32_t buckets = home.ref.bucket_count();
  uint32_t found = 0;
#pragma GCC unroll 7
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    const uint64_t word = bucket.load_slot(slot);
    const uint32_t same = hash_of(header, slot, word).home(buckets) == home.number;
    found |= (same & static_cast<uint32_t>(word != 0)) << slot;
  }
  return found;
}

// Adds the entries of the home that lie in a bucket. The bucket's lock is held: only then do lane
// and word of a slot belong together, as a slot may have become empty and been filled again.
template <class Policy>
void LocationCore<Policy>::gather_bucket(const Locked& home, Bucket& bucket, uint64_t header,
                                         bool freeze, LocationHomeEntries& entries) {
  for (uint32_t left = slots_of(home, bucket, header); left != 0; left &= left - 1) {
    const auto slot = static_cast<unsigned>(std::countr_zero(left));
    uint64_t word = bucket.load_slot(slot);
    // A replace may change the location meanwhile, a remove may empty the slot.
    while (freeze && word != 0 && (word & kFrozenBit) == 0) {
      if (Policy::compare_exchange(bucket.slot(slot), word, word | kFrozenBit)) {
        Policy::reach(LocationPoint::slot_frozen);
        break;
      }
    }
    if (word == 0) continue;
    if ((word & kFrozenBit) != 0) entries.found_frozen = true;
    entries.add({.hash = hash_of(header, slot, word), .word = word & ~kFrozenBit});
  }
}

// False if a lock could not be waited for; then some entries may be frozen.
template <class Policy>
bool LocationCore<Policy>::gather(const Locked& home, bool freeze, LocationHomeEntries& entries) {
  gather_bucket(home, *home.bucket, home.header, freeze, entries);
  uint64_t classes = home.header & kAllClasses;
  if (classes == 0) return true;
  Chain chain(home.ref, home.number);
  while (classes != 0) {
    Bucket* const bucket = chain.next();
    if (bucket == nullptr) break;
    uint64_t header = bucket->load_header();
    if (slots_of(home, *bucket, header) == 0) {
      classes &= header;
      continue;
    }
    if (!lock_further(*home.bucket, *bucket, header)) return false;
    gather_bucket(home, *bucket, header, freeze, entries);
    unlock(*bucket, header);
    classes &= header;
  }
  return true;
}

// Locks a home and copies its entries, unless it has moved or they need more room. The lock stays
// if it is done.
template <class Policy>
typename LocationCore<Policy>::Gathered LocationCore<Policy>::lock_and_gather(
    Locked& home, bool freeze, LocationHomeEntries& entries) {
  for (unsigned turn = 0;;) {
    entries.clear();
    if (!lock_home(home)) return Gathered::moved;
    Policy::reach(freeze ? LocationPoint::home_locked_to_migrate : LocationPoint::home_locked);
    const bool gathered = gather(home, freeze, entries);
    if (gathered && entries.complete()) return Gathered::done;
    unlock(*home.bucket, home.header);
    if (!entries.complete()) return Gathered::incomplete;
    Policy::reach(LocationPoint::waiting);
    Policy::pause(turn++);
  }
}

// Visits the entries whose hashes are in [begin, end). A home that has moved is looked up in the
// next table by the interval of hashes that it covers there: homes keep the order of hashes, so
// each hash is asked for in exactly one place.
template <class Policy>
void LocationCore<Policy>::visit_range(Ref ref, uint64_t begin, uint64_t end,
                                       LocationHomeEntries& entries,
                                       const LocationVisitor& visitor) {
  const uint32_t buckets = ref.bucket_count();
  const auto home_of = [&](uint64_t hash) {
    return InShardHash{static_cast<uint32_t>(hash)}.home(buckets);
  };
  const uint32_t last = home_of(end - 1);
  for (uint32_t number = home_of(begin); number <= last; ++number) {
    Locked home{.ref = ref, .number = number, .bucket = &ref.bucket(number), .header = 0};
    Gathered gathered = lock_and_gather(home, false, entries);
    for (; gathered == Gathered::incomplete; gathered = lock_and_gather(home, false, entries))
      entries.make_room();
    if (gathered == Gathered::moved) {
      const uint64_t from = std::max(begin, first_hash(number, buckets));
      const uint64_t to = std::min(end, first_hash(number + uint64_t{1}, buckets));
      if (from < to) visit_range(ref.successor(), from, to, entries, visitor);
      continue;
    }
    unlock(*home.bucket, home.header);
    for (const auto& entry : entries.all())
      if (entry.hash.bits >= begin && entry.hash.bits < end)
        visitor.call(visitor.context, entry.hash, entry.word);
  }
}

template <class Policy>
void LocationCore<Policy>::visit(const Shard& shard, const LocationVisitor& visitor) const {
  LocationHomeEntries entries;
  visit_range(current_table(shard), 0, uint64_t{1} << kInShardBits, entries, visitor);
}

template <class Policy>
uint64_t LocationCore<Policy>::size() const {
  int64_t sum = 0;
  for (size_t i = 0; i < shard_count(); ++i)
    sum += static_cast<int64_t>(Policy::load(counts_[i].count, std::memory_order_acquire));
  return static_cast<uint64_t>(std::max<int64_t>(sum, 0));
}

template <class Policy>
LocationIndexStatistics LocationCore<Policy>::statistics(Session& session) const {
  LocationIndexStatistics result;
  result.entries = size();
  {
    const Pin pin(session);
    for (size_t i = 0; i < shard_count(); ++i) {
      const Ref ref = current_table(shards_[i]);
      Table& table = ref.table();
      result.slots += ref.slot_count();
      result.stashed_entries += Policy::load(table.stashed, std::memory_order_relaxed);
      result.displaced_entries += Policy::load(table.displaced, std::memory_order_relaxed);
      if (ref.successor()) ++result.shards_growing;
    }
  }
  result.growths = Policy::load(growths_, std::memory_order_relaxed);
  result.rebuilds = Policy::load(rebuilds_, std::memory_order_relaxed);
  const LocationArena::Usage usage = arena_->usage();
  result.bytes_retired = Policy::load(bytes_retired_, std::memory_order_relaxed);
  result.bytes_live = usage.used - std::min(usage.used, result.bytes_retired) +
                      Policy::load(bytes_external_, std::memory_order_relaxed);
  result.bytes_free = usage.free_touched;
  result.bytes_resident = usage.resident;
  result.bytes_fixed = shard_count() * (sizeof(Shard) + sizeof(LocationCount<Policy>));
  const EpochStatistics epochs = domain_.statistics();
  result.sessions = epochs.sessions;
  result.sessions_pinned = epochs.sessions_pinned;
  result.oldest_pin_epochs = epochs.oldest_pin_epochs;
  return result;
}

template <class Policy>
LocationProbeStatistics LocationCore<Policy>::probe_statistics(Session& session) const {
  LocationProbeStatistics result;
  uint64_t entries = 0;
  uint64_t lines_sum = 0;
  const auto add_bucket = [&](Ref ref, uint32_t home, Bucket& bucket, uint64_t lines) {
    const uint64_t header = bucket.load_header();
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      const uint64_t word = bucket.load_slot(slot);
      if (word == 0 || hash_of(header, slot, word).home(ref.bucket_count()) != home) continue;
      ++entries;
      lines_sum += lines;
      result.lines_max = std::max(result.lines_max, lines);
    }
    return header & kAllClasses;
  };
  for (size_t i = 0; i < shard_count(); ++i) {
    const Pin pin(session);
    const Ref ref = current_table(shards_[i]);
    for (uint32_t home = 0; home < ref.bucket_count(); ++home) {
      uint64_t lines = 1;
      uint64_t classes = add_bucket(ref, home, ref.bucket(home), lines);
      Chain chain(ref, home);
      while (classes != 0) {
        Bucket* const bucket = chain.next();
        if (bucket == nullptr) break;
        classes &= add_bucket(ref, home, *bucket, ++lines);
      }
    }
  }
  if (entries != 0)
    result.average_lines = static_cast<double>(lines_sum) / static_cast<double>(entries);
  return result;
}

}  // namespace firn::index
