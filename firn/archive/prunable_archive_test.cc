// SPDX-License-Identifier: Apache-2.0
//
// What an archive answers: one item an index. "Pinned 15.3.N" numbers the behaviour of the
// original that a test keeps.
#include "firn/archive/prunable_archive.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::answer;
using archive::get;
using archive::key_of;
using archive::put;
using archive::shared_options;
using testkit::FailsWith;

// With and without compression.
class PrunableArchiveAnswers : public testing::TestWithParam<std::optional<int>> {
 protected:
  [[nodiscard]] PrunableArchiveOptions options() const { return shared_options(GetParam()); }

  MemoryStorage storage_;
};

INSTANTIATE_TEST_SUITE_P(Compression, PrunableArchiveAnswers,
                         testing::Values(std::nullopt, std::optional(3)),
                         [](const auto& tested) { return tested.param ? "Zstd" : "Plain"; });

// Pinned 15.3.1
TEST_P(PrunableArchiveAnswers, WhenItemIsPut_ThenItIsFoundByIndexAndByKey) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));
  EXPECT_EQ(answer(archive->contains(1)), "absent");
  EXPECT_EQ(answer(archive->contains(key_of("testkey"))), "absent");

  ASSERT_OK(put(archive, 1, "testkey", "1"));

  EXPECT_EQ(answer(archive->contains(1)), "present");
  EXPECT_EQ(answer(archive->contains(key_of("testkey"))), "present");
  EXPECT_EQ(get(archive, 1), "1");
  EXPECT_EQ(get(archive, "testkey"), "1");
  EXPECT_OK(archive->sync());
  const ArchiveStatistics statistics = archive->statistics();
  EXPECT_EQ(statistics.items_tracked, 1);
  EXPECT_EQ(statistics.has, 4);
  EXPECT_EQ(statistics.gets, 2);
  EXPECT_EQ(statistics.unnecessary_reads, 0);
  EXPECT_EQ(statistics.syncs, 1);
}

// Pinned 15.3.2
TEST_P(PrunableArchiveAnswers, WhenIndexIsPutAgain_ThenFirstValueStays) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));

  ASSERT_OK_INTO(const PutOutcome first, put(archive, 1, "duplicate", "1"));
  ASSERT_OK_INTO(const PutOutcome second, put(archive, 1, "duplicate", "2"));

  EXPECT_EQ(first, PutOutcome::added);
  EXPECT_EQ(second, PutOutcome::already_present);
  EXPECT_EQ(get(archive, 1), "1");
  EXPECT_EQ(get(archive, "duplicate"), "1");
  EXPECT_EQ(archive->statistics().records, 1);
}

// Pinned 15.3.3
TEST_P(PrunableArchiveAnswers, WhenIndexOrKeyIsAbsent_ThenNothingIsFound) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));

  EXPECT_EQ(get(archive, 10), "absent");
  EXPECT_EQ(get(archive, "nonexistent"), "absent");
  EXPECT_EQ(archive->statistics().gets, 2);
}

// Pinned 15.3.4
TEST_P(PrunableArchiveAnswers, GivenSyncedItems_WhenPowerIsLost_ThenAllAreFound) {
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));
    for (uint64_t i = 1; i <= 3; ++i)
      ASSERT_OK(put(archive, i, concat("key", i), concat(i)));
    ASSERT_OK(archive->sync());
  }

  storage_.lose_unsynced();
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));

  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(get(archive, i), concat(i));
    EXPECT_EQ(get(archive, concat("key", i)), concat(i));
  }
}

// Pinned 15.3.5
TEST_P(PrunableArchiveAnswers, GivenIndicesWithGaps_WhenReopened_ThenGapsAreKnown) {
  Random random(15305);
  std::vector<uint64_t> indices = {random.below(10)};
  while (indices.size() < 100)
    indices.push_back(indices.back() + random.between(1, 10));
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));
    for (const uint64_t index : indices)
      ASSERT_OK(archive->put(index, random.bytes(archive::kTestKeySizeBytes), as_bytes("value")));
    ASSERT_OK(archive->sync());
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));

  for (uint64_t index = 0; index <= indices.back() + 2; ++index) {
    IndexGap expected;
    const bool present = std::ranges::binary_search(indices, index);
    if (present) {
      expected.current_end = index;
      while (std::ranges::binary_search(indices, *expected.current_end + 1))
        ++*expected.current_end;
    }
    const auto next = std::ranges::upper_bound(indices, expected.current_end.value_or(index));
    if (next != indices.end()) expected.next_start = *next;
    EXPECT_EQ(archive->next_gap(index), expected) << index;
  }
}

// Puts 1,000 items, syncs at random, and reopens. Returns what the storage was asked to do.
std::vector<std::string> run_random_items(MemoryStorage& memory,
                                          const PrunableArchiveOptions& options) {
  testkit::LoggedStorage storage(memory);
  Random random(15306);
  std::map<Bytes, std::pair<uint64_t, Bytes>> model;
  {
    auto opened = PrunableArchive::open(storage, options);
    EXPECT_OK(opened);
    const auto archive = std::move(*opened);
    for (uint64_t index = 0; index < 1000; ++index) {
      const Bytes key = random.bytes(archive::kTestKeySizeBytes);
      const Bytes value = random.bytes(random.below(200));
      model[key] = {index, value};
      EXPECT_OK(archive->put(index, key, value));
      if (!random.one_in(10)) continue;
      EXPECT_OK(archive->sync());
    }
    EXPECT_OK(archive->sync());
  }
  auto reopened = PrunableArchive::open(storage, options);
  EXPECT_OK(reopened);
  for (const auto& [key, item] : model) {
    EXPECT_EQ(answer((*reopened)->get(key)), as_text(item.second));
    EXPECT_EQ(answer((*reopened)->get(item.first)), as_text(item.second));
  }
  return storage.log();
}

// Pinned 15.3.6
TEST_P(PrunableArchiveAnswers, GivenManyRandomItems_WhenReopened_ThenAllAreFoundAndRunsAreEqual) {
  MemoryStorage other;

  const std::vector<std::string> first = run_random_items(storage_, options());
  const std::vector<std::string> second = run_random_items(other, options());

  EXPECT_EQ(first, second);
  // The manifest holds the store's random name.
  EXPECT_EQ(archive::visible_files(storage_, false), archive::visible_files(other, false));
}

TEST_P(PrunableArchiveAnswers, GivenEdgeIndices_WhenReopened_ThenTheyAreFound) {
  PrunableArchiveOptions odd = options();
  odd.items_per_section = 7;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, odd));
    ASSERT_OK(put(archive, UINT64_MAX, "last", "the last"));
    ASSERT_OK(put(archive, 0, "first", "the first"));
    ASSERT_OK(put(archive, 9, "empty", ""));
    ASSERT_OK(archive->sync());
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, odd));

  EXPECT_EQ(get(archive, UINT64_MAX), "the last");
  EXPECT_EQ(get(archive, "last"), "the last");
  EXPECT_EQ(get(archive, 0), "the first");
  EXPECT_EQ(get(archive, "first"), "the first");
  EXPECT_EQ(get(archive, 9), "");
  EXPECT_EQ(get(archive, "empty"), "");
  EXPECT_EQ(archive->first_index(), 0);
  EXPECT_EQ(archive->last_index(), UINT64_MAX);
  EXPECT_EQ(archive->next_gap(UINT64_MAX), (IndexGap{UINT64_MAX, std::nullopt}));
  EXPECT_EQ(archive->missing_items(0, 3), (std::vector<uint64_t>{1, 2, 3}));
}

TEST_P(PrunableArchiveAnswers, WhenValuesComeInParts_ThenTheyAreReadAsOne) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));
  const std::array<ByteSpan, 4> parts = {as_bytes("a"), ByteSpan(), as_bytes("value "),
                                         as_bytes("in parts")};

  ASSERT_OK(archive->put(1, key_of("key"), parts));

  EXPECT_EQ(get(archive, 1), "avalue in parts");
  ASSERT_OK(archive->sync());
  EXPECT_EQ(get(archive, "key"), "avalue in parts");
}

TEST_P(PrunableArchiveAnswers, WhenKeyHasWrongLength_ThenItIsRefused) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));

  for (const size_t size : std::array<size_t, 5>{0, 1, 63, 65, 4096}) {
    const Bytes key(size);
    EXPECT_THAT(archive->put(1, key, as_bytes("value")), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(archive->put_multi(1, key, as_bytes("value")), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(archive->get(key), FailsWith(Errc::invalid_argument, "64"));
    EXPECT_THAT(archive->contains(key), FailsWith(Errc::invalid_argument));
    const ByteSpan span(key);
    EXPECT_THAT(archive->get_many(std::span(&span, 1)).front(), FailsWith(Errc::invalid_argument));
  }

  EXPECT_EQ(archive->statistics().records, 0);
  EXPECT_OK(put(archive, 1, "key", "value"));
}

// Indices 3, 4, 5, 9 and 20, put out of order, section size 4; two items at 4.
Result<std::unique_ptr<PrunableArchive>> make_scattered(Storage& storage,
                                                        PrunableArchiveOptions options) {
  options.items_per_section = 4;
  TRY_INTO(auto archive, PrunableArchive::open(storage, options));
  for (const uint64_t index : std::array<uint64_t, 5>{9, 4, 20, 3, 5})
    TRY(put(archive, index, concat("key", index), concat(index)));
  TRY(archive::put_multi(archive, 4, "another4", "4b"));
  return archive;
}

TEST_P(PrunableArchiveAnswers, WhenManyAreAskedFor_ThenAnswersComeInOrder) {
  ASSERT_OK_INTO(const auto archive, make_scattered(storage_, options()));
  const std::array<uint64_t, 6> indices = {20, 4, 7, UINT64_MAX, 3, 4};
  const std::array<Bytes, 4> keys = {key_of("key9"), key_of("nothing"), key_of("another4"),
                                     key_of("key4")};
  const std::array<ByteSpan, 5> spans = {keys[0], keys[1], keys[2], keys[3], as_bytes("short")};

  const auto by_index = archive->get_many(indices);
  const auto by_key = archive->get_many(spans);

  std::vector<std::string> index_answers;
  for (const auto& one : by_index)
    index_answers.push_back(answer(one));
  std::vector<std::string> key_answers;
  for (const auto& one : by_key)
    key_answers.push_back(answer(one));
  EXPECT_EQ(index_answers, (std::vector<std::string>{"20", "4", "absent", "absent", "3", "4"}));
  EXPECT_EQ(key_answers,
            (std::vector<std::string>{"9", "absent", "4b", "4", "error: invalid argument"}));
  EXPECT_EQ(archive->statistics().gets, 11);
}

std::string visited(const PrunableArchive& archive, uint64_t first, uint64_t last, bool reverse,
                    size_t limit = SIZE_MAX) {
  std::string text;
  const Status status = archive.visit(first, last, reverse, [&](const ArchiveItem& item) {
    const auto value = archive.read_value(item);
    text += concat(item.index, "=", value ? as_text(value->bytes()) : "error", " ");
    return --limit > 0;
  });
  return status ? text : concat("error: ", errc_name(status.error().code));
}

TEST_P(PrunableArchiveAnswers, WhenRangeIsVisited_ThenItemsComeInOrder) {
  ASSERT_OK_INTO(const auto archive, make_scattered(storage_, options()));

  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, false), "3=3 4=4 4=4b 5=5 9=9 20=20 ");
  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, true), "20=20 9=9 5=5 4=4 4=4b 3=3 ");
  EXPECT_EQ(visited(*archive, 4, 9, false), "4=4 4=4b 5=5 9=9 ");
  EXPECT_EQ(visited(*archive, 4, 9, true), "9=9 5=5 4=4 4=4b ");
  EXPECT_EQ(visited(*archive, 6, 8, false), "");
  EXPECT_EQ(visited(*archive, 9, 4, false), "");
  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, false, 3), "3=3 4=4 4=4b ");
  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, true, 1), "20=20 ");
}

TEST_P(PrunableArchiveAnswers, GivenItemsAtBothEnds_WhenVisited_ThenEachComesOnce) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, options()));
  ASSERT_OK(put(archive, 0, "first", "a"));
  ASSERT_OK(put(archive, UINT64_MAX, "last", "z"));

  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, false), concat("0=a ", UINT64_MAX, "=z "));
  EXPECT_EQ(visited(*archive, 0, UINT64_MAX, true), concat(UINT64_MAX, "=z 0=a "));
}

TEST_P(PrunableArchiveAnswers, WhenIndicesAreAskedFor_ThenGapsAndRangesAreRight) {
  ASSERT_OK_INTO(const auto archive, make_scattered(storage_, options()));

  EXPECT_EQ(archive->missing_items(0, 6), (std::vector<uint64_t>{0, 1, 2, 6, 7, 8}));
  EXPECT_EQ(archive->missing_items(10, 100).size(), 10);
  EXPECT_EQ(archive->missing_items(21, 5), std::vector<uint64_t>());
  EXPECT_EQ(archive->ranges(), (std::vector<IndexRange>{{3, 5}, {9, 9}, {20, 20}}));
  EXPECT_EQ(archive->ranges(4, 2), (std::vector<IndexRange>{{3, 5}, {9, 9}}));
  EXPECT_EQ(archive->next_index(0), 3);
  EXPECT_EQ(archive->next_index(4), 4);
  EXPECT_EQ(archive->next_index(21), std::nullopt);
  EXPECT_EQ(archive->previous_index(8), 5);
  EXPECT_EQ(archive->previous_index(2), std::nullopt);
  EXPECT_EQ(archive->previous_index(UINT64_MAX), 20);
}

// Pinned 15.3.14
TEST(PrunableArchive, GivenTwoKeysOfOneToken_WhenBothAreRead_ThenOneReadIsUnnecessary) {
  MemoryStorage storage;
  PrunableArchiveOptions options = shared_options();
  options.translator = KeyTranslator::four_cap();
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

  ASSERT_OK(put(archive, 1, "keys1", "1"));
  ASSERT_OK(put(archive, 2, "keys2", "2"));

  EXPECT_EQ(get(archive, "keys1"), "1");
  EXPECT_EQ(get(archive, "keys2"), "2");
  const ArchiveStatistics statistics = archive->statistics();
  EXPECT_EQ(statistics.items_tracked, 2);
  EXPECT_EQ(statistics.unnecessary_reads, 1);
  EXPECT_EQ(statistics.gets, 2);
}

// Pinned 15.3.15
TEST(PrunableArchive, GivenTwoKeysOfOneTokenInDistantSections_WhenBothAreRead_ThenBothAreFound) {
  MemoryStorage storage;
  PrunableArchiveOptions options = shared_options();
  options.translator = KeyTranslator::four_cap();
  options.items_per_section = 65536;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

  ASSERT_OK(put(archive, 1, "keys1", "1"));
  ASSERT_OK(put(archive, 2'000'000, "keys2", "2"));

  EXPECT_EQ(get(archive, "keys1"), "1");
  EXPECT_EQ(get(archive, "keys2"), "2");
  EXPECT_EQ(archive->statistics().items_tracked, 2);
}

TEST(PrunableArchive, WhenPresenceIsAsked_ThenNoValueIsRead) {
  MemoryStorage memory;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(memory, shared_options()));
    ASSERT_OK(put(archive, 1, "key", "value"));
    ASSERT_OK(archive->close());
  }
  const Bytes section(8);
  auto content = memory.raw("values", section);
  ASSERT_TRUE(content);
  content->at(8) ^= std::byte{1};  // whoever reads the value fails
  memory.set_raw("values", section, *content);

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(memory, shared_options()));

  EXPECT_EQ(answer(archive->contains(1)), "present");
  EXPECT_EQ(answer(archive->contains(key_of("key"))), "present");
  EXPECT_EQ(answer(archive->contains(key_of("kez"))), "absent");
  EXPECT_EQ(get(archive, 1), "error: corrupt");
  EXPECT_EQ(get(archive, "key"), "error: corrupt");
  EXPECT_EQ(archive->statistics().gets, 2);
}

TEST(PrunableArchive, WhenClosed_ThenChangesAreRefusedAndReopenIsClean) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, shared_options()));
  ASSERT_OK(put(archive, 1, "key", "value"));

  ASSERT_OK(archive->close());

  EXPECT_THAT(put(archive, 2, "other", "value"), FailsWith(Errc::invalid_argument, "closed"));
  EXPECT_THAT(put(archive, 1, "key", "value"), FailsWith(Errc::invalid_argument, "closed"));
  EXPECT_OK(archive->close());
  archive.reset();
  ASSERT_OK_INTO(archive, PrunableArchive::open(storage, shared_options()));
  EXPECT_TRUE(archive->recovery().was_clean);
  EXPECT_EQ(get(archive, 1), "value");
}

TEST(PrunableArchive, WhenDestroyed_ThenNothingIsLeft) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));
  ASSERT_OK(put(archive, 1, "key", "value"));
  ASSERT_OK(archive->close());
  {
    PrunableArchiveOptions options = shared_options();
    options.access = ArchiveAccess::read_only;
    ASSERT_OK_INTO(const auto reader, PrunableArchive::open(storage, options));
    EXPECT_THAT(reader->destroy(), FailsWith(Errc::invalid_argument, "read-only"));
    EXPECT_EQ(get(reader, 1), "value") << "it goes on";
    ASSERT_OK(reader->close());
  }
  ASSERT_OK_INTO(const auto again, PrunableArchive::open(storage, shared_options()));

  ASSERT_OK(again->destroy());

  ASSERT_OK_INTO(const auto partitions, storage.partitions());
  EXPECT_EQ(partitions, std::vector<std::string>());
}

}  // namespace
}  // namespace firn
