// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex: a concurrent map in memory from the hash of a key to the location of its record.
// It keeps no keys: where 37 bits of two hashes are equal, a predicate looks at the stored record.
//
//   EpochDomain domain;
//   auto index = LocationIndex::open(domain, {});  // a Result<std::unique_ptr<LocationIndex>>
//   EpochSession session(domain);                  // one for each thread
//   auto same_key = [&](Location at) { return log.key(at) == key ? KeyMatch::same : ... };
//   auto previous = (*index)->put(session, (*index)->hash(key), location, same_key);
//   auto found = (*index)->find(session, (*index)->hash(key), same_key);
//
// A bucket is one cache line; most lookups read no other:
//
//   byte 0       7   8      15 16                                                            63
//       [tags 0..6|c][ slot 0 ][ slot 1 ][ slot 2 ][ slot 3 ][ slot 4 ][ slot 5 ][ slot 6 ]
//   c:    LOCK, MIGRATED, six overflow bits      slot: FROZEN, 21 bits of hash, 42 of location
//   hash: [shard 8][in the shard 29, from the home's down: 21 in the slot, 8 in the tag][unused 27]
//
// Tag and slot hold all the bits that place an entry, so growth and snapshots never ask the log.
// Each of 256 shards grows by itself, by x1.41, home by home, while readers and writers go on.
//
// Invariants, kept by all writers; the answers of readers that lock and retry nothing rest on them:
//   R1  no moves: within one table a live entry never changes its slot;
//   R2  lane before slot: the tag of an entry is written before its slot's word, the word last;
//   R3  migration by home: the MIGRATED bit of the home bucket decides the table of a key, and is
//       set when every entry of that home is in the new table. The old copy stays, frozen.
//
// Threads: any number of readers and writers, each with a session of its own. Every operation on a
// key is linearizable, and all of them together are sequentially consistent. They take effect at
//   find                      the load of the slot that answers; a miss: some moment in the call
//   put, put_if_newer         an insert: the store of the slot's word; a replace: the CAS of it;
//                             `kept`: the load that met the newer one
//   compare_and_replace, remove   the CAS of the slot; without effect: as find
//   find_many, put_many       item by item, in any order and in the given order
//   clear                     key by key, when the home of the key is marked as migrated
//   candidates, for_each, snapshot   not at one moment: entry by entry; all that stays is in them
//   size                      shard by shard; exact only while nobody writes
//   reserve, shrink, maintain     never: they change nothing that another operation answers
// Readers write nothing that is shared and wait for nobody, whatever a writer is doing. A writer
// waits for one that inserts into the same bucket at the moment, or moves it; where a table grows,
// also for the arena's mutex, and to make or end a session takes the domain's.
//
// Locations: all entries of an index have different ones. A location's key never changes while a
// session that could have seen it is pinned: retire what you reuse through the same domain.
// Predicates run under a pin, never under a lock, several times if need be, and may throw: nothing
// is changed then (by put_many: no further item). They may use the index: reads with the same
// session, changes only with another (else: `reentered`). Without memory std::bad_alloc comes from
// open, snapshot, load, new sessions, the fifth different key of a hash in a change, and the 17th
// entry of a home in a walk; again nothing is changed, and no lock stays. Lookups need no memory.
// Order: two writers of one key may log in one order and get here in the other. put_if_newer lets
// the order of the records decide, so that memory ends as a replay would. A removal races like a
// put: put its record with put_if_newer, and compare-and-remove it when nothing older can arrive.
//
// Cost: docs/performance.md; 14.5 bytes an entry on average. Crash: snapshot + the log after it, or
// all of the log, make it again. After ideas of FASTER (8-byte entries), DLHT and CLHT (lines).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "firn/index/location_core.h"
#include "firn/index/location_policy.h"
#include "firn/index/location_types.h"

namespace firn {

// same_key(location), and same_key(i, location) for item i of a batch.
template <class F>
concept LocationPredicate = std::is_invocable_r_v<KeyMatch, F&, Location>;
template <class F>
concept LocationBatchPredicate = std::is_invocable_r_v<KeyMatch, F&, size_t, Location>;

// A predicate for callers who compare the key when they read the record anyway: takes the first
// candidate. If it turns out to be of another key, ask again with a predicate.
struct AnyKey {
  KeyMatch operator()(Location) const { return KeyMatch::same; }
  KeyMatch operator()(size_t, Location) const { return KeyMatch::same; }
};

template <class Policy>
class BasicLocationIndex {
 public:
  using Domain = BasicEpochDomain<Policy>;
  using Session = BasicEpochSession<Policy>;
  using Pin = BasicEpochPin<Policy>;

  // The domain must outlive the index. Fails with invalid_argument for options out of range, with
  // no_space if memory for an empty index, or for the expected entries, cannot be had.
  static Result<std::unique_ptr<BasicLocationIndex>> open(Domain& domain,
                                                          const LocationIndexOptions& options);
  // Requires: no operation is running.
  ~BasicLocationIndex();
  BasicLocationIndex(const BasicLocationIndex&) = delete;
  BasicLocationIndex& operator=(const BasicLocationIndex&) = delete;

  [[nodiscard]] KeyHash hash(ByteSpan key, uint64_t name_space = 0) const {
    return hasher_.hash(key, name_space);
  }

  // The location of the key. Fails: predicate_failed.
  template <LocationPredicate SameKey>
  LocationOutcome find(Session& session, KeyHash hash, SameKey&& same_key) const;

  // The locations whose keys may be the one: those that share the 37 bits (beside writers perhaps
  // fewer), nearly always none or one. Writes as many as fit and returns how many there are.
  size_t candidates(Session& session, KeyHash hash, std::span<Location> locations) const;

  // find for each hash, overlapping the memory accesses of 128 at a time; absent ones become 0.
  // Requires: as many locations as hashes. On failure all locations are void.
  template <LocationBatchPredicate SameKey>
  LocationBatchOutcome find_many(Session& session, std::span<const KeyHash> hashes,
                                 std::span<Location> locations, SameKey&& same_key) const;

  // Inserts or replaces; the outcome has the previous location. Fails: bad_location,
  // predicate_failed, reentered, no_memory.
  template <LocationPredicate SameKey>
  LocationOutcome put(Session& session, KeyHash hash, Location location, SameKey&& same_key);

  // put for each entry in the given order, overlapping memory accesses. Writes the previous
  // locations unless `previous` is empty. Stops at the first that fails, as put does.
  template <LocationBatchPredicate SameKey>
  LocationBatchOutcome put_many(Session& session, std::span<const LocationEntry> entries,
                                std::span<Location> previous, SameKey&& same_key);

  // put, but a record of the key that is in the index stays (`kept`) unless newer(its location) is
  // true: unless `location` is newer than it. Fails as put.
  template <LocationPredicate SameKey, std::predicate<Location> Newer>
  LocationOutcome put_if_newer(Session& session, KeyHash hash, Location location,
                               SameKey&& same_key, Newer&& newer);

  // Replaces `old` by `location` if it is there under this hash: what compaction does with a record
  // that it moved. Asks no predicate. `kept` if it is not there: a newer put or a remove won.
  // Fails: bad_location, reentered, and no_memory while a table cannot be moved.
  LocationOutcome compare_and_replace(Session& session, KeyHash hash, Location old,
                                      Location location);

  // Removes the key; the outcome has the location it had. To remove only a certain location, let
  // the predicate compare it. Fails: predicate_failed, reentered, and no_memory while a table
  // cannot be moved.
  template <LocationPredicate SameKey>
  LocationOutcome remove(Session& session, KeyHash hash, SameKey&& same_key);

  // Calls visit(hash, location) for every entry, with the 29 + shard_bits top bits of its hash.
  // What is in the index during the whole walk is visited exactly once, with a location that it had
  // during it; what comes or goes meanwhile may be visited or not. It waits for writers in a
  // bucket, as it copies it under its lock; `visit` runs without locks and may change the index.
  // The session is pinned for a shard at a time. for_each_in_shard: a part of it, to resume or to
  // share the work.
  template <std::invocable<KeyHash, Location> Visit>
  void for_each(Session& session, Visit&& visit) const;
  template <std::invocable<KeyHash, Location> Visit>
  void for_each_in_shard(Session& session, size_t shard, Visit&& visit) const;
  [[nodiscard]] size_t shard_count() const { return size_t{1} << shard_bits_; }

  [[nodiscard]] uint64_t size() const;  // off by at most the operations that are running; O(shards)

  // Removes everything, key by key: entries put meanwhile may stay. Fails: no_memory, stalled;
  // then some shards are empty and the others unchanged.
  LocationStatus clear(Session& session);

  // Makes room for `entries` in all, so that puts up to it move nothing. Fails: no_memory.
  LocationStatus reserve(Session& session, uint64_t entries);

  // Moves the entries of sparse shards to smaller tables and gives memory back to the system.
  // Fails: no_memory, stalled; what is done by then stays.
  LocationStatus shrink(Session& session);

  // Finishes growth that is under way, reclaims, and rebuilds shards that have drifted. Optional:
  // writers do all of it as they go. Fails: no_memory, reentered.
  LocationStatus maintain(Session& session);

  [[nodiscard]] LocationIndexStatistics statistics(Session& session) const;
  [[nodiscard]] LocationProbeStatistics probe_statistics(Session& session) const;  // walks it all

  // Writes all entries to `sink` while readers and writers go on, each as it was at some moment of
  // the call. Replay the log from `log_begin`: all before it was put when the call begins.
  // Before the snapshot is put in place, the log must be durable up to sink.log_end(). Fails with
  // the sink's error, or no_space. The bytes: FORMAT.md.
  Result<SnapshotRange> snapshot(Session& session, SnapshotSink& sink, uint64_t log_begin) const;

  // Fills an index that was just opened and is not shared yet from a snapshot. Reads and checks all
  // of it. Fails with corrupt for damage of any kind, unsupported_version, invalid_argument for a
  // snapshot of another hasher or other options or an index that is not empty, no_space, or the
  // source's error. After a failure the index is empty: rebuild it from the log.
  Result<SnapshotRange> load(SnapshotSource& source);

  // The same, but the tables stay in `image`: all of it, aligned to 4096 bytes; only this index
  // uses it, and it outlives the index. A private mapping will do.
  Result<SnapshotRange> load_in_place(MutableByteSpan image);

 private:
  using Core = index::LocationCore<Policy>;
  using Home = index::LocationHome<Policy>;
  using Shard = index::LocationShard<Policy>;
  using Word = typename Policy::Word;
  static constexpr size_t kGroup = 128;  // items of a batch that overlap

  struct Hit;
  explicit BasicLocationIndex(Domain& domain, const LocationIndexOptions& options)
      : hasher_(options.hasher),
        shard_bits_(options.shard_bits),
        core_(domain, options.shard_bits, options.memory_bytes_max) {}
  template <class Ask>
  static auto ask(Session& session, Ask&& question);
  template <class SameKey>
  static Hit find_hit(Session& session, const Home& home, SameKey& same_key,
                      index::LocationVerdicts& verdicts);
  template <class SameKey, class Scan>
  static KeyMatch compare_each(Session& session, SameKey& same_key, Location& found, Scan&& scan);
  template <class SameKey>
  LocationBatchOutcome find_group(Session& session, std::span<const KeyHash> hashes,
                                  std::span<Location> locations, size_t first,
                                  SameKey& same_key) const;
  template <class SameKey, class Replaces>
  LocationOutcome upsert(Session& session, KeyHash hash, Location location, SameKey& same_key,
                         Replaces&& replaces);
  template <class SameKey, class Replaces>
  LocationOutcome upsert_from(Session& session, Shard& shard, Home& home, Location location,
                              SameKey& same_key, Replaces&& replaces);
  template <class SameKey>
  LocationBatchOutcome put_group(Session& session, std::span<const LocationEntry> entries,
                                 std::span<Location> previous, size_t first, SameKey& same_key);
  template <class Change>
  LocationStatus for_all_shards(Session& session, Change&& change);
  Result<SnapshotRange> load_tables(SnapshotSource& source, std::byte* in_place);

  const KeyHasher hasher_;
  const unsigned shard_bits_;
  Core core_;
};

using LocationIndex = BasicLocationIndex<LocationPolicy>;

}  // namespace firn

#include "firn/index/location_batches.h"
#include "firn/index/location_operations.h"

namespace firn {

// Compiled once, in location_index.cc.
extern template class index::LocationCore<LocationPolicy>;
extern template class BasicLocationIndex<LocationPolicy>;

}  // namespace firn
