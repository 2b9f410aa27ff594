// SPDX-License-Identifier: Apache-2.0
#include "firn/index/interval_set.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <ranges>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace firn {

void PrintTo(const IndexRange& range, std::ostream* out) {
  *out << "[" << range.start << "," << range.end << "]";
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Range = IndexRange;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

IntervalSet set_of(std::initializer_list<Range> ranges) {
  IntervalSet set;
  for (const Range& range : ranges) {
    for (uint64_t index = range.start;; ++index) {
      set.insert(index);
      if (index == range.end) break;
    }
  }
  return set;
}

std::vector<Range> ranges_of(const IntervalSet& set) {
  std::vector<Range> out;
  for (const Range& range : set.ranges())
    out.push_back(range);
  EXPECT_EQ(out.size(), set.range_count());
  return out;
}

std::vector<Range> ranges_from(const IntervalSet& set, uint64_t from) {
  std::vector<Range> out;
  for (const Range& range : set.ranges_from(from))
    out.push_back(range);
  return out;
}

IndexGap gap(std::optional<uint64_t> current_end, std::optional<uint64_t> next_start) {
  return {current_end, next_start};
}

constexpr std::nullopt_t kNone = std::nullopt;

TEST(IntervalSet, GivenNewSet_WhenAsked_ThenHasNoRanges) {
  const IntervalSet set;

  EXPECT_THAT(ranges_of(set), IsEmpty());
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.item_count(), 0U);
  EXPECT_EQ(set.memory_bytes(), 0U);
}

TEST(IntervalSet, GivenEmptySet_WhenOneIndexInserted_ThenOneRange) {
  IntervalSet set;

  EXPECT_TRUE(set.insert(5));

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 5}));
  EXPECT_EQ(set.item_count(), 1U);
}

TEST(IntervalSet, GivenEmptySet_WhenDistantIndicesInserted_ThenTwoRanges) {
  IntervalSet set;

  set.insert(5);
  set.insert(10);

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 5}, Range{10, 10}));
}

TEST(IntervalSet, GivenRange_WhenCoveredIndexInserted_ThenNothingChanges) {
  IntervalSet set = set_of({{1, 3}});

  EXPECT_FALSE(set.insert(2));

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 3}));
  EXPECT_EQ(set.item_count(), 3U);
}

TEST(IntervalSet, GivenRange_WhenNeighbourInserted_ThenRangeGrowsOnEitherSide) {
  IntervalSet right = set_of({{1, 2}});
  IntervalSet left = set_of({{2, 3}});

  right.insert(3);
  left.insert(1);

  EXPECT_THAT(ranges_of(right), ElementsAre(Range{1, 3}));
  EXPECT_THAT(ranges_of(left), ElementsAre(Range{1, 3}));
}

TEST(IntervalSet, GivenTwoRanges_WhenGapFilled_ThenTheyMergeAtLast) {
  IntervalSet set = set_of({{1, 2}, {5, 6}});

  set.insert(3);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 3}, Range{5, 6}));

  set.insert(4);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 6}));
}

TEST(IntervalSet, GivenIndicesOutOfOrder_WhenInserted_ThenRangesMergeOnBothSides) {
  IntervalSet set;

  for (const uint64_t index : {10U, 12U, 11U})
    set.insert(index);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{10, 12}));
  for (const uint64_t index : {15U, 13U})
    set.insert(index);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{10, 13}, Range{15, 15}));
  set.insert(14);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{10, 15}));
  for (const uint64_t index : {5U, 7U, 6U})
    set.insert(index);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 7}, Range{10, 15}));
  set.insert(9);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 7}, Range{9, 15}));
  set.insert(8);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 15}));
  EXPECT_EQ(set.item_count(), 11U);
}

TEST(IntervalSet, GivenLargestIndex_WhenNeighbourBelowInserted_ThenOneRange) {
  IntervalSet set;

  set.insert(kMax);
  set.insert(kMax - 1);

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{kMax - 1, kMax}));
  EXPECT_FALSE(set.insert(kMax));
}

TEST(IntervalSet, GivenTwoRanges_WhenFinding_ThenContainingRangeOrNothing) {
  const IntervalSet set = set_of({{1, 3}, {5, 6}});

  for (const uint64_t index : {1U, 2U, 3U})
    EXPECT_EQ(set.find(index), (Range{1, 3}));
  for (const uint64_t index : {5U, 6U})
    EXPECT_EQ(set.find(index), (Range{5, 6}));
  for (const uint64_t index : {0U, 4U, 7U})
    EXPECT_FALSE(set.contains(index));
}

TEST(IntervalSet, GivenEmptySetOrReversedBounds_WhenRemoving_ThenNothingChanges) {
  IntervalSet empty;
  IntervalSet set = set_of({{1, 6}});

  empty.remove(1, 5);
  set.remove(5, 1);

  EXPECT_TRUE(empty.empty());
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 6}));
}

TEST(IntervalSet, GivenOneRange_WhenRemovingAroundIt_ThenOnlyACoveringRemovalEmptiesIt) {
  IntervalSet set = set_of({{5, 6}});

  set.remove(1, 3);
  set.remove(8, 10);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 6}));

  set.remove(1, 10);
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.item_count(), 0U);
}

TEST(IntervalSet, GivenTwoRanges_WhenEachRemovedExactly_ThenEmpty) {
  IntervalSet set = set_of({{1, 3}, {5, 6}});

  set.remove(1, 3);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{5, 6}));

  set.remove(5, 6);
  EXPECT_TRUE(set.empty());
}

TEST(IntervalSet, GivenRange_WhenMiddleRemoved_ThenItSplits) {
  IntervalSet set = set_of({{1, 5}});

  set.remove(3, 3);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 2}, Range{4, 5}));

  set.remove(2, 4);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 1}, Range{5, 5}));
  EXPECT_EQ(set.item_count(), 2U);
}

TEST(IntervalSet, GivenRange_WhenEndsRemoved_ThenItShrinks) {
  IntervalSet set = set_of({{1, 5}});

  set.remove(0, 2);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{3, 5}));

  set.remove(4, 6);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{3, 3}));
}

TEST(IntervalSet, GivenThreeRanges_WhenRemovalCoversOne_ThenOthersStay) {
  IntervalSet set = set_of({{1, 2}, {4, 5}, {7, 8}});

  set.remove(3, 6);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 2}, Range{7, 8}));

  set.remove(0, 10);
  EXPECT_TRUE(set.empty());
}

TEST(IntervalSet, GivenThreeRanges_WhenRemovalCutsTwo_ThenBothShrink) {
  IntervalSet set = set_of({{1, 3}, {5, 7}, {9, 11}});

  set.remove(2, 6);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 1}, Range{7, 7}, Range{9, 11}));

  set.remove(0, 20);
  EXPECT_TRUE(set.empty());
}

TEST(IntervalSet, GivenGap_WhenGapRemoved_ThenNothingChanges) {
  IntervalSet set = set_of({{0, 2}, {4, 5}});

  set.remove(3, 3);

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{0, 2}, Range{4, 5}));
}

TEST(IntervalSet, GivenRangeAtTheLargestIndex_WhenRemoving_ThenNoOverflow) {
  IntervalSet set = set_of({{kMax - 2, kMax}});

  set.remove(kMax, kMax);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{kMax - 2, kMax - 1}));
  set.remove(kMax - 2, kMax - 2);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{kMax - 1, kMax - 1}));
  set.remove(kMax - 1, kMax - 1);
  EXPECT_TRUE(set.empty());

  set.insert(3);
  set.insert(kMax);
  set.remove(0, kMax);
  EXPECT_TRUE(set.empty());
}

TEST(IntervalSet, GivenInsertsAndRemoves_WhenIterated_ThenAscendingAndEndsFollow) {
  IntervalSet set;
  EXPECT_EQ(set.first_index(), kNone);
  EXPECT_EQ(set.last_index(), kNone);

  for (const uint64_t index : {20U, 3U, 9U, 4U})
    set.insert(index);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{3, 4}, Range{9, 9}, Range{20, 20}));
  EXPECT_EQ(set.first_index(), 3U);
  EXPECT_EQ(set.last_index(), 20U);

  set.remove(0, 3);
  set.remove(20, 30);
  EXPECT_EQ(set.first_index(), 4U);
  EXPECT_EQ(set.last_index(), 9U);
}

TEST(IntervalSet, GivenEmptySet_WhenAskedForNextGap_ThenNeitherSideKnown) {
  const IntervalSet set;

  EXPECT_EQ(set.next_gap(5), gap(kNone, kNone));
}

TEST(IntervalSet, GivenOneRange_WhenAskedForNextGap_ThenBeforeInsideAndAfterDiffer) {
  const IntervalSet set = set_of({{5, 7}});

  EXPECT_EQ(set.next_gap(4), gap(kNone, 5));
  for (const uint64_t index : {5U, 6U, 7U})
    EXPECT_EQ(set.next_gap(index), gap(7, kNone));
  EXPECT_EQ(set.next_gap(8), gap(kNone, kNone));
}

TEST(IntervalSet, GivenThreeRanges_WhenAskedForNextGap_ThenNextStartIsStrictlyAfter) {
  const IntervalSet set = set_of({{1, 2}, {5, 6}, {10, 10}});

  EXPECT_EQ(set.next_gap(0), gap(kNone, 1));
  for (const uint64_t index : {1U, 2U})
    EXPECT_EQ(set.next_gap(index), gap(2, 5));
  for (const uint64_t index : {3U, 4U})
    EXPECT_EQ(set.next_gap(index), gap(kNone, 5));
  for (const uint64_t index : {5U, 6U})
    EXPECT_EQ(set.next_gap(index), gap(6, 10));
  for (const uint64_t index : {7U, 8U, 9U})
    EXPECT_EQ(set.next_gap(index), gap(kNone, 10));
  EXPECT_EQ(set.next_gap(10), gap(10, kNone));
  EXPECT_EQ(set.next_gap(11), gap(kNone, kNone));
}

TEST(IntervalSet, GivenRangesAtTheLargestIndex_WhenAskedForNextGap_ThenNoOverflow) {
  const IntervalSet set = set_of({{kMax - 5, kMax - 4}, {kMax - 1, kMax}});

  EXPECT_EQ(set.next_gap(kMax - 6), gap(kNone, kMax - 5));
  EXPECT_EQ(set.next_gap(kMax - 5), gap(kMax - 4, kMax - 1));
  EXPECT_EQ(set.next_gap(kMax - 4), gap(kMax - 4, kMax - 1));
  EXPECT_EQ(set.next_gap(kMax - 3), gap(kNone, kMax - 1));
  EXPECT_EQ(set.next_gap(kMax - 2), gap(kNone, kMax - 1));
  EXPECT_EQ(set.next_gap(kMax - 1), gap(kMax, kNone));
  EXPECT_EQ(set.next_gap(kMax), gap(kMax, kNone));
}

TEST(IntervalSet, GivenScatteredIndices_WhenAskedForNextGap_ThenNeighboursReported) {
  const IntervalSet set = set_of({{1, 1}, {10, 11}, {14, 14}});

  EXPECT_EQ(set.next_gap(0), gap(kNone, 1));
  EXPECT_EQ(set.next_gap(1), gap(1, 10));
  EXPECT_EQ(set.next_gap(10), gap(11, 14));
  EXPECT_EQ(set.next_gap(11), gap(11, 14));
  EXPECT_EQ(set.next_gap(12), gap(kNone, 14));
  EXPECT_EQ(set.next_gap(14), gap(14, kNone));
}

TEST(IntervalSet, GivenEmptySet_WhenAskedForMissing_ThenNothingIsMissing) {
  const IntervalSet set;

  EXPECT_THAT(set.missing_items(0, 5), IsEmpty());
  EXPECT_THAT(set.missing_items(100, 10), IsEmpty());
}

TEST(IntervalSet, GivenOneInnerGap_WhenAskedForMissing_ThenMaxBoundsTheAnswer) {
  const IntervalSet set = set_of({{1, 2}, {5, 6}});

  EXPECT_THAT(set.missing_items(3, 5), ElementsAre(3, 4));
  EXPECT_THAT(set.missing_items(3, 2), ElementsAre(3, 4));
  EXPECT_THAT(set.missing_items(3, 1), ElementsAre(3));
  EXPECT_THAT(set.missing_items(4, 1), ElementsAre(4));
}

TEST(IntervalSet, GivenThreeRanges_WhenAskedForMissing_ThenAllGapsBeforeALaterRangeCount) {
  const IntervalSet set = set_of({{1, 2}, {5, 6}, {10, 10}});

  EXPECT_THAT(set.missing_items(0, 5), ElementsAre(0, 3, 4, 7, 8));
  EXPECT_THAT(set.missing_items(0, 6), ElementsAre(0, 3, 4, 7, 8, 9));
  EXPECT_THAT(set.missing_items(0, 7), ElementsAre(0, 3, 4, 7, 8, 9));
  EXPECT_THAT(set.missing_items(3, 3), ElementsAre(3, 4, 7));
  EXPECT_THAT(set.missing_items(4, 2), ElementsAre(4, 7));
  EXPECT_THAT(set.missing_items(7, 10), ElementsAre(7, 8, 9));
  EXPECT_THAT(set.missing_items(8, 2), ElementsAre(8, 9));
  EXPECT_THAT(set.missing_items(11, 5), IsEmpty());
  EXPECT_THAT(set.missing_items(100, 10), IsEmpty());
}

TEST(IntervalSet, GivenStartInsideARange_WhenAskedForMissing_ThenCountsFromItsEnd) {
  const IntervalSet set = set_of({{1, 3}, {7, 9}});

  EXPECT_THAT(set.missing_items(1, 3), ElementsAre(4, 5, 6));
  EXPECT_THAT(set.missing_items(2, 4), ElementsAre(4, 5, 6));
  EXPECT_THAT(set.missing_items(3, 2), ElementsAre(4, 5));
  EXPECT_THAT(set.missing_items(7, 5), IsEmpty());
  EXPECT_THAT(set.missing_items(8, 3), IsEmpty());
  EXPECT_THAT(set.missing_items(9, 1), IsEmpty());
}

// The original aborts here.
TEST(IntervalSet, GivenMaxOfZero_WhenAskedForMissing_ThenReturnsNothing) {
  const IntervalSet set = set_of({{1, 2}, {5, 6}});

  EXPECT_THAT(set.missing_items(0, 0), IsEmpty());
}

TEST(IntervalSet, GivenLargeGap_WhenAskedForMissing_ThenWholeGapIsListed) {
  const IntervalSet set = set_of({{1, 1}, {1000, 1000}});

  EXPECT_THAT(set.missing_items(2, 5), ElementsAre(2, 3, 4, 5, 6));
  EXPECT_THAT(set.missing_items(995, 5), ElementsAre(995, 996, 997, 998, 999));
  const auto all = set.missing_items(2, 998);
  ASSERT_EQ(all.size(), 998U);
  EXPECT_EQ(all.front(), 2U);
  EXPECT_EQ(all.back(), 999U);
}

TEST(IntervalSet, GivenStartAtTheEndOfARange_WhenAskedForMissing_ThenOnlyLaterGapCounts) {
  const IntervalSet set = set_of({{5, 6}, {10, 10}});

  EXPECT_THAT(set.missing_items(5, 3), ElementsAre(7, 8, 9));
  EXPECT_THAT(set.missing_items(6, 3), ElementsAre(7, 8, 9));
  EXPECT_THAT(set.missing_items(10, 5), IsEmpty());
}

TEST(IntervalSet, GivenIndicesNearTheLargest_WhenAskedForMissing_ThenWalkEnds) {
  const IntervalSet set = set_of({{kMax - 5, kMax - 5}, {kMax - 3, kMax - 3}, {kMax, kMax}});

  EXPECT_THAT(set.missing_items(kMax - 6, 5), ElementsAre(kMax - 6, kMax - 4, kMax - 2, kMax - 1));
  EXPECT_THAT(set.missing_items(kMax - 4, 3), ElementsAre(kMax - 4, kMax - 2, kMax - 1));
  EXPECT_THAT(set.missing_items(kMax, 5), IsEmpty());
}

TEST(IntervalSet, GivenRangeAtTheLargestIndex_WhenAskedForMissingInside_ThenNothing) {
  const IntervalSet set = set_of({{kMax - 2, kMax}});

  for (uint64_t back = 0; back <= 2; ++back)
    EXPECT_THAT(set.missing_items(kMax - back, 5), IsEmpty());
}

TEST(IntervalSet, GivenOneRange_WhenAskedForMissing_ThenNothingAfterItCounts) {
  const IntervalSet set = set_of({{1, 6}});

  EXPECT_THAT(set.missing_items(0, 3), ElementsAre(0));
  EXPECT_THAT(set.missing_items(7, 5), IsEmpty());
}

TEST(IntervalSet, GivenThreeRanges_WhenIteratedFrom_ThenContainingRangeComesFirst) {
  const IntervalSet set = set_of({{0, 1}, {3, 4}, {7, 7}});

  EXPECT_THAT(ranges_from(set, 2), ElementsAre(Range{3, 4}, Range{7, 7}));
  EXPECT_THAT(ranges_from(set, 1), ElementsAre(Range{0, 1}, Range{3, 4}, Range{7, 7}));
  EXPECT_THAT(ranges_from(set, 4), ElementsAre(Range{3, 4}, Range{7, 7}));
  EXPECT_THAT(ranges_from(set, 8), IsEmpty());
}

TEST(IntervalSet, GivenHugeMax_WhenAskedForMissing_ThenMemoryFollowsTheAnswer) {
  const IntervalSet set = set_of({{1, 1}, {3, 3}});

  const auto missing = set.missing_items(0, std::numeric_limits<size_t>::max());

  EXPECT_THAT(missing, ElementsAre(0, 2));
  EXPECT_LE(missing.capacity(), 16U);
}

TEST(IntervalSet, GivenRanges_WhenWalkedBackwards_ThenDescending) {
  const IntervalSet set = set_of({{0, 1}, {3, 4}, {7, 7}});

  std::vector<Range> reversed;
  for (const Range& range : set.ranges() | std::views::reverse)
    reversed.push_back(range);
  std::vector<Range> stepped;
  for (auto range = set.range_before(kMax); range; range = set.range_before(range->start))
    stepped.push_back(*range);

  EXPECT_THAT(reversed, ElementsAre(Range{7, 7}, Range{3, 4}, Range{0, 1}));
  EXPECT_EQ(stepped, reversed);
  EXPECT_EQ(set.range_before(4), (Range{3, 4}));
  EXPECT_EQ(set.range_before(3), (Range{0, 1}));
}

TEST(IntervalSet, GivenFullRange_WhenCounted_ThenCountSaturates) {
  IntervalSet set;

  set.insert_range(0, kMax);
  EXPECT_EQ(set.item_count(), kMax);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{0, kMax}));

  set.remove(7, 7);
  EXPECT_EQ(set.item_count(), kMax);
  set.remove(8, 8);
  EXPECT_EQ(set.item_count(), kMax - 1);
}

TEST(IntervalSet, GivenRanges_WhenRangeInserted_ThenTouchedRangesAreSwallowed) {
  IntervalSet set = set_of({{1, 2}, {5, 6}, {9, 10}, {20, 20}});

  set.insert_range(9, 4);
  set.insert_range(5, 6);
  EXPECT_EQ(set.range_count(), 4U);

  set.insert_range(3, 8);
  EXPECT_THAT(ranges_of(set), ElementsAre(Range{1, 10}, Range{20, 20}));
  EXPECT_EQ(set.item_count(), 11U);
}

// 10,000 indices, long enough to split and to join chunks many times, against a set of booleans.
TEST(IntervalSet, GivenRandomOperations_WhenComparedWithBooleans_ThenAlwaysEqual) {
  constexpr uint64_t kUniverse = 10'000;
  for (const uint64_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    IntervalSet set;
    std::vector<bool> model(kUniverse);
    for (int step = 0; step < 60'000; ++step) {
      const uint64_t index = random() % kUniverse;
      const uint64_t last =
          std::min(kUniverse - 1, index + random() % (step % 500 == 0 ? 3000 : 5));
      switch (random() % 8) {
        case 0:
          set.remove(index, last);
          for (uint64_t i = index; i <= last; ++i)
            model[i] = false;
          break;
        case 1:
          if (step % 100 == 0) {
            set.insert_range(index, last);
            for (uint64_t i = index; i <= last; ++i)
              model[i] = true;
          }
          break;
        default: ASSERT_EQ(set.insert(index), !model[index]); model[index] = true;
      }
      ASSERT_EQ(set.contains(last), model[last]);
      if (step % 3000 != 0) continue;
      std::vector<Range> expected;
      for (uint64_t i = 0; i < kUniverse; ++i) {
        if (!model[i]) continue;
        if (!expected.empty() && expected.back().end + 1 == i)
          expected.back().end = i;
        else
          expected.push_back({i, i});
      }
      ASSERT_EQ(ranges_of(set), expected);
      ASSERT_EQ(set.item_count(),
                static_cast<uint64_t>(std::count(model.begin(), model.end(), true)));
    }
  }
}

TEST(IntervalSet, GivenAlternatingIndices_WhenInsertedInAnyOrder_ThenAtMost24BytesARange) {
  constexpr uint64_t kRanges = 300'000;
  std::vector<uint64_t> indices(kRanges);
  for (uint64_t i = 0; i < kRanges; ++i)
    indices[i] = 2 * i;
  IntervalSet ascending;
  IntervalSet shuffled;

  for (const uint64_t index : indices)
    ascending.insert(index);
  std::ranges::shuffle(indices, std::mt19937_64(7));
  for (const uint64_t index : indices)
    shuffled.insert(index);

  EXPECT_EQ(ascending.range_count(), kRanges);
  EXPECT_EQ(shuffled.range_count(), kRanges);
  EXPECT_LE(ascending.memory_bytes(), 33 * kRanges / 2);
  EXPECT_LE(shuffled.memory_bytes(), 24 * kRanges);
  EXPECT_EQ(ranges_of(ascending), ranges_of(shuffled));
}

TEST(IntervalSet, GivenManyRanges_WhenGapsFilledAgain_ThenMemoryIsGivenBack) {
  IntervalSet set;
  for (uint64_t i = 0; i < 100'000; ++i)
    set.insert(2 * i);

  for (uint64_t i = 0; i < 100'000; ++i)
    set.insert(2 * i + 1);

  EXPECT_THAT(ranges_of(set), ElementsAre(Range{0, 199'999}));
  EXPECT_LE(set.memory_bytes(), 16U * 1024);
}

TEST(IntervalSet, GivenManyRanges_WhenMostRemovedOneByOne_ThenChunksJoin) {
  IntervalSet set;
  for (uint64_t i = 0; i < 100'000; ++i)
    set.insert(2 * i);

  for (uint64_t i = 0; i < 100'000; ++i)
    if (i % 64 != 0) set.remove(2 * i, 2 * i);

  EXPECT_EQ(set.range_count(), 1563U);
  EXPECT_LE(set.memory_bytes(), 64U * 1563U);
  for (uint64_t i = 0; i < 100'000; ++i)
    ASSERT_EQ(set.contains(2 * i), i % 64 == 0) << i;
}

TEST(IntervalSet, GivenFirstChunksRemoved_WhenSmallerIndexInserted_ThenFound) {
  IntervalSet set;
  for (uint64_t i = 0; i < 1000; ++i)
    set.insert(2 * i);
  set.remove(0, 1000);

  set.insert(600);
  set.insert(7);
  set.insert_range(100, 110);

  EXPECT_EQ(set.find(7), (Range{7, 7}));
  EXPECT_EQ(set.find(600), (Range{600, 600}));
  EXPECT_EQ(set.find(105), (Range{100, 110}));
  EXPECT_EQ(set.next_gap(8), gap(kNone, 100));
  EXPECT_EQ(set.first_index(), 7U);
}

}  // namespace
}  // namespace firn
