// SPDX-License-Identifier: Apache-2.0
//
// Worker: one thread's random operations on a LocationIndex, each recorded in a history. A location
// carries the number of its key, which stands for the log that a predicate reads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
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
  bool moves = false;     // thread 0 reserves, shrinks, clears and walks between its operations
  bool skewed = false;    // half of the operations on one key
  bool shards = false;    // two shards: odd keys lie in the second
  bool drifts = false;    // nothing is cleared, nor moved but to rebuild what has drifted
  bool observes = false;  // sizes and statistics are looked at between operations
  bool compares = false;  // half of what is found is chosen from the candidates
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
        random_(config.seed * History::kThreadsMax + thread) {
    draw_tastes();
  }

  // One operation, drawn at random.
  void step() {
    if (config_.observes && random_.one_in(64)) observe();
    if (config_.moves && thread_ == 0 && random_.one_in(4)) return move(draw_move());
    act(draw_choice(), draw_key());
  }

  // One operation: "p3" puts key 3, "f3" finds, "r3" removes, "x3" compares and replaces it, "m3"
  // puts a batch of up to four keys that begins with it; "C"
  // clears, "W" walks, "G" moves to a larger table, "S" to a smaller one, "Z" asks for the size,
  // "F" puts every key from 17 on.
  void step(std::string_view what) {
    if (what == "Z") return observe_size(index_.size());
    if (what == "F") {
      for (uint32_t key = 17; key < config_.keys; ++key)
        act(Choice::put, key);
      return;
    }
    if (what.size() == 1) {
      constexpr std::string_view kMoves = "CWGS";
      return move(static_cast<Move>(kMoves.find(what[0])));
    }
    constexpr std::string_view kChoices = "fp_rx_m";
    act(static_cast<Choice>(kChoices.find(what[0])),
        static_cast<uint32_t>(std::stoul(std::string(what.substr(1)))));
  }

  Location find_now(uint32_t key) {
    return index_.find(session_, hash(key), same_key(key)).location;
  }

  uint64_t count_now() {
    uint64_t count = 0;
    index_.for_each(session_, [&](KeyHash, Location) { ++count; });
    return count;
  }

 private:
  [[nodiscard]] KeyHash hash(uint32_t key) const {
    const KeyHash hash = hash_of(config_.layout, key);
    return config_.shards ? KeyHash(hash.value >> 1 | uint64_t{key} << 63) : hash;
  }
  static auto same_key(uint32_t key) {
    return [key](Location location) {
      return (location.value & ((1U << kKeyBits) - 1)) == key ? KeyMatch::same
                                                              : KeyMatch::different;
    };
  }

  // Beside writers a size is off by what runs: by one for each thread, and where homes are dropped,
  // by all that were in one.
  void observe_size(uint64_t size) const {
    const uint64_t off = config_.threads * (config_.drifts ? 1 : config_.keys + 1);
    CHECK(size <= config_.keys + off, "a size is off by at most the operations that run");
  }

  // Figures need not fit together, but none of them passes its bounds, or runs backwards.
  void observe() {
    observe_size(index_.size());
    const LocationIndexStatistics now = index_.statistics(session_);
    constexpr uint64_t kSane = uint64_t{1} << 32;
    const uint64_t shards = index_.shard_count();
    observe_size(now.entries);
    CHECK(now.slots >= shards && now.slots < kSane, "every shard has slots");
    CHECK(now.shards_growing <= shards, "no more shards grow than there are");
    CHECK(now.stashed_entries < kSane && now.displaced_entries < kSane, "counts do not wrap");
    CHECK(now.growths >= observed_.growths && now.rebuilds >= observed_.rebuilds, "only upwards");
    CHECK(now.bytes() < kSane && now.bytes_resident < kSane, "bytes do not wrap");
    CHECK(now.sessions >= 1 && now.sessions <= config_.threads, "one for each thread");
    CHECK(now.sessions_pinned <= now.sessions, "who is pinned has a session");
    CHECK(now.oldest_pin_epochs < kSane, "epochs do not wrap");
    observed_ = now;
  }

  enum class Choice : uint8_t { find, put, put_if_newer, remove, replace_if, find_many, put_many };
  enum class Move : uint8_t { clear, walk, grow, shrink, maintain };

  void act(Choice choice, uint32_t key) {
    HistoryOperation operation{.key = key};
    operation.begin = clock_();
    switch (choice) {
      case Choice::find: find(operation); break;
      case Choice::put: put(operation, false); break;
      case Choice::put_if_newer: put(operation, true); break;
      case Choice::remove: remove(operation); break;
      case Choice::replace_if: replace_if(operation); break;
      case Choice::find_many: find_many(operation); break;
      case Choice::put_many: put_many(operation); break;
    }
    operation.end = clock_();
    log_.push_back(operation);
  }

  // Each worker has a taste of its own, so that some only read and others only insert and remove.
  void draw_tastes() {
    constexpr uint64_t kTypical[] = {8, 5, 1, 3, 2, 1, 2};
    for (size_t i = 0; i < tastes_.size(); ++i)
      if (!random_.one_in(2)) tastes_[i] = random_.one_in(2) ? kTypical[i] : 4;
    if (std::ranges::count(tastes_, 0U) == static_cast<ptrdiff_t>(tastes_.size()))
      std::ranges::copy(kTypical, tastes_.begin());
  }

  Choice draw_choice() {
    uint64_t draw = random_.below(std::accumulate(tastes_.begin(), tastes_.end(), uint64_t{0}));
    size_t kind = 0;
    while (draw >= tastes_[kind])
      draw -= tastes_[kind++];
    return static_cast<Choice>(kind);
  }

  uint32_t draw_key() {
    if (config_.skewed && random_.one_in(2)) return 0;
    return static_cast<uint32_t>(random_.below(config_.keys));
  }

  Location new_location(uint32_t key) {
    const uint64_t number = ++puts_ * History::kThreadsMax + thread_;
    return Location(number << kKeyBits | key);
  }

  // As a caller does who compares the keys of records himself. Where a slot is being used again, a
  // candidate may have another tag than the hash.
  Location candidate_of(uint32_t key) {
    std::array<Location, 256> candidates{};
    const size_t count = index_.candidates(session_, hash(key), candidates);
    for (const Location location :
         std::span(candidates).first(std::min(count, candidates.size()))) {
      const auto other = static_cast<uint32_t>(location.value & ((1U << kKeyBits) - 1));
      CHECK(other < config_.keys, "candidates were put");
      if (other == key) return location;
    }
    return {};
  }

  void find(HistoryOperation& operation) {
    operation.kind = Kind::find;
    const bool compares = config_.compares && log_.size() % 2 == 0;
    const Location found = compares ? candidate_of(operation.key) : find_now(operation.key);
    operation.answer = seen_ = found.value;
  }

  void put(HistoryOperation& operation, bool if_newer) {
    const Location location = new_location(operation.key);
    const KeyHash target = hash(operation.key);
    const LocationOutcome outcome =
        if_newer ? index_.put_if_newer(session_, target, location, same_key(operation.key),
                                       [&](Location old) { return old < location; })
                 : index_.put(session_, target, location, same_key(operation.key));
    CHECK(outcome.ok(), "a put with memory left is done");
    const bool kept = outcome.status == LocationStatus::kept;
    CHECK(if_newer || !kept, "a put keeps nothing");
    CHECK(!if_newer || kept == (outcome.location > location), "put_if_newer keeps what is newer");
    operation.kind = kept ? Kind::find : Kind::put;
    operation.location = kept ? 0 : location.value;
    operation.answer = outcome.location.value;
    seen_ = kept ? outcome.location.value : location.value;
  }

  void remove(HistoryOperation& operation) {
    const LocationOutcome outcome =
        index_.remove(session_, hash(operation.key), same_key(operation.key));
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
    const LocationOutcome outcome = index_.compare_and_replace(session_, hash(operation.key),
                                                               Location(operation.old), location);
    CHECK(outcome.ok(), "compare_and_replace with memory left is done");
    operation.answer = outcome.status == LocationStatus::done ? 1 : 0;
    if (operation.answer != 0) seen_ = location.value;
  }

  // Every key at some moment of the call, as in a walk.
  void find_many(HistoryOperation& operation) {
    std::vector<KeyHash> hashes;
    for (uint32_t key = 0; key < config_.keys; ++key)
      hashes.push_back(hash(key));
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

  // Neighbours, each once; a put of each.
  void put_many(HistoryOperation& operation) {
    std::vector<LocationEntry> entries;
    const auto key_of = [first = operation.key, this](size_t i) {
      return static_cast<uint32_t>((first + i) % config_.keys);
    };
    for (size_t i = 0; i < std::min<size_t>(config_.keys, 4); ++i)
      entries.push_back({.hash = hash(key_of(i)), .location = new_location(key_of(i))});
    std::vector<Location> previous(entries.size());
    const LocationBatchOutcome outcome =
        index_.put_many(session_, entries, previous,
                        [&](size_t i, Location location) { return same_key(key_of(i))(location); });
    CHECK(outcome == LocationBatchOutcome{.completed = entries.size()}, "put_many is done");
    operation.kind = Kind::put_many;
    operation.answer = walks_.size();
    auto& list = walks_.emplace_back(2 * config_.keys);
    for (size_t i = 0; i < entries.size(); ++i) {
      list[key_of(i)] = previous[i].value;
      list[config_.keys + key_of(i)] = entries[i].location.value;
    }
    seen_ = entries.front().location.value;
  }

  void walk(HistoryOperation& operation) {
    operation.kind = Kind::walk;
    operation.answer = walks_.size();
    auto& walk = walks_.emplace_back(config_.keys);
    const uint64_t unused = (uint64_t{1} << (config_.shards ? 34 : 35)) - 1;  // bits of a hash
    index_.for_each(session_, [&](KeyHash found, Location location) {
      const auto key = static_cast<uint32_t>(location.value & ((1U << kKeyBits) - 1));
      CHECK(key < config_.keys, "a walk lists what was put");
      CHECK(found.value == (hash(key).value & ~unused), "with its own hash");
      CHECK(walk[key] == 0, "and no key twice, here or elsewhere");
      walk[key] = location.value;
    });
  }

  Move draw_move() {
    if (config_.drifts) return random_.one_in(2) ? Move::walk : Move::maintain;
    constexpr Move kMoves[] = {Move::clear,  Move::walk,     Move::walk, Move::shrink,
                               Move::shrink, Move::maintain, Move::grow, Move::grow};
    return kMoves[random_.below(std::size(kMoves))];
  }

  void move(Move what) {
    HistoryOperation operation;
    LocationStatus status = LocationStatus::done;
    operation.begin = clock_();
    switch (what) {
      case Move::clear:
        operation.kind = Kind::clear;
        status = index_.clear(session_);
        break;
      case Move::walk: walk(operation); break;
      case Move::grow: status = index_.reserve(session_, uint64_t{8} << random_.below(4)); break;
      case Move::shrink: status = index_.shrink(session_); break;
      case Move::maintain: status = index_.maintain(session_); break;
    }
    CHECK(status == LocationStatus::done, "moving with memory left is done");
    operation.end = clock_();
    if (what == Move::clear || what == Move::walk) log_.push_back(operation);
  }

  Index& index_;
  Session session_;
  std::vector<HistoryOperation>& log_;
  std::vector<std::vector<uint64_t>>& walks_;
  const Config config_;
  const size_t thread_;
  const Clock clock_;
  Random random_;
  std::array<uint64_t, 7> tastes_{};  // how often each Choice is drawn
  uint64_t puts_ = 0;
  uint64_t seen_ = 0;
  LocationIndexStatistics observed_;
};

}  // namespace firn::histories
