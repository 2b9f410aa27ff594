// SPDX-License-Identifier: Apache-2.0
//
// LocationCore: the shards of a LocationIndex and what changes them: inserts under the home's lock,
// growth home by home, walks. It knows hashes and words, but no predicates: those are in
// location_operations.h. Its bodies are in private headers (location_index_internals.h), compiled
// once in location_index.cc.
//
// Locks are bits in the headers of buckets. A thread holds that of one home, and of at most one
// further bucket of the same chain; a migration holds those in the old table while it takes the
// same in the new one. Order: old table before new; in a table by ascending address. For a lower
// address a lock is only tried, and if that fails everything is released and begun again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "firn/index/location_table.h"

namespace firn::index {

class LocationArena;
class LocationHomeEntries;
struct LocationHomeEntry;

// The locations that predicates have called different during one operation. Verdicts are about
// locations, not about slots, so they outlive every change of the table, and a scan that is
// repeated asks only about what it has not met before.
class LocationVerdicts {
 public:
  // A scan meets each location once, so it looks only for those of the scans before it.
  void begin_scan() {
    known_ = count_;
    next_ = 0;
  }
  void add_different(Location location) {
    (count_ < kInline ? inline_[count_] : more_.emplace_back()) = location;
    ++count_;
  }
  [[nodiscard]] bool different(Location location) {
    for (size_t i = 0; i < known_; ++i) {
      const size_t candidate = next_;  // scans meet locations in the same order, mostly
      if (++next_ == known_) next_ = 0;
      if (at(candidate) == location) return true;
    }
    return false;
  }

 private:
  static constexpr size_t kInline = 4;
  [[nodiscard]] Location at(size_t i) const {
    return i < kInline ? inline_[i] : more_[i - kInline];
  }

  Location inline_[kInline];
  std::vector<Location> more_;
  size_t count_ = 0;
  size_t known_ = 0;
  size_t next_ = 0;
};

// A function and what it works on, for bodies that are compiled elsewhere.
struct LocationVisitor {
  const void* context;
  void (*call)(const void* context, InShardHash hash, uint64_t word);

  template <class Visit>
  static LocationVisitor of(const Visit& visit) {
    return {.context = &visit, .call = [](const void* context, InShardHash hash, uint64_t word) {
              (*static_cast<const Visit*>(context))(hash, word);
            }};
  }
};

template <class Policy>
class LocationCore {
 public:
  using Word = typename Policy::Word;
  using Bucket = LocationBucket<Policy>;
  using Chain = LocationChain<Policy>;
  using Domain = BasicEpochDomain<Policy>;
  using Home = LocationHome<Policy>;
  using Pin = BasicEpochPin<Policy>;
  using Ref = LocationTableRef<Policy>;
  using Session = BasicEpochSession<Policy>;
  using Shard = LocationShard<Policy>;
  using Table = LocationTable<Policy>;

  LocationCore(Domain& domain, unsigned shard_bits, uint64_t memory_bytes_max);
  ~LocationCore();
  LocationCore(const LocationCore&) = delete;
  LocationCore& operator=(const LocationCore&) = delete;

  // Must succeed once before anything else is called.
  LocationStatus make_tables(uint64_t expected_entries);

  [[nodiscard]] unsigned shard_bits() const { return shard_bits_; }
  [[nodiscard]] size_t shard_count() const { return size_t{1} << shard_bits_; }
  [[nodiscard]] Shard& shard(size_t number) const { return shards_[number]; }
  [[nodiscard]] Shard& shard(KeyHash hash) const { return shards_[shard_of(hash, shard_bits_)]; }

  // All that follow require a pinned session of the caller.

  // A writer's share of a growth that is under way: a range of homes, and the home of its key.
  LocationStatus help_if_growing(Shard& shard, InShardHash hash) {
    if (Policy::load(shard.growing, std::memory_order_relaxed) == 0) [[likely]]
      return LocationStatus::done;
    return help(shard, hash);
  }
  // Moves a home whose entries are frozen, or waits until another thread has.
  LocationStatus finish_home(Shard& shard, const Home& home);

  enum class Inserted : uint8_t { done, again, no_memory };
  // Inserts under the lock of the home, unless an entry is there that is not known to be different
  // or the home has moved; then `again`: scan again.
  Inserted insert(Shard& shard, const Home& home, Location location, LocationVerdicts& verdicts);
  void count_removed(Shard& shard) { Policy::fetch_add(count_of(shard), ~uint64_t{0}); }

  LocationStatus finish_growth(Shard& shard);
  LocationStatus clear(Shard& shard);
  LocationStatus reserve(Shard& shard, uint64_t entries);  // of all shards
  LocationStatus shrink(Shard& shard);
  LocationStatus maintain(Shard& shard);
  void collect(uint64_t keep_bytes);
  void trim();

  // Calls the visitor for all entries of a shard, without holding locks. Throws std::bad_alloc if
  // hundreds of entries share a home, and there is no memory to copy them.
  void visit(const Shard& shard, const LocationVisitor& visitor) const;

  [[nodiscard]] uint64_t size() const;
  [[nodiscard]] LocationIndexStatistics statistics(Session& session) const;
  [[nodiscard]] LocationProbeStatistics probe_statistics(Session& session) const;

  // For snapshots: tables that no other thread can see yet.
  [[nodiscard]] Ref allocate_table(unsigned size_class) const;
  // The same, but its buckets are where `buckets` says.
  [[nodiscard]] Ref allocate_table_in_place(unsigned size_class, std::byte* buckets) const;
  void release_table(Ref ref) const;
  [[nodiscard]] unsigned class_for(uint64_t entries, const Shard& shard) const;
  // Puts an entry into its chain; false if that is full.
  [[nodiscard]] bool add_private(Ref ref, InShardHash hash, uint64_t word) const;
  // Puts an entry into its chain or behind it; false if there is no memory.
  [[nodiscard]] bool add_stashed(Ref ref, InShardHash hash, uint64_t word) const;
  // Nothing is growing.
  [[nodiscard]] bool is_quiet() const;
  // Takes the place of the empty table of a shard that is not shared yet.
  void install(Shard& shard, Ref ref, uint64_t entries);

 private:
  enum class Placed : uint8_t { done, displaced, contended, full, no_memory };
  enum class Migrated : uint8_t { now, before, no_memory };
  enum class Gathered : uint8_t { done, moved, incomplete };
  // A home whose lock is held, and the header that is current under it.
  struct Locked {
    Ref ref;
    uint32_t number;
    Bucket* bucket;
    uint64_t header;
  };

  LocationStatus help(Shard& shard, InShardHash hash);

  static void unlock(Bucket& bucket, uint64_t header);
  static bool lock_home(Locked& home);
  static bool lock_further(const Bucket& home, Bucket& bucket, uint64_t& header);
  static uint32_t empty_slots(Bucket& bucket);
  static bool publish(Bucket& bucket, uint64_t& header, InShardHash hash, uint64_t word);
  Placed place_private(Ref ref, InShardHash hash, uint64_t word, bool may_stash) const;
  Placed place(Locked& home, InShardHash hash, uint64_t word, bool may_stash) const;
  Placed place_in_chain(Locked& home, InShardHash hash, uint64_t word, bool may_stash) const;
  bool add_stash(Word& link) const;
  Ref allocate_head(unsigned size_class) const;
  bool add_blocks(Ref ref, uint32_t first, uint32_t last) const;
  bool make_target(Ref ref, uint32_t first, uint32_t end) const;
  void* allocate(size_t bytes) const;
  static size_t block_bytes(Ref ref, uint32_t block);

  static bool absent(const Locked& home, InShardHash hash, LocationVerdicts& verdicts);
  bool make_room(Shard& shard, const Home& home, bool& may_stash);
  void after_insert(Shard& shard, Ref ref, bool displaced);
  void begin_growth(Shard& shard, Ref ref, unsigned size_class);
  void grow_if_crowded(Shard& shard, Ref ref, int64_t count);
  void rebuild_if_drifted(Shard& shard, Ref ref);

  LocationStatus start_growth(Shard& shard, Ref ref, unsigned size_class, bool drop);
  LocationStatus finish(Shard& shard, Ref ref);
  LocationStatus rebuild(Shard& shard, unsigned size_class, bool drop);
  LocationStatus migrate_some(Shard& shard, Ref ref, uint32_t& migrated);
  static void prefetch_range(Ref ref, uint32_t first, uint32_t end);
  Migrated migrate_home(Shard& shard, Ref ref, uint32_t number, LocationHomeEntries& entries);
  LocationStatus copy_entries(Ref target, const LocationHomeEntries& entries) const;
  Placed copy_entry(Ref target, const LocationHomeEntry& entry, bool may_be_there) const;
  static bool contains(const Locked& home, const LocationHomeEntry& entry);
  void count_migrated(Shard& shard, Ref ref, uint32_t homes);
  void retire(Ref ref);
  static void reclaim(EpochRetired* retired, void* owner);

  static uint32_t slots_of(const Locked& home, Bucket& bucket, uint64_t header);
  static bool gather(const Locked& home, bool freeze, LocationHomeEntries& entries);
  static void gather_bucket(const Locked& home, Bucket& bucket, uint64_t header, bool freeze,
                            LocationHomeEntries& entries);
  static Gathered lock_and_gather(Locked& home, bool freeze, LocationHomeEntries& entries);
  static void visit_range(Ref ref, uint64_t begin, uint64_t end, LocationHomeEntries& entries,
                          const LocationVisitor& visitor);

  [[nodiscard]] size_t number_of(const Shard& shard) const {
    return static_cast<size_t>(&shard - shards_.get());
  }
  [[nodiscard]] Word& count_of(const Shard& shard) const { return counts_[number_of(shard)].count; }
  [[nodiscard]] unsigned phase_of(const Shard& shard) const {
    return static_cast<unsigned>(number_of(shard) % kPhases);
  }
  [[nodiscard]] uint64_t share_of(uint64_t entries) const;
  [[nodiscard]] bool stalled() const;

  Domain& domain_;
  const unsigned shard_bits_;
  std::unique_ptr<LocationArena> arena_;
  std::unique_ptr<Shard[]> shards_;
  std::unique_ptr<LocationCount<Policy>[]> counts_;
  Word growths_{0};
  Word rebuilds_{0};
  Word bytes_retired_{0};
  Word bytes_external_{0};
};

}  // namespace firn::index
