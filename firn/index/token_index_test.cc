// SPDX-License-Identifier: Apache-2.0
//
// What callers may rely on: order, cursor and statistics, for two-byte tokens.
#include "firn/index/token_index.h"

#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/mutex.h"
#include "firn/index/key_translator.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Values = std::vector<uint64_t>;

constexpr std::string_view kKey = "key";
constexpr std::nullopt_t kEndOfMatches = std::nullopt;

uint64_t token_of(std::string_view key) {
  return KeyTranslator::two_cap().token(as_bytes(key));
}

bool any_value(uint64_t) {
  return true;
}
bool no_value(uint64_t) {
  return false;
}
auto equals(uint64_t expected) {
  return [expected](uint64_t value) { return value == expected; };
}

class TokenIndexTest : public ::testing::Test {
 protected:
  void insert_all(std::string_view key, const Values& values) {
    for (const uint64_t value : values)
      index_.insert(token_of(key), value);
  }

  [[nodiscard]] Values values(std::string_view key) const {
    Values out;
    index_.for_each(token_of(key), [&](uint64_t value) { out.push_back(value); });
    return out;
  }

  // Reads through a cursor instead.
  [[nodiscard]] Values cursor_values(std::string_view key) {
    Values out;
    auto cursor = index_.cursor(token_of(key));
    if (!cursor) return out;
    while (const auto value = cursor->next())
      out.push_back(*value);
    EXPECT_EQ(cursor->next(), kEndOfMatches);
    return out;
  }

  void expect_counts(uint64_t keys, uint64_t items, uint64_t pruned) const {
    EXPECT_EQ(index_.statistics().keys, keys);
    EXPECT_EQ(index_.statistics().items, items);
    EXPECT_EQ(index_.statistics().pruned, pruned);
  }

  TokenIndex index_{42};
};
using TokenIndexDeathTest = TokenIndexTest;

// Takes the steps of a cursor that a test names.
void expect_next(TokenIndex::Cursor& cursor, std::optional<uint64_t> expected) {
  EXPECT_EQ(cursor.next(), expected);
}

TEST_F(TokenIndexTest, GivenThreeInserts_WhenRead_ThenLaterOnesFollowTheFirstNewestFirst) {
  insert_all(kKey, {1, 2, 3});

  EXPECT_THAT(values(kKey), ElementsAre(1, 3, 2));
  EXPECT_THAT(cursor_values(kKey), ElementsAre(1, 3, 2));
  expect_counts(1, 3, 0);
}

TEST_F(TokenIndexTest, GivenValues_WhenPruned_ThenMatchesGoAndAMissingKeyIsNoError) {
  insert_all(kKey, {1, 2, 3, 4});

  index_.prune(token_of(kKey), equals(3));
  EXPECT_THAT(values(kKey), ElementsAre(1, 4, 2));

  index_.prune(token_of(kKey), any_value);
  EXPECT_THAT(values(kKey), IsEmpty());
  EXPECT_FALSE(index_.cursor(token_of(kKey)).has_value());
  expect_counts(0, 0, 4);

  index_.prune(token_of(kKey), any_value);
  index_.remove(token_of(kKey));
  expect_counts(0, 0, 4);
}

TEST_F(TokenIndexTest, GivenValues_WhenCursorFinds_ThenItStaysOnTheMatch) {
  insert_all(kKey, {10, 20, 30, 40});

  {
    auto cursor = index_.cursor(token_of(kKey));
    ASSERT_TRUE(cursor->find(equals(30)));
    cursor->update(35);
  }
  EXPECT_THAT(values(kKey), UnorderedElementsAre(10, 20, 35, 40));
  {
    auto cursor = index_.cursor(token_of(kKey));
    EXPECT_FALSE(cursor->find(equals(100)));
    expect_next(*cursor, kEndOfMatches);
  }
  {
    auto cursor = index_.cursor(token_of(kKey));
    ASSERT_TRUE(cursor->find(equals(20)));
    cursor->remove();
  }
  EXPECT_THAT(values(kKey), UnorderedElementsAre(10, 35, 40));
}

TEST_F(TokenIndexTest, GivenManyRandomKeys_WhenInserted_ThenEachValueIsACandidateOfItsKey) {
  std::mt19937_64 random(42);
  std::vector<std::string> keys(2000);
  std::set<uint64_t> tokens;
  for (std::string& key : keys) {
    for (int i = 0; i < 32; ++i)
      key.push_back(static_cast<char>(random() & 0xff));
    tokens.insert(token_of(key));
  }

  for (uint64_t i = 0; i < keys.size(); ++i)
    index_.insert(token_of(keys[i]), i);

  EXPECT_LT(tokens.size(), keys.size());
  expect_counts(tokens.size(), keys.size(), 0);
  for (uint64_t i = 0; i < keys.size(); ++i)
    EXPECT_THAT(values(keys[i]), ::testing::Contains(i));
}

TEST_F(TokenIndexTest, GivenKeysThatShareAToken_WhenRead_ThenTheyShareCandidates) {
  insert_all("a", {1});
  insert_all("ab", {2});
  insert_all("abc", {3});
  EXPECT_THAT(values("ab"), ElementsAre(2, 3));
  EXPECT_THAT(values("abc"), ElementsAre(2, 3));

  insert_all("ab", {4});
  EXPECT_THAT(values("ab"), ElementsAre(2, 4, 3));
  expect_counts(2, 4, 0);

  index_.prune(token_of("ab"), equals(4));
  EXPECT_THAT(values("ab"), ElementsAre(2, 3));
  expect_counts(2, 3, 1);

  index_.prune(token_of("ab"), any_value);
  EXPECT_THAT(values("ab"), IsEmpty());
  EXPECT_THAT(values("a"), ElementsAre(1));
  expect_counts(1, 1, 3);
}

TEST_F(TokenIndexTest, GivenThreeValues_WhenPrunedOneByOne_ThenTheRestKeepsItsOrder) {
  insert_all(kKey, {1, 2, 3});

  index_.prune(token_of(kKey), equals(2));
  EXPECT_THAT(values(kKey), ElementsAre(1, 3));

  index_.prune(token_of(kKey), equals(1));
  EXPECT_THAT(values(kKey), ElementsAre(3));
}

TEST_F(TokenIndexTest, GivenEmptyAndZeroKeys_WhenRead_ThenPaddingMakesThemOneToken) {
  insert_all("", {0});
  insert_all(std::string_view("\0", 1), {1});
  insert_all(std::string_view("\0\0", 2), {2});
  EXPECT_THAT(values(""), UnorderedElementsAre(0, 1, 2));

  index_.prune(token_of(""), equals(1));
  EXPECT_THAT(values(std::string_view("\0", 1)), UnorderedElementsAre(0, 2));
}

TEST_F(TokenIndexTest, GivenValues_WhenCursorUpdatesEach_ThenAllChange) {
  insert_all(kKey, {1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    while (const auto value = cursor->next())
      cursor->update(*value + 10);
  }

  EXPECT_THAT(values(kKey), ElementsAre(11, 13, 12));
}

TEST_F(TokenIndexTest, GivenFourValues_WhenThirdUpdated_ThenOrderStays) {
  insert_all(kKey, {1, 2, 3, 4});

  {
    auto cursor = index_.cursor(token_of(kKey));
    for (const uint64_t expected : {1U, 4U, 3U})
      expect_next(*cursor, expected);
    cursor->update(99);
  }

  EXPECT_THAT(values(kKey), ElementsAre(1, 4, 99, 2));
}

TEST_F(TokenIndexTest, GivenFourValues_WhenFirstRemoved_ThenSecondBecomesFirst) {
  insert_all(kKey, {1, 2, 3, 4});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->remove();
  }
  EXPECT_THAT(values(kKey), ElementsAre(4, 3, 2));
  expect_counts(1, 3, 1);

  insert_all(kKey, {1});
  EXPECT_THAT(values(kKey), ElementsAre(4, 1, 3, 2));
}

TEST_F(TokenIndexTest, GivenFourValues_WhenInnerAndLastRemoved_ThenCountsStayExact) {
  insert_all(kKey, {1, 2, 3, 4});
  index_.prune(token_of(kKey), equals(1));

  {
    auto cursor = index_.cursor(token_of(kKey));
    for (const uint64_t expected : {4U, 3U})
      expect_next(*cursor, expected);
    cursor->remove();
  }
  EXPECT_THAT(values(kKey), ElementsAre(4, 2));
  insert_all(kKey, {1});
  index_.prune(token_of(kKey), equals(1));
  expect_counts(1, 2, 3);

  insert_all(kKey, {3});
  EXPECT_THAT(values(kKey), ElementsAre(4, 3, 2));
  {
    auto cursor = index_.cursor(token_of(kKey));
    for (const uint64_t expected : {4U, 3U, 2U})
      expect_next(*cursor, expected);
    cursor->remove();
  }
  EXPECT_THAT(values(kKey), ElementsAre(4, 3));

  index_.remove(token_of(kKey));
  expect_counts(0, 0, 6);
}

// As the original's: head removed, one inserted, third removed, one inserted, last removed, all.
TEST_F(TokenIndexTest, GivenFourValues_WhenThirdOfTheChainRemoved_ThenSixArePrunedAtLast) {
  insert_all(kKey, {1, 2, 3, 4});
  const auto remove_at = [&](int place) {
    auto cursor = index_.cursor(token_of(kKey));
    for (int i = 0; i < place; ++i)
      ASSERT_TRUE(cursor->next().has_value());
    cursor->remove();
  };
  remove_at(1);
  insert_all(kKey, {1});
  ASSERT_THAT(values(kKey), ElementsAre(4, 1, 3, 2));

  remove_at(3);
  EXPECT_THAT(values(kKey), ElementsAre(4, 1, 2));
  EXPECT_EQ(index_.statistics().pruned, 2U);
  insert_all(kKey, {3});
  EXPECT_THAT(values(kKey), ElementsAre(4, 3, 1, 2));
  remove_at(4);
  EXPECT_THAT(values(kKey), ElementsAre(4, 3, 1));
  EXPECT_EQ(index_.statistics().pruned, 3U);

  index_.remove(token_of(kKey));
  expect_counts(0, 0, 6);
}

TEST_F(TokenIndexTest, GivenOneValue_WhenCursorInserts_ThenBehindTheCurrentValue) {
  insert_all(kKey, {1});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->insert(3);
  }
  EXPECT_THAT(values(kKey), ElementsAre(1, 3));
  expect_counts(1, 2, 0);
  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->insert(42);
  }
  EXPECT_THAT(values(kKey), ElementsAre(1, 42, 3));
  EXPECT_EQ(index_.statistics().items, 3U);

  insert_all(kKey, {100});
  EXPECT_THAT(values(kKey), ElementsAre(1, 100, 42, 3));
}

TEST_F(TokenIndexTest, GivenExhaustedCursor_WhenInserting_ThenAppends) {
  insert_all(kKey, {10});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 10);
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(20);
  }

  EXPECT_THAT(values(kKey), ElementsAre(10, 20));
}

TEST_F(TokenIndexTest, GivenAllValuesRemovedByCursor_WhenItInsertsAgain_ThenTokenIsUsedAgain) {
  insert_all(kKey, {0, 1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    for (const uint64_t expected : {0U, 3U, 2U, 1U}) {
      expect_next(*cursor, expected);
      cursor->remove();
    }
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(4);
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(5);
  }

  EXPECT_THAT(values(kKey), ElementsAre(4, 5));
  expect_counts(1, 2, 4);
}

TEST_F(TokenIndexTest, GivenValueRemovedByCursor_WhenKeyRemoved_ThenNothingIsLeftAndNothingFails) {
  insert_all(kKey, {1});
  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->remove();
  }

  index_.remove(token_of(kKey));

  EXPECT_THAT(values(kKey), IsEmpty());
  expect_counts(0, 0, 1);
}

TEST_F(TokenIndexTest, GivenVacantKey_WhenInsertAndPrune_ThenInserts) {
  index_.insert_and_prune(token_of(kKey), 1, no_value);

  EXPECT_THAT(values(kKey), ElementsAre(1));
  expect_counts(1, 1, 0);
}

TEST_F(TokenIndexTest, GivenVacantKey_WhenInsertAndPruneMatchesTheValue_ThenInsertsAllTheSame) {
  index_.insert_and_prune(token_of(kKey), 1, any_value);

  EXPECT_THAT(values(kKey), ElementsAre(1));
  expect_counts(1, 1, 0);
}

TEST_F(TokenIndexTest, GivenMatchingValue_WhenInsertAndPrune_ThenReplaced) {
  insert_all(kKey, {1});

  index_.insert_and_prune(token_of(kKey), 2, equals(1));

  EXPECT_THAT(values(kKey), ElementsAre(2));
  expect_counts(1, 1, 1);
}

TEST_F(TokenIndexTest, GivenEverythingMatches_WhenInsertAndPrune_ThenKeyGoes) {
  insert_all(kKey, {10, 20});

  index_.insert_and_prune(token_of(kKey), 30, any_value);

  EXPECT_THAT(values(kKey), IsEmpty());
  expect_counts(0, 0, 2);
}

TEST_F(TokenIndexTest, GivenSeveralValues_WhenInsertAndPrune_ThenAppendsAtTheEnd) {
  insert_all(kKey, {1, 2, 3});

  index_.insert_and_prune(token_of(kKey), 4, equals(2));

  EXPECT_THAT(values(kKey), ElementsAre(1, 3, 4));
}

TEST_F(TokenIndexTest, GivenSharedIndexUnderALock_WhenAnotherThreadUpdates_ThenChangeIsSeen) {
  insert_all("test_key1", {100});
  insert_all("test_key2", {200});
  Mutex mutex;

  std::thread([&] {
    const MutexLock lock(mutex);
    auto cursor = index_.cursor(token_of("test_key2"));
    ASSERT_TRUE(cursor->find(equals(200)));
    cursor->update(250);
  }).join();

  const MutexLock lock(mutex);
  EXPECT_THAT(values("test_key1"), UnorderedElementsAre(100, 250));
}

TEST_F(TokenIndexTest, GivenFourValues_WhenCursorRemovesTwoInARow_ThenOthersStay) {
  insert_all(kKey, {0, 1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 0);
    expect_next(*cursor, 3);
    cursor->remove();
    expect_next(*cursor, 2);
    cursor->remove();
  }

  EXPECT_THAT(values(kKey), ElementsAre(0, 1));
}

TEST_F(TokenIndexTest, GivenFourValues_WhenCursorRemovesAll_ThenKeyGoes) {
  insert_all(kKey, {0, 1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    while (cursor->next())
      cursor->remove();
  }

  EXPECT_FALSE(index_.contains(token_of(kKey)));
  expect_counts(0, 0, 4);
}

void use_fresh_cursor(TokenIndex& index, void (*use)(TokenIndex::Cursor&)) {
  auto cursor = index.cursor(token_of(kKey));
  use(*cursor);
}

void use_exhausted_cursor(TokenIndex& index, void (*use)(TokenIndex::Cursor&)) {
  auto cursor = index.cursor(token_of(kKey));
  while (cursor->next()) {
  }
  use(*cursor);
}

void use_cursor_after(TokenIndex& index, void (*first)(TokenIndex::Cursor&),
                      void (*second)(TokenIndex::Cursor&)) {
  auto cursor = index.cursor(token_of(kKey));
  (void)cursor->next();
  first(*cursor);
  second(*cursor);
}

void do_update(TokenIndex::Cursor& cursor) {
  cursor.update(3);
}
void do_insert(TokenIndex::Cursor& cursor) {
  cursor.insert(4);
}
void do_remove(TokenIndex::Cursor& cursor) {
  cursor.remove();
}

constexpr const char* kMustCallNext = "must call Cursor::next\\(\\)";
constexpr const char* kNoActiveItem = "no active item in Cursor";

TEST_F(TokenIndexDeathTest, GivenFreshCursor_WhenUpdating_ThenMustCallNext) {
  insert_all(kKey, {123});
  EXPECT_DEATH(use_fresh_cursor(index_, do_update), kMustCallNext);
}

TEST_F(TokenIndexDeathTest, GivenFreshCursor_WhenRemoving_ThenMustCallNext) {
  insert_all(kKey, {123});
  EXPECT_DEATH(use_fresh_cursor(index_, do_remove), kMustCallNext);
}

TEST_F(TokenIndexDeathTest, GivenFreshCursor_WhenInserting_ThenMustCallNext) {
  insert_all(kKey, {123});
  EXPECT_DEATH(use_fresh_cursor(index_, do_insert), kMustCallNext);
}

TEST_F(TokenIndexDeathTest, GivenExhaustedCursor_WhenUpdating_ThenNoActiveItem) {
  insert_all(kKey, {123});
  EXPECT_DEATH(use_exhausted_cursor(index_, do_update), kNoActiveItem);
}

TEST_F(TokenIndexDeathTest, GivenExhaustedCursor_WhenRemoving_ThenNoActiveItem) {
  insert_all(kKey, {123});
  EXPECT_DEATH(use_exhausted_cursor(index_, do_remove), kNoActiveItem);
}

TEST_F(TokenIndexTest, GivenTwoValues_WhenCursorInsertsAtTheSecondAndAtTheEnd_ThenAllArePresent) {
  insert_all(kKey, {123, 456});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 123);
    expect_next(*cursor, 456);
    cursor->insert(789);
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(999);
  }

  EXPECT_THAT(values(kKey), ElementsAre(123, 456, 789, 999));
}

TEST_F(TokenIndexDeathTest, GivenTwoValues_WhenRemovedTwiceWithoutNext_ThenMustCallNext) {
  insert_all(kKey, {123, 456});
  EXPECT_DEATH(use_cursor_after(index_, do_remove, do_remove), kMustCallNext);
}

TEST_F(TokenIndexTest, GivenTwoValues_WhenCursorRemovesTheLast_ThenNextStaysEmpty) {
  insert_all(kKey, {1, 2});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    expect_next(*cursor, 2);
    cursor->remove();
    expect_next(*cursor, kEndOfMatches);
    expect_next(*cursor, kEndOfMatches);
  }

  expect_counts(1, 1, 1);
}

TEST_F(TokenIndexTest, GivenThreeValues_WhenCursorRemovesTheMiddle_ThenNextIsTheThird) {
  insert_all(kKey, {1, 2, 3});

  auto cursor = index_.cursor(token_of(kKey));
  expect_next(*cursor, 1);
  expect_next(*cursor, 3);
  cursor->remove();

  expect_next(*cursor, 2);
  expect_next(*cursor, kEndOfMatches);
  expect_next(*cursor, kEndOfMatches);
}

TEST_F(TokenIndexTest, GivenThreeValues_WhenCursorRemovesTheFirst_ThenNextIsTheSecond) {
  insert_all(kKey, {1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->remove();
    expect_next(*cursor, 3);
    expect_next(*cursor, 2);
    expect_next(*cursor, kEndOfMatches);
  }

  EXPECT_THAT(values(kKey), ElementsAre(3, 2));
}

TEST_F(TokenIndexTest, GivenFirstRemoved_WhenCursorInsertsAtTheSecond_ThenChainIsIntact) {
  insert_all(kKey, {1, 2, 3});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->remove();
    expect_next(*cursor, 3);
    cursor->insert(4);
    expect_next(*cursor, 2);
    expect_next(*cursor, kEndOfMatches);
  }

  EXPECT_THAT(values(kKey), ElementsAre(3, 4, 2));
}

TEST_F(TokenIndexTest, GivenTwoValues_WhenCursorInsertsAtTheFirst_ThenNextSkipsTheInserted) {
  insert_all(kKey, {1, 2});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->insert(99);
    expect_next(*cursor, 2);
    expect_next(*cursor, kEndOfMatches);
  }

  EXPECT_THAT(values(kKey), ElementsAre(1, 99, 2));
}

TEST_F(TokenIndexDeathTest, GivenCursorThatInserted_WhenRemovingWithoutNext_ThenMustCallNext) {
  insert_all(kKey, {10, 20});
  EXPECT_DEATH(use_cursor_after(index_, do_insert, do_remove), kMustCallNext);
}

TEST_F(TokenIndexDeathTest, GivenCursorThatRemoved_WhenInsertingWithoutNext_ThenMustCallNext) {
  insert_all(kKey, {10, 20});
  EXPECT_DEATH(use_cursor_after(index_, do_remove, do_insert), kMustCallNext);
}

TEST_F(TokenIndexDeathTest, GivenCursorThatInserted_WhenInsertingWithoutNext_ThenMustCallNext) {
  insert_all(kKey, {10, 20});
  EXPECT_DEATH(use_cursor_after(index_, do_insert, do_insert), kMustCallNext);
}

TEST_F(TokenIndexTest, GivenOnlyValueRemoved_WhenCursorAppendsTwice_ThenOneKeyWithTwoItems) {
  insert_all(kKey, {7});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 7);
    cursor->remove();
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(8);
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(9);
    expect_next(*cursor, kEndOfMatches);
  }

  EXPECT_THAT(values(kKey), ElementsAre(8, 9));
  expect_counts(1, 2, 1);
}

TEST_F(TokenIndexTest, GivenFiveValues_WhenCursorReleasedMidway_ThenChainIsIntact) {
  insert_all(kKey, {0, 1, 2, 3, 4});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 0);
    expect_next(*cursor, 4);
  }

  EXPECT_THAT(values(kKey), ElementsAre(0, 4, 3, 2, 1));
}

TEST_F(TokenIndexTest, GivenOneValue_WhenCursorRemovesAndInserts_ThenKeyCountStays) {
  insert_all(kKey, {1});

  {
    auto cursor = index_.cursor(token_of(kKey));
    expect_next(*cursor, 1);
    cursor->remove();
    expect_next(*cursor, kEndOfMatches);
    cursor->insert(2);
  }

  EXPECT_THAT(values(kKey), ElementsAre(2));
  expect_counts(1, 1, 1);
}

TEST_F(TokenIndexTest, GivenVeryLongChain_WhenReleased_ThenNoRecursion) {
  auto index = std::make_unique<TokenIndex>(1);
  for (uint64_t value = 0; value < 50'000; ++value)
    index->insert(token_of(""), value);
  EXPECT_EQ(index->statistics().items, 50'000U);

  index.reset();

  EXPECT_EQ(index, nullptr);
}

TEST_F(TokenIndexTest, GivenKey_WhenCursorOrInsert_ThenInsertsOnlyWhereVacant) {
  EXPECT_FALSE(index_.cursor_or_insert(token_of(kKey), 1).has_value());
  {
    auto cursor = index_.cursor_or_insert(token_of(kKey), 2);
    ASSERT_TRUE(cursor.has_value());
    expect_next(*cursor, 1);
  }

  EXPECT_THAT(values(kKey), ElementsAre(1));
}

TEST_F(TokenIndexDeathTest, GivenOpenCursor_WhenIndexUsed_ThenRefused) {
  insert_all(kKey, {1});
  const auto cursor = index_.cursor(token_of(kKey));

  EXPECT_DEATH(index_.insert(9, 9), "the Cursor must be released");
  EXPECT_DEATH((void)index_.contains(9), "the Cursor must be released");
  EXPECT_DEATH((void)index_.cursor(token_of(kKey)), "the Cursor must be released");
}

TEST_F(TokenIndexDeathTest, GivenValueOfTwoToThe63_WhenInserted_ThenRefused) {
  index_.insert(1, TokenIndex::kValueMax);

  EXPECT_DEATH(index_.insert(2, TokenIndex::kValueMax + 1), "must be below 2\\^63");
  EXPECT_DEATH(index_.insert_and_prune(1, ~uint64_t{0}, no_value), "must be below 2\\^63");
}

TEST_F(TokenIndexTest, GivenVisitorThatReturnsFalse_WhenWalking_ThenItStops) {
  insert_all(kKey, {1, 2, 3});
  Values seen;

  index_.for_each(token_of(kKey), [&](uint64_t value) {
    seen.push_back(value);
    return value != 3;
  });

  EXPECT_THAT(seen, ElementsAre(1, 3));
}

TEST_F(TokenIndexTest, GivenIndex_WhenCleared_ThenEmptyAndSmall) {
  const size_t memory_before = index_.memory_bytes();
  for (uint64_t token = 0; token < 1000; ++token)
    insert_all(std::to_string(token), {1, 2});
  index_.remove(token_of("1"));
  const uint64_t pruned = index_.statistics().pruned;

  index_.clear();

  expect_counts(0, 0, pruned);
  EXPECT_EQ(index_.memory_bytes(), memory_before);
  insert_all(kKey, {5});
  EXPECT_THAT(values(kKey), ElementsAre(5));
}

TEST_F(TokenIndexTest, GivenIndex_WhenMoved_ThenContentsMove) {
  insert_all(kKey, {5, 6});

  TokenIndex moved = std::move(index_);

  Values seen;
  moved.for_each(token_of(kKey), [&](uint64_t value) { seen.push_back(value); });
  EXPECT_THAT(seen, ElementsAre(5, 6));
  index_ = std::move(moved);
  EXPECT_THAT(values(kKey), ElementsAre(5, 6));
}

}  // namespace
}  // namespace firn
