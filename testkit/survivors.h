// SPDX-License-Identifier: Apache-2.0
//
// SurvivorPlan: which of the changes that no sync covered outlive a power cut.
//
// SimulatedFileSystem breaks every unsynced change into items that live or die on their own, in the
// order in which they were issued: one per 512-byte sector of a write, one for the length that a
// write or resize gave the file, one per directory entry made or removed. A plan gives each item
// its fate. Lengths: the last kept one wins, so every length since the last sync can come out,
// whatever became of the data.
//
//   for (const SurvivorPlan& plan : survivor_plans(disk.pending_items().size())) {
//     auto branch = disk.clone();
//     branch->cut_power(plan);
//     ...
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace firn::testkit {

class SimulatedInode;
class SimulatedDirectory;

inline constexpr uint64_t kSectorSizeBytes = 512;
inline constexpr uint64_t kDevicePageSizeBytes = 4096;

struct PendingItem {
  enum class Kind : uint8_t { data, length, entry };
  Kind kind = Kind::data;
  uint64_t sequence = 0;  // issue order over the whole device
  uint64_t owner = 0;     // number of the file or directory
  uint64_t offset = 0;    // data: where in the file; length: the new length
  uint64_t size = 0;      // data: bytes
  // For the simulator: what the item belongs to, and the index of the change there.
  SimulatedInode* inode = nullptr;
  SimulatedDirectory* directory = nullptr;
  size_t change = 0;
};

struct Fate {
  enum class Kind : uint8_t {
    lost,
    kept,
    front,    // kept up to byte `cut` of the item
    back,     // kept from byte `cut` on
    garbage,  // the item's bytes are random
    mixed,    // each byte of the item is lost or kept on its own
  };
  Kind kind = Kind::lost;
  uint64_t cut = 0;
  uint64_t seed = 0;  // of garbage and mixed
};

class SurvivorPlan {
 public:
  static SurvivorPlan none() { return {Kind::none, 0}; }
  static SurvivorPlan all() { return {Kind::all, 0}; }
  // Item i survives if bit i is set; at most 64 items.
  static SurvivorPlan subset(uint64_t bits) { return {Kind::subset, bits}; }
  static SurvivorPlan only(uint64_t item) { return {Kind::only, item}; }
  static SurvivorPlan all_but(uint64_t item) { return {Kind::all_but, item}; }
  static SurvivorPlan first(uint64_t count) { return {Kind::first, count}; }
  // All but the first `count`.
  static SurvivorPlan all_after(uint64_t count) { return {Kind::all_after, count}; }
  static SurvivorPlan metadata_only() { return {Kind::metadata_only, 0}; }
  static SurvivorPlan data_only() { return {Kind::data_only, 0}; }
  // Everything that the device may do, torn and garbage sectors included. The seed also draws a
  // mood (per item, per page, per file, a prefix with a torn end, metadata in order...), because
  // evenly random subsets of many items almost never keep nearly all or nearly none.
  static SurvivorPlan random(uint64_t seed) { return {Kind::random, seed}; }

  // One fate for each item; length and entry items are only lost or kept.
  [[nodiscard]] std::vector<Fate> fates(std::span<const PendingItem> items) const;
  [[nodiscard]] std::string description() const;

 private:
  enum class Kind : uint8_t {
    none,
    all,
    subset,
    only,
    all_but,
    first,
    all_after,
    metadata_only,
    data_only,
    random,
  };
  SurvivorPlan(Kind kind, uint64_t number) : kind_(kind), number_(number) {}

  [[nodiscard]] bool keeps(const PendingItem& item, uint64_t index) const;

  Kind kind_;
  uint64_t number_;
};

// All 2^n subsets where the count of pending items is at most `exhaustive_limit`; otherwise none,
// all, every only-one, all-but-one, prefix and suffix, metadata only and data only.
[[nodiscard]] std::vector<SurvivorPlan> survivor_plans(size_t pending_count,
                                                       size_t exhaustive_limit = 12);

// The short list: none, all, metadata only, data only, first half, second half.
[[nodiscard]] std::vector<SurvivorPlan> few_survivor_plans(size_t pending_count);

}  // namespace firn::testkit
