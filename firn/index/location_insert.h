// SPDX-License-Identifier: Apache-2.0
//
// Inserts of a LocationIndex: locks of buckets, the second scan, and the placement of an entry.
#pragma once

#include "firn/index/location_arena.h"
#include "firn/index/location_core.h"

namespace firn::index {

// The header is known, as only the holder of the lock changes it, so a store is enough.
template <class Policy>
inline void LocationCore<Policy>::unlock(Bucket& bucket, uint64_t header) {
  Policy::store(bucket.header(), header & ~kLockBit, std::memory_order_release);
}

// False if the home has moved to another table: then its bucket takes no more entries of it.
template <class Policy>
[[gnu::always_inline]] inline bool LocationCore<Policy>::lock_home(Locked& home) {
  for (unsigned turn = 0;;) {
    uint64_t header = home.bucket->load_header();
    if ((header & kMigratedBit) != 0) return false;
    if ((header & kLockBit) == 0) {
      home.header = header | kLockBit;
      if (Policy::compare_exchange(home.bucket->header(), header, home.header)) return true;
      continue;
    }
    Policy::reach(LocationPoint::waiting);
    Policy::pause(turn++);
  }
}

// Locks another bucket of the chain while that of the home is held. Waits only in ascending order
// of addresses; false if the order forbids to wait. The bucket may be a migrated home itself.
template <class Policy>
bool LocationCore<Policy>::lock_further(const Bucket& home, Bucket& bucket, uint64_t& header) {
  for (unsigned turn = 0;;) {
    uint64_t found = bucket.load_header();
    if ((found & kLockBit) == 0) {
      header = found | kLockBit;
      if (Policy::compare_exchange(bucket.header(), found, header)) {
        Policy::reach(LocationPoint::chain_locked);
        return true;
      }
      continue;
    }
    if (std::less<const Bucket*>()(&bucket, &home)) return false;
    Policy::reach(LocationPoint::waiting);
    Policy::pause(turn++);
  }
}

// A bit for each slot that is empty. Without branches: which slot is the first is no pattern.
template <class Policy>
[[gnu::always_inline]] inline uint32_t LocationCore<Policy>::empty_slots(Bucket& bucket) {
  uint32_t empty = 0;
#pragma GCC unroll 7
  for (unsigned slot = 0; slot < kSlots; ++slot)
    empty |= static_cast<uint32_t>(bucket.load_slot(slot) == 0) << slot;
  return empty;
}

// Puts an entry into an empty slot of a bucket whose lock is held, if it has one: lane, then word
// (R2). The lock stays.
template <class Policy>
[[gnu::always_inline]] inline bool LocationCore<Policy>::publish(Bucket& bucket, uint64_t& header,
                                                                 InShardHash hash, uint64_t word) {
  const uint32_t empty = empty_slots(bucket);
  if (empty == 0) [[unlikely]]
    return false;
  const auto slot = static_cast<unsigned>(std::countr_zero(empty));
  header = with_lane(header, slot, hash.tag());
  Policy::store(bucket.header(), header, Policy::kLaneOrder);
  Policy::reach(LocationPoint::lane_stored);
  Policy::store(bucket.slot(slot), word, std::memory_order_seq_cst);
  Policy::reach(LocationPoint::slot_published);
  return true;
}

// Puts an entry into the first bucket of its chain that has an empty slot, and marks those that it
// passed: their bits are visible before the entry is. The home's lock is held and stays so.
template <class Policy>
inline typename LocationCore<Policy>::Placed LocationCore<Policy>::place(Locked& home,
                                                                         InShardHash hash,
                                                                         uint64_t word,
                                                                         bool may_stash) const {
  if (publish(*home.bucket, home.header, hash, word)) [[likely]]
    return Placed::done;
  return place_in_chain(home, hash, word, may_stash);
}

template <class Policy>
typename LocationCore<Policy>::Placed LocationCore<Policy>::place_in_chain(Locked& home,
                                                                           InShardHash hash,
                                                                           uint64_t word,
                                                                           bool may_stash) const {
  if ((home.header & hash.class_bit()) == 0) {
    home.header |= hash.class_bit();
    Policy::store(home.bucket->header(), home.header, Policy::kLaneOrder);
    Policy::reach(LocationPoint::overflow_marked);
  }
  Chain chain(home.ref, home.number);
  for (;;) {
    Bucket* bucket = chain.next();
    if (bucket == nullptr) {
      if (!may_stash) return Placed::full;
      if (!add_stash(chain.end())) return Placed::no_memory;
      continue;
    }
    uint64_t header = 0;
    if (!lock_further(*home.bucket, *bucket, header)) return Placed::contended;
    if (publish(*bucket, header, hash, word)) {
      unlock(*bucket, header);
      if (chain.in_stash()) Policy::fetch_add(home.ref.table().stashed, 1);
      return Placed::displaced;
    }
    const bool marked = (header & hash.class_bit()) != 0;
    unlock(*bucket, header | hash.class_bit());
    if (!marked) Policy::reach(LocationPoint::overflow_marked);
  }
}

// Links another block; somebody else's is as good.
template <class Policy>
bool LocationCore<Policy>::add_stash(Word& link) const {
  constexpr size_t kBytes = 1024;
  using Stash = LocationStash<Policy>;
  auto* const stash = static_cast<Stash*>(allocate(kBytes));
  if (stash == nullptr) return false;
  stash->bytes = kBytes;
  stash->bucket_count = (kBytes - sizeof(Stash)) / sizeof(Bucket);
  uint64_t expected = 0;
  if (!Policy::compare_exchange(link, expected, reinterpret_cast<uintptr_t>(stash)))
    arena_->release(stash, kBytes);
  return true;
}

template <class Policy>
void* LocationCore<Policy>::allocate(size_t bytes) const {
  return Policy::may_allocate(bytes) ? arena_->allocate(bytes) : nullptr;
}

// The second scan, under the home's lock, which keeps every other insert of this home out: two
// inserts of a key cannot both miss. No predicate runs here; what has no verdict yet ends it.
template <class Policy>
[[gnu::always_inline]] inline bool LocationCore<Policy>::absent(const Locked& home,
                                                                InShardHash hash,
                                                                LocationVerdicts& verdicts) {
  verdicts.begin_scan();
  const Home start{.ref = home.ref,
                   .number = home.number,
                   .hash = hash,
                   .bucket = home.bucket,
                   .header = home.header};
  return !scan<Policy>(start, [&](Word&, uint64_t word) {
    return !verdicts.different(Location(word & kLocationMask));
  });
}

template <class Policy>
typename LocationCore<Policy>::Inserted LocationCore<Policy>::insert(Shard& shard, const Home& home,
                                                                     Location location,
                                                                     LocationVerdicts& verdicts) {
  Locked locked{.ref = home.ref, .number = home.number, .bucket = home.bucket, .header = 0};
  bool may_stash = false;
  for (unsigned turn = 0;;) {
    if (!lock_home(locked)) return Inserted::again;
    Policy::reach(LocationPoint::home_locked);
    if (!absent(locked, home.hash, verdicts)) {
      unlock(*locked.bucket, locked.header);
      return Inserted::again;
    }
    Policy::reach(LocationPoint::second_scan_done);
    // The store of the word is the linearization point. Sequentially consistent: a put and a later
    // get of another key by one thread are seen in this order by all.
    const Placed placed = place(locked, home.hash, home.hash.word(location), may_stash);
    unlock(*locked.bucket, locked.header);
    Policy::reach(LocationPoint::unlocked);
    switch (placed) {
      case Placed::displaced: Policy::fetch_add(home.ref.table().displaced, 1); [[fallthrough]];
      case Placed::done:
        after_insert(shard, home.ref, placed == Placed::displaced);
        return Inserted::done;
      case Placed::no_memory: return Inserted::no_memory;
      case Placed::contended:
        Policy::reach(LocationPoint::waiting);
        Policy::pause(turn++);
        break;
      case Placed::full:
        if (make_room(shard, home, may_stash)) return Inserted::again;
        break;
    }
  }
}

// A chain is full. In a table that is not, the hashes are to blame, and growing would not help:
// then the entry may go to the stash. Returns true if the caller should scan again instead.
template <class Policy>
bool LocationCore<Policy>::make_room(Shard& shard, const Home& home, bool& may_stash) {
  const Ref ref = home.ref;
  if (ref.successor()) {
    may_stash = finish_home(shard, home) != LocationStatus::done;
    return !may_stash;
  }
  if (current_table(shard) == ref) {
    const uint64_t stashed = Policy::load(ref.table().stashed, std::memory_order_relaxed);
    const auto entries =
        static_cast<int64_t>(Policy::load(count_of(shard), std::memory_order_relaxed) - stashed);
    if (entries * 2 >= static_cast<int64_t>(ref.slot_count()) &&
        start_growth(shard, ref, larger_class(ref.size_class(), phase_of(shard)), false) ==
            LocationStatus::done &&
        finish_home(shard, home) == LocationStatus::done)
      return true;
  }
  // A table that is still being filled cannot grow yet, either.
  may_stash = true;
  return false;
}

// Every insert looks at the threshold; the one that crosses it begins the growth.
template <class Policy>
[[gnu::always_inline]] inline void LocationCore<Policy>::after_insert(Shard& shard, Ref ref,
                                                                      bool displaced) {
  const auto count = static_cast<int64_t>(Policy::fetch_add(count_of(shard), 1)) + 1;
  if (count > static_cast<int64_t>(growth_limit(ref.bucket_count(), number_of(shard)))) [[unlikely]]
    grow_if_crowded(shard, ref, count);
  else if (displaced)
    rebuild_if_drifted(shard, ref);
}

}  // namespace firn::index
