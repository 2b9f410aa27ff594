// SPDX-License-Identifier: Apache-2.0
//
// LocationBatches: the bodies of find_many and put_many of LocationIndex, which overlap the memory
// accesses of their items. location_index.h includes it.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "firn/base/check.h"
#include "firn/index/location_index.h"

namespace firn {

template <class Policy>
template <class SameKey>
KeyMatch BasicLocationIndex<Policy>::find_in_chain(Session& session, const Home& home,
                                                   SameKey& same_key, Location& location) {
  KeyMatch result = KeyMatch::different;
  index::LocationChain<Policy> chain(home.ref, home.number);
  index::scan_chain(chain, home.hash, [&](Word&, uint64_t word) {
    location = Location(word & index::kLocationMask);
    result = ask(session, [&] { return same_key(location); });
    return result != KeyMatch::different;
  });
  if (result == KeyMatch::different) location = {};
  return result;
}

// Three stages, so that the memory accesses of a group overlap: where the homes are; what they
// hold; and the few chains that go on.
template <class Policy>
template <class SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::find_group(Session& session,
                                                            std::span<const KeyHash> hashes,
                                                            std::span<Location> locations,
                                                            size_t first, SameKey& same_key) const {
  std::array<Home, kGroup> homes;
  std::array<uint8_t, kGroup> unfinished;
  size_t unfinished_count = 0;
  for (size_t i = 0; i < hashes.size(); ++i) {
    Home& home = homes[i];
    home.hash = index::in_shard(hashes[i], shard_bits_);
    home.enter(index::current_table(core_.shard(hashes[i])));
    Policy::reach(LocationPoint::table_read);
    __builtin_prefetch(home.bucket);
  }
  for (size_t i = 0; i < hashes.size(); ++i) {
    Home& home = homes[i];
    home.follow();
    locations[i] = {};
    KeyMatch match = KeyMatch::different;
    index::scan_bucket<Policy>(*home.bucket, home.header, home.hash, [&](Word&, uint64_t word) {
      const Location location(word & index::kLocationMask);
      match = ask(session, [&] { return same_key(first + i, location); });
      if (match == KeyMatch::same) locations[i] = location;
      return match != KeyMatch::different;
    });
    if (match == KeyMatch::failed) [[unlikely]]
      return {.status = LocationStatus::predicate_failed, .completed = i};
    if (match == KeyMatch::same || (home.header & home.hash.class_bit()) == 0) continue;
    __builtin_prefetch(index::LocationChain<Policy>(home.ref, home.number).next());
    unfinished[unfinished_count++] = static_cast<uint8_t>(i);
  }
  for (const size_t i : std::span(unfinished).first(unfinished_count)) {
    const auto same = [&](Location location) { return same_key(first + i, location); };
    if (find_in_chain(session, homes[i], same, locations[i]) == KeyMatch::failed)
      return {.status = LocationStatus::predicate_failed, .completed = i};
  }
  return {.completed = hashes.size()};
}

template <class Policy>
template <LocationBatchPredicate SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::find_many(Session& session,
                                                           std::span<const KeyHash> hashes,
                                                           std::span<Location> locations,
                                                           SameKey&& same_key) const {
  CHECK(hashes.size() == locations.size(), "a place for each answer");
  const Pin pin(session);
  size_t done = 0;
  while (done < hashes.size()) {
    const size_t count = std::min(kGroup, hashes.size() - done);
    LocationBatchOutcome outcome = find_group(session, hashes.subspan(done, count),
                                              locations.subspan(done, count), done, same_key);
    done += outcome.completed;
    if (outcome.status == LocationStatus::done) continue;
    outcome.completed = done;
    return outcome;
  }
  return {.completed = done};
}

// The same stages. What a home is found to be is looked at again when its turn has come: other
// threads, or items before it, may have changed it, and its table has stayed readable.
template <class Policy>
template <class SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::put_group(Session& session,
                                                           std::span<const LocationEntry> entries,
                                                           std::span<Location> previous,
                                                           size_t first, SameKey& same_key) {
  std::array<Home, kGroup> homes;
  for (size_t i = 0; i < entries.size(); ++i) {
    Home& home = homes[i];
    home.hash = index::in_shard(entries[i].hash, shard_bits_);
    home.enter(index::current_table(core_.shard(entries[i].hash)));
    Policy::reach(LocationPoint::table_read);
    __builtin_prefetch(home.bucket, 1);
  }
  for (const Home& home : std::span(homes).first(entries.size())) {
    // Slots fill up from the first to the last, so the last one tells whether the bucket is full.
    if ((home.bucket->load_header() & home.hash.class_bit()) == 0 &&
        home.bucket->load_slot(index::kSlots - 1) == 0)
      continue;
    index::LocationChain<Policy> chain(home.ref, home.number);
    for (unsigned step = 0; step < index::kPrefetchedOfChain; ++step)
      __builtin_prefetch(chain.next(), 1);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const Location location = entries[i].location;
    if (location.value - 1 >= kLocationMax)
      return {.status = LocationStatus::bad_location, .completed = i};
    Home& home = homes[i];
    Shard& shard = core_.shard(entries[i].hash);
    const LocationStatus status = core_.help_if_growing(shard, home.hash);
    if (status != LocationStatus::done) return {.status = status, .completed = i};
    home.follow();
    auto same = [&](Location at) { return same_key(first + i, at); };
    const LocationOutcome outcome =
        upsert_from(session, shard, home, location, same, [](Location) { return true; });
    if (!outcome.ok()) return {.status = outcome.status, .completed = i};
    if (!previous.empty()) previous[i] = outcome.location;
  }
  return {.completed = entries.size()};
}

template <class Policy>
template <LocationBatchPredicate SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::put_many(Session& session,
                                                          std::span<const LocationEntry> entries,
                                                          std::span<Location> previous,
                                                          SameKey&& same_key) {
  CHECK(previous.empty() || previous.size() == entries.size(), "a place for each answer, or none");
  if (session.in_predicate) return {.status = LocationStatus::reentered};
  size_t done = 0;
  while (done < entries.size()) {
    // A pin for each group: what one has retired is reclaimed while the next one is at work.
    const Pin pin(session);
    const size_t count = std::min(kGroup, entries.size() - done);
    LocationBatchOutcome outcome =
        put_group(session, entries.subspan(done, count),
                  previous.empty() ? previous : previous.subspan(done, count), done, same_key);
    done += outcome.completed;
    if (outcome.status == LocationStatus::done) continue;
    outcome.completed = done;
    return outcome;
  }
  return {.completed = done};
}

}  // namespace firn
