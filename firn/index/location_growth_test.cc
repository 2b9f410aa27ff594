// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex: growth, iteration across it, memory that is refused, and sessions that stay.
#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/units.h"
#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

// Hashes that need every part of the machinery: half are random, and more are equal than a chain
// has room for, so that moving them needs memory, too.
KeyHash crowded_hash(uint64_t key) {
  if (key % 2 == 0) return KeyHash(0x5555555555555555);
  return KeyHash(mixed(key));
}

class LocationGrowth : public ::testing::Test {
 protected:
  ~LocationGrowth() override { SteeredPolicy::state() = {}; }
};

// The steps of sizes are roots of two, rounded to whole blocks, which tells less in large tables.
TEST(LocationSizes, WhenATableGrows_ThenByHalfOfADoublingAndTheFourPhasesNeverMeet) {
  std::set<unsigned> met;
  for (unsigned phase = 0; phase < index::kPhases; ++phase) {
    unsigned size_class = index::kClassOf256 + phase;
    for (; size_class + index::kGrowthStep < index::kSizeClasses;
         size_class += index::kGrowthStep) {
      EXPECT_TRUE(met.insert(size_class).second);
      const unsigned larger = index::larger_class(size_class, phase);
      const double factor = static_cast<double>(index::kBucketCounts[larger]) /
                            static_cast<double>(index::kBucketCounts[size_class]);
      const double rounding = index::kBucketCounts[size_class] < 16 * index::kBlock ? 0.12 : 0.06;
      EXPECT_NEAR(factor, 1.4142, rounding) << index::kBucketCounts[size_class] << " buckets";
    }
  }
}

TEST_F(LocationGrowth, GivenAWalk_WhenTheIndexGrowsMeanwhile_ThenWhatWasThereIsVisitedOnce) {
  const auto other_key = [](Location) { return KeyMatch::different; };
  for (const unsigned shard_bits : {0u, 3u, 8u}) {
    IndexUnderTest index({.shard_bits = shard_bits});
    auto& session = index.session();
    constexpr uint64_t kBefore = 20'000;
    for (uint64_t i = 0; i < kBefore; ++i)
      (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), other_key);
    std::multiset<uint64_t> visited;
    uint64_t next = kBefore;
    index->for_each(session, [&](KeyHash, Location at) {
      if (at.value > kBefore) return;
      visited.insert(at.value);
      for (int i = 0; i < 5; ++i, ++next)
        (void)index->put(session, KeyHash(mixed(next)), Location(next + 1), other_key);
    });
    EXPECT_EQ(visited.size(), kBefore);
    EXPECT_EQ(std::set<uint64_t>(visited.begin(), visited.end()).size(), kBefore);
    EXPECT_EQ(index->size(), next);
  }
}

// What the tables refuse is reported, changes nothing, and everything works when there is memory
// again.
class LocationMemory : public LocationGrowth {
 protected:
  void run(SteeredIndex& index) {
    auto& session = index.session();
    for (uint64_t step = 0; step < kSteps; ++step) {
      const uint64_t key = step % kKeys;
      const uint64_t at = step + 1;
      const auto is = [&](Location location) {
        return (location.value - 1) % kKeys == key ? KeyMatch::same : KeyMatch::different;
      };
      const bool removes = step % 7 == 3;
      const LocationOutcome outcome =
          removes ? index->remove(session, crowded_hash(key), is)
                  : index->put(session, crowded_hash(key), Location(at), is);
      const uint64_t expected = model_.contains(key) ? model_[key] : 0;
      if (outcome.status == LocationStatus::no_memory) {
        ++refused_;
      } else {
        ASSERT_EQ(outcome.status, LocationStatus::done);
        ASSERT_EQ(outcome.location.value, expected) << "step " << step;
        if (removes)
          model_.erase(key);
        else
          model_[key] = at;
      }
      const uint64_t found = index->find(session, crowded_hash(key), is).location.value;
      ASSERT_EQ(found, model_.contains(key) ? model_[key] : 0) << "step " << step;
    }
  }

  void expect_model(SteeredIndex& index) {
    std::set<uint64_t> expected;
    for (const auto& [key, at] : model_)
      expected.insert(at);
    std::set<uint64_t> found;
    for (const auto& [at, hash] : index.entries())
      found.insert(at);
    EXPECT_EQ(found, expected);
    EXPECT_EQ(index->size(), model_.size());
  }

  static constexpr uint64_t kKeys = 900;
  static constexpr uint64_t kSteps = 2 * kKeys;
  std::unordered_map<uint64_t, uint64_t> model_;
  uint64_t refused_ = 0;
};

TEST_F(LocationMemory, GivenAnyOneAllocationRefused_WhenUsed_ThenNothingIsLost) {
  auto& state = SteeredPolicy::state();
  for (uint64_t refused = 1;; ++refused) {
    state = {};
    model_.clear();
    SteeredIndex index({.shard_bits = 0});
    state.allocation_refused = refused;
    run(index);
    expect_model(index);
    if (HasFatalFailure() || state.allocations <= refused) break;
  }
  EXPECT_GT(state.allocations, 10u);
}

TEST_F(LocationMemory, GivenMemoryThatRunsOut_WhenItComesBack_ThenEverythingWorksAgain) {
  auto& state = SteeredPolicy::state();
  uint64_t refused_in_all = 0;
  for (uint64_t allowed = 1; allowed < 60; allowed += 1 + allowed / 12) {
    state = {};
    model_.clear();
    refused_ = 0;
    SteeredIndex index({.shard_bits = 0});
    state.allocations_allowed = allowed;
    run(index);
    expect_model(index);
    refused_in_all += refused_;
    state.allocations_allowed = UINT64_MAX;
    refused_ = 0;
    run(index);
    EXPECT_EQ(refused_, 0u);
    expect_model(index);
    EXPECT_EQ(index->maintain(index.session()), LocationStatus::done);
    expect_model(index);
    if (HasFatalFailure()) break;
  }
  EXPECT_GT(refused_in_all, 0u);
}

TEST_F(LocationMemory, GivenNoMemory_WhenReservedShrunkOrCleared_ThenItSaysSoAndAllIsStillThere) {
  auto& state = SteeredPolicy::state();
  SteeredIndex index({.shard_bits = 0});
  run(index);
  state.allocations_allowed = 0;
  auto& session = index.session();
  EXPECT_EQ(index->reserve(session, 1'000'000), LocationStatus::no_memory);
  EXPECT_EQ(index->clear(session), LocationStatus::no_memory);
  expect_model(index);
  state.allocations_allowed = UINT64_MAX;
  EXPECT_EQ(index->reserve(session, 1'000'000), LocationStatus::done);
  state.allocations_allowed = 0;
  EXPECT_EQ(index->shrink(session), LocationStatus::no_memory);
  expect_model(index);
  state.allocations_allowed = UINT64_MAX;
  EXPECT_EQ(index->shrink(session), LocationStatus::done);
  expect_model(index);
}

// A clear that began and then lacked memory would drop what it was refused to drop, later.
TEST_F(LocationMemory, GivenAClearThatIsRefused_WhenMemoryIsBack_ThenNothingVanishes) {
  auto& state = SteeredPolicy::state();
  bool refused = true;
  for (uint64_t allowed = 0; refused && !HasFatalFailure(); ++allowed) {
    state = {};
    model_.clear();
    SteeredIndex index({.shard_bits = 0});
    run(index);
    state.allocations_allowed = state.allocations + allowed;
    refused = index->clear(index.session()) == LocationStatus::no_memory;
    state.allocations_allowed = UINT64_MAX;
    if (!refused) model_.clear();
    for (int help = 0; help < 2; ++help) {
      run(index);
      expect_model(index);
    }
    EXPECT_TRUE(!refused || allowed < 100);
  }
}

TEST_F(LocationGrowth, GivenALimitOfMemory_WhenFilled_ThenRefusedWithinTheLimit) {
  IndexUnderTest index({.memory_bytes_max = 4 * kMiB});
  auto& session = index.session();
  uint64_t stored = 0;
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    const auto outcome = index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
    if (outcome.status == LocationStatus::no_memory) break;
    ++stored;
  }
  EXPECT_GT(stored, 150'000u);
  EXPECT_LT(stored, 600'000u);
  EXPECT_LE(index->statistics(session).bytes_resident, 4 * kMiB);
  for (uint64_t i = 0; i < stored; ++i)
    ASSERT_EQ(index->find(session, KeyHash(mixed(i)), AnyKey{}).location.value, i + 1);
}

TEST_F(LocationGrowth, GivenReservedRoom_WhenFilledUpToIt_ThenNothingGrows) {
  IndexUnderTest index;
  auto& session = index.session();
  constexpr uint64_t kEntries = 100'000;
  EXPECT_EQ(index->reserve(session, kEntries), LocationStatus::done);
  const uint64_t growths = index->statistics(session).growths;
  for (uint64_t i = 0; i < kEntries; ++i)
    (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
  EXPECT_EQ(index->statistics(session).growths, growths);
}

TEST_F(LocationGrowth, GivenAMostlyEmptiedIndex_WhenShrunk_ThenMemoryComesBack) {
  IndexUnderTest index;
  auto& session = index.session();
  constexpr uint64_t kEntries = 300'000;
  for (uint64_t i = 0; i < kEntries; ++i)
    (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
  const uint64_t full = index->statistics(session).bytes_live;
  for (uint64_t i = 1000; i < kEntries; ++i)
    (void)index->remove(session, KeyHash(mixed(i)), AnyKey{});
  EXPECT_EQ(index->shrink(session), LocationStatus::done);
  const LocationIndexStatistics statistics = index->statistics(session);
  EXPECT_EQ(statistics.entries, 1000u);
  EXPECT_LT(statistics.bytes_live, full / 8);
  EXPECT_LT(statistics.bytes_free, full / 2);
  for (uint64_t i = 0; i < 2000; ++i)
    EXPECT_EQ(index->find(session, KeyHash(mixed(i)), AnyKey{}).found(), i < 1000);
}

// Removing and inserting makes lookups longer, until the shard is rebuilt.
TEST_F(LocationGrowth, GivenAPopulationThatTurnsOver_WhenLookedUp_ThenFewLinesAreRead) {
  IndexUnderTest index({.shard_bits = 2});
  auto& session = index.session();
  constexpr uint64_t kEntries = 20'000;
  for (uint64_t i = 0; i < kEntries * 8; ++i) {
    (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
    if (i >= kEntries) (void)index->remove(session, KeyHash(mixed(i - kEntries)), AnyKey{});
  }
  EXPECT_EQ(index->size(), kEntries);
  EXPECT_GT(index->statistics(session).rebuilds, 0u);
  EXPECT_LT(index->probe_statistics(session).average_lines, 1.5);
}

TEST_F(LocationGrowth, GivenASessionThatStaysPinned_WhenTheIndexWorks_ThenItIsSeenAndBounded) {
  IndexUnderTest index;
  auto& session = index.session();
  EpochSession forgotten(index.domain());
  forgotten.pin();
  constexpr uint64_t kEntries = 400'000;
  bool stalled = false;
  for (int round = 0; round < 6 && !stalled; ++round) {
    for (uint64_t i = 0; i < kEntries; ++i)
      (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
    stalled = index->clear(session) == LocationStatus::stalled;
  }
  EXPECT_TRUE(stalled);
  LocationIndexStatistics statistics = index->statistics(session);
  EXPECT_EQ(statistics.sessions, 2u);
  EXPECT_GE(statistics.sessions_pinned, 1u);
  EXPECT_GT(statistics.oldest_pin_epochs, 256u);
  EXPECT_GT(statistics.bytes_retired, 4 * kMiB);
  EXPECT_LT(statistics.bytes(), 64 * kMiB);
  forgotten.unpin();
  EXPECT_EQ(index->clear(session), LocationStatus::done);
  EXPECT_EQ(index->maintain(session), LocationStatus::done);
  statistics = index->statistics(session);
  EXPECT_EQ(statistics.bytes_retired, 0u);
  EXPECT_EQ(statistics.entries, 0u);
}

TEST_F(LocationGrowth, GivenAReaderInsideOfATable_WhenItIsReplacedTwice_ThenTheReaderFinishes) {
  SteeredIndex index({.shard_bits = 0});
  auto& session = index.session();
  BasicEpochSession<SteeredPolicy> other(index.domain());
  for (uint64_t i = 0; i < 100; ++i)
    (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
  for (const LocationPoint point :
       {LocationPoint::table_read, LocationPoint::header_read, LocationPoint::slot_read}) {
    SteeredPolicy::state().at_point = [&](LocationPoint reached) {
      if (reached != point) return;
      for (const uint64_t room : {5'000u, 20'000u})
        EXPECT_EQ(index->reserve(other, room), LocationStatus::done);
      EXPECT_EQ(index->shrink(other), LocationStatus::done);
      SteeredPolicy::state().at_point = [](LocationPoint) {};
    };
    EXPECT_EQ(index->find(session, KeyHash(mixed(7)), AnyKey{}).location, Location(8));
    SteeredPolicy::state().at_point = nullptr;
  }
  EXPECT_EQ(index->maintain(session), LocationStatus::done);
  EXPECT_EQ(index->statistics(session).bytes_retired, 0u);
}

// The old table still has the entries that have moved, as they were then.
TEST_F(LocationGrowth, GivenAMoveUnderWay_WhenCandidatesAreAsked_ThenThoseOfTheNewTable) {
  IndexUnderTest index({.shard_bits = 0});
  auto& session = index.session();
  uint64_t keys = 0;
  const auto put = [&](uint64_t key, uint64_t at) {
    ASSERT_TRUE(index->put(session, KeyHash(mixed(key)), Location(at), AnyKey{}).ok());
  };
  for (; keys < 10'000 || index->statistics(session).shards_growing == 0; ++keys)
    put(keys, keys + 1);
  for (uint64_t key = 0; key < 20; ++key) {
    put(key, keys + key + 1);
    std::array<Location, 2> found{};
    EXPECT_EQ(index->candidates(session, KeyHash(mixed(key)), found), 1u);
    EXPECT_EQ(found[0], Location(keys + key + 1));
  }
  EXPECT_EQ(index->statistics(session).shards_growing, 1u);
}

// The table that a reader knows has moved to one that is moving itself: most entries are in that
// one.
TEST_F(LocationGrowth, GivenAReaderTwoTablesBehind_WhenItGoesOn_ThenItFollowsTheChainOfTables) {
  constexpr uint64_t kBefore = 100;
  constexpr uint64_t kRoom = 2000;
  for (uint64_t key = 0; key < kBefore; key += 5) {
    SteeredIndex index({.shard_bits = 0});
    BasicEpochSession<SteeredPolicy> other(index.domain());
    const auto put = [&](uint64_t i) {
      (void)index->put(other, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
    };
    for (uint64_t i = 0; i < kBefore; ++i)
      put(i);
    SteeredPolicy::state().at_point = [&](LocationPoint reached) {
      if (reached != LocationPoint::table_read) return;
      EXPECT_EQ(index->reserve(other, kRoom), LocationStatus::done);
      for (uint64_t i = kBefore; i < kRoom || index->statistics(other).shards_growing == 0; ++i)
        put(i);
      SteeredPolicy::state().at_point = [](LocationPoint) {};
    };
    EXPECT_EQ(index->find(index.session(), KeyHash(mixed(key)), AnyKey{}).location.value, key + 1);
    SteeredPolicy::state().at_point = nullptr;
  }
}

}  // namespace
}  // namespace firn
