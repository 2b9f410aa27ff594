// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: dropping the oldest items. "Pinned 15.3.N" numbers the behaviour of the original
// that a test keeps.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::get;
using archive::put;
using archive::shared_options;
using testkit::FailsWith;

PrunableArchiveOptions options_with(uint64_t items_per_section, KeyTranslator translator) {
  PrunableArchiveOptions options = shared_options();
  options.items_per_section = items_per_section;
  options.translator = translator;
  return options;
}

// Pinned 15.3.16
TEST(PrunableArchivePrune, WhenPruned_ThenOldItemsGoAndStaleTokensGoLater) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto archive,
                 PrunableArchive::open(storage, options_with(1, KeyTranslator::four_cap())));
  ASSERT_OK(put(archive, 1, "key1-blah", "1"));
  ASSERT_OK(put(archive, 2, "key2-blah", "2"));
  ASSERT_OK(put(archive, 3, "key3-blah", "3"));
  ASSERT_OK(put(archive, 4, "key3-bleh", "3b"));
  ASSERT_OK(put(archive, 5, "key4-blah", "4"));
  EXPECT_EQ(archive->statistics().items_tracked, 5);

  ASSERT_OK(archive->prune(3));

  EXPECT_EQ(get(archive, "key1-blah"), "absent");
  EXPECT_EQ(get(archive, "key2-blah"), "absent");
  EXPECT_EQ(get(archive, "key3-blah"), "3");
  EXPECT_EQ(get(archive, "key3-bleh"), "3b");
  EXPECT_EQ(get(archive, "key4-blah"), "4");
  EXPECT_EQ(archive->statistics().items_tracked, 3);
  EXPECT_EQ(archive->statistics().indices_pruned, 2);
  EXPECT_EQ(archive->statistics().tokens_pruned, 0);

  ASSERT_OK(archive->prune(2));
  ASSERT_OK(archive->prune(3));
  EXPECT_EQ(archive->statistics().indices_pruned, 2);
  EXPECT_THAT(put(archive, 1, "key1-blah", "1"), FailsWith(Errc::pruned, "3"));

  ASSERT_OK(put(archive, 6, "key2-blfh", "5"));
  EXPECT_EQ(get(archive, "key2-blfh"), "5");
  EXPECT_EQ(archive->statistics().items_tracked, 4);
  EXPECT_EQ(archive->statistics().indices_pruned, 2);
  EXPECT_EQ(archive->statistics().tokens_pruned, 1);
}

// Pinned 15.3.17
TEST(PrunableArchivePrune, GivenManyItems_WhenReopenedAndPruned_ThenTheNewerHalfIsFound) {
  constexpr uint64_t kItems = 5000;
  constexpr uint64_t kFirstKept = kItems / 2 / 256 * 256;
  MemoryStorage storage;
  Random random(15317);
  std::vector<std::pair<Bytes, Bytes>> items;
  const PrunableArchiveOptions options = options_with(256, KeyTranslator::two_cap());
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
    for (uint64_t index = 0; index < kItems; ++index) {
      items.emplace_back(random.bytes(64), random.bytes(1024));
      ASSERT_OK(archive->put(index, items.back().first, items.back().second));
    }
    for (uint64_t index = 0; index < kItems; ++index)
      ASSERT_EQ(archive::answer(archive->get(items[index].first)), as_text(items[index].second));
    EXPECT_EQ(archive->statistics().items_tracked, kItems);
    ASSERT_OK(archive->sync());
  }
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  for (uint64_t index = 0; index < kItems; ++index)
    ASSERT_EQ(archive::answer(archive->get(items[index].first)), as_text(items[index].second));

  ASSERT_OK(archive->prune(kItems / 2));

  for (uint64_t index = 0; index < kItems; ++index) {
    const bool gone = index < kFirstKept;
    ASSERT_EQ(archive::answer(archive->get(items[index].first)),
              gone ? "absent" : as_text(items[index].second));
    ASSERT_EQ(archive->next_gap(index),
              gone ? (IndexGap{std::nullopt, kFirstKept}) : (IndexGap{kItems - 1, std::nullopt}));
  }
  EXPECT_EQ(archive->statistics().items_tracked, kItems - kFirstKept);
  EXPECT_EQ(archive->statistics().indices_pruned, kFirstKept);
  EXPECT_EQ(archive->statistics().tokens_pruned, 0);
}

// The original forgets its boundary (16.4, weakness 3); ours is in the manifest.
TEST(PrunableArchivePrune, GivenPrunedArchive_WhenReopened_ThenBoundaryStillHolds) {
  for (const bool closed : {false, true}) {
    MemoryStorage storage;
    const auto options = options_with(4, KeyTranslator::four_cap());
    {
      ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
      for (uint64_t index = 0; index < 12; ++index)
        ASSERT_OK(put(archive, index, concat("key", index), concat(index)));
      ASSERT_OK(archive->prune(10));
      if (closed) {
        ASSERT_OK(archive->close());
      }
    }
    storage.lose_unsynced();

    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

    EXPECT_EQ(archive->oldest_allowed(), 8);
    EXPECT_THAT(put(archive, 7, "key7", "7"), FailsWith(Errc::pruned, "8"));
    EXPECT_EQ(get(archive, 7), "absent");
    EXPECT_EQ(get(archive, "key7"), "absent");
    EXPECT_EQ(get(archive, 8), "8");
    EXPECT_EQ(archive->ranges(), (std::vector<IndexRange>{{8, 11}}));
    EXPECT_EQ(archive->first_index(), 8);
    ASSERT_OK(archive->prune(8));
    EXPECT_EQ(archive->statistics().indices_pruned, 0);
  }
}

TEST(PrunableArchivePrune, GivenEverythingPruned_WhenReopened_ThenOldIndicesAreStillRefused) {
  MemoryStorage storage;
  const auto options = options_with(4, KeyTranslator::four_cap());
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
    ASSERT_OK(put(archive, 1, "key1", "1"));
    ASSERT_OK(archive->prune(400));
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

  EXPECT_EQ(archive->first_index(), std::nullopt);
  EXPECT_THAT(put(archive, 399, "key", "value"), FailsWith(Errc::pruned));
  EXPECT_OK(put(archive, 400, "key", "value"));
}

TEST(PrunableArchivePrune, GivenUnsyncedItems_WhenPruned_ThenTheRestIsDurable) {
  MemoryStorage storage;
  const auto options = options_with(4, KeyTranslator::four_cap());
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
    ASSERT_OK(put(archive, 1, "old", "1"));
    ASSERT_OK(put(archive, 9, "young", "9"));
    ASSERT_OK(archive->prune(8));
  }
  storage.lose_unsynced();

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

  EXPECT_EQ(get(archive, "old"), "absent");
  EXPECT_EQ(get(archive, "young"), "9");
}

TEST(PrunableArchivePrune, WhenBoundaryDoesNotMove_ThenNothingIsWritten) {
  MemoryStorage memory;
  testkit::LoggedStorage storage(memory);
  const auto options = options_with(4, KeyTranslator::four_cap());
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  ASSERT_OK(put(archive, 9, "key", "9"));
  ASSERT_OK(archive->prune(8));
  storage.clear_log();

  ASSERT_OK(archive->prune(8));
  ASSERT_OK(archive->prune(11));
  ASSERT_OK(archive->prune(0));

  EXPECT_EQ(storage.log(), std::vector<std::string>());
}

TEST(PrunableArchivePrune, WhenLargestIndexIsTheBoundary_ThenItsSectionStays) {
  MemoryStorage storage;
  const auto options = options_with(1, KeyTranslator::four_cap());
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  ASSERT_OK(put(archive, 0, "first", "a"));
  ASSERT_OK(put(archive, UINT64_MAX - 1, "but one", "y"));
  ASSERT_OK(put(archive, UINT64_MAX, "last", "z"));

  ASSERT_OK(archive->prune(UINT64_MAX));

  EXPECT_EQ(get(archive, "first"), "absent");
  EXPECT_EQ(get(archive, "but one"), "absent");
  EXPECT_EQ(get(archive, "last"), "z");
  EXPECT_EQ(archive->ranges(), (std::vector<IndexRange>{{UINT64_MAX, UINT64_MAX}}));
}

// The original keeps the tokens of what it pruned until a new key happens to share one (16.4,
// weakness 2). Ours are swept when they outnumber the live ones.
TEST(PrunableArchivePrune, GivenWindowThatMoves_WhenPrunedAgainAndAgain_ThenMemoryIsBounded) {
  MemoryStorage storage;
  PrunableArchiveOptions options = options_with(512, KeyTranslator::eight_cap());
  options.key_size_bytes = 8;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  uint64_t largest = 0;

  for (uint64_t index = 0; index < 100'000; ++index) {
    std::byte key[8];
    store_big_endian(key, index * 0x9E3779B97F4A7C15);
    ASSERT_OK(archive->put(index, key, as_bytes("v")));
    if (index % 4096 == 4095) {
      ASSERT_OK(archive->prune(index - 2048));
    }
    if (index % 1000 == 0) largest = std::max(largest, archive->statistics().memory_bytes);
  }

  EXPECT_GT(archive->statistics().tokens_pruned, 80'000);
  EXPECT_LT(largest, 1'000'000);  // all tokens would take 2,000,000
}

}  // namespace
}  // namespace firn
