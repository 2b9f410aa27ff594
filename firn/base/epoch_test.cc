// SPDX-License-Identifier: Apache-2.0
#include "firn/base/epoch.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/epoch_templates.h"
#include "testkit/epochs.h"

namespace firn {
namespace {

using EpochDomain = BasicEpochDomain<EpochPolicy>;
using EpochSession = BasicEpochSession<EpochPolicy>;
using EpochPin = BasicEpochPin<EpochPolicy>;

using Retirable = testkit::CountedRetired<int>;

TEST(Epoch, GivenNoPin_WhenCollected_ThenReclaimedOnce) {
  EpochDomain domain;
  int reclaimed = 0;
  Retirable object(reclaimed);
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
  Retirable object(reclaimed);
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
  Retirable object(reclaimed);
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
  Retirable a(first);
  Retirable b(second);
  Retirable c(first);
  const EpochPin pin(session);
  for (Retirable* object : {&a, &b, &c})
    domain.retire(*object);
  domain.drain(&first);
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 0);
  EXPECT_EQ(domain.bytes_retired(), 100u);
  domain.drain(&second);
  EXPECT_EQ(second, 1);
}

TEST(Epoch, GivenSessionsThatComeAndGo_WhenRetirable_ThenRecordsAreUsedAgain) {
  EpochDomain domain;
  for (int i = 0; i < 1000; ++i) {
    const EpochSession one(domain);
    const EpochSession two(domain);
    EXPECT_EQ(domain.statistics().sessions, 2u);
  }
  EXPECT_EQ(domain.statistics().sessions, 0u);
}

template <class Policy>
class EpochConcurrent : public testing::Test {};
using PinPolicies = testing::Types<EpochPolicy, testkit::PinsInOrder<EpochPolicy>>;
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

}  // namespace
}  // namespace firn
