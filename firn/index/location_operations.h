// SPDX-License-Identifier: Apache-2.0
//
// LocationOperations: the bodies of the members of LocationIndex that take predicates or visitors.
// location_index.h includes it.
#pragma once

#include <utility>

#include "firn/base/check.h"
#include "firn/index/location_index.h"

namespace firn {

// What a scan has found: the slot of the key, or nothing.
template <class Policy>
struct BasicLocationIndex<Policy>::Hit {
  Word* slot = nullptr;
  uint64_t word = 0;
  bool failed = false;
};

// Runs a predicate; the session remembers it, so that changes from inside are refused.
template <class Policy>
template <class Ask>
inline auto BasicLocationIndex<Policy>::ask(Session& session, Ask&& question) {
  struct Asking {
    explicit Asking(bool& is) : in_predicate(is), outer(std::exchange(is, true)) {}
    ~Asking() { in_predicate = outer; }  // also when the predicate throws
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    bool& in_predicate;
    const bool outer;
  };
  const Asking asking(session.in_predicate);
  return question();
}

template <class Policy>
template <LocationPredicate SameKey>
inline LocationOutcome BasicLocationIndex<Policy>::find(Session& session, KeyHash hash,
                                                        SameKey&& same_key) const {
  const Pin pin(session);
  const Home home = index::locate(core_.shard(hash), index::in_shard(hash, shard_bits_));
  LocationOutcome outcome;
  index::scan(home, [&](Word&, uint64_t word) {
    const Location location(word & index::kLocationMask);
    const KeyMatch match = ask(session, [&] { return same_key(location); });
    if (match == KeyMatch::different) return false;
    if (match == KeyMatch::same)
      outcome.location = location;
    else
      outcome.status = LocationStatus::predicate_failed;
    return true;
  });
  return outcome;
}

// The slot of the key, if it is there. What the predicate said is kept.
template <class Policy>
template <class SameKey>
inline typename BasicLocationIndex<Policy>::Hit BasicLocationIndex<Policy>::find_hit(
    Session& session, const Home& home, SameKey& same_key, index::LocationVerdicts& verdicts) {
  verdicts.begin_scan();
  Hit hit;
  index::scan(home, [&](Word& slot, uint64_t word) {
    const Location location(word & index::kLocationMask);
    if (verdicts.different(location)) return false;
    const KeyMatch match = ask(session, [&] { return same_key(location); });
    if (match == KeyMatch::different) {
      verdicts.add_different(location);
      return false;
    }
    hit = {.slot = &slot, .word = word, .failed = match == KeyMatch::failed};
    return true;
  });
  return hit;
}

template <class Policy>
template <class SameKey, class Replaces>
inline LocationOutcome BasicLocationIndex<Policy>::upsert(Session& session, KeyHash hash,
                                                          Location location, SameKey& same_key,
                                                          Replaces&& replaces) {
  if (session.in_predicate) return {.status = LocationStatus::reentered};
  if (location.value - 1 >= kLocationMax) return {.status = LocationStatus::bad_location};
  const Pin pin(session);
  auto& shard = core_.shard(hash);
  const index::InShardHash in_shard = index::in_shard(hash, shard_bits_);
  const LocationStatus status = core_.help_if_growing(shard, in_shard);
  if (status != LocationStatus::done) return {.status = status};
  Home home = index::locate(shard, in_shard);
  return upsert_from(session, shard, home, location, same_key, replaces);
}

// Requires: pinned since the home was located. Locates it anew if it has to begin again.
template <class Policy>
template <class SameKey, class Replaces>
inline LocationOutcome BasicLocationIndex<Policy>::upsert_from(Session& session, Shard& shard,
                                                               Home& home, Location location,
                                                               SameKey& same_key,
                                                               Replaces&& replaces) {
  LocationStatus status = LocationStatus::done;
  index::LocationVerdicts verdicts;
  for (;; home = index::locate(shard, home.hash)) {
    const Hit hit = find_hit(session, home, same_key, verdicts);
    if (hit.failed) return {.status = LocationStatus::predicate_failed};
    if (hit.slot == nullptr) {
      Policy::reach(LocationPoint::scanned_absent);
      switch (core_.insert(shard, home, location, verdicts)) {
        case Core::Inserted::done: return {};
        case Core::Inserted::again: continue;
        case Core::Inserted::no_memory: return {.status = LocationStatus::no_memory};
      }
    }
    const Location previous(hit.word & index::kLocationMask);
    if (!ask(session, [&] { return replaces(previous); }))
      return {.status = LocationStatus::kept, .location = previous};
    if ((hit.word & index::kFrozenBit) != 0) {
      status = core_.finish_home(shard, home);
      if (status != LocationStatus::done) return {.status = status};
      continue;
    }
    Policy::reach(LocationPoint::about_to_replace);
    uint64_t expected = hit.word;
    if (Policy::compare_exchange(*hit.slot, expected, home.hash.word(location)))
      return {.location = previous};
  }
}

template <class Policy>
template <LocationPredicate SameKey>
LocationOutcome BasicLocationIndex<Policy>::put(Session& session, KeyHash hash, Location location,
                                                SameKey&& same_key) {
  return upsert(session, hash, location, same_key, [](Location) { return true; });
}

template <class Policy>
template <LocationPredicate SameKey, std::predicate<Location> Newer>
LocationOutcome BasicLocationIndex<Policy>::put_if_newer(Session& session, KeyHash hash,
                                                         Location location, SameKey&& same_key,
                                                         Newer&& newer) {
  return upsert(session, hash, location, same_key, newer);
}

template <class Policy>
template <LocationPredicate SameKey>
LocationOutcome BasicLocationIndex<Policy>::remove(Session& session, KeyHash hash,
                                                   SameKey&& same_key) {
  if (session.in_predicate) return {.status = LocationStatus::reentered};
  const Pin pin(session);
  auto& shard = core_.shard(hash);
  const index::InShardHash in_shard = index::in_shard(hash, shard_bits_);
  LocationStatus status = core_.help_if_growing(shard, in_shard);
  index::LocationVerdicts verdicts;
  while (status == LocationStatus::done) {
    const Home home = index::locate(shard, in_shard);
    const Hit hit = find_hit(session, home, same_key, verdicts);
    if (hit.failed) return {.status = LocationStatus::predicate_failed};
    if (hit.slot == nullptr) return {};
    if ((hit.word & index::kFrozenBit) != 0) {
      status = core_.finish_home(shard, home);
      continue;
    }
    Policy::reach(LocationPoint::about_to_replace);
    uint64_t expected = hit.word;
    // The lane stays as it is; an empty slot is free at once.
    if (Policy::compare_exchange(*hit.slot, expected, 0)) {
      core_.count_removed(shard);
      return {.location = Location(hit.word & index::kLocationMask)};
    }
  }
  return {.status = status};
}

template <class Policy>
template <std::invocable<KeyHash, Location> Visit>
void BasicLocationIndex<Policy>::for_each_in_shard(Session& session, size_t shard,
                                                   Visit&& visit) const {
  CHECK(shard < shard_count(), "a shard that exists");
  const Pin pin(session);
  const auto visit_word = [&](index::InShardHash hash, uint64_t word) {
    visit(index::hash_prefix(shard, hash, shard_bits_), Location(word & index::kLocationMask));
  };
  core_.visit(core_.shard(shard), index::LocationVisitor::of(visit_word));
}

template <class Policy>
template <std::invocable<KeyHash, Location> Visit>
void BasicLocationIndex<Policy>::for_each(Session& session, Visit&& visit) const {
  for (size_t shard = 0; shard < shard_count(); ++shard)
    for_each_in_shard(session, shard, visit);
}

}  // namespace firn
