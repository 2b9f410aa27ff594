// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex: what another thread may do in the windows of an operation, done by one thread from
// inside of a predicate or at a point of the protocol, so that every run is the same.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

const KeyHash kHash(uint64_t{42} << 40);

class LocationRaces : public ::testing::Test {
 protected:
  ~LocationRaces() override { SteeredPolicy::state() = {}; }

  // Runs `other` once, when the operation that follows reaches the point.
  static void at(LocationPoint point, std::function<void()> other) {
    SteeredPolicy::state().at_point = [point, other = std::move(other)](LocationPoint reached) {
      if (reached != point) return;
      other();
      SteeredPolicy::state().at_point = [](LocationPoint) {};
    };
  }
  uint64_t entries() { return index_.entries().size(); }

  SteeredIndex index_{{.shard_bits = 0}};
  BasicEpochSession<SteeredPolicy>& session_ = index_.session();
  BasicEpochSession<SteeredPolicy> other_{index_.domain()};
};

// "a" is updated while "b", whose hash is equal, is being compared with it.
TEST_F(LocationRaces, GivenACollidingInsert_WhenItsNeighbourIsUpdatedMeanwhile_ThenNoUpdateIsLost) {
  (void)index_.put("a", kHash);
  const Location newer = index_.append("a");
  const Location b = index_.append("b");
  const LocationOutcome outcome = index_->put(session_, kHash, b, [&](Location at) {
    (void)index_->put(other_, kHash, newer, index_.is("a"));
    return index_.is("b")(at);
  });
  EXPECT_EQ(outcome, LocationOutcome{});
  EXPECT_EQ(index_.find("a", kHash), newer.value);
  EXPECT_EQ(index_.find("b", kHash), b.value);
  EXPECT_EQ(index_->size(), 2u);
}

TEST_F(LocationRaces, GivenACollidingInsert_WhenItsNeighbourIsRemovedMeanwhile_ThenItStaysRemoved) {
  (void)index_.put("a", kHash);
  const Location b = index_.append("b");
  (void)index_->put(session_, kHash, b, [&](Location at) {
    (void)index_->remove(other_, kHash, index_.is("a"));
    return index_.is("b")(at);
  });
  EXPECT_EQ(index_.find("a", kHash), 0u);
  EXPECT_EQ(index_.find("b", kHash), b.value);
  EXPECT_EQ(index_->size(), 1u);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(LocationRaces, GivenACollidingInsert_WhenTheSameKeyIsPutMeanwhile_ThenThereIsOneOfIt) {
  (void)index_.put("a", kHash);
  const Location first = index_.append("b");
  const Location second = index_.append("b");
  const LocationOutcome outcome = index_->put(session_, kHash, second, [&](Location at) {
    if (index_.find("b", kHash) == 0) (void)index_->put(other_, kHash, first, index_.is("b"));
    return index_.is("b")(at);
  });
  EXPECT_EQ(outcome.location, first);
  EXPECT_EQ(index_.find("b", kHash), second.value);
  EXPECT_EQ(index_->size(), 2u);
  EXPECT_EQ(entries(), 2u);
}

// Both scans find nothing; then the key comes, into a slot in front of the one that was seen free.
TEST_F(LocationRaces, GivenAnInsert_WhenANeighbourGoesAndTheKeyComes_ThenThereIsOneOfIt) {
  (void)index_.put("x", kHash);
  const Location first = index_.append("k");
  const Location second = index_.append("k");
  at(LocationPoint::scanned_absent, [&] {
    (void)index_->remove(other_, kHash, index_.is("x"));
    EXPECT_EQ(index_->put(other_, kHash, first, index_.is("k")), LocationOutcome{});
  });
  EXPECT_EQ(index_->put(session_, kHash, second, index_.is("k")).location, first);
  EXPECT_EQ(index_->size(), 1u);
  EXPECT_EQ(index_.remove("k", kHash).location, second);
  EXPECT_EQ(index_.find("k", kHash), 0u);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(LocationRaces, GivenAReplace_WhenAnotherOneComesFirst_ThenItIsThePreviousOne) {
  (void)index_.put("k", kHash);
  const Location first = index_.append("k");
  const Location second = index_.append("k");
  at(LocationPoint::about_to_replace,
     [&] { (void)index_->put(other_, kHash, first, index_.is("k")); });
  EXPECT_EQ(index_->put(session_, kHash, second, index_.is("k")).location, first);
  EXPECT_EQ(index_->size(), 1u);
}

TEST_F(LocationRaces, GivenARemove_WhenTheKeyIsReplacedFirst_ThenTheNewLocationIsRemoved) {
  (void)index_.put("k", kHash);
  const Location newer = index_.append("k");
  at(LocationPoint::about_to_replace,
     [&] { (void)index_->put(other_, kHash, newer, index_.is("k")); });
  EXPECT_EQ(index_.remove("k", kHash).location, newer);
  EXPECT_EQ(index_->size(), 0u);
}

TEST_F(LocationRaces, GivenACompaction_WhenANewerPutComesFirst_ThenThePutWins) {
  (void)index_.put("k", kHash);
  const Location newer = index_.append("k");
  const Location moved = index_.append("k");
  at(LocationPoint::about_to_replace,
     [&] { (void)index_->put(other_, kHash, newer, index_.is("k")); });
  EXPECT_EQ(index_->compare_and_replace(session_, kHash, Location(1), moved).status,
            LocationStatus::kept);
  EXPECT_EQ(index_.find("k", kHash), newer.value);
}

// Two writers have logged a key at 100 and 200 and come here in either order, the second one at any
// point of the first one's operation.
TEST_F(LocationRaces, GivenRacedWritersOfAKey_WhenPutIfNewer_ThenTheLogsOrderDecides) {
  const auto put = [&](BasicEpochSession<SteeredPolicy>& session, uint64_t location) {
    return index_->put_if_newer(session, kHash, Location(location), AnyKey{},
                                [&](Location existing) { return location > existing.value; });
  };
  for (const LocationPoint point :
       {LocationPoint::pinned, LocationPoint::table_read, LocationPoint::header_read,
        LocationPoint::scanned_absent, LocationPoint::about_to_replace, LocationPoint::unlocked}) {
    for (const uint64_t first : {100u, 200u}) {
      for (const bool present : {false, true}) {
        (void)index_->remove(session_, kHash, AnyKey{});
        if (present) (void)put(session_, 50);
        at(point, [&] { (void)put(other_, 300 - first); });
        (void)put(session_, first);
        SteeredPolicy::state().at_point = nullptr;
        (void)put(other_, 300 - first);  // in case the point was not reached
        EXPECT_EQ(index_->find(session_, kHash, AnyKey{}).location, Location(200));
        EXPECT_EQ(entries(), 1u);
      }
    }
  }
}

// A removal is a record, too: it goes in as a put does, and out when nothing older can come.
TEST_F(LocationRaces, GivenAnInsertRacedByARemoval_WhenOrderedByTheLog_ThenAsAReplayWould) {
  constexpr uint64_t kPut = 100;
  constexpr uint64_t kRemoval = 200;
  const auto put = [&](uint64_t location) {
    (void)index_->put_if_newer(session_, kHash, Location(location), AnyKey{},
                               [&](Location existing) { return location > existing.value; });
  };
  for (const bool removal_first : {false, true}) {
    put(removal_first ? kRemoval : kPut);
    put(removal_first ? kPut : kRemoval);
    EXPECT_EQ(index_->find(session_, kHash, AnyKey{}).location, Location(kRemoval));
    const auto is_removal = [&](Location at) {
      return at.value == kRemoval ? KeyMatch::same : KeyMatch::different;
    };
    EXPECT_EQ(index_->remove(session_, kHash, is_removal).location, Location(kRemoval));
    EXPECT_EQ(index_->size(), 0u);
  }
}

TEST_F(LocationRaces, GivenANeighbourThatCannotBeRead_WhenPut_ThenItStaysAndThePutIsRefused) {
  (void)index_.put("a", kHash);
  const auto unreadable = [](Location) { return KeyMatch::failed; };
  EXPECT_EQ(index_->put(session_, kHash, index_.append("b"), unreadable).status,
            LocationStatus::predicate_failed);
  EXPECT_EQ(index_.find("a", kHash), 1u);
  EXPECT_EQ(index_.remove("b", kHash), LocationOutcome{});
  EXPECT_EQ(index_.find("a", kHash), 1u);
  EXPECT_EQ(index_->size(), 1u);
}

// The verdict on a record holds for the whole operation, however often it starts again.
TEST_F(LocationRaces, GivenAnInsertThatStartsAgain_WhenItMeetsTheSameRecord_ThenItIsReadOnce) {
  (void)index_.put("a", kHash);
  (void)index_.put("b", kHash);
  std::vector<uint64_t> read;
  const Location at_c = index_.append("c");
  const Location at_d = index_.append("d");
  at(LocationPoint::scanned_absent,
     [&] { (void)index_->put(other_, kHash, at_d, index_.is("d")); });
  (void)index_->put(session_, kHash, at_c, [&](Location at) {
    read.push_back(at.value);
    return index_.is("c")(at);
  });
  EXPECT_THAT(read, ::testing::UnorderedElementsAre(1, 2, at_d.value));
}

// The last home has moved, but the new table is not the shard's yet when inserts beside their homes
// come to an eighth of it.
TEST_F(LocationRaces, GivenAGrowthThatIsNotPublished_WhenTheNewTableDrifts_ThenItIsRebuiltLater) {
  constexpr uint64_t kOf64Buckets = 353;
  constexpr uint64_t kDrifted = 64 * 7 / 8;
  const std::string keys = "abcdefgh";  // one more than their home holds
  for (const char key : keys)
    (void)index_.put(std::string(1, key), kHash);
  const auto move_beside = [&] {
    const Location again = index_.append("h");
    EXPECT_TRUE(index_->remove(other_, kHash, index_.is("h")).location.value != 0);
    EXPECT_EQ(index_->put(other_, kHash, again, index_.is("h")), LocationOutcome{});
  };
  uint64_t moved = 0;
  at(LocationPoint::about_to_publish_table, [&] {
    for (; moved < kDrifted; ++moved)
      move_beside();
  });
  EXPECT_EQ(index_->reserve(session_, kOf64Buckets), LocationStatus::done);
  EXPECT_EQ(moved, kDrifted);
  EXPECT_EQ(index_->statistics(session_).rebuilds, 0u);

  move_beside();

  EXPECT_EQ(index_->statistics(session_).rebuilds, 1u);
  EXPECT_EQ(index_->maintain(session_), LocationStatus::done);
  EXPECT_EQ(entries(), keys.size());
  for (const char key : keys)
    EXPECT_NE(index_.find(std::string(1, key), kHash), 0u) << key;
}

}  // namespace
}  // namespace firn
