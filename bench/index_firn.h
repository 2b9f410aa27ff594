// SPDX-License-Identifier: Apache-2.0
//
// FirnIndex: a LocationIndex as the benchmark drives it, with what no peer has: batches, room made
// beforehand, figures of its memory, snapshots. There are no records to compare keys with; the
// number of an item is in its location, from which the predicate computes the key again.
#pragma once

#include <memory>
#include <span>

#include "bench/index_engine_loops.h"
#include "firn/index/location_index.h"

namespace firn::bench {

class FirnMap {
 public:
  static constexpr bool kThreads = true;

  explicit FirnMap(uint64_t expected_entries = 0);

  class Access {
    static auto has_key(uint64_t key) {
      return [key](Location location) {
        return key_of(item_of(location.value)) == key ? KeyMatch::same : KeyMatch::different;
      };
    }

   public:
    explicit Access(FirnMap& map) : index_(*map.index_), session_(map.domain_) {}

    uint64_t get(uint64_t key) {
      return index_.find(session_, KeyHash(key), has_key(key)).location.value;
    }
    void put(uint64_t key, uint64_t value) {
      require(index_.put(session_, KeyHash(key), Location(value), has_key(key)));
    }
    void remove(uint64_t key) { require(index_.remove(session_, KeyHash(key), has_key(key))); }

   private:
    static void require(LocationOutcome outcome) {
      if (!outcome.ok()) [[unlikely]]
        stop();
    }
    [[noreturn]] static void stop();

    LocationIndex& index_;
    EpochSession session_;
  };
  Access access() { return Access(*this); }

  [[nodiscard]] LocationIndex& index() { return *index_; }
  [[nodiscard]] EpochDomain& domain() { return domain_; }

 private:
  EpochDomain domain_;
  std::unique_ptr<LocationIndex> index_;
};

class FirnIndex : public IndexEngineOf<FirnMap> {
 public:
  // Room for so many entries is made, and touched, at once.
  explicit FirnIndex(uint64_t expected_entries = 0)
      : IndexEngineOf<FirnMap>(expected_entries), session_(map_.domain()) {}

  static constexpr size_t kBatch = 128;
  size_t gets_batched(std::span<const uint64_t> keys);
  // Puts items `first` to `first + count - 1` in batches of kBatch.
  void fill_batched(uint64_t first, uint64_t count);
  // Nanoseconds an entry of a walk through all of them.
  double walk();

  [[nodiscard]] LocationIndexStatistics statistics() { return map_.index().statistics(session_); }
  [[nodiscard]] LocationProbeStatistics probes() { return map_.index().probe_statistics(session_); }
  Result<SnapshotRange> snapshot(SnapshotSink& sink) {
    return map_.index().snapshot(session_, sink, 0);
  }
  Result<SnapshotRange> load(SnapshotSource& source) { return map_.index().load(source); }
  Result<SnapshotRange> load_in_place(MutableByteSpan image) {
    return map_.index().load_in_place(image);
  }

  // For keys of `size` bytes, one after the other; item i has the location i. The time of gets has
  // that of hashing in it.
  void put_key(uint64_t item, ByteSpan key);
  size_t get_keys(ByteSpan keys, size_t size);

 private:
  EpochSession session_;
};

}  // namespace firn::bench
