// SPDX-License-Identifier: Apache-2.0
//
// Freezer: what errors and notes say. Of damage: what is wrong, where, and what to do; a table is
// made anew, everything else comes from a copy or is salvaged.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "firn/journal/section_name.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::findings_of;
using freezer::kPairSizeBytes;
using freezer::notes_of;
using freezer::put;
using freezer::Store;
using testing::AllOf;
using testing::HasSubstr;
using testkit::FailsWith;

constexpr uint64_t kAdvisedKeys = 40;
constexpr uint64_t kAdvisedPositions = 64;

FreezerOptions advised_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.page_cache_bytes = 0;
  options.table.initial_size = kAdvisedPositions;
  options.table.resize_frequency = 4;
  return freezer::with_engine(options, engine);
}

void make_advised_store(Storage& storage, Engine engine, std::string_view word = "key") {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, advised_options(engine)));
  for (uint64_t i = 0; i < kAdvisedKeys; ++i)
    ASSERT_OK(put(freezer, concat(word, i), concat(i)));
  ASSERT_OK(freezer->close());
}

class FreezerAdvice : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerAdvice, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerAdvice, GivenATableOfAnotherLength_WhenOpenedOrVerified_ThenBothLengthsAreSaid) {
  constexpr uint64_t kLength = kAdvisedPositions * kPairSizeBytes;
  for (const uint64_t length :
       {uint64_t{0}, kLength - 1, kLength + 1, kLength * 2 - 1, kLength * 2 + 1}) {
    SCOPED_TRACE(length);
    const auto is_said = AllOf(HasSubstr(concat("the table table/7461626c65 is ",
                                                length < kLength ? "shorter" : "longer", " than")),
                               HasSubstr(concat(length, " bytes instead of ", kLength)));
    for (const Engine engine : {Engine::resident, Engine::on_disk}) {
      MemoryStorage storage;
      make_advised_store(storage, GetParam());
      Bytes table = freezer::table_bytes(storage);
      table.resize(length, std::byte{0x11});
      freezer::set_table_bytes(storage, table);
      FreezerOptions options = advised_options(engine);
      {
        options.access = FreezerAccess::read_only;
        ASSERT_OK_INTO(const Store reader, Freezer::open(storage, options));
        freezer::expect_range(reader, 0, kAdvisedKeys);
        EXPECT_THAT(findings_of(reader, storage),
                    AllOf(is_said, HasSubstr("firn freezer rebuild STORE")));
      }
      options.access = FreezerAccess::write;
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      EXPECT_THAT(notes_of(freezer), is_said);
      freezer::expect_range(freezer, 0, kAdvisedKeys);
      ASSERT_OK(freezer->close());
      ASSERT_OK_INTO(const Store again, Freezer::open(storage, options));
      EXPECT_EQ(findings_of(again, storage) + notes_of(again), "");
    }
  }
}

TEST_P(FreezerAdvice, GivenNoTable_WhenOpenedOrVerified_ThenItIsSaidToBeMissing) {
  make_advised_store(storage_, GetParam());
  ASSERT_OK(storage_.remove_partition("table"));
  const auto is_said = AllOf(HasSubstr("the table table/7461626c65 is missing"),
                             HasSubstr("firn freezer rebuild STORE"));

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, advised_options(Engine::resident)));

  EXPECT_THAT(notes_of(freezer), is_said);
  EXPECT_THAT(findings_of(freezer, storage_), is_said);
}

// What a close on disk leaves when it has just begun to double.
TEST_P(FreezerAdvice, GivenATableOfTwiceTheLength_WhenOpenedAndVerified_ThenAllIsWell) {
  make_advised_store(storage_, GetParam());
  Bytes table = freezer::table_bytes(storage_);
  table.resize(table.size() * 2);
  freezer::set_table_bytes(storage_, table);
  for (const Engine engine : freezer::kEngines) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, advised_options(engine)));
    EXPECT_EQ(notes_of(freezer) + findings_of(freezer, storage_), "");
    freezer::expect_range(freezer, 0, kAdvisedKeys);
    ASSERT_OK(freezer->close());
  }
}

// Every use of a store whose key journal or values are damaged either works, or names the file and
// says what to do.
TEST_P(FreezerAdvice, GivenDamagedKeysOrValues_WhenUsed_ThenEveryErrorSaysWhereAndWhatToDo) {
  using Change = std::function<void(Bytes & raw)>;
  const std::vector<Change> changes = {
      [](Bytes& raw) { raw.pop_back(); },
      [](Bytes& raw) { raw.resize(raw.size() / 2); },
      [](Bytes& raw) { raw.resize(8); },
      [](Bytes& raw) { raw.resize(3); },
      [](Bytes& raw) { raw[1] ^= std::byte{4}; },
      [](Bytes& raw) { raw[8 + 3] ^= std::byte{4}; },
      [](Bytes& raw) { raw.clear(); },
  };
  const auto advises = AllOf(FailsWith(Errc::corrupt, "firn salvage SRC DST"),
                             FailsWith(Errc::corrupt, "/0000000000000000"));
  for (const std::string_view partition : {"index", "values"}) {
    for (size_t i = 0; i <= changes.size(); ++i) {
      SCOPED_TRACE(concat(partition, " ", i));
      MemoryStorage storage;
      make_advised_store(storage, GetParam());
      ASSERT_OK_INTO(const auto names, storage.scan(partition));
      if (i == changes.size()) {
        ASSERT_OK(storage.remove_partition(partition));
      } else {
        Bytes raw = *storage.raw(partition, names[0]);
        changes[i](raw);
        storage.set_raw(partition, names[0], raw);
      }
      for (const FreezerAccess access :
           {FreezerAccess::read_only, FreezerAccess::rebuild, FreezerAccess::write}) {
        FreezerOptions options = advised_options(GetParam());
        options.access = access;
        const auto opened = Freezer::open(storage, options);
        if (!opened) {
          EXPECT_THAT(opened, advises);
          continue;
        }
        uint64_t failures = 0;
        for (uint64_t key = 0; key < kAdvisedKeys; ++key) {
          const auto value = (*opened)->get(freezer::test_key(concat("key", key), 8));
          if (value) continue;
          ++failures;
          EXPECT_THAT(value, advises);
        }
        EXPECT_GT(failures, 0);
        // From disk neither looks at the damaged page.
        if (access == FreezerAccess::write && GetParam() == Engine::resident &&
            partition == "index") {
          EXPECT_THAT(put(*opened, "new", "1"), advises);
          EXPECT_THAT((*opened)->rebuild_table(), advises);
        }
      }
    }
  }
}

TEST_P(FreezerAdvice, GivenShorterValues_WhenPut_ThenRefusedWithAdvice) {
  make_advised_store(storage_, GetParam());
  ASSERT_OK_INTO(const auto names, storage_.scan("values"));
  Bytes raw = *storage_.raw("values", names[0]);
  raw.pop_back();
  storage_.set_raw("values", names[0], raw);
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, advised_options(GetParam())));

  EXPECT_THAT(put(freezer, "new", "1"), FailsWith(Errc::corrupt, "firn salvage SRC DST"));
}

// Files of another store beside this one's manifest.
TEST_P(FreezerAdvice, GivenTheTableOfAnotherStore_WhenVerified_ThenItSaysSo) {
  MemoryStorage other;
  make_advised_store(storage_, GetParam());
  make_advised_store(other, GetParam(), "other");
  freezer::set_table_bytes(storage_, freezer::table_bytes(other));
  FreezerOptions options = advised_options(Engine::resident);
  options.access = FreezerAccess::read_only;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  freezer::expect_range(freezer, 0, kAdvisedKeys);

  RecoveryLog findings(storage_, true);
  ASSERT_OK(freezer->verify(FreezerDepth::values, findings, [](uint64_t) {}));

  ASSERT_FALSE(findings.report().notes.empty());
  EXPECT_THAT(findings.report().notes[0], HasSubstr("that of another store"));
}

// It has as many records, and every checksum holds. A pair that cannot be read says nothing.
TEST(FreezerAdviceOfFiles, GivenTheKeysOfAnotherStore_WhenOpened_ThenRefusedUntilRebuilt) {
  const Bytes section = journal::section_name(Section(0));
  for (const std::string_view word : {"a", "b", "c", "d", "e", "f"}) {
    MemoryStorage storage;
    MemoryStorage other;
    make_advised_store(storage, Engine::resident);
    make_advised_store(other, Engine::resident, word);
    storage.set_raw("index", section, *other.raw("index", section));
    if (word == "b") freezer::set_table_bytes(storage, freezer::table_bytes(other));
    if (word == "c") {
      Bytes table = freezer::table_bytes(storage);
      std::fill_n(table.begin(), kPairSizeBytes, std::byte{0x5A});
      freezer::set_table_bytes(storage, table);
    }
    FreezerOptions options = advised_options(Engine::resident);
    for (const FreezerAccess access : {FreezerAccess::read_only, FreezerAccess::write}) {
      options.access = access;
      EXPECT_THAT(Freezer::open(storage, options),
                  FailsWith(Errc::corrupt, "there are files of another store"));
    }
    options.access = FreezerAccess::rebuild;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    ASSERT_OK(freezer->close());
    options.access = FreezerAccess::write;
    EXPECT_OK(Freezer::open(storage, options));
  }
}

// So much of a table is not read: that the manifest alone is another one is not noticed there.
TEST(FreezerAdviceOfFiles, GivenALargeTable_WhenKeysAndTableAreAnotherStores_ThenItOpens) {
  MemoryStorage storage;
  MemoryStorage other;
  for (auto& [written, word] : {std::pair(&storage, "key"), std::pair(&other, "KEY")}) {
    FreezerOptions options = advised_options(Engine::resident);
    options.table.initial_size = 1 << 17;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(*written, options));
    ASSERT_OK(put(freezer, word, "value"));
    ASSERT_OK(freezer->close());
  }
  const Bytes section = journal::section_name(Section(0));
  storage.set_raw("index", section, *other.raw("index", section));
  freezer::set_table_bytes(storage, freezer::table_bytes(other));
  FreezerOptions options = advised_options(Engine::resident);
  options.table = {};
  options.access = FreezerAccess::read_only;

  EXPECT_OK(Freezer::open(storage, options));
}

// When a table on disk has just doubled, chains begin with newer records of the other half.
TEST(FreezerAdviceOfFiles, GivenATableWithLongerChains_WhenOpenedInMemory_ThenTheKeysAreTheOnes) {
  for (uint64_t keys = 1; keys <= kAdvisedKeys; ++keys) {
    SCOPED_TRACE(keys);
    MemoryStorage storage;
    FreezerOptions options = advised_options(Engine::on_disk);
    options.table.initial_size = 2;
    options.table.resize_frequency = 1;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      for (uint64_t i = 0; i < keys; ++i)
        ASSERT_OK(put(freezer, concat("key", i), concat(i)));
      ASSERT_OK(freezer->close());
    }
    options = advised_options(Engine::resident);
    options.table = {};
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::expect_range(freezer, 0, keys);
  }
}

}  // namespace
}  // namespace firn
