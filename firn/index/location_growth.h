// SPDX-License-Identifier: Apache-2.0
//
// Growth of a LocationIndex: a shard's entries move to another table home by home, while readers
// and writers go on. Rebuilding, shrinking and clearing are the same with another target.
//
// migrate_home: lock the home; freeze its entries wherever they are in the chain, so that no CAS
// can change them; copy them; set MIGRATED (R3). A failed copy leaves the home as it is, frozen in
// part: readers do not care, and the next writer that needs it tries again.
#pragma once

#include <algorithm>
#include <utility>

#include "firn/base/prefetch.h"
#include "firn/index/location_arena.h"
#include "firn/index/location_core.h"
#include "firn/index/location_home_entries.h"

namespace firn::index {

// Homes of one step of a writer: some 90 entries, a few microseconds.
inline constexpr uint32_t kHomesPerStep = 16;

template <class Policy>
LocationStatus LocationCore<Policy>::start_growth(Shard& shard, Ref ref, unsigned size_class,
                                                  bool drop) {
  // A table that is not yet complete itself has its turn later: successors form a chain.
  if (current_table(shard) != ref || ref.successor()) return LocationStatus::done;
  // Memory that entries move to comes with them. Dropping them must not wait for any: once it has
  // begun it is done, and if it fails nothing has changed.
  const Ref target = drop ? allocate_table(size_class) : allocate_head(size_class);
  if (!target) return LocationStatus::no_memory;
  Policy::reach(LocationPoint::growth_allocated);
  uint64_t expected = 0;
  const uint64_t desired = target.word | (drop ? Table::kDropBit : 0);
  if (!Policy::compare_exchange(ref.table().successor, expected, desired)) {
    release_table(target);
    return LocationStatus::done;
  }
  Policy::fetch_add(shard.growing, 1);
  Policy::fetch_add(size_class > ref.size_class() ? growths_ : rebuilds_, 1);
  Policy::reach(LocationPoint::growth_started);
  return LocationStatus::done;
}

// Begins to move the entries of the shard's table, and moves some. A table that entries still move
// to is not the shard's yet: it has no successor, and its turn comes later.
template <class Policy>
void LocationCore<Policy>::begin_growth(Shard& shard, Ref ref, unsigned size_class) {
  if (current_table(shard) != ref || ref.successor()) return;
  uint32_t migrated = 0;
  // Without memory the table fills up; what cannot be placed any more is then refused.
  if (start_growth(shard, ref, size_class, false) == LocationStatus::done)
    (void)migrate_some(shard, ref, migrated);
}

template <class Policy>
void LocationCore<Policy>::grow_if_crowded(Shard& shard, Ref ref, int64_t count) {
  // What is in the stash is there because of its hashes; room elsewhere does not help it.
  const uint64_t stashed = Policy::load(ref.table().stashed, std::memory_order_relaxed);
  if (count - static_cast<int64_t>(stashed) <=
      static_cast<int64_t>(growth_limit(ref.bucket_count(), number_of(shard))))
    return;
  begin_growth(shard, ref, larger_class(ref.size_class(), phase_of(shard)));
}

// Overflow bits are never cleared in a table, so removing and inserting makes walks longer. When
// inserts outside of their homes come to an eighth of the slots, entries move to a fresh table.
// Filling a table up to its limit once makes 7 to 10 %.
template <class Policy>
void LocationCore<Policy>::rebuild_if_drifted(Shard& shard, Ref ref) {
  constexpr uint32_t kBucketsMin = 64;
  constexpr uint64_t kEighth = 8;
  const uint64_t displaced = Policy::load(ref.table().displaced, std::memory_order_relaxed);
  if (ref.bucket_count() < kBucketsMin || displaced * kEighth < ref.slot_count() || stalled())
    return;
  begin_growth(shard, ref, ref.size_class());
}

template <class Policy>
LocationStatus LocationCore<Policy>::help(Shard& shard, InShardHash hash) {
  const Ref ref = current_table(shard);
  if (!ref.successor()) return LocationStatus::done;
  uint32_t migrated = 0;
  const LocationStatus status = migrate_some(shard, ref, migrated);
  if (status != LocationStatus::done) return status;
  Home home{.hash = hash};
  home.enter(ref);
  return finish_home(shard, home);
}

template <class Policy>
LocationStatus LocationCore<Policy>::finish_home(Shard& shard, const Home& home) {
  if (!make_target(home.ref, home.number, home.number + 1)) return LocationStatus::no_memory;
  LocationHomeEntries entries;
  switch (migrate_home(shard, home.ref, home.number, entries)) {
    case Migrated::now: count_migrated(shard, home.ref, 1); break;
    case Migrated::before: break;
    case Migrated::no_memory: return LocationStatus::no_memory;
  }
  return LocationStatus::done;
}

// Memory for what homes `first` to `end - 1` move to, entries or not: what comes there later finds
// it. Homes keep the order of hashes, so the range has one counterpart in the target.
template <class Policy>
bool LocationCore<Policy>::make_target(Ref ref, uint32_t first, uint32_t end) const {
  const Ref target = ref.successor();
  const auto home_of = [&](uint64_t hash) {
    return InShardHash{static_cast<uint32_t>(hash)}.home(target.bucket_count());
  };
  return add_blocks(target, home_of(first_hash(first, ref.bucket_count())),
                    home_of(first_hash(end, ref.bucket_count()) - 1));
}

// Where a range of homes and what they move to will be read: most of the time of a move is waiting
// for these lines.
template <class Policy>
void LocationCore<Policy>::prefetch_range(Ref ref, uint32_t first, uint32_t end) {
  for (uint32_t number = first; number < end; ++number)
    prefetch_to_write(&ref.bucket(number));
  const Ref target = ref.successor();
  const uint64_t buckets = ref.bucket_count();
  const uint64_t target_first = first * uint64_t{target.bucket_count()} / buckets;
  const uint64_t target_end = std::min(end * uint64_t{target.bucket_count()} / buckets,
                                       target_first + 2 * uint64_t{kHomesPerStep});
  for (uint64_t number = target_first; number < target_end; ++number)
    prefetch_to_write(&target.bucket(static_cast<uint32_t>(number)));
  for (uint32_t number = first; number < end; ++number) {
    const uint64_t header = ref.bucket(number).load_header();
    if ((header & kAllClasses) == 0 || (header & kMigratedBit) != 0) continue;
    Chain chain(ref, number);
    for (unsigned i = 0; i < kPrefetchedOfChain; ++i)
      prefetch_to_write(chain.next());
  }
}

// Claims a range of homes and moves those that have not moved. After the last range claims begin
// again with the first: whoever has stopped in the middle of one is overtaken.
template <class Policy>
LocationStatus LocationCore<Policy>::migrate_some(Shard& shard, Ref ref, uint32_t& migrated) {
  const uint32_t buckets = ref.bucket_count();
  const uint32_t ranges = (buckets + kHomesPerStep - 1) / kHomesPerStep;
  const uint64_t claim = Policy::fetch_add(ref.table().cursor, 1);
  Policy::reach(LocationPoint::chunk_claimed);
  const auto first = static_cast<uint32_t>(claim % ranges) * kHomesPerStep;
  const uint32_t end = std::min(buckets, first + kHomesPerStep);
  migrated = 0;
  if (!make_target(ref, first, end)) return LocationStatus::no_memory;
  prefetch_range(ref, first, end);
  LocationStatus status = LocationStatus::done;
  LocationHomeEntries entries;
  for (uint32_t number = first; number < end && status == LocationStatus::done; ++number) {
    switch (migrate_home(shard, ref, number, entries)) {
      case Migrated::now: ++migrated; break;
      case Migrated::before: break;
      case Migrated::no_memory: status = LocationStatus::no_memory; break;
    }
  }
  if (migrated != 0) count_migrated(shard, ref, migrated);
  return status;
}

template <class Policy>
typename LocationCore<Policy>::Migrated LocationCore<Policy>::migrate_home(
    Shard& shard, Ref ref, uint32_t number, LocationHomeEntries& entries) {
  Locked home{.ref = ref, .number = number, .bucket = &ref.bucket(number), .header = 0};
  if ((home.bucket->load_header() & kMigratedBit) != 0) return Migrated::before;
  const Ref target = ref.successor();
  entries.counts_only = target.drops();
  Gathered gathered = lock_and_gather(home, true, entries);
  for (; gathered == Gathered::incomplete; gathered = lock_and_gather(home, true, entries))
    if (!entries.try_make_room()) return Migrated::no_memory;
  if (gathered == Gathered::moved) return Migrated::before;
  Policy::reach(LocationPoint::home_frozen);
  if (!target.drops() && copy_entries(target, entries) != LocationStatus::done) {
    unlock(*home.bucket, home.header);
    return Migrated::no_memory;
  }
  Policy::reach(LocationPoint::about_to_mark_migrated);
  Policy::store(home.bucket->header(), (home.header & ~kLockBit) | kMigratedBit,
                std::memory_order_seq_cst);
  Policy::reach(LocationPoint::home_migrated);
  if (target.drops()) Policy::fetch_add(count_of(shard), ~uint64_t{entries.count()} + 1);
  return Migrated::now;
}

template <class Policy>
LocationStatus LocationCore<Policy>::copy_entries(Ref target,
                                                  const LocationHomeEntries& entries) const {
  for (const auto& entry : entries.all()) {
    Placed placed = copy_entry(target, entry, entries.found_frozen);
    for (unsigned turn = 0; placed == Placed::contended; ++turn) {
      Policy::reach(LocationPoint::waiting);
      Policy::pause(turn);
      placed = copy_entry(target, entry, entries.found_frozen);
    }
    if (placed == Placed::no_memory) return LocationStatus::no_memory;
    Policy::reach(LocationPoint::entry_copied);
  }
  return LocationStatus::done;
}

// Nobody can look for the entry in the new table before its home is marked, so that its tag may
// come after its word, in one store with the end of the lock.
template <class Policy>
typename LocationCore<Policy>::Placed LocationCore<Policy>::copy_entry(
    Ref target, const LocationHomeEntry& entry, bool may_be_there) const {
  Locked home{.ref = target,
              .number = entry.hash.home(target.bucket_count()),
              .bucket = nullptr,
              .header = 0};
  home.bucket = &target.bucket(home.number);
  CHECK(lock_home(home), "a table does not grow before it is complete");
  Placed placed = Placed::done;
  if (!may_be_there || !contains(home, entry)) {
    const uint32_t empty = empty_slots(*home.bucket);
    if (empty != 0) [[likely]] {
      const auto slot = static_cast<unsigned>(std::countr_zero(empty));
      Policy::store(home.bucket->slot(slot), entry.word, std::memory_order_release);
      home.header = with_lane(home.header, slot, entry.hash.tag());
    } else {
      placed = place_in_chain(home, entry.hash, entry.word, true);
    }
  }
  unlock(*home.bucket, home.header);
  return placed;
}

// Whether an earlier try, which then found no memory, has copied the entry.
template <class Policy>
bool LocationCore<Policy>::contains(const Locked& home, const LocationHomeEntry& entry) {
  const Home start{.ref = home.ref,
                   .number = home.number,
                   .hash = entry.hash,
                   .bucket = home.bucket,
                   .header = home.header};
  return scan<Policy>(start, [&](Word&, uint64_t word) { return word == entry.word; });
}

template <class Policy>
void LocationCore<Policy>::count_migrated(Shard& shard, Ref ref, uint32_t homes) {
  if (Policy::fetch_add(ref.table().done, homes) + homes != ref.bucket_count()) return;
  Ref target = ref.successor();
  target.word &= ~Table::kDropBit;
  Policy::reach(LocationPoint::about_to_publish_table);
  Policy::store(shard.ref, target.word, std::memory_order_seq_cst);
  Policy::reach(LocationPoint::table_published);
  Policy::fetch_add(shard.growing, ~uint64_t{0});
  retire(ref);
  Policy::reach(LocationPoint::table_retired);
}

// Until the table is not the shard's any more.
template <class Policy>
LocationStatus LocationCore<Policy>::finish(Shard& shard, Ref ref) {
  for (unsigned turn = 0; current_table(shard) == ref;) {
    uint32_t migrated = 0;
    const LocationStatus status = migrate_some(shard, ref, migrated);
    if (status != LocationStatus::done) return status;
    if (migrated != 0) continue;
    Policy::reach(LocationPoint::waiting);
    Policy::pause(turn++);
  }
  return LocationStatus::done;
}

template <class Policy>
LocationStatus LocationCore<Policy>::finish_growth(Shard& shard) {
  const Ref ref = current_table(shard);
  return ref.successor() ? finish(shard, ref) : LocationStatus::done;
}

// Moves all entries that are in the shard now, or drops them, after what is under way.
template <class Policy>
LocationStatus LocationCore<Policy>::rebuild(Shard& shard, unsigned size_class, bool drop) {
  for (;;) {
    LocationStatus status = finish_growth(shard);
    if (status != LocationStatus::done) return status;
    const Ref ref = current_table(shard);
    status = start_growth(shard, ref, size_class, drop);
    if (status != LocationStatus::done) return status;
    const Ref target = ref.successor();
    const bool ours = target.drops() == drop && target.size_class() == size_class;
    status = target ? finish(shard, ref) : LocationStatus::done;
    if (status != LocationStatus::done) return status;
    // Another thread's growth came first; one like ours, which began after the call, will do.
    if (ours) return LocationStatus::done;
  }
}

// What is retired keeps its successor: a reader that slept through several growths follows the
// chain of tables that it knows.
template <class Policy>
void LocationCore<Policy>::retire(Ref ref) {
  Table& table = ref.table();
  table.owner = this;
  const uint64_t bucket_bytes = uint64_t{ref.bucket_count()} * sizeof(Bucket);
  table.bytes = table.head_bytes + (table.in_place ? 0 : bucket_bytes);
  table.reclaim = &LocationCore::reclaim;
  Policy::fetch_add(bytes_retired_, table.bytes);
  if (table.in_place) Policy::fetch_add(bytes_external_, ~bucket_bytes + 1);
  domain_.retire(table);
  constexpr uint64_t kShare = 100;
  collect(arena_->used() / kShare);
}

template <class Policy>
void LocationCore<Policy>::reclaim(EpochRetired* retired, void* owner) {
  auto* const core = static_cast<LocationCore*>(owner);
  auto* const table = static_cast<Table*>(retired);
  Policy::fetch_add(core->bytes_retired_, ~table->bytes + 1);
  core->release_table(Ref::of(table, table->size_class));
}

template <class Policy>
void LocationCore<Policy>::collect(uint64_t keep_bytes) {
  if (Policy::load(bytes_retired_, std::memory_order_relaxed) > keep_bytes) domain_.collect();
}

// Growing leaves at most 2.4 times the present tables behind; rebuilding and clearing have no such
// bound, so they stop while a session holds too much back.
template <class Policy>
bool LocationCore<Policy>::stalled() const {
  constexpr uint64_t kSlack = 4 << 20;
  const uint64_t retired = Policy::load(bytes_retired_, std::memory_order_relaxed);
  return retired > kSlack && retired > arena_->used() / 2;
}

}  // namespace firn::index
