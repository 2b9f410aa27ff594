// SPDX-License-Identifier: Apache-2.0
//
// LocationBatches: the bodies of find_many and put_many of LocationIndex, which overlap the memory
// accesses of their items. location_index.h includes it.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "firn/base/check.h"
#include "firn/base/prefetch.h"
#include "firn/index/location_index.h"

namespace firn {

namespace index {

// So many lines are on their way at a time.
inline constexpr size_t kAhead = 24;

// The first stage of an item of a batch: where its home is.
template <class Policy>
void enter(LocationHome<Policy>& home, const LocationShard<Policy>& shard, InShardHash hash) {
  home.hash = hash;
  home.enter(current_table(shard));
  Policy::reach(LocationPoint::table_read);
}

// The last one, of an item that was put off: its chain, or all if its home had moved.
template <class Policy, class Visit>
void scan_put_off(LocationHome<Policy>& home, Visit&& visit) {
  if ((home.header & kMigratedBit) != 0) {
    home.follow();
    scan(home, visit);
  } else {
    LocationChain<Policy> chain(home.ref, home.number);
    scan_chain(chain, home.hash, visit);
  }
}

}  // namespace index

// Asks about each location that a scan meets, until one is the key's.
template <class Policy>
template <class SameKey, class Scan>
KeyMatch BasicLocationIndex<Policy>::compare_each(Session& session, SameKey& same_key,
                                                  Location& found, Scan&& scan) {
  KeyMatch match = KeyMatch::different;
  scan([&](Word&, uint64_t word) {
    const Location candidate(word & index::kLocationMask);
    match = ask(session, [&] { return same_key(candidate); });
    if (match == KeyMatch::same) found = candidate;
    return match != KeyMatch::different;
  });
  return match;
}

// Three stages, so that memory accesses overlap: where the home is; what it holds, some items
// later; and at the end the few whose home had moved or whose chain goes on. The first two go
// together: the processor has room for so many lines on their way, and lets those beyond wait.
template <class Policy>
template <class SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::find_group(Session& session,
                                                            std::span<const KeyHash> hashes,
                                                            std::span<Location> locations,
                                                            size_t first, SameKey& same_key) const {
  std::array<Home, kGroup> homes;
  std::array<uint8_t, kGroup> put_off;
  size_t put_off_count = 0;
  LocationBatchOutcome outcome{.completed = hashes.size()};
  const auto fail_at = [&](size_t i) {
    outcome = {.status = LocationStatus::predicate_failed, .completed = i};
  };
  for (size_t entered = 0, i = 0; i < outcome.completed; ++i) {
    for (; entered < std::min(hashes.size(), i + index::kAhead); ++entered) {
      index::enter(homes[entered], core_.shard(hashes[entered]),
                   index::in_shard(hashes[entered], shard_bits_));
      prefetch(homes[entered].bucket);
    }
    Home& home = homes[i];
    locations[i] = {};
    KeyMatch match = KeyMatch::different;
    if (home.look()) [[likely]] {
      const auto same = [&](Location location) { return same_key(first + i, location); };
      match = compare_each(session, same, locations[i], [&](auto&& visit) {
        index::scan_bucket<Policy>(*home.bucket, home.header, home.hash, visit);
      });
      if (match == KeyMatch::failed) fail_at(i);
      if (match != KeyMatch::different || (home.header & home.hash.class_bit()) == 0) continue;
      prefetch(index::LocationChain<Policy>(home.ref, home.number).next());
    } else {
      prefetch(home.bucket);
    }
    put_off[put_off_count++] = static_cast<uint8_t>(i);
  }
  for (const size_t i : std::span(put_off).first(put_off_count)) {
    const auto same = [&](Location location) { return same_key(first + i, location); };
    const auto scan = [&](auto&& visit) { index::scan_put_off(homes[i], visit); };
    if (compare_each(session, same, locations[i], scan) != KeyMatch::failed) continue;
    fail_at(i);
    break;
  }
  return outcome;
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

// Stage by stage: a put's locked instructions let nothing overlap. What a home is found to be is
// looked at again when its turn has come: other threads, or items before it, may have changed it,
// and its table has stayed readable.
template <class Policy>
template <class SameKey>
LocationBatchOutcome BasicLocationIndex<Policy>::put_group(Session& session,
                                                           std::span<const LocationEntry> entries,
                                                           std::span<Location> previous,
                                                           size_t first, SameKey& same_key) {
  std::array<Home, kGroup> homes;
  for (size_t i = 0; i < entries.size(); ++i) {
    index::enter(homes[i], core_.shard(entries[i].hash),
                 index::in_shard(entries[i].hash, shard_bits_));
    prefetch_to_write(homes[i].bucket);
  }
  for (const Home& home : std::span(homes).first(entries.size())) {
    // Slots fill up from the first to the last, so the last one tells whether the bucket is full.
    if ((home.bucket->load_header() & home.hash.class_bit()) == 0 &&
        home.bucket->load_slot(index::kSlots - 1) == 0)
      continue;
    index::LocationChain<Policy> chain(home.ref, home.number);
    for (unsigned step = 0; step < index::kPrefetchedOfChain; ++step)
      prefetch_to_write(chain.next());
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
