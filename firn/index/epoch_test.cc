// SPDX-License-Identifier: Apache-2.0
#include "firn/index/epoch.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/index/location_index_internals.h"

namespace firn {
namespace {

struct Counted : EpochRetired {
  explicit Counted(int& count) {
    bytes = 100;
    owner = &count;
    reclaim = [](EpochRetired*, void* counter) { ++*static_cast<int*>(counter); };
  }
};

TEST(Epoch, GivenNoPin_WhenCollected_ThenReclaimedOnce) {
  EpochDomain domain;
  int reclaimed = 0;
  Counted object(reclaimed);
  domain.retire(object);
  EXPECT_EQ(domain.bytes_retired(), 100u);
  domain.collect();
  domain.collect();
  EXPECT_EQ(reclaimed, 1);
  EXPECT_EQ(domain.bytes_retired(), 0u);
}

TEST(Epoch, GivenAPinFromBefore_WhenCollected_ThenItWaitsForThatPinOnly) {
  EpochDomain domain;
  EpochSession before(domain);
  EpochSession after(domain);
  int reclaimed = 0;
  Counted object(reclaimed);
  before.pin();
  domain.retire(object);
  const EpochPin pin(after);
  domain.collect();
  EXPECT_EQ(reclaimed, 0);
  EXPECT_EQ(domain.statistics().oldest_pin_epochs, 1u);
  EXPECT_EQ(domain.statistics().sessions_pinned, 2u);
  before.unpin();
  domain.collect();
  EXPECT_EQ(reclaimed, 1);
}

TEST(Epoch, GivenNestedPins_WhenTheInnerOneEnds_ThenTheOuterOneHolds) {
  EpochDomain domain;
  EpochSession session(domain);
  int reclaimed = 0;
  Counted object(reclaimed);
  session.pin();
  {
    const EpochPin inner(session);
  }
  domain.retire(object);
  domain.collect();
  EXPECT_EQ(reclaimed, 0);
  session.unpin();
  domain.collect();
  EXPECT_EQ(reclaimed, 1);
}

TEST(Epoch, GivenTwoOwners_WhenOneDrains_ThenOnlyItsOwnAreReclaimed) {
  EpochDomain domain;
  EpochSession session(domain);
  int first = 0;
  int second = 0;
  Counted a(first);
  Counted b(second);
  Counted c(first);
  const EpochPin pin(session);
  for (Counted* object : {&a, &b, &c})
    domain.retire(*object);
  domain.drain(&first);
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 0);
  EXPECT_EQ(domain.bytes_retired(), 100u);
  domain.drain(&second);
  EXPECT_EQ(second, 1);
}

TEST(Epoch, GivenSessionsThatComeAndGo_WhenCounted_ThenRecordsAreUsedAgain) {
  EpochDomain domain;
  for (int i = 0; i < 1000; ++i) {
    const EpochSession one(domain);
    const EpochSession two(domain);
    EXPECT_EQ(domain.statistics().sessions, 2u);
  }
  EXPECT_EQ(domain.statistics().sessions, 0u);
}

// Where the system has no barrier for all threads.
struct PinsInOrder : LocationPolicy {
  static void announce(Word& word, uint64_t value) { announce_in_order(word, value); }
  static void order_announcements() {}
};

template <class Policy>
class EpochConcurrent : public testing::Test {};
using PinPolicies = testing::Types<LocationPolicy, PinsInOrder>;
TYPED_TEST_SUITE(EpochConcurrent, PinPolicies);

// What a reader has reached through the pointer while pinned stays valid.
TYPED_TEST(EpochConcurrent, GivenReaders_WhenObjectsAreReplaced_ThenNobodySeesAReclaimedOne) {
  struct Object : EpochRetired {
    std::atomic<uint64_t> alive{1};
  };
  BasicEpochDomain<TypeParam> domain;
  std::vector<std::unique_ptr<Object>> objects;
  for (int i = 0; i < 20'000; ++i)
    objects.push_back(std::make_unique<Object>());
  std::atomic<Object*> current{objects.front().get()};
  std::atomic<bool> done{false};
  const auto read = [&] {
    BasicEpochSession<TypeParam> session(domain);
    while (!done.load(std::memory_order_relaxed)) {
      const BasicEpochPin<TypeParam> pin(session);
      Object* const object = current.load();
      for (int i = 0; i < 10; ++i)
        ASSERT_EQ(object->alive.load(std::memory_order_relaxed), 1u);
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (size_t i = 1; i < objects.size(); ++i) {
    Object* const old = current.exchange(objects[i].get());
    old->reclaim = [](EpochRetired* retired, void*) {
      static_cast<Object*>(retired)->alive.store(0, std::memory_order_relaxed);
    };
    domain.retire(*old);
    if (i % 16 == 0) domain.collect();
  }
  done.store(true);
  first.join();
  second.join();
  domain.collect();
  EXPECT_EQ(domain.bytes_retired(), 0u);
}

// The tables of an index are poisoned when they are reclaimed, and zeroed when they are used again.
TYPED_TEST(EpochConcurrent,
           GivenReadersOfAnIndex_WhenItsTablesAreReplaced_ThenTheyFindWhatIsThere) {
  constexpr uint64_t kKeys = 40;
  constexpr int kRounds = 1000;
  const auto hash = [](uint64_t key) { return KeyHash(key * 0x9E3779B97F4A7C15); };
  BasicEpochDomain<TypeParam> domain;
  const auto index = std::move(*BasicLocationIndex<TypeParam>::open(domain, {.shard_bits = 0}));
  BasicEpochSession<TypeParam> session(domain);
  for (uint64_t key = 1; key <= kKeys; ++key)
    ASSERT_TRUE(index->put(session, hash(key), Location(key), AnyKey{}).ok());
  std::atomic<bool> done{false};
  std::atomic<uint64_t> reads{0};
  const auto read = [&] {
    BasicEpochSession<TypeParam> own(domain);
    for (uint64_t key = 1; !done.load(std::memory_order_relaxed); key = key % kKeys + 1, ++reads)
      ASSERT_EQ(index->find(own, hash(key), AnyKey{}).location, Location(key));
  };
  std::thread first(read);
  std::thread second(read);
  for (int round = 0; round < kRounds || reads < 1000; ++round) {
    EXPECT_EQ(index->reserve(session, 400), LocationStatus::done);
    EXPECT_EQ(index->shrink(session), LocationStatus::done);
  }
  done.store(true);
  first.join();
  second.join();
  EXPECT_EQ(index->maintain(session), LocationStatus::done);
  EXPECT_EQ(index->statistics(session).bytes_retired, 0u);
  EXPECT_GE(index->statistics(session).rebuilds, uint64_t{kRounds});
}

}  // namespace
}  // namespace firn
