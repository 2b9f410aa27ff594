// SPDX-License-Identifier: Apache-2.0
//
// Freezer: bad input. Whatever the table, the manifest, the options or a checkpoint say, the answer
// is the value, or an error that tells what to do; never an abort, an endless loop, or data of
// another key.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/freezer_test_support.h"
#include "firn/io/page_record.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::kPairSizeBytes;
using freezer::put;
using freezer::Store;
using testkit::FailsWith;

constexpr uint64_t kKeys = 40;

FreezerCheckpoint make_store(Storage& storage, Engine engine) {
  auto opened = Freezer::open(storage, short_section_options(engine));
  EXPECT_OK(opened);
  const Store freezer = std::move(*opened);
  freezer::put_range(freezer, 0, kKeys / 2);
  EXPECT_OK(freezer->sync());
  freezer::put_range(freezer, kKeys / 2, kKeys);
  const auto checkpoint = freezer->close();
  EXPECT_OK(checkpoint);
  return *checkpoint;
}

// Every key has its value, or an error.
void expect_no_wrong_answer(const Store& freezer) {
  for (uint64_t i = 0; i < kKeys; ++i)
    EXPECT_THAT(get(freezer, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
}

class FreezerDamage : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerDamage, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST(FreezerOptionsTest, GivenImpossibleOptions_WhenOpened_ThenRefusedAndNothingIsMade) {
  const auto refused = [](const std::function<void(FreezerOptions&)>& change,
                          std::string_view message) {
    MemoryStorage storage;
    FreezerOptions options;
    change(options);
    EXPECT_THAT(Freezer::open(storage, options),
                FailsWith(Errc::invalid_argument, std::string(message)));
    EXPECT_TRUE(storage.partitions()->empty());
  };
  using Options = FreezerOptions;
  refused([](Options& options) { options.table.initial_size = 0; }, "table size 0");
  refused([](Options& options) { options.table.initial_size = 12; }, "power of two");
  refused([](Options& options) { options.table.initial_size = UINT32_MAX; }, "table size");
  refused([](Options& options) { options.table.initial_size = 1 << 28; }, "table size 268435456");
  refused([](Options& options) { options.page_cache_bytes = SIZE_MAX; }, "page cache");
  refused([](Options& options) { options.write_buffer_bytes = SIZE_MAX; }, "write buffer");
  refused([](Options& options) { options.table.resize_frequency = 0; }, "resize frequency 0");
  refused([](Options& options) { options.table.resize_frequency = 255; }, "resize frequency 255");
  refused([](Options& options) { options.table.resize_chunk = 0; }, "resize chunk 0");
  refused([](Options& options) { options.key_size_bytes = 0; }, "key size 0");
  refused([](Options& options) { options.key_size_bytes = 1025; }, "key size 1025");
  refused([](Options& options) { options.page_size_bytes = 65536; }, "page size 65536");
  refused([](Options& options) { options.compression_level = 1000; }, "compression level");
  refused([](Options& options) { options.partitions.table = "index"; }, "share");
  refused([](Options& options) { options.partitions.values = "manifest"; }, "firn's own");
  refused([](Options& options) { options.partitions.table = "LOCK"; }, "firn's own");
  refused([](Options& options) { options.checkpoint = FreezerCheckpoint{.table_size = 12}; },
          "power of two");
}

TEST(FreezerOptionsTest, GivenACheckpoint_WhenThereIsNoStore_ThenNoneIsMade) {
  MemoryStorage storage;
  FreezerOptions options;
  options.checkpoint = FreezerCheckpoint{.epoch = 1, .index_size_bytes = 60, .table_size = 4};
  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::not_found));
  EXPECT_TRUE(storage.partitions()->empty());

  options.checkpoint = FreezerCheckpoint();
  EXPECT_OK(Freezer::open(storage, options));
}

TEST(FreezerOptionsTest, GivenLargestOptions_WhenUsed_ThenTheyWork) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.table.initial_size = 1;
  options.table.resize_frequency = 254;
  options.table.resize_chunk = UINT32_MAX;
  options.key_size_bytes = 1024;
  options.section_target_bytes = 0;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
  freezer::put_range(freezer, 0, 3);
  EXPECT_EQ(freezer->log().oldest_section(), Section(1));
  ASSERT_OK(freezer->close());
  freezer.reset();
  ASSERT_OK_INTO(freezer, Freezer::open(storage, options));
  freezer::expect_range(freezer, 0, 3);
}

TEST(FreezerOptionsTest, GivenAnImmediateTable_WhenThereIsMemoryForIt_ThenItIsWrittenWithEachPut) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.memory_budget_bytes = 64 << 20;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  const Bytes before = freezer::table_bytes(storage);

  ASSERT_OK(put(freezer, "key", "1"));

  EXPECT_FALSE(freezer->statistics().resident);
  EXPECT_NE(freezer::table_bytes(storage), before);
}

TEST_P(FreezerDamage, GivenAStore_WhenOpenedWithOtherGeometry_ThenRefusedAndNothingChanges) {
  make_store(storage_, GetParam());
  const auto refused = [&](const std::function<void(FreezerOptions&)>& change) {
    FreezerOptions options = short_section_options(GetParam());
    change(options);
    EXPECT_THAT(Freezer::open(storage_, options), FailsWith(Errc::invalid_argument));
  };
  refused([](FreezerOptions& options) { options.key_size_bytes = 9; });
  refused([](FreezerOptions& options) { options.page_size_bytes = 129; });
  refused([](FreezerOptions& options) { options.compression_level = 3; });
  refused([](FreezerOptions& options) { options.table.initial_size = 32; });
  refused([](FreezerOptions& options) { options.table.resize_frequency = 2; });
  refused([](FreezerOptions& options) { options.table.resize_chunk = 7; });
  refused([](FreezerOptions& options) { options.partitions.table = "elsewhere"; });

  FreezerOptions unset;
  unset.section_target_bytes = 1;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, unset));
  freezer::expect_range(freezer, 0, kKeys);
}

TEST(FreezerOptionsTest, GivenNoManifestAndCompressedValues_WhenNothingIsSaid_ThenRefused) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.compression_level = 3;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 20);
    ASSERT_OK(freezer->close());
  }
  EXPECT_THAT(
      [&] {
        options.compression_level = kNoCompression;
        return Freezer::open(storage, options);
      }(),
      FailsWith(Errc::invalid_argument, "compression"));
  ASSERT_OK(storage.remove_partition(kManifestPartition));

  options.compression_level.reset();
  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::invalid_argument, "compress"));

  options.compression_level = kNoCompression;
  EXPECT_OK(Freezer::open(storage, options));
  options.compression_level = 3;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  freezer::expect_range(freezer, 0, 20);
}

TEST_P(FreezerDamage, GivenAWrongKeySize_WhenAsked_ThenRefused) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, short_section_options(GetParam())));
  const Bytes longer(9);
  const std::vector<ByteSpan> keys = {longer};

  EXPECT_THAT(freezer->put(longer, longer), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->get(longer), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->contains(longer), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->get_many(keys)[0], FailsWith(Errc::invalid_argument));
  EXPECT_OK(put(freezer, "key", "1"));
}

// Any length of the table, after a clean close, a kill, and with the checkpoint.
TEST_P(FreezerDamage, GivenATableOfAnyLength_WhenReopened_ThenEveryKeyIsFound) {
  MemoryStorage whole;
  const FreezerCheckpoint checkpoint = make_store(whole, GetParam());
  const Bytes table = freezer::table_bytes(whole);
  for (size_t length = 0; length <= table.size() + 60; length += 29) {
    for (const bool with_checkpoint : {false, true}) {
      for (const Engine engine : freezer::kEngines) {
        MemoryStorage storage;
        make_store(storage, GetParam());
        Bytes other = table;
        other.resize(length, std::byte{0x11});
        freezer::set_table_bytes(storage, other);
        FreezerOptions options = short_section_options(engine);
        if (with_checkpoint) options.checkpoint = checkpoint;
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        freezer::expect_range(freezer, 0, kKeys);
        ASSERT_OK(freezer->close());
      }
    }
  }
}

TEST_P(FreezerDamage, GivenADamagedTableHeader_WhenReopened_ThenEveryKeyIsFoundAndItIsMended) {
  const auto break_header = [](MemoryStorage& storage) {
    Bytes raw = storage.raw("table", as_bytes("table")).value_or(Bytes(8));
    raw[1] ^= std::byte{0x20};
    storage.set_raw("table", as_bytes("table"), raw);
  };
  for (const Engine engine : freezer::kEngines) {
    MemoryStorage storage;
    make_store(storage, GetParam());
    break_header(storage);
    {
      FreezerOptions options = short_section_options(Engine::resident);
      options.access = FreezerAccess::read_only;
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      freezer::expect_range(freezer, 0, kKeys);
      ASSERT_EQ(freezer->recovery().damage.size(), 1);
      EXPECT_THAT(freezer->recovery().damage[0].reason,
                  ::testing::HasSubstr("firn freezer rebuild"));
    }
    FreezerOptions options = short_section_options(engine);
    options.access = FreezerAccess::rebuild;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::expect_range(freezer, 0, kKeys);
    ASSERT_OK(freezer->close());
    ASSERT_OK_INTO(const Store again, Freezer::open(storage, short_section_options(engine)));
    EXPECT_EQ(freezer::findings_of(again, storage), "");
  }
}

// Any slot replaced by zeros, garbage, another slot, or a valid slot that leads elsewhere.
TEST_P(FreezerDamage, GivenAnySlotIsWrong_WhenRead_ThenNoWrongAnswerAndRebuildRepairs) {
  MemoryStorage whole;
  make_store(whole, GetParam());
  const Bytes table = freezer::table_bytes(whole);
  Random random(3);
  for (size_t slot = 0; slot < table.size() / freezer::kSlotSizeBytes; ++slot) {
    Bytes damaged = table;
    const MutableByteSpan bytes = MutableByteSpan(damaged).subspan(slot * 29, 29);
    if (freezer::decode_slot(bytes).state == freezer::SlotState::empty) continue;
    switch (slot % 3) {
      case 0: random.fill(bytes); break;
      case 1: bytes[random.below(29)] ^= std::byte{1}; break;
      default:  // a valid slot that leads behind the end of the journal
        freezer::encode_slot(bytes, {.epoch = 99, .head = {Section(999), Position(9)}, .added = 1});
    }
    MemoryStorage storage;
    make_store(storage, GetParam());
    {
      ASSERT_OK_INTO(const Store freezer,
                     Freezer::open(storage, short_section_options(Engine::on_disk)));
      freezer::set_table_bytes(storage, damaged);
      expect_no_wrong_answer(freezer);
      EXPECT_NE(freezer::findings_of(freezer, storage), "") << slot;
    }
    {
      ASSERT_OK_INTO(const Store freezer,
                     Freezer::open(storage, short_section_options(Engine::on_disk)));
      freezer::expect_range(freezer, 0, kKeys);
      EXPECT_FALSE(freezer->recovery().notes.empty()) << slot;
      freezer::set_table_bytes(storage, damaged);
    }
    FreezerOptions rebuild =
        short_section_options(slot % 2 == 0 ? Engine::on_disk : Engine::resident);
    rebuild.access = FreezerAccess::rebuild;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, rebuild));
      freezer::expect_range(freezer, 0, kKeys);
      ASSERT_OK(freezer->close());
    }
    ASSERT_OK_INTO(const Store freezer,
                   Freezer::open(storage, short_section_options(Engine::on_disk)));
    freezer::expect_range(freezer, 0, kKeys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

// Slots that are gone, or are those of an earlier sync, are as valid as the right ones.
TEST_P(FreezerDamage, GivenAnEmptyOrOlderTableSector_WhenOpenedOnDisk_ThenEveryKeyIsFound) {
  constexpr size_t kSector = 512;
  for (size_t sector = 0; sector * kSector < kKeys * kPairSizeBytes; ++sector) {
    for (int way = 0; way < 8; ++way) {
      const bool is_emptied = way % 2 == 0;
      const bool is_closed = way / 2 % 2 == 0;
      const bool is_read_only = way / 4 == 0;
      MemoryStorage storage;
      FreezerOptions options = short_section_options(GetParam());
      options.table.initial_size = 64;
      options.table.resize_frequency = 4;
      Bytes table;
      {
        ASSERT_OK_INTO(const Store first, Freezer::open(storage, options));
        freezer::put_range(first, 0, kKeys / 2);
        ASSERT_OK(first->close());
        table = freezer::table_bytes(storage);
        ASSERT_OK_INTO(const Store second, Freezer::open(storage, options));
        freezer::put_range(second, kKeys / 2, kKeys);
        ASSERT_OK(second->sync());
        if (is_closed) {
          ASSERT_OK(second->close());
        }
      }
      Bytes changed = freezer::table_bytes(storage);
      const auto of = [&](Bytes& bytes) {
        return MutableByteSpan(bytes).subspan(sector * kSector, kSector);
      };
      if (is_emptied)
        std::ranges::fill(of(changed), std::byte{0});
      else
        copy_bytes(of(changed), of(table));
      const bool has_changed = changed != freezer::table_bytes(storage);
      freezer::set_table_bytes(storage, changed);

      options = short_section_options(Engine::on_disk);
      options.table.initial_size.reset();
      options.table.resize_frequency.reset();
      if (is_read_only) options.access = FreezerAccess::read_only;
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      freezer::expect_range(freezer, 0, kKeys);
      const bool is_told = !freezer->recovery().notes.empty();
      if (is_closed) {
        EXPECT_EQ(is_told, has_changed) << sector << " " << way;
      }
    }
  }
}

TEST_P(FreezerDamage, GivenDoublingsAndKills_WhenReopenedOnDisk_ThenTheTableIsTakenOver) {
  FreezerOptions options =
      short_section_options(GetParam() == Engine::immediate ? Engine::immediate : Engine::on_disk);
  options.table.initial_size = 1;
  options.table.resize_chunk = 3;
  for (uint64_t life = 0; life < 40; ++life) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
    for (const std::string& note : freezer->recovery().notes)
      EXPECT_THAT(note, testing::Not(testing::HasSubstr("anew"))) << life;
    freezer::put_range(freezer, life * 5, life * 5 + 3);
    ASSERT_OK(freezer->sync());
    freezer::put_range(freezer, life * 5 + 3, life * 5 + 5);
    ASSERT_OK(freezer->sync());
    ASSERT_OK(put(freezer, concat("new", life), "1"));
    if (life % 3 == 0) {
      ASSERT_OK(freezer->close());
    }
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  freezer::expect_range(freezer, 0, 200);
  EXPECT_EQ(freezer::findings_of(freezer, storage_), "");
}

TEST_P(FreezerDamage, GivenAValueLongerThanItsSection_WhenRead_ThenTheErrorSaysWhatToDo) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, short_section_options(GetParam())));
  ASSERT_OK(put(freezer, "key", std::string(100, 'x')));
  ASSERT_OK(freezer->close());
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, short_section_options(GetParam())));
  ASSERT_OK_INTO(const auto names, storage_.scan("values"));
  Bytes raw = *storage_.raw("values", names[0]);
  raw.resize(raw.size() - 10);
  storage_.set_raw("values", names[0], raw);

  EXPECT_THAT(freezer->get(freezer::test_key("key", 8)), FailsWith(Errc::corrupt, "firn salvage"));
}

TEST_P(FreezerDamage, GivenACheckpointOfAnotherStore_WhenGiven_ThenRefusedAndNothingIsLost) {
  const FreezerCheckpoint own = make_store(storage_, GetParam());
  std::vector<FreezerCheckpoint> others(10, own);
  others[0].table_size = 0;
  others[1].table_size = 24;
  others[2].index_size_bytes += 36;
  others[3].index_size_bytes -= 1;
  others[4].section = Section(own.section.value + 1);
  others[5].epoch = UINT64_MAX;
  others[6] = {};
  others[7].epoch = UINT64_MAX - 1;
  others[8].section = Section(UINT64_MAX);
  others[8].index_size_bytes = 0;
  others[9].table_size = uint32_t{1} << 30;
  for (const FreezerCheckpoint& other : others) {
    FreezerOptions options = short_section_options(GetParam());
    options.checkpoint = other;
    EXPECT_THAT(Freezer::open(storage_, options),
                FailsWith(Errc::invalid_argument, "Nothing was changed"));
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, short_section_options(GetParam())));
  freezer::expect_range(freezer, 0, kKeys);
}

TEST_P(FreezerDamage, GivenAManifestThatDisagrees_WhenOpened_ThenTheErrorSaysHowToRebuild) {
  const std::vector<std::function<void(Bytes&)>> changes = {
      [](Bytes& record) { record.pop_back(); },
      [](Bytes& record) { record[0] = std::byte{9}; },
      [](Bytes& record) { record[1] = std::byte{7}; },
      [](Bytes& record) { record[29] = std::byte{3}; },   // table size
      [](Bytes& record) { record[17] ^= std::byte{1}; },  // section
      [](Bytes& record) { record[25] ^= std::byte{1}; },  // bytes
      [](Bytes& record) { store_big_endian<uint64_t>(record.data() + 18, 3600); },
      [](Bytes& record) {  // one key less than the newest section has
        const auto bytes = load_big_endian<uint64_t>(record.data() + 18);
        store_big_endian<uint64_t>(record.data() + 18, bytes - freezer::record_size_bytes(8));
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    MemoryStorage storage;
    make_store(storage, GetParam());
    freezer::set_table_record(storage, changes[i]);
    for (const Engine engine : freezer::kEngines) {
      EXPECT_THAT(Freezer::open(storage, short_section_options(engine)),
                  FailsWith(Errc::corrupt, "firn freezer rebuild"));
    }
    FreezerOptions rebuild = short_section_options(GetParam());
    rebuild.access = FreezerAccess::rebuild;
    ASSERT_OK_INTO(Store freezer, Freezer::open(storage, rebuild));
    freezer::expect_range(freezer, 0, kKeys);
    ASSERT_OK(freezer->close());
    freezer.reset();
    ASSERT_OK_INTO(freezer, Freezer::open(storage, short_section_options(Engine::on_disk)));
    freezer::expect_range(freezer, 0, kKeys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

TEST_P(FreezerDamage, GivenAManifestOfAnEarlierSection_WhenOpenedAfterACleanClose_ThenRefused) {
  constexpr uint64_t kRecordsMax = 20;  // more than the first section has
  for (uint64_t records = 1; records <= kRecordsMax; ++records) {
    SCOPED_TRACE(records);
    MemoryStorage storage;
    make_store(storage, GetParam());
    freezer::set_table_record(storage, [&](Bytes& record) {
      store_big_endian<uint64_t>(record.data() + 10, 0);
      store_big_endian<uint64_t>(record.data() + 18, records * freezer::record_size_bytes(8));
    });

    EXPECT_THAT(Freezer::open(storage, short_section_options(GetParam())),
                testing::AllOf(FailsWith(Errc::corrupt, "are not of one state"),
                               FailsWith(Errc::corrupt, "index/0000000000000000")));
  }
}

TEST_P(FreezerDamage, GivenAChainThatLeadsForwardOrNowhere_WhenOpened_ThenNoLoopAndNoWrongAnswer) {
  using freezer::RecordPlace;
  for (const RecordPlace next :
       {RecordPlace{Section(0), Position(1)}, RecordPlace{Section(0), Position(2)},
        RecordPlace{Section(0), Position(77)}, RecordPlace{Section(5), Position(0)}}) {
    MemoryStorage storage;
    freezer::write_journal(
        storage,
        {{"key0", std::nullopt}, {"key1", next}, {"key2", RecordPlace{Section(0), Position(1)}}});
    FreezerOptions options = short_section_options(GetParam());
    options.table.initial_size = 1;
    const auto opened = Freezer::open(storage, options);
    if (!opened) {
      EXPECT_THAT(opened.error().code, testing::AnyOf(Errc::corrupt, Errc::invalid_argument));
      continue;
    }
    for (uint64_t i = 0; i < 3; ++i)
      EXPECT_THAT(get(*opened, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
    EXPECT_THAT(
        freezer::findings_of(*opened, storage),
        testing::AllOf(testing::HasSubstr("index/0000000000000000: record 1 of key section 0"),
                       testing::HasSubstr(concat("leads forward, to record ", next.position)),
                       testing::HasSubstr("firn salvage SRC DST")));
  }
}

// The nth word whose key belongs to the position of a table of two.
std::string word_of(uint32_t position, int n) {
  for (int i = 0;; ++i)
    if ((crc32c(freezer::test_key(concat("k", i), 8)) & 1) == position && n-- == 0)
      return concat("k", i);
}

// The first record of the first section gets this `next`, and its page the checksum of that.
void forge_first_record(MemoryStorage& storage, std::string_view word, freezer::RecordPlace next) {
  constexpr size_t kPayloadBegin = 8;
  constexpr size_t kPageSizeBytes = 128;
  const Bytes name = storage.scan("index")->front();
  Bytes raw = *storage.raw("index", name);
  Bytes prefix;
  freezer::encode_prefix(prefix, freezer::test_key(word, 8), next);
  std::ranges::copy(prefix, raw.begin() + kPayloadBegin);
  std::byte* const stored = raw.data() + kPayloadBegin + kPageSizeBytes;
  PageRecord page = decode_page_record(stored);
  PageSlot& slot = page.slots[page.authoritative()];
  slot.crc = crc32c(ByteSpan(raw).subspan(kPayloadBegin, slot.size_bytes));
  encode_page_record(stored, page);
  storage.set_raw("index", name, std::move(raw));
}

TEST(FreezerForged, GivenAForgedRecordThatLeadsForward_WhenItsChainIsRead_ThenNoKeyIsAbsent) {
  MemoryStorage storage;
  FreezerOptions options = short_section_options(Engine::on_disk);
  options.table.initial_size = 2;
  options.table.resize_frequency = 254;  // it does not double
  ASSERT_OK_INTO(Store store, Freezer::open(storage, options));
  for (const std::string& word : {word_of(0, 0), word_of(0, 1), word_of(1, 0)})
    ASSERT_OK(put(store, word, word));
  ASSERT_OK(store->close());
  store.reset();

  forge_first_record(storage, word_of(0, 0), {Section(0), Position(2)});
  ASSERT_OK_INTO(store, Freezer::open(storage, options));

  EXPECT_EQ(get(store, word_of(0, 0)), word_of(0, 0));
  EXPECT_EQ(get(store, word_of(0, 2)), "error: corrupt");
}

// Found by freezer_fuzz: it was a failed check, which ends the program.
TEST_P(FreezerDamage, GivenASlotThatLeadsNowhere_WhenPut_ThenRefusedAndRebuildRepairs) {
  FreezerOptions options = short_section_options(GetParam());
  options.table.initial_size = 1;
  ASSERT_OK_INTO(auto store, Freezer::open(storage_, options));
  ASSERT_OK(put(store, "key", "value"));
  ASSERT_OK(store->close());
  store.reset();
  Bytes table = freezer::table_bytes(storage_);
  for (size_t at = 0; at + freezer::kSlotSizeBytes <= table.size(); at += freezer::kSlotSizeBytes) {
    const MutableByteSpan bytes = MutableByteSpan(table).subspan(at, freezer::kSlotSizeBytes);
    freezer::StoredSlot stored = freezer::decode_slot(bytes);
    if (stored.state != freezer::SlotState::valid) continue;
    stored.slot.head = {Section(0), Position(99)};
    freezer::encode_slot(bytes, stored.slot);
  }
  freezer::set_table_bytes(storage_, table);

  if (auto opened = Freezer::open(storage_, options)) {
    const auto outcome = put(*opened, "other", "value");
    EXPECT_TRUE(outcome || outcome.error().code == Errc::corrupt);
  }

  options.access = FreezerAccess::rebuild;
  ASSERT_OK_INTO(store, Freezer::open(storage_, options));
  EXPECT_EQ(get(store, "key"), "value");
}

// A sync goes on doubling, and would fail at the damage for good.
TEST(FreezerRebuild, GivenADamagedTableThatDoubles_WhenRebuilt_ThenItIsRepaired) {
  constexpr uint64_t kFirst = 10;
  for (const bool is_under_way : {false, true}) {
    MemoryStorage storage;
    FreezerOptions options = short_section_options(Engine::immediate);
    options.table.initial_size = 4;
    options.table.resize_chunk = 2;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      freezer::put_range(freezer, 0, kFirst);
      if (is_under_way) {
        ASSERT_OK(freezer->sync());
      }
      ASSERT_EQ(freezer->statistics().resizing, is_under_way);
      if (!is_under_way) {
        ASSERT_GE(freezer->statistics().resizable, 2);  // of 4 positions: due
      }
      Bytes table = freezer::table_bytes(storage);
      for (std::byte& byte : table)
        byte ^= std::byte{0x5a};
      freezer::set_table_bytes(storage, table);
      ASSERT_EQ(get(freezer, "key1"), "error: corrupt");

      ASSERT_OK(freezer->rebuild_table());

      freezer::expect_range(freezer, 0, kFirst);
      EXPECT_EQ(freezer::findings_of(freezer, storage), "");
      const uint64_t doublings = freezer->statistics().resizes;
      for (uint64_t i = kFirst; i < kKeys; ++i) {
        freezer::put_range(freezer, i, i + 1);
        ASSERT_OK(freezer->sync());
      }
      EXPECT_GT(freezer->statistics().resizes, doublings);
    }
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    EXPECT_TRUE(freezer->recovery().notes.empty());
    freezer::expect_range(freezer, 0, kKeys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

// As old releases of the original could write it: the second record of a key does not lead to the
// first one, nor the third to the second. In memory that does no harm; a table on disk cannot be
// made from it, and what was made of it until this shows must never count as one.
TEST(FreezerRebuild,
     GivenChainsThatLeaveRecordsOut_WhenRebuiltOnDisk_ThenTheHalfMadeTableIsNeverUsed) {
  FreezerOptions options = short_section_options(Engine::resident);
  options.section_target_bytes = 1 << 20;
  options.table.initial_size = 1;
  options.table.resize_frequency = 254;
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const Store empty, Freezer::open(storage, options));
    ASSERT_OK(empty->close());
  }
  freezer::write_journal(
      storage, {{"one", {}}, {"two", {}}, {"two", {}}, {"three", {}}, {"one", {}}, {"four", {}}});
  options.access = FreezerAccess::rebuild;
  {
    ASSERT_OK_INTO(const Store in_memory, Freezer::open(storage, options));
    ASSERT_OK(in_memory->close());
  }
  options = freezer::with_engine(options, Engine::on_disk);
  options.access = FreezerAccess::write;
  {
    ASSERT_OK_INTO(const Store on_disk, Freezer::open(storage, options));
    ASSERT_EQ(get(on_disk, "four"), "5");

    ASSERT_THAT(on_disk->rebuild_table(), FailsWith(Errc::corrupt, "Give more memory"));

    EXPECT_THAT(on_disk->check_writable(), FailsWith(Errc::poisoned));
    EXPECT_THAT(put(on_disk, "five", "6"), FailsWith(Errc::poisoned));
    EXPECT_THAT(on_disk->sync(), FailsWith(Errc::poisoned));
    EXPECT_THAT(on_disk->rebuild_table(), FailsWith(Errc::poisoned));
    EXPECT_THAT(on_disk->close(), FailsWith(Errc::poisoned));
  }
  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::corrupt, "Give more memory"));
  ASSERT_OK_INTO(const Store in_memory,
                 Freezer::open(storage, freezer::with_engine(options, Engine::resident)));
  EXPECT_EQ(get(in_memory, "one"), "4");
  EXPECT_EQ(get(in_memory, "two"), "2");
  EXPECT_EQ(get(in_memory, "three"), "3");
  EXPECT_EQ(get(in_memory, "four"), "5");
  EXPECT_EQ(get(in_memory, "five"), "absent");
}

TEST_P(FreezerDamage, GivenADamagedKeyPage_WhenRead_ThenItsKeysAreNeverAbsent) {
  FreezerOptions options = short_section_options(GetParam());
  options.section_target_bytes = 1 << 20;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
    freezer::put_range(freezer, 0, kKeys);
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const auto names, storage_.scan("index"));
  Bytes raw = *storage_.raw("index", names[0]);
  raw[8 + 3 * 140 + 5] ^= std::byte{1};
  storage_.set_raw("index", names[0], raw);

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));

  expect_no_wrong_answer(freezer);
  EXPECT_NE(freezer::findings_of(freezer, storage_), "");
  EXPECT_NE(get(freezer, "none"), "none");
  if (GetParam() != Engine::resident) return;
  EXPECT_EQ(get(freezer, "none"), "error: corrupt");
  EXPECT_THAT(put(freezer, "new", "1"), FailsWith(Errc::corrupt));
  EXPECT_THAT(freezer->rebuild_table(), FailsWith(Errc::corrupt));
  EXPECT_OK(freezer->close());
}

TEST_P(FreezerDamage, GivenAnyBitOfAValueFlips_WhenRead_ThenCorrupt) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, short_section_options(GetParam())));
  ASSERT_OK_INTO(const auto cursor, put(freezer, "key", "value"));
  ASSERT_OK(freezer->close());
  freezer.reset();
  ASSERT_OK_INTO(const auto names, storage_.scan("values"));
  Bytes raw = *storage_.raw("values", names[0]);
  raw[9] ^= std::byte{1};
  storage_.set_raw("values", names[0], raw);
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, short_section_options(GetParam())));

  EXPECT_EQ(get(freezer, "key"), "error: corrupt");
  EXPECT_EQ(get(freezer, cursor), "error: corrupt");
  EXPECT_EQ(freezer::contains(freezer, "key"), "present");
  FreezerCursor beyond = cursor;
  beyond.location.size_bytes += 1;
  EXPECT_THAT(freezer->get(beyond), FailsWith(Errc::out_of_range));
  const FreezerItem leads_beyond = {{}, beyond.section, Position(0), beyond.location};
  EXPECT_THAT(freezer->read_value(leads_beyond), FailsWith(Errc::corrupt, "firn salvage SRC DST"));
}

TEST(FreezerTableLimit, GivenTheLargestTable_WhenItIsFull_ThenPutsFailClearly) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto table,
                 freezer::DiskTable::open(
                     storage, {.partition = "table", .frequency = 1, .chunk = 1, .size_max = 2},
                     OpenMode::create));
  ASSERT_OK(table->start(2, 0, 0, 1));
  EXPECT_OK(table->check_room());

  ASSERT_OK(table->put(0, freezer::Pair(), 1, {Section(0), Position(0)}));

  EXPECT_THAT(table->check_room(), FailsWith(Errc::no_space, "begin another store"));
  EXPECT_OK(table->step(1));
  EXPECT_EQ(table->size(), 2);
  EXPECT_EQ(table->doublings(), 1);
}

TEST_P(FreezerDamage, GivenDamagedPagesOfKeys_WhenVisited_ThenAllOthersAreShownAndDamageIsTold) {
  MemoryStorage storage;
  // A page has three keys, a section nine or so.
  FreezerOptions options = short_section_options(GetParam());
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, kKeys);
    ASSERT_OK(freezer->close());
  }
  const auto sections = storage.scan("index").value();
  ASSERT_GE(sections.size(), 3u);
  for (const size_t damaged : {size_t{0}, sections.size() / 2}) {
    Bytes raw = *storage.raw("index", sections[damaged]);
    raw[8 + 50] ^= std::byte{1};  // its first page
    storage.set_raw("index", sections[damaged], std::move(raw));
  }
  options.access = FreezerAccess::read_only;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  std::set<Section> seen;
  uint64_t count = 0;

  const Status visited = freezer->visit([&](const FreezerItem& item) {
    seen.insert(item.section);
    return ++count > 0;
  });

  EXPECT_THAT(visited, FailsWith(Errc::corrupt, "index/"));
  EXPECT_EQ(seen.size(), sections.size());  // also what is behind a damaged page
  EXPECT_LT(count, kKeys);
}

}  // namespace
}  // namespace firn
