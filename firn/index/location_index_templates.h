// SPDX-License-Identifier: Apache-2.0
//
// The members of LocationIndex that take no predicates.
#pragma once

#include "firn/index/location_index.h"

namespace firn {

template <class Policy>
Result<std::unique_ptr<BasicLocationIndex<Policy>>> BasicLocationIndex<Policy>::open(
    Domain& domain, const LocationIndexOptions& options) {
  constexpr unsigned kShardBitsMax = 12;
  if (options.shard_bits > kShardBitsMax)
    return fail(Errc::invalid_argument, "an index of locations has at most 2^12 shards, not 2^" +
                                            std::to_string(options.shard_bits));
  auto index = std::unique_ptr<BasicLocationIndex>(new BasicLocationIndex(domain, options));
  if (index->core_.make_tables(options.expected_entries) != LocationStatus::done)
    return fail(Errc::no_space,
                "no memory for an index of " + std::to_string(options.expected_entries) +
                    " locations within " + std::to_string(options.memory_bytes_max) + " bytes");
  return index;
}

template <class Policy>
BasicLocationIndex<Policy>::~BasicLocationIndex() = default;

template <class Policy>
size_t BasicLocationIndex<Policy>::candidates(Session& session, KeyHash hash,
                                              std::span<Location> locations) const {
  const Pin pin(session);
  const Home home = index::locate(core_.shard(hash), index::in_shard(hash, shard_bits_));
  size_t count = 0;
  index::scan(home, [&](Word&, uint64_t word) {
    if (count < locations.size()) locations[count] = Location(word & index::kLocationMask);
    ++count;
    return false;
  });
  return count;
}

template <class Policy>
LocationOutcome BasicLocationIndex<Policy>::compare_and_replace(Session& session, KeyHash hash,
                                                                Location old, Location location) {
  if (session.in_predicate) return {.status = LocationStatus::reentered};
  if (location.value - 1 >= kLocationMax || old.value - 1 >= kLocationMax)
    return {.status = LocationStatus::bad_location};
  const Pin pin(session);
  auto& shard = core_.shard(hash);
  const index::InShardHash in_shard = index::in_shard(hash, shard_bits_);
  LocationStatus status = core_.help_if_growing(shard, in_shard);
  while (status == LocationStatus::done) {
    const Home home = index::locate(shard, in_shard);
    Hit hit;
    index::scan(home, [&](Word& slot, uint64_t word) {
      if ((word & index::kLocationMask) != old.value) return false;
      hit = {.slot = &slot, .word = word};
      return true;
    });
    if (hit.slot == nullptr) return {.status = LocationStatus::kept};
    if ((hit.word & index::kFrozenBit) != 0) {
      status = core_.finish_home(shard, home);
      continue;
    }
    Policy::reach(LocationPoint::about_to_replace);
    uint64_t expected = hit.word;
    if (Policy::compare_exchange(*hit.slot, expected, in_shard.word(location)))
      return {.location = old};
  }
  return {.status = status};
}

template <class Policy>
template <class Change>
LocationStatus BasicLocationIndex<Policy>::for_all_shards(Session& session, Change&& change) {
  if (session.in_predicate) return LocationStatus::reentered;
  for (size_t i = 0; i < shard_count(); ++i) {
    // A pin for each shard: what one of them retires is reclaimed while the next one is at work.
    const Pin pin(session);
    if (const LocationStatus status = change(core_.shard(i)); status != LocationStatus::done)
      return status;
  }
  return LocationStatus::done;
}

template <class Policy>
uint64_t BasicLocationIndex<Policy>::size() const {
  return core_.size();
}

template <class Policy>
LocationStatus BasicLocationIndex<Policy>::clear(Session& session) {
  return for_all_shards(session, [&](auto& shard) { return core_.clear(shard); });
}

template <class Policy>
LocationStatus BasicLocationIndex<Policy>::reserve(Session& session, uint64_t entries) {
  return for_all_shards(session, [&](auto& shard) { return core_.reserve(shard, entries); });
}

template <class Policy>
LocationStatus BasicLocationIndex<Policy>::shrink(Session& session) {
  const LocationStatus status =
      for_all_shards(session, [&](auto& shard) { return core_.shrink(shard); });
  if (status != LocationStatus::reentered) core_.trim();
  return status;
}

template <class Policy>
LocationStatus BasicLocationIndex<Policy>::maintain(Session& session) {
  const LocationStatus status =
      for_all_shards(session, [&](auto& shard) { return core_.maintain(shard); });
  core_.collect(0);
  return status;
}

template <class Policy>
LocationIndexStatistics BasicLocationIndex<Policy>::statistics(Session& session) const {
  return core_.statistics(session);
}

template <class Policy>
LocationProbeStatistics BasicLocationIndex<Policy>::probe_statistics(Session& session) const {
  return core_.probe_statistics(session);
}

}  // namespace firn
