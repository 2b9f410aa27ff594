// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex: predicates that throw, or use the index, in the middle of a batch.
#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

// Waiting for oneself is noticed.
struct ImpatientPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static void pause(unsigned turn) { CHECK(turn < 10'000, "a lock stays held for ever"); }
};
using ImpatientIndex = BasicIndexUnderTest<ImpatientPolicy>;
using ImpatientSession = BasicEpochSession<ImpatientPolicy>;

// More than two groups of 128. Every second key is there, three share a hash each.
constexpr size_t kItems = 300;
constexpr uint64_t kVersion = 1000;  // location: version * 1000 + key

KeyHash hash_of_item(size_t key) {
  return KeyHash(mixed(key / 3));
}
auto is_item(size_t key) {
  return [key](Location at) {
    return at.value % kVersion == key ? KeyMatch::same : KeyMatch::different;
  };
}
Location first_location(size_t key) {
  return key % 2 == 0 ? Location(kVersion + key) : Location();
}
Location second_location(size_t key) {
  return Location(2 * kVersion + key);
}

class LocationBatchPredicates : public ::testing::Test {
 protected:
  using Asked = std::function<void(size_t)>;

  LocationBatchPredicates() {
    for (size_t key = 0; key < kItems; ++key) {
      hashes_.push_back(hash_of_item(key));
      entries_.push_back({.hash = hash_of_item(key), .location = second_location(key)});
      if (key % 2 == 0) {
        EXPECT_TRUE(
            index_->put(session_, hash_of_item(key), first_location(key), is_item(key)).ok());
      }
    }
  }

  [[nodiscard]] auto predicate(const Asked& asked) const {
    return [&asked, last = kItems](size_t item, Location at) mutable {
      if (std::exchange(last, item) != item) asked(item);
      return is_item(item)(at);
    };
  }
  // Both run `asked` before they answer about an item for the first time.
  LocationBatchOutcome put_all(const Asked& asked) {
    std::ranges::fill(previous_, Location());
    return index_->put_many(session_, entries_, previous_, predicate(asked));
  }
  LocationBatchOutcome find_all(const Asked& asked) {
    return index_->find_many(session_, hashes_, found_, predicate(asked));
  }
  void expect_stored(size_t key, Location location) {
    ASSERT_EQ(index_->find(session_, hash_of_item(key), is_item(key)).location, location) << key;
  }
  void expect_all(Location (*location)(size_t)) {
    uint64_t present = 0;
    for (size_t key = 0; key < kItems; ++key) {
      expect_stored(key, location(key));
      if (location(key).value != 0) ++present;
    }
    EXPECT_EQ(index_->size(), present);
  }

  ImpatientIndex index_{{.shard_bits = 0}};
  ImpatientSession& session_ = index_.session();
  ImpatientSession other_{index_.domain()};
  std::vector<KeyHash> hashes_;
  std::vector<LocationEntry> entries_;
  std::vector<Location> previous_ = std::vector<Location>(kItems);
  std::vector<Location> found_ = std::vector<Location>(kItems);
};

constexpr std::array<size_t, 8> kStops = {0, 2, 126, 127, 128, 130, 256, 298};

TEST_F(LocationBatchPredicates, GivenAPredicateThatThrows_WhenManyArePut_ThenThoseBeforeItAreDone) {
  struct Thrown {};
  size_t done = 0;
  for (const size_t stop : kStops) {
    size_t stopped = kItems;
    const auto throws = [&](size_t item) {
      if (item < stop) return;
      stopped = item;
      throw Thrown();
    };
    EXPECT_THROW((void)put_all(throws), Thrown);
    EXPECT_FALSE(session_.pinned());
    done = std::max(done, stopped);
    for (size_t key = 0; key < kItems; ++key)
      expect_stored(key, key < done ? second_location(key) : first_location(key));
  }
  EXPECT_EQ(put_all([](size_t) {}), LocationBatchOutcome{.completed = kItems});
  expect_all(second_location);
}

TEST_F(LocationBatchPredicates, GivenAPredicateThatThrows_WhenManyAreFound_ThenTheSessionGoesOn) {
  struct Thrown {};
  for (const size_t stop : kStops) {
    const auto throws = [&](size_t item) {
      if (item >= stop) throw Thrown();
    };
    EXPECT_THROW((void)find_all(throws), Thrown);
    EXPECT_FALSE(session_.pinned());
  }
  expect_all(first_location);
  EXPECT_EQ(find_all([](size_t) {}), LocationBatchOutcome{.completed = kItems});
  for (size_t key = 0; key < kItems; ++key)
    EXPECT_EQ(found_[key], first_location(key)) << key;
  EXPECT_EQ(index_->clear(session_), LocationStatus::done);
}

// With the session of the batch.
TEST_F(LocationBatchPredicates, GivenAPredicateThatChangesTheIndex_WhenInABatch_ThenRefused) {
  uint64_t asked = 0;
  const auto enters = [&](size_t item) {
    ++asked;
    constexpr LocationOutcome kReentered{.status = LocationStatus::reentered};
    const KeyHash hash = hash_of_item(item);
    EXPECT_EQ(index_->put(session_, hash, Location(5), AnyKey{}), kReentered);
    const auto newer = [](Location) { return true; };
    EXPECT_EQ(index_->put_if_newer(session_, hash, Location(5), AnyKey{}, newer), kReentered);
    EXPECT_EQ(index_->put_many(session_, entries_, {}, AnyKey{}),
              LocationBatchOutcome{.status = LocationStatus::reentered});
    EXPECT_EQ(index_->compare_and_replace(session_, hash, Location(1), Location(5)), kReentered);
    EXPECT_EQ(index_->remove(session_, hash, AnyKey{}), kReentered);
    EXPECT_EQ(index_->clear(session_), LocationStatus::reentered);
    EXPECT_EQ(index_->reserve(session_, 100'000), LocationStatus::reentered);
    EXPECT_EQ(index_->shrink(session_), LocationStatus::reentered);
    EXPECT_EQ(index_->maintain(session_), LocationStatus::reentered);
  };
  EXPECT_EQ(find_all(enters), LocationBatchOutcome{.completed = kItems});
  expect_all(first_location);
  EXPECT_EQ(put_all(enters), LocationBatchOutcome{.completed = kItems});
  expect_all(second_location);
  EXPECT_GT(asked, kItems);
}

TEST_F(LocationBatchPredicates, GivenAPredicateThatReads_WhenInABatch_ThenItFindsWhatIsDone) {
  const auto reads = [&](size_t item) {
    std::vector<Location> found(kItems);
    EXPECT_EQ(index_->find_many(session_, hashes_, found,
                                [](size_t key, Location at) { return is_item(key)(at); }),
              LocationBatchOutcome{.completed = kItems});
    for (size_t key = 0; key < kItems; ++key)
      ASSERT_EQ(found[key], key < item ? second_location(key) : first_location(key)) << key;
    uint64_t listed = 0;
    index_->for_each(session_, [&](KeyHash, Location) { ++listed; });
    EXPECT_EQ(listed, index_->size());
  };
  EXPECT_EQ(put_all(reads), LocationBatchOutcome{.completed = kItems});
  expect_all(second_location);
  EXPECT_FALSE(session_.pinned());
}

// With another session all of it is allowed, also what moves the home that is being looked at.
TEST_F(LocationBatchPredicates, GivenChangesOfAnotherSession_WhenInABatch_ThenTheBatchGoesOn) {
  const auto moves = [&](size_t item) {
    switch (item / 2 % 3) {
      case 0: EXPECT_EQ(index_->reserve(other_, 10 * (item + 100)), LocationStatus::done); break;
      case 1: EXPECT_EQ(index_->shrink(other_), LocationStatus::done); break;
      default: EXPECT_EQ(index_->maintain(other_), LocationStatus::done);
    }
  };
  EXPECT_EQ(find_all(moves), LocationBatchOutcome{.completed = kItems});
  for (size_t key = 0; key < kItems; ++key)
    EXPECT_EQ(found_[key], first_location(key)) << key;
  EXPECT_EQ(put_all(moves), LocationBatchOutcome{.completed = kItems});
  for (size_t key = 0; key < kItems; ++key)
    EXPECT_EQ(previous_[key], first_location(key)) << key;
  expect_all(second_location);
}

// What another session puts, removes or clears while an item is compared comes before that item.
TEST_F(LocationBatchPredicates,
       GivenTheSameKeyChangedMeanwhile_WhenManyArePut_ThenItIsThePrevious) {
  const auto meanwhile = [](size_t key) { return Location(3 * kVersion + key); };
  size_t cleared_at = kItems;
  const auto changes = [&](size_t item) {
    if (item % 4 == 0) {
      (void)index_->put(other_, hash_of_item(item), meanwhile(item), is_item(item));
    } else if (item != 202) {
      (void)index_->remove(other_, hash_of_item(item), is_item(item));
    } else if (cleared_at == kItems) {
      cleared_at = item;
      EXPECT_EQ(index_->clear(other_), LocationStatus::done);
    }
  };
  EXPECT_EQ(put_all(changes), LocationBatchOutcome{.completed = kItems});
  ASSERT_EQ(cleared_at, 202U);
  for (size_t key = 0; key < kItems; ++key) {
    if (key < cleared_at && key % 4 == 0) {
      EXPECT_EQ(previous_[key], meanwhile(key)) << key;
    } else if (key <= cleared_at) {
      EXPECT_EQ(previous_[key], Location()) << key;
    }
    expect_stored(key, key < cleared_at ? Location() : second_location(key));
  }
}

}  // namespace
}  // namespace firn
