// SPDX-License-Identifier: Apache-2.0
//
// Worker: one thread's random operations on a LocationIndex, each recorded in a history. A location
// carries the number of its key, which stands for the log that a predicate reads.
#pragma once

#include <cstdint>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/index/history_test_support.h"
#include "firn/index/location_index.h"

namespace firn::histories {

// How the hashes of the keys collide, from all bits to none.
enum class Layout : uint8_t { equal, one_home, one_lane, spread };
inline constexpr Layout kLayouts[] = {Layout::equal, Layout::one_home, Layout::one_lane,
                                      Layout::spread};
inline constexpr const char* kLayoutNames[] = {"equal", "one_home", "one_lane", "spread"};

inline KeyHash hash_of(Layout layout, uint32_t key) {
  constexpr unsigned kUnused = 35;  // below the 29 bits of the hash in the only shard
  constexpr uint64_t kFingerprint = 0x0A5A5A << 8;
  switch (layout) {
    case Layout::equal: return KeyHash((kFingerprint | 0x11) << kUnused);
    case Layout::one_home: return KeyHash((kFingerprint | (key * 37 & 0xFF)) << kUnused);
    case Layout::one_lane: return KeyHash((kFingerprint + (uint64_t{key} << 8) + 0x11) << kUnused);
    case Layout::spread: break;
  }
  return KeyHash((key + 1) * 0x9E3779B97F4A7C15);
}

struct Config {
  size_t threads = 2;
  uint32_t keys = 4;
  Layout layout = Layout::equal;
  bool moves = false;   // thread 0 reserves, shrinks, clears and walks between its operations
  bool skewed = false;  // half of the operations on one key
  uint64_t seed = 1;
};

template <class Policy>
class Worker {
 public:
  using Index = BasicLocationIndex<Policy>;
  using Domain = BasicEpochDomain<Policy>;
  using Session = BasicEpochSession<Policy>;
  using Kind = HistoryOperation::Kind;
  using Clock = uint64_t (*)();

  static constexpr unsigned kKeyBits = 10;

  Worker(Index& index, Domain& domain, History& history, size_t thread, const Config& config,
         Clock clock)
      : index_(index),
        session_(domain),
        log_(history.thread(thread)),
        walks_(history.walks(thread)),
        config_(config),
        thread_(thread),
        clock_(clock),
        random_(config.seed * History::kThreadsMax + thread) {}

  // One operation.
  void step() {
    if (config_.moves && thread_ == 0 && random_.one_in(4)) return move();
    HistoryOperation operation{.key = draw_key()};
    const uint64_t draw = random_.below(20);
    operation.begin = clock_();
    if (draw < 8) {
      find(operation);
    } else if (draw < 14) {
      put(operation, draw < 9);
    } else if (draw < 17) {
      remove(operation);
    } else if (draw < 19) {
      replace_if(operation);
    } else {
      find_many(operation);
    }
    operation.end = clock_();
    log_.push_back(operation);
  }

  Location find_now(uint32_t key) {
    return index_.find(session_, hash_of(config_.layout, key), same_key(key)).location;
  }

  uint64_t count_now() {
    uint64_t count = 0;
    index_.for_each(session_, [&](KeyHash, Location) { ++count; });
    return count;
  }

 private:
  static auto same_key(uint32_t key) {
    return [key](Location location) {
      return (location.value & ((1U << kKeyBits) - 1)) == key ? KeyMatch::same
                                                              : KeyMatch::different;
    };
  }

  uint32_t draw_key() {
    if (config_.skewed && random_.one_in(2)) return 0;
    return static_cast<uint32_t>(random_.below(config_.keys));
  }

  Location new_location(uint32_t key) {
    const uint64_t number = ++puts_ * History::kThreadsMax + thread_;
    return Location(number << kKeyBits | key);
  }

  void find(HistoryOperation& operation) {
    operation.kind = Kind::find;
    const Location found = find_now(operation.key);
    operation.answer = seen_ = found.value;
  }

  void put(HistoryOperation& operation, bool if_newer) {
    const Location location = new_location(operation.key);
    const KeyHash hash = hash_of(config_.layout, operation.key);
    const LocationOutcome outcome =
        if_newer ? index_.put_if_newer(session_, hash, location, same_key(operation.key),
                                       [&](Location old) { return old < location; })
                 : index_.put(session_, hash, location, same_key(operation.key));
    CHECK(outcome.ok(), "a put with memory left is done");
    const bool kept = outcome.status == LocationStatus::kept;
    operation.kind = kept ? Kind::find : Kind::put;
    operation.location = kept ? 0 : location.value;
    operation.answer = outcome.location.value;
    seen_ = kept ? outcome.location.value : location.value;
  }

  void remove(HistoryOperation& operation) {
    const LocationOutcome outcome =
        index_.remove(session_, hash_of(config_.layout, operation.key), same_key(operation.key));
    CHECK(outcome.ok(), "a remove with memory left is done");
    operation.kind = Kind::remove;
    operation.answer = outcome.location.value;
  }

  void replace_if(HistoryOperation& operation) {
    // Mostly a location that is or was one of this key.
    if (seen_ != 0) operation.key = static_cast<uint32_t>(seen_ & ((1U << kKeyBits) - 1));
    operation.kind = Kind::replace_if;
    operation.old = seen_ != 0 ? seen_ : new_location(operation.key).value;
    const Location location = new_location(operation.key);
    operation.location = location.value;
    const LocationOutcome outcome = index_.compare_and_replace(
        session_, hash_of(config_.layout, operation.key), Location(operation.old), location);
    CHECK(outcome.ok(), "compare_and_replace with memory left is done");
    operation.answer = outcome.status == LocationStatus::done ? 1 : 0;
    if (operation.answer != 0) seen_ = location.value;
  }

  // Every key at some moment of the call, as in a walk.
  void find_many(HistoryOperation& operation) {
    std::vector<KeyHash> hashes;
    for (uint32_t key = 0; key < config_.keys; ++key)
      hashes.push_back(hash_of(config_.layout, key));
    std::vector<Location> found(config_.keys);
    const LocationBatchOutcome outcome =
        index_.find_many(session_, hashes, found, [](size_t key, Location location) {
          return same_key(static_cast<uint32_t>(key))(location);
        });
    CHECK(outcome.status == LocationStatus::done, "find_many is done");
    operation.kind = Kind::walk;
    operation.answer = walks_.size();
    auto& walk = walks_.emplace_back();
    for (const Location location : found)
      walk.push_back(location.value);
  }

  void walk(HistoryOperation& operation) {
    operation.kind = Kind::walk;
    operation.answer = walks_.size();
    auto& walk = walks_.emplace_back(config_.keys);
    index_.for_each(session_, [&](KeyHash hash, Location location) {
      const auto key = static_cast<uint32_t>(location.value & ((1U << kKeyBits) - 1));
      CHECK(key < config_.keys, "a walk lists what was put");
      constexpr uint64_t kStored = ~((uint64_t{1} << 35) - 1);
      CHECK(hash.value == (hash_of(config_.layout, key).value & kStored), "with its own hash");
      CHECK(walk[key] != location.value, "and not twice");
      walk[key] = location.value;
    });
  }

  void move() {
    HistoryOperation operation;
    LocationStatus status = LocationStatus::done;
    operation.begin = clock_();
    switch (random_.below(8)) {
      case 0:
        operation.kind = Kind::clear;
        status = index_.clear(session_);
        break;
      case 1:
      case 2: walk(operation); break;
      case 3:
      case 4: status = index_.shrink(session_); break;
      case 5: status = index_.maintain(session_); break;
      default: status = index_.reserve(session_, random_.below(64)); break;
    }
    CHECK(status == LocationStatus::done, "moving with memory left is done");
    operation.end = clock_();
    if (operation.kind == Kind::clear || operation.kind == Kind::walk) log_.push_back(operation);
  }

  Index& index_;
  Session session_;
  std::vector<HistoryOperation>& log_;
  std::vector<std::vector<uint64_t>>& walks_;
  const Config config_;
  const size_t thread_;
  const Clock clock_;
  Random random_;
  uint64_t puts_ = 0;
  uint64_t seen_ = 0;
};

}  // namespace firn::histories
