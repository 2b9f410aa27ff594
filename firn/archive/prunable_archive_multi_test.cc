// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: several items of one index. "Pinned 15.3.N" numbers the behaviour of the
// original that a test keeps.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::Archive;
using archive::get;
using archive::get_all;
using archive::put;
using archive::put_multi;
using archive::shared_options;
using testkit::FailsWith;

// With and without compression.
class PrunableArchiveMulti : public testing::TestWithParam<std::optional<int>> {
 protected:
  [[nodiscard]] Result<Archive> open(uint64_t items_per_section = 1024) {
    PrunableArchiveOptions options = shared_options(GetParam());
    options.items_per_section = items_per_section;
    return PrunableArchive::open(storage_, options);
  }

  MemoryStorage storage_;
};

INSTANTIATE_TEST_SUITE_P(Compression, PrunableArchiveMulti,
                         testing::Values(std::nullopt, std::optional(3)),
                         [](const auto& tested) { return tested.param ? "Zstd" : "Plain"; });

// Pinned 15.3.7
TEST_P(PrunableArchiveMulti, GivenThreeItemsOfAnIndex_WhenReadByKey_ThenEachIsFound) {
  ASSERT_OK_INTO(const auto archive, open());

  ASSERT_OK(put_multi(archive, 5, "a", "10"));
  ASSERT_OK(put_multi(archive, 5, "b", "20"));
  ASSERT_OK(put_multi(archive, 5, "c", "30"));

  EXPECT_EQ(get(archive, "a"), "10");
  EXPECT_EQ(get(archive, "b"), "20");
  EXPECT_EQ(get(archive, "c"), "30");
  EXPECT_EQ(get(archive, "missing"), "absent");
  EXPECT_EQ(archive->statistics().items_tracked, 1);
  EXPECT_EQ(archive->statistics().records, 3);
}

// Pinned 15.3.8
TEST_P(PrunableArchiveMulti, GivenOneKeyAtTwoIndices_WhenRead_ThenEachIndexHasItsValue) {
  ASSERT_OK_INTO(const auto archive, open());

  ASSERT_OK(put_multi(archive, 5, "same", "10"));
  ASSERT_OK(put_multi(archive, 7, "same", "20"));

  EXPECT_EQ(get(archive, 5), "10");
  EXPECT_EQ(get(archive, 7), "20");
  EXPECT_EQ(get_all(archive, 5), "10");
  EXPECT_EQ(get_all(archive, 7), "20");
  EXPECT_THAT(get(archive, "same"), testing::AnyOf("10", "20"));
  EXPECT_EQ(archive->statistics().items_tracked, 2);
}

TEST_P(PrunableArchiveMulti, WhenARangeIsRead_ThenItsValuesComeInOrderAndWholeIndices) {
  ASSERT_OK_INTO(const auto archive, open(10));
  for (const auto& [index, text] : std::vector<std::pair<uint64_t, std::string>>{
           {UINT64_MAX, "max"}, {7, "7"}, {5, "5a"}, {5, "5b"}, {5, "5c"}, {40, "40"}, {3, "3"}})
    ASSERT_OK(put_multi(archive, index, text, text));
  const auto read = [&](uint64_t start, uint64_t end, size_t max) {
    std::string texts;
    const auto values = archive->get_many(IndexRange{start, end}, max);
    if (!values) return values.error().message;
    for (const auto& [index, value] : *values)
      texts += concat(texts.empty() ? "" : " ", index, "=", value ? as_text(value->bytes()) : "?");
    return texts;
  };

  EXPECT_EQ(read(0, UINT64_MAX, SIZE_MAX), "3=3 5=5a 5=5b 5=5c 7=7 40=40 18446744073709551615=max");
  EXPECT_EQ(read(4, 7, SIZE_MAX), "5=5a 5=5b 5=5c 7=7");
  EXPECT_EQ(read(0, 40, 2), "3=3 5=5a 5=5b 5=5c") << "an index is never cut in two";
  EXPECT_EQ(read(6, 40, 1), "7=7");
  EXPECT_EQ(read(8, 39, SIZE_MAX), "");
  EXPECT_EQ(read(7, 5, SIZE_MAX), "");

  ASSERT_OK(archive->prune(40));
  EXPECT_EQ(read(0, 50, SIZE_MAX), "40=40");
}

// Pinned 15.3.9
TEST_P(PrunableArchiveMulti, WhenAllItemsOfAnIndexAreRead_ThenTheyComeInOrderOfPuts) {
  ASSERT_OK_INTO(const auto archive, open());

  ASSERT_OK(put_multi(archive, 5, "a", "10"));
  ASSERT_OK(put_multi(archive, 7, "d", "40"));
  ASSERT_OK(put_multi(archive, 5, "b", "20"));
  ASSERT_OK(put_multi(archive, 5, "c", "30"));

  EXPECT_EQ(get_all(archive, 5), "10,20,30");
  EXPECT_EQ(get_all(archive, 7), "40");
  EXPECT_EQ(get_all(archive, 99), "absent");
  EXPECT_EQ(get(archive, 5), "10");
  EXPECT_EQ(archive->statistics().gets, 4);
}

// Pinned 15.3.10
TEST_P(PrunableArchiveMulti, GivenItemsOfAnIndex_WhenIndexIsPut_ThenNothingHappens) {
  ASSERT_OK_INTO(const auto archive, open());
  ASSERT_OK(put_multi(archive, 1, "a", "10"));
  ASSERT_OK(put_multi(archive, 1, "b", "20"));

  ASSERT_OK_INTO(const PutOutcome outcome, put(archive, 1, "c", "30"));

  EXPECT_EQ(outcome, PutOutcome::already_present);
  EXPECT_EQ(get(archive, "c"), "absent");
  EXPECT_EQ(get(archive, 1), "10");
  EXPECT_EQ(get_all(archive, 1), "10,20");
}

// Pinned 15.3.11
TEST_P(PrunableArchiveMulti, GivenSyncedItemsOfAnIndex_WhenReopened_ThenAllAreFound) {
  {
    ASSERT_OK_INTO(const auto archive, open());
    ASSERT_OK(put_multi(archive, 5, "a", "10"));
    ASSERT_OK(put_multi(archive, 5, "b", "20"));
    ASSERT_OK(put_multi(archive, 7, "c", "30"));
    ASSERT_OK(archive->sync());
  }
  storage_.lose_unsynced();

  ASSERT_OK_INTO(const auto archive, open());

  EXPECT_EQ(get(archive, "a"), "10");
  EXPECT_EQ(get(archive, "b"), "20");
  EXPECT_EQ(get(archive, "c"), "30");
  EXPECT_EQ(get_all(archive, 5), "10,20");
  EXPECT_EQ(archive->statistics().items_tracked, 2);
}

// Pinned 15.3.12
TEST_P(PrunableArchiveMulti, WhenPutAndPutMultiAreMixed_ThenAllAreFound) {
  ASSERT_OK_INTO(const auto archive, open());

  ASSERT_OK(put(archive, 1, "a", "100"));
  ASSERT_OK(put_multi(archive, 2, "b", "200"));
  ASSERT_OK(put_multi(archive, 2, "c", "201"));
  ASSERT_OK(put_multi(archive, 3, "d", "300"));

  EXPECT_EQ(get(archive, "a"), "100");
  EXPECT_EQ(get(archive, "b"), "200");
  EXPECT_EQ(get(archive, "c"), "201");
  EXPECT_EQ(get(archive, "d"), "300");
  EXPECT_EQ(get(archive, 2), "200");
  EXPECT_EQ(archive->next_gap(1), (IndexGap{3, std::nullopt}));
  EXPECT_EQ(archive->statistics().items_tracked, 3);
}

// Pinned 15.3.18
TEST_P(PrunableArchiveMulti, GivenItemsOfAnIndex_WhenPruned_ThenAllOfThemAreGone) {
  ASSERT_OK_INTO(const auto archive, open(1));
  ASSERT_OK(put_multi(archive, 1, "a", "10"));
  ASSERT_OK(put_multi(archive, 1, "b", "20"));
  ASSERT_OK(put_multi(archive, 3, "c", "30"));

  ASSERT_OK(archive->prune(3));

  EXPECT_EQ(get_all(archive, 1), "absent");
  EXPECT_EQ(get_all(archive, 3), "30");
}

// Pinned 15.3.19
TEST_P(PrunableArchiveMulti, GivenItemsOfAnIndex_WhenPruned_ThenCountsAreOfIndices) {
  ASSERT_OK_INTO(const auto archive, open(1));
  ASSERT_OK(put_multi(archive, 1, "a", "10"));
  ASSERT_OK(put_multi(archive, 1, "b", "20"));
  ASSERT_OK(put_multi(archive, 3, "c", "30"));
  EXPECT_EQ(archive->statistics().items_tracked, 2);

  ASSERT_OK(archive->prune(3));

  EXPECT_EQ(get(archive, "a"), "absent");
  EXPECT_EQ(get(archive, "b"), "absent");
  EXPECT_EQ(get(archive, "c"), "30");
  EXPECT_EQ(archive->statistics().items_tracked, 1);
  EXPECT_EQ(archive->statistics().indices_pruned, 1);
  EXPECT_THAT(put_multi(archive, 2, "d", "40"), FailsWith(Errc::pruned, "3"));
}

TEST_P(PrunableArchiveMulti, GivenItemsOfAnIndexOutOfOrder_WhenReopened_ThenOrderIsOfPuts) {
  const auto check = [](const Archive& archive) {
    EXPECT_EQ(get_all(archive, 8), "1,4,5");
    EXPECT_EQ(get_all(archive, 2), "2,3");
    EXPECT_EQ(get(archive, 2), "2");
    EXPECT_EQ(get(archive, "k5"), "5");
    EXPECT_EQ(archive->statistics().records, 5);
  };
  {
    ASSERT_OK_INTO(const auto archive, open(16));
    ASSERT_OK(put_multi(archive, 8, "k1", "1"));
    ASSERT_OK(put_multi(archive, 2, "k2", "2"));
    ASSERT_OK(put_multi(archive, 2, "k3", "3"));
    ASSERT_OK(put_multi(archive, 8, "k4", "4"));
    ASSERT_OK(put_multi(archive, 8, "k5", "5"));
    check(archive);
    ASSERT_OK(archive->close());
  }

  ASSERT_OK_INTO(const auto archive, open(16));

  check(archive);
}

TEST_P(PrunableArchiveMulti, GivenOneKeyTwiceAtOneIndex_WhenRead_ThenBothItemsAreThere) {
  ASSERT_OK_INTO(const auto archive, open());

  ASSERT_OK(put_multi(archive, 5, "same", "10"));
  ASSERT_OK(put_multi(archive, 5, "same", "20"));

  EXPECT_EQ(get_all(archive, 5), "10,20");
  EXPECT_THAT(get(archive, "same"), testing::AnyOf("10", "20"));
}

}  // namespace
}  // namespace firn
