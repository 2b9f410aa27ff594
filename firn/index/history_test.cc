// SPDX-License-Identifier: Apache-2.0
//
// The check of histories itself: it accepts what some order explains, and nothing else.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/index/history_test_support.h"

namespace firn {
namespace {

using Kind = HistoryOperation::Kind;

// A history of two threads and two keys, 1 and 2 are locations of key 0 unless said.
History of(std::vector<HistoryOperation> first, std::vector<HistoryOperation> second = {}) {
  History history(2, 2);
  history.thread(0) = std::move(first);
  history.thread(1) = std::move(second);
  return history;
}

HistoryOperation find(uint64_t begin, uint64_t end, uint64_t answer, uint32_t key = 0) {
  return {.begin = begin, .end = end, .kind = Kind::find, .key = key, .answer = answer};
}
HistoryOperation put(uint64_t begin, uint64_t end, uint64_t location, uint64_t answer,
                     uint32_t key = 0) {
  return {.begin = begin,
          .end = end,
          .kind = Kind::put,
          .key = key,
          .location = location,
          .answer = answer};
}
HistoryOperation remove(uint64_t begin, uint64_t end, uint64_t answer) {
  return {.begin = begin, .end = end, .kind = Kind::remove, .answer = answer};
}
HistoryOperation replace_if(uint64_t begin, uint64_t end, uint64_t old, uint64_t location,
                            uint64_t answer) {
  return {.begin = begin,
          .end = end,
          .kind = Kind::replace_if,
          .old = old,
          .location = location,
          .answer = answer};
}
HistoryOperation of_store(Kind kind, uint64_t begin, uint64_t end, uint64_t location,
                          uint64_t answer = 0) {
  return {.begin = begin, .end = end, .kind = kind, .location = location, .answer = answer};
}
HistoryOperation clear(uint64_t begin, uint64_t end) {
  return {.begin = begin, .end = end, .kind = Kind::clear};
}

TEST(HistoryTest, GivenPutsOfStores_WhenOneIsNotSeen_ThenNotLinearizable) {
  const auto set = of_store(Kind::set, 1, 2, 7);
  EXPECT_EQ(of({set, find(3, 4, 7)}).violation({7, 0}), std::nullopt);
  EXPECT_NE(of({set, find(3, 4, 0)}).violation(), std::nullopt);
  EXPECT_NE(of({set}).violation({0, 0}), std::nullopt);
  // Once only: whoever is told that it was there must find that.
  const auto added = of_store(Kind::add, 1, 4, 7, 1);
  EXPECT_EQ(of({added}, {of_store(Kind::add, 2, 5, 8, 0)}).violation({7, 0}), std::nullopt);
  EXPECT_NE(of({added}, {of_store(Kind::add, 2, 5, 8, 1)}).violation(), std::nullopt);
  EXPECT_NE(of({of_store(Kind::add, 1, 2, 7, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAPrune_WhenItsKeysAreFoundOrOthersLost_ThenNotLinearizable) {
  const auto set = of_store(Kind::set, 1, 2, 7);
  const auto prune_first = of_store(Kind::prune, 3, 4, 1);
  EXPECT_EQ(
      of({set, prune_first, of_store(Kind::seek, 5, 6, 0)}).violation({HistoryOperation::kGone, 0}),
      std::nullopt);
  EXPECT_NE(of({set, prune_first, of_store(Kind::seek, 5, 6, 0, 7)}).violation(), std::nullopt);
  EXPECT_NE(of({set, of_store(Kind::prune, 3, 4, 0), of_store(Kind::seek, 5, 6, 0)}).violation(),
            std::nullopt);
}

TEST(HistoryTest, GivenOneThread_WhenAnswersFollowItsOrder_ThenLinearizable) {
  const History history = of({put(1, 2, 1, 0), find(3, 4, 1), replace_if(5, 6, 1, 2, 1),
                              replace_if(7, 8, 1, 3, 0), remove(9, 10, 2), find(11, 12, 0)});
  EXPECT_EQ(history.violation({0, 0}), std::nullopt);
}

TEST(HistoryTest, GivenAReadBesideAPut_WhenItSeesOldOrNew_ThenLinearizable) {
  EXPECT_EQ(of({put(1, 9, 1, 0)}, {find(2, 3, 0), find(4, 5, 1)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAReadBesideAPut_WhenNewThenOld_ThenViolation) {
  EXPECT_NE(of({put(1, 9, 1, 0)}, {find(2, 3, 1), find(4, 5, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAFinishedPut_WhenARaceMissesIt_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0)}, {find(3, 4, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenALocationFromNowhere_WhenFound_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0), find(3, 4, 7)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenTwoInsertsOfOneKey_WhenBothFindNothing_ThenViolation) {
  EXPECT_NE(of({put(1, 9, 1, 0)}, {put(2, 8, 2, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenTwoInsertsOfOneKey_WhenOneReplacesTheOther_ThenLinearizable) {
  EXPECT_EQ(of({put(1, 9, 1, 2)}, {put(2, 8, 2, 0)}).violation({1, 0}), std::nullopt);
}

TEST(HistoryTest, GivenTwoReplacements_WhenBothAnswerTheSamePrevious_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0), put(3, 9, 2, 1)}, {put(4, 8, 3, 1)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenARemovedKey_WhenItsOlderLocationReturns_ThenViolation) {
  const History history = of({put(1, 2, 1, 0), put(3, 4, 2, 1), remove(5, 6, 2)}, {find(7, 8, 1)});
  EXPECT_NE(history.violation(), std::nullopt);
}

TEST(HistoryTest, GivenARemoveThatAnswers_WhenAnotherAnswersTheSame_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0), remove(3, 9, 1)}, {remove(4, 8, 1)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenCompactionBesideAPut_WhenItWinsAgainstTheNewer_ThenViolation) {
  const History history =
      of({put(1, 2, 1, 0), replace_if(3, 12, 1, 2, 1)}, {put(4, 5, 3, 1), find(13, 14, 3)});
  EXPECT_NE(history.violation(), std::nullopt);
}

TEST(HistoryTest, GivenCompactionThatFailed_WhenNobodyChangedTheKey_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0), replace_if(3, 4, 1, 2, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAClear_WhenKeysVanishAtDifferentMoments_ThenLinearizable) {
  const History history = of({put(1, 2, 1, 0), put(3, 4, 2, 0, 1), clear(5, 20)},
                             {find(6, 7, 0), find(8, 9, 2, 1), find(10, 11, 0, 1)});
  EXPECT_EQ(history.violation({0, 0}), std::nullopt);
}

TEST(HistoryTest, GivenAClearThatEnded_WhenAKeyIsStillThere_ThenViolation) {
  EXPECT_NE(of({put(1, 2, 1, 0), clear(3, 4)}, {find(5, 6, 1)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAWalk_WhenItListsWhatWasReplacedBefore_ThenViolation) {
  History history = of({put(1, 2, 1, 0), put(3, 4, 2, 1)},
                       {{.begin = 5, .end = 9, .kind = Kind::walk, .answer = 0}});
  history.walks(1) = {{2, 0}};
  EXPECT_EQ(history.violation(), std::nullopt);
  history.walks(1) = {{1, 0}};
  EXPECT_NE(history.violation(), std::nullopt);
  history.walks(1) = {{0, 0}};
  EXPECT_NE(history.violation(), std::nullopt);
}

TEST(HistoryTest, GivenABatchOfPuts_WhenOneItemAnswersWrongly_ThenViolation) {
  History history = of({put(1, 2, 1, 0), {.begin = 3, .end = 9, .kind = Kind::put_many}},
                       {find(5, 6, 2), find(10, 11, 3, 1)});
  history.walks(0) = {{1, 0, 2, 3}};
  EXPECT_EQ(history.violation({2, 3}), std::nullopt);
  history.walks(0) = {{0, 0, 2, 3}};
  EXPECT_NE(history.violation(), std::nullopt);
  history.walks(0) = {{1, 1, 2, 3}};
  EXPECT_NE(history.violation(), std::nullopt);
  history.walks(0) = {{1, 0, 2, 0}};  // without the other key, whose location comes from nowhere
  EXPECT_NE(history.violation(), std::nullopt);
}

TEST(HistoryTest, GivenTwoKeys_WhenEachThreadMissesTheOthersPut_ThenViolation) {
  const History history =
      of({put(1, 2, 1, 0, 0), find(3, 4, 0, 1)}, {put(1, 2, 2, 0, 1), find(3, 4, 0, 0)});
  EXPECT_NE(history.violation(), std::nullopt);
}

TEST(HistoryTest, GivenEqualTimes_WhenEitherOrderExplains_ThenLinearizable) {
  EXPECT_EQ(of({put(1, 2, 1, 0)}, {find(2, 3, 0)}).violation(), std::nullopt);
}

TEST(HistoryTest, GivenAnInitialLocation_WhenTheEndDiffers_ThenViolation) {
  History history = of({find(1, 2, 5)});
  history.initial() = {5, 0};
  EXPECT_EQ(history.violation({5, 0}), std::nullopt);
  EXPECT_NE(history.violation({0, 0}), std::nullopt);
}

// A correct map, driven one operation at a time at a moment inside of each interval.
class RandomHistory {
 public:
  explicit RandomHistory(uint64_t seed) : random_(seed) {}

  History make(size_t operations) {
    History history(4, 2);
    std::array<uint64_t, 4> free{};
    uint64_t now = 1;
    for (size_t i = 0; i < operations; ++i) {
      now += 1 + random_.below(3);
      const size_t thread = random_.below(4);
      // The operation takes effect now; its interval reaches back to the thread's last one.
      const uint64_t begin =
          free[thread] + random_.below(std::max<uint64_t>(now - free[thread], 1));
      HistoryOperation operation{.begin = begin, .end = now + random_.below(6)};
      if (begin < free[thread] || now <= free[thread]) continue;
      operation.key = static_cast<uint32_t>(random_.below(2));
      apply(operation, ++location_);
      free[thread] = operation.end + 1;
      history.thread(thread).push_back(operation);
    }
    return history;
  }

  [[nodiscard]] const std::vector<uint64_t>& contents() const { return contents_; }

 private:
  void apply(HistoryOperation& operation, uint64_t location) {
    uint64_t& present = contents_[operation.key];
    operation.kind = static_cast<Kind>(random_.below(4));
    operation.location = location;
    operation.answer = present;
    if (operation.kind == Kind::put) present = location;
    if (operation.kind == Kind::remove) present = 0;
    if (operation.kind != Kind::replace_if) return;
    operation.old = random_.below(2) == 0 && present != 0 ? present : location - 1;
    operation.answer = static_cast<uint64_t>(operation.old == present);
    if (operation.answer != 0) present = location;
  }

  Random random_;
  uint64_t location_ = 0;
  std::vector<uint64_t> contents_ = {0, 0};
};

TEST(HistoryTest, GivenRandomIntervalsOfACorrectMap_ThenLinearizable) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    RandomHistory random(seed);
    const History history = random.make(300);
    EXPECT_EQ(history.violation(random.contents()), std::nullopt) << "seed " << seed;
  }
}

TEST(HistoryTest, GivenNoOverlap_WhenAnyAnswerIsAnother_ThenViolation) {
  History history = RandomHistory(7).make(400);
  uint64_t now = 0;
  std::vector<HistoryOperation> all;
  for (size_t thread = 0; thread < 4; ++thread)
    for (const HistoryOperation& each : history.thread(thread))
      all.push_back(each);
  // Locations are numbered in the order of effects.
  std::ranges::sort(all, {}, [](const HistoryOperation& each) { return each.location; });
  for (HistoryOperation& each : all) {
    each.begin = ++now;
    each.end = ++now;
  }
  EXPECT_EQ(of(all).violation(), std::nullopt);
  for (HistoryOperation& each : all) {
    const uint64_t answer = each.answer;
    for (const uint64_t other : {uint64_t{0}, uint64_t{1}, answer - 1, answer + 1}) {
      each.answer = other;
      if (other == answer || (each.kind == Kind::replace_if && answer != 0 && other != 0)) continue;
      EXPECT_NE(of(all).violation(), std::nullopt) << describe(each, 0);
    }
    each.answer = answer;
  }
}

}  // namespace
}  // namespace firn
