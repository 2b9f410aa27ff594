// SPDX-License-Identifier: Apache-2.0
//
// Freezer: what the key journal tells of the table, with no manifest, or with one that does not
// help: records of a larger table, chains that leave records out or lead nowhere, keys and values
// that are damaged. No key is absent, and none gets another one's value.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::notes_of;
using freezer::put;
using freezer::RecordPlace;
using freezer::Store;
using freezer::write_journal;
using testing::HasSubstr;
using testkit::FailsWith;

constexpr uint64_t kChainedKeys = 40;

FreezerOptions chained_options(Engine engine, uint32_t table_size = 4) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 144;  // four records
  options.section_target_bytes = 1 << 20;
  options.table.initial_size = table_size;
  options.table.resize_frequency = 254;  // it does not double
  return freezer::with_engine(options, engine);
}

FreezerCheckpoint fill_and_close(Storage& storage, const FreezerOptions& options,
                                 uint64_t keys = kChainedKeys) {
  const auto opened = Freezer::open(storage, options);
  EXPECT_OK(opened);
  freezer::put_range(*opened, 0, keys);
  const auto checkpoint = (*opened)->close();
  EXPECT_OK(checkpoint);
  return checkpoint.value_or(FreezerCheckpoint());
}

// What is left: the journals.
void lose_manifest_and_table(Storage& storage) {
  ASSERT_OK(storage.remove_partition("manifest"));
  ASSERT_OK(storage.remove_partition("table"));
}

class FreezerChains : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerChains, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerChains, GivenRecordsOfALargerTable_WhenOnlyTheyAreLeft_ThenEveryKeyIsFound) {
  fill_and_close(storage_, chained_options(GetParam(), 256));
  lose_manifest_and_table(storage_);

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, chained_options(GetParam())));

  freezer::expect_range(freezer, 0, kChainedKeys);
  EXPECT_EQ(freezer::findings_of(freezer, storage_), "");
  EXPECT_GT(freezer->statistics().table_size, 32u) << "as long as 40 records alone would make it";
}

// A word whose key has a position of its own only in a table of more than 2^bits positions.
std::string word_beside(std::string_view other, unsigned bits) {
  const uint32_t hash = crc32c(freezer::test_key(other, 8));
  for (uint64_t i = 0;; ++i) {
    const std::string word = concat("w", i);
    const uint32_t differs = hash ^ crc32c(freezer::test_key(word, 8));
    if (differs != 0 && std::countr_zero(differs) == static_cast<int>(bits)) return word;
  }
}

TEST_P(FreezerChains, GivenRecordsOfAnImplausiblyLargeTable_WhenOpened_ThenFoundInMemoryOnly) {
  const std::string other = word_beside("word", 12);
  {
    ASSERT_OK_INTO(const Store freezer,
                   Freezer::open(storage_, chained_options(GetParam(), 1 << 13)));
    ASSERT_OK(put(freezer, "word", "1"));
    ASSERT_OK(put(freezer, other, "2"));
    ASSERT_OK(freezer->close());
  }
  lose_manifest_and_table(storage_);

  const auto opened = Freezer::open(storage_, chained_options(GetParam()));

  const std::string named =
      "record 1 of key section 0 (index/0000000000000000) leads to no record and leaves out "
      "record 0 of key section 0 (index/0000000000000000)";
  if (GetParam() != Engine::resident) {
    EXPECT_THAT(opened, FailsWith(Errc::corrupt, named));
    EXPECT_THAT(opened, FailsWith(Errc::corrupt, "Give more memory"));
    return;
  }
  ASSERT_OK(opened);
  EXPECT_THAT(notes_of(*opened), HasSubstr(named));
  EXPECT_EQ(get(*opened, "word"), "1");
  EXPECT_EQ(get(*opened, other), "2");
}

TEST_P(FreezerChains, GivenAChainThatLeadsBehindTheEndOfASection_WhenOpened_ThenFoundInMemoryOnly) {
  write_journal(storage_, {{"key0", std::nullopt, Section(0)},
                           {"key1", RecordPlace{Section(0), Position(77)}, Section(1)}});
  FreezerOptions options = chained_options(GetParam(), 1);
  options.page_size_bytes = 128;

  const auto opened = Freezer::open(storage_, options);

  const std::string named =
      "record 0 of key section 1 (index/0000000000000001) leads to record 77 of key section 0 "
      "(index/0000000000000000), which is not there before it";
  if (GetParam() != Engine::resident) {
    EXPECT_THAT(opened, FailsWith(Errc::corrupt, named));
    EXPECT_THAT(opened, FailsWith(Errc::corrupt, "Give more memory"));
    return;
  }
  ASSERT_OK(opened);
  EXPECT_THAT(notes_of(*opened), HasSubstr(named));
  EXPECT_EQ(get(*opened, "key0"), "0");
  EXPECT_EQ(get(*opened, "key1"), "1");
}

// Of the key journal. Its checksum is right: what its records say gives it away.
void put_page_into_the_place_of(MemoryStorage& storage, size_t from, size_t to) {
  constexpr size_t kStoredPageBytes = 144 + 12;
  const Bytes name = storage.scan("index")->front();
  Bytes raw = *storage.raw("index", name);
  const auto page = [&](size_t number) {
    return raw.begin() + static_cast<ptrdiff_t>(8 + number * kStoredPageBytes);
  };
  std::copy_n(page(from), kStoredPageBytes, page(to));
  storage.set_raw("index", name, raw);
}

TEST(FreezerPages, GivenAPageInThePlaceOfALaterOne_WhenOpenedInMemory_ThenToldAndNoKeyIsAbsent) {
  MemoryStorage storage;
  fill_and_close(storage, chained_options(Engine::resident));
  put_page_into_the_place_of(storage, 0, 2);

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, chained_options(Engine::resident)));

  EXPECT_THAT(notes_of(freezer), HasSubstr("refers to an earlier record's value"));
  for (uint64_t i = 0; i < kChainedKeys; ++i)
    EXPECT_THAT(get(freezer, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
  EXPECT_EQ(get(freezer, "key8"), "error: corrupt");
}

TEST(FreezerPages, GivenAPageInThePlaceOfAnEarlierOne_WhenOpenedInMemory_ThenToldOnce) {
  MemoryStorage storage;
  fill_and_close(storage, chained_options(Engine::resident));
  put_page_into_the_place_of(storage, 4, 0);

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, chained_options(Engine::resident)));

  const std::string notes = notes_of(freezer);
  const auto told = notes.find("refers to an earlier record's value");
  ASSERT_NE(told, std::string::npos) << notes;
  EXPECT_EQ(notes.find("refers to an earlier record's value", told + 1), std::string::npos);
}

TEST(FreezerPages,
     GivenADamagedKeyPageAndLittleMemory_WhenOpened_ThenNoFilterSaysThatAKeyIsAbsent) {
  MemoryStorage storage;
  FreezerOptions options = chained_options(Engine::on_disk);
  options.memory_budget_bytes = 1000;
  fill_and_close(storage, options);
  {
    ASSERT_OK_INTO(const Store whole, Freezer::open(storage, options));
    ASSERT_GT(whole->statistics().memory_bytes, 0u);
  }
  const Bytes name = storage.scan("index")->front();
  Bytes raw = *storage.raw("index", name);
  raw[8 + 5] ^= std::byte{1};
  storage.set_raw("index", name, raw);

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

  EXPECT_EQ(freezer->statistics().memory_bytes, 0u);
  for (uint64_t i = 0; i < kChainedKeys; ++i)
    EXPECT_THAT(get(freezer, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
  EXPECT_EQ(get(freezer, "key0"), "error: corrupt");
}

// ---- a checkpoint is given, and there is no manifest to say that the table is that of it

TEST(FreezerGivenTable, GivenACheckpointOfASmallerTable_WhenOpened_ThenTheTableIsMadeAnew) {
  MemoryStorage storage;
  FreezerOptions options = chained_options(Engine::on_disk, 256);
  options.checkpoint = fill_and_close(storage, options);
  ASSERT_OK(storage.remove_partition("manifest"));
  options.checkpoint->table_size = 16;

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

  EXPECT_THAT(notes_of(freezer), HasSubstr("written with a larger table; it was made anew"));
  freezer::expect_range(freezer, 0, kChainedKeys);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

TEST(FreezerGivenTable, GivenChainsThatLeaveARecordOut_WhenOpened_ThenRefused) {
  MemoryStorage storage;
  write_journal(storage, {{"one", {}}, {"one", {}}});
  freezer::set_table_bytes(storage, Bytes(freezer::kPairSizeBytes));
  FreezerOptions options = chained_options(Engine::on_disk, 1);
  options.page_size_bytes = 128;
  options.checkpoint = FreezerCheckpoint{
      .epoch = 1, .index_size_bytes = 2 * freezer::record_size_bytes(8), .table_size = 1};

  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::corrupt, "Give more memory"));
}

// The heads of the others are newer records, whose chains end before they get to the wanted one:
// also where that is the first one of all.
TEST(FreezerGivenTable, GivenTheNewestHeadEverywhere_WhenOpened_ThenEveryKeyIsFound) {
  for (const uint64_t keys : {uint64_t{2}, kChainedKeys}) {
    MemoryStorage storage;
    FreezerOptions options = chained_options(Engine::on_disk, 64);
    options.checkpoint = fill_and_close(storage, options, keys);
    ASSERT_OK(storage.remove_partition("manifest"));
    Bytes table = freezer::table_bytes(storage);
    for (size_t at = 0; at < table.size(); at += freezer::kPairSizeBytes) {
      const MutableByteSpan pair = MutableByteSpan(table).subspan(at, freezer::kPairSizeBytes);
      std::ranges::fill(pair, std::byte{0});
      freezer::encode_slot(pair.first(freezer::kSlotSizeBytes),
                           {.epoch = 1, .head = {Section(0), Position(keys - 1)}, .added = 1});
    }
    freezer::set_table_bytes(storage, table);

    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

    freezer::expect_range(freezer, 0, keys);
    EXPECT_THAT(notes_of(freezer), HasSubstr("does not lead to its newest record"));
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

// Larger than what is made, or compared, with one pass over the keys.
TEST(FreezerLargeTable, WhenRebuiltOrComparedWithTheKeys_ThenEveryKeyIsFound) {
  constexpr uint32_t kTwoWindows = 1 << 21;
  MemoryStorage storage;
  FreezerOptions options = chained_options(Engine::on_disk, kTwoWindows);
  fill_and_close(storage, options);
  options.access = FreezerAccess::rebuild;
  FreezerCheckpoint checkpoint;
  {
    ASSERT_OK_INTO(const Store rebuilt, Freezer::open(storage, options));
    freezer::expect_range(rebuilt, 0, kChainedKeys);
    EXPECT_EQ(rebuilt->statistics().table_size, kTwoWindows);
    ASSERT_OK_INTO(checkpoint, rebuilt->close());
  }
  ASSERT_OK(storage.remove_partition("manifest"));
  options.access = FreezerAccess::write;
  options.checkpoint = checkpoint;

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

  EXPECT_THAT(notes_of(freezer), testing::Not(HasSubstr("anew")));
  freezer::expect_range(freezer, 0, kChainedKeys);
}

// ---- no manifest: the journals say whether the geometry that is given is theirs

TEST_P(FreezerChains,
       GivenNoManifestAndADamagedKeyPage_WhenOpened_ThenTheOthersConfirmTheGeometry) {
  fill_and_close(storage_, chained_options(GetParam()));
  ASSERT_OK(storage_.remove_partition("manifest"));
  const Bytes name = storage_.scan("index")->front();
  Bytes raw = *storage_.raw("index", name);
  raw[8 + 5] ^= std::byte{1};
  storage_.set_raw("index", name, raw);

  const auto opened = Freezer::open(storage_, chained_options(GetParam()));

  if (GetParam() != Engine::resident) {
    EXPECT_THAT(opened, FailsWith(Errc::corrupt, "page 0")) << "the table cannot be made from it";
    return;
  }
  ASSERT_OK(opened);
  for (uint64_t i = 0; i < kChainedKeys; ++i)
    EXPECT_THAT(get(*opened, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
}

TEST_P(FreezerChains, GivenNoManifestAndNoIntactValue_WhenOpened_ThenRefusedAndNothingChanges) {
  constexpr uint64_t kMoreThanAreTried = 100;
  fill_and_close(storage_, chained_options(GetParam()), kMoreThanAreTried);
  ASSERT_OK(storage_.remove_partition("manifest"));
  const Bytes name = storage_.scan("values")->front();
  Bytes raw = *storage_.raw("values", name);
  for (size_t i = 8; i < raw.size(); ++i)
    raw[i] ^= std::byte{1};
  storage_.set_raw("values", name, raw);
  const Bytes keys = *storage_.raw("index", storage_.scan("index")->front());

  EXPECT_THAT(Freezer::open(storage_, chained_options(GetParam())),
              FailsWith(Errc::invalid_argument, "Nothing was changed"));

  EXPECT_EQ(storage_.raw("index", storage_.scan("index")->front()), keys);
  EXPECT_EQ(storage_.raw("values", name), raw);
}

// More records than a step of it takes are left of a doubling.
TEST(FreezerClose, GivenADoublingThatHasJustBegun_WhenClosed_ThenTheTableOnDiskHasAllKeys) {
  constexpr uint32_t kPositions = 1 << 14;
  constexpr uint64_t kKeys = 2 * kPositions + 1;
  MemoryStorage storage;
  const FreezerOptions options = chained_options(Engine::resident, kPositions);
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, kKeys);
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer,
                 Freezer::open(storage, chained_options(Engine::on_disk, kPositions)));
  EXPECT_EQ(freezer->statistics().table_size, 2 * kPositions);
  for (uint64_t i = 0; i < kKeys; i += 97)
    EXPECT_EQ(get(freezer, concat("key", i)), concat(i));
}

}  // namespace
}  // namespace firn
