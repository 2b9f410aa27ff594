// SPDX-License-Identifier: Apache-2.0
//
// Freezer: iteration, batches, keys that collide or repeat, changing the way it works, checkpoints,
// stores of the original.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/base/random.h"
#include "firn/freezer/freezer_test_support.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::put;
using freezer::Store;
using testkit::FailsWith;

FreezerOptions small_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.write_buffer_bytes = 256;
  options.section_target_bytes = 100;
  options.table.initial_size = 4;
  options.table.resize_chunk = 8;
  return freezer::with_engine(options, engine);
}

class FreezerTest : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerTest, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerTest, WhenVisited_ThenEveryPutComesInOrderUntilTheVisitorStops) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
  freezer::put_range(freezer, 0, 30);
  ASSERT_OK(put(freezer, "key3", "again"));
  std::vector<std::string> seen;

  ASSERT_OK(freezer->visit([&](const FreezerItem& item) {
    const auto value = freezer->read_value(item);
    EXPECT_OK(value);
    seen.push_back(concat(as_text(item.key).substr(0, 5), "=", as_text(value->bytes())));
    return seen.size() < 31;
  }));

  ASSERT_EQ(seen.size(), 31);
  EXPECT_EQ(seen[17], "key17=17");
  EXPECT_EQ(seen[30], concat("key3", '\0', "=again"));
  EXPECT_EQ(freezer->item_count(), 31);
  int visited = 0;
  ASSERT_OK(freezer->visit([&](const FreezerItem&) { return ++visited < 7; }));
  EXPECT_EQ(visited, 7);
}

TEST_P(FreezerTest, WhenManyArePutAndGot_ThenAnswersComeInOrder) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
  std::vector<Bytes> keys;
  std::vector<FreezerPut> puts;
  for (int i = 0; i < 50; ++i)
    keys.push_back(freezer::test_key(concat("key", i), 8));
  for (const Bytes& key : keys)
    puts.push_back({key, key});

  ASSERT_OK_INTO(const auto cursors, freezer->put_many(puts));

  ASSERT_EQ(cursors.size(), puts.size());
  std::vector<ByteSpan> questions;
  for (const Bytes& key : keys) {
    questions.emplace_back(key);
    questions.push_back(as_bytes("absent!!"));
  }
  const auto answers = freezer->get_many(questions);
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(freezer::answer(answers[2 * i]), as_text(keys[i]));
    EXPECT_EQ(freezer::answer(answers[2 * i + 1]), "absent");
    EXPECT_EQ(get(freezer, cursors[i]), as_text(keys[i]));
  }
  ASSERT_OK_INTO(const auto item, freezer->find(keys[7]));
  EXPECT_EQ(item->cursor(), cursors[7]);
}

TEST_P(FreezerTest, WhenOneOfManyPutsIsRefused_ThenThoseBeforeItAreThere) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
  const std::vector<FreezerPut> puts = {
      {as_bytes("12345678"), as_bytes("a")}, {as_bytes("short"), as_bytes("b")}, {{}, {}}};

  EXPECT_THAT(freezer->put_many(puts), FailsWith(Errc::invalid_argument));

  EXPECT_EQ(freezer->item_count(), 1);
  EXPECT_EQ(freezer::answer(freezer->get(as_bytes("12345678"))), "a");
}

// Keys whose checksums agree in every bit that a table uses.
std::vector<Bytes> colliding_keys(size_t count) {
  std::vector<Bytes> keys;
  Random random(1);
  while (keys.size() < count) {
    const Bytes key = random.bytes(8);
    if ((crc32c(key) & 0x3FFF) == 0x123) keys.push_back(key);
  }
  return keys;
}

TEST(FreezerResident, GivenKeysChosenToCollide_WhenRead_ThenOneRecordEach) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, small_options(Engine::resident)));
  const std::vector<Bytes> keys = colliding_keys(300);
  for (const Bytes& key : keys)
    ASSERT_OK(freezer->put(key, key));

  for (const Bytes& key : keys)
    ASSERT_EQ(freezer::answer(freezer->get(key)), as_text(key));
  Bytes absent = keys[0];
  absent[0] ^= std::byte{1};
  EXPECT_EQ(freezer::answer(freezer->get(absent)), "absent");

  EXPECT_EQ(freezer->statistics().unnecessary_reads, 0);
  ASSERT_OK_INTO(const auto chains, freezer->chains());
  EXPECT_GE(chains.longest, 300);
}

TEST(FreezerResident, GivenAKeyThatIsPutAgainAndAgain_WhenReopened_ThenItHasOneCandidate) {
  MemoryStorage storage;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, small_options(Engine::resident)));
  for (int i = 0; i < 500; ++i)
    ASSERT_OK(put(freezer, "hot", concat(i)));
  EXPECT_EQ(get(freezer, "hot"), "499");
  ASSERT_OK(freezer->close());
  freezer.reset();

  ASSERT_OK_INTO(freezer, Freezer::open(storage, small_options(Engine::resident)));

  EXPECT_EQ(get(freezer, "hot"), "499");
  EXPECT_EQ(freezer->statistics().unnecessary_reads, 0);
  EXPECT_EQ(freezer->item_count(), 500);
  ASSERT_OK_INTO(const auto chains, freezer->chains());
  EXPECT_EQ(chains.longest, 500);
  EXPECT_EQ(chains.records_per_hit, 1) << "only the newest of a key is a hit";
}

TEST(FreezerResident, WhenAKeyIsAbsent_ThenNothingIsRead) {
  MemoryStorage storage;
  FreezerOptions options = small_options(Engine::resident);
  options.page_cache_bytes = 0;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 100);
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  for (const std::string_view partition : {"index", "values", "table"})
    ASSERT_OK(storage.remove_partition(partition));

  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(get(freezer, concat("none", i)), "absent");
}

// The table is written at close: only what changed, in order, and durable before the manifest.
TEST(FreezerResident, WhenClosed_ThenTheTableIsWrittenBeforeTheManifestSaysSo) {
  MemoryStorage memory;
  testkit::LoggedStorage storage(memory);
  FreezerOptions options = small_options(Engine::resident);
  options.section_target_bytes = 1 << 20;
  options.table.initial_size = 1 << 14;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 100);
    ASSERT_OK(freezer->sync());
    EXPECT_EQ(storage.count("create table"), 0);
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  ASSERT_OK(put(freezer, "another", "1"));
  ASSERT_OK(freezer->sync());
  storage.clear_log();

  ASSERT_OK(freezer->close());

  EXPECT_EQ(storage.count("write table/"), 1) << "one group of 64 positions";
  const auto is_flush_of = [&](std::string_view what) {
    return [what](const std::string& entry) { return entry.starts_with(concat("sync ", what)); };
  };
  const auto& log = storage.log();
  const auto stale = std::ranges::find_if(log, is_flush_of("manifest"));
  const auto written = std::ranges::find_if(
      log, [](const std::string& entry) { return entry.starts_with("write table"); });
  const auto flushed = std::ranges::find_if(log, is_flush_of("table"));
  EXPECT_LT(stale - log.begin(), written - log.begin());
  EXPECT_LT(written - log.begin(), flushed - log.begin());
  EXPECT_NE(std::find_if(flushed, log.end(), is_flush_of("manifest")), log.end());
}

TEST(FreezerResident, WhenThePutsOutgrowTheBudget_ThenTheStoreWorksOnFromDisk) {
  MemoryStorage storage;
  FreezerOptions options = small_options(Engine::resident);
  options.memory_budget_bytes = 200'000;
  options.section_target_bytes = 1 << 20;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
  EXPECT_TRUE(freezer->statistics().resident);

  freezer::put_range(freezer, 0, 12'000);

  EXPECT_FALSE(freezer->statistics().resident);
  EXPECT_LE(freezer->statistics().memory_bytes, options.memory_budget_bytes);
  freezer::expect_range(freezer, 0, 12'000);
  freezer.reset();
  for (const Engine engine : freezer::kEngines) {
    FreezerOptions other = freezer::with_engine(options, engine);
    ASSERT_OK_INTO(freezer, Freezer::open(storage, other));
    freezer::expect_range(freezer, 0, 5'000);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    ASSERT_OK(freezer->close());
  }
}

// Each put writes a piece of the table at most, however large it is.
TEST(FreezerResident, WhenAStoreLeavesItsMemory_ThenManyPutsShareTheWriting) {
  MemoryStorage storage;
  FreezerOptions options = small_options(Engine::resident);
  options.table.initial_size = 1 << 17;
  options.section_target_bytes = 1 << 20;
  options.memory_budget_bytes = 900'000;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  const auto slots = [&] {
    const Bytes table = freezer::table_bytes(storage);
    uint64_t count = 0;
    for (size_t at = 0; at < table.size(); at += freezer::kPairSizeBytes)
      if (freezer::decode_slot(ByteSpan(table).subspan(at, 29)).state != freezer::SlotState::empty)
        ++count;
    return count;
  };
  uint64_t puts = 0;
  for (; storage.raw("table", as_bytes("table")) == std::nullopt && puts < 100'000; ++puts)
    freezer::put_range(freezer, puts, puts + 1);
  uint64_t written = slots();
  uint64_t pieces = 1;
  ASSERT_TRUE(freezer->statistics().resident);
  while (freezer->statistics().resident && puts < 100'000) {
    freezer::put_range(freezer, puts, puts + 1);
    ++puts;
    EXPECT_EQ(get(freezer, "key0"), "0");
    EXPECT_LT(slots() - written, puts / 4) << pieces;
    written = slots();
    ++pieces;
  }

  EXPECT_GE(pieces, (1 << 17) / 16384);
  EXPECT_FALSE(freezer->statistics().resident);
  freezer::expect_range(freezer, 0, puts);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

TEST(FreezerResident, WhenKilledWhileLeavingItsMemory_ThenEveryKeyIsFoundAgain) {
  for (const Engine engine : freezer::kEngines) {
    MemoryStorage storage;
    FreezerOptions options = small_options(Engine::resident);
    options.table.initial_size = 1 << 17;
    options.section_target_bytes = 1 << 20;
    options.memory_budget_bytes = 900'000;
    uint64_t puts = 0;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      for (; storage.raw("table", as_bytes("table")) == std::nullopt && puts < 100'000; ++puts)
        freezer::put_range(freezer, puts, puts + 1);
      ASSERT_OK(freezer->sync());
      ASSERT_TRUE(freezer->statistics().resident);
    }
    ASSERT_OK_INTO(const Store freezer,
                   Freezer::open(storage, freezer::with_engine(options, engine)));
    freezer::expect_range(freezer, 0, puts);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

TEST_P(FreezerTest, GivenTheStoreWorksAnotherWayAtEachOpen_WhenRead_ThenEveryKeyIsFound) {
  Random random(5);
  uint64_t keys = 0;
  for (int life = 0; life < 40; ++life) {
    const Engine engine = freezer::kEngines[random.below(3)];
    SCOPED_TRACE(concat("life ", life, " ", freezer::engine_name(engine)));
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(engine)));
    freezer::expect_range(freezer, 0, keys);
    ASSERT_EQ(freezer::findings_of(freezer, storage_), "");
    const uint64_t more = random.below(30);
    freezer::put_range(freezer, keys, keys + more);
    keys += more;
    switch (random.below(3)) {
      case 0: ASSERT_OK(freezer->close()); break;
      case 1: ASSERT_OK(freezer->rebuild_table()); break;
      default: ASSERT_OK(freezer->sync());
    }
    freezer::expect_range(freezer, 0, keys);
  }
}

// Power cuts between random puts, syncs and changes of the way of working.
TEST(FreezerCrash, GivenPowerCutsAtRandom_WhenReopened_ThenAPrefixWithAllThatWasSyncedIsThere) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    Random random(seed);
    MemoryStorage storage;
    uint64_t keys = 0;
    for (int life = 0; life < 12; ++life) {
      const Engine engine = freezer::kEngines[random.below(3)];
      ASSERT_OK_INTO(Store freezer, Freezer::open(storage, small_options(engine)));
      ASSERT_GE(freezer->item_count(), keys);
      keys = freezer->item_count();
      freezer::expect_range(freezer, 0, keys);
      ASSERT_EQ(get(freezer, concat("key", keys)), "absent");
      ASSERT_EQ(freezer::findings_of(freezer, storage), "") << freezer::engine_name(engine);
      uint64_t issued = keys;
      for (uint64_t step = random.below(40); step > 0; --step) {
        if (random.one_in(8)) {
          ASSERT_OK(freezer->sync());
          keys = issued;
        } else {
          freezer::put_range(freezer, issued, issued + 1);
          ++issued;
        }
      }
      if (random.one_in(4)) {
        ASSERT_OK(freezer->close());
        keys = issued;
      }
      freezer.reset();
      if (random.one_in(2)) storage.lose_unsynced();
    }
  }
}

// Any state that was synced, however long ago, in any way of working.
TEST_P(FreezerTest, GivenManyCheckpoints_WhenGoneBackToAny_ThenExactlyItsKeysAreThere) {
  for (size_t target = 0; target < 12; ++target) {
    for (const Engine engine : freezer::kEngines) {
      SCOPED_TRACE(concat("checkpoint ", target, ", ", freezer::engine_name(engine)));
      MemoryStorage storage;
      std::vector<FreezerCheckpoint> checkpoints;
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, small_options(GetParam())));
        for (uint64_t i = 0; i < 12; ++i) {
          freezer::put_range(freezer, i * 3, i * 3 + 3);
          ASSERT_OK_INTO(checkpoints.emplace_back(), freezer->sync());
        }
        if (target % 2 == 0) {
          ASSERT_OK(freezer->close());
        }
      }
      FreezerOptions options = small_options(engine);
      options.checkpoint = checkpoints[target];
      const uint64_t kept = target * 3 + 3;
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        EXPECT_EQ(freezer->item_count(), kept);
        freezer::expect_range(freezer, 0, kept);
        EXPECT_EQ(get(freezer, concat("key", kept)), "absent");
        EXPECT_EQ(freezer::findings_of(freezer, storage), "");
        freezer::put_range(freezer, kept, kept + 5);
        ASSERT_OK(freezer->sync());
      }
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, small_options(GetParam())));
      freezer::expect_range(freezer, 0, kept + 5);
      EXPECT_EQ(freezer->item_count(), kept + 5);
    }
  }
}

// Syncs in memory write no slots. When those are written later, with a later epoch, they must not
// be dropped with what came after such a sync.
TEST(FreezerDisk,
     GivenSyncsInMemoryThatTheTableCaughtUpWith_WhenGoneBackToOne_ThenItsKeysAreThere) {
  for (uint64_t target = 0; target < 3; ++target) {
    for (const bool synced : {false, true}) {
      SCOPED_TRACE(concat("checkpoint ", target, synced ? ", synced" : ", killed"));
      MemoryStorage storage;
      FreezerOptions options = small_options(Engine::resident);
      options.table.initial_size = 64;
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        freezer::put_range(freezer, 0, 3);
        ASSERT_OK(freezer->close());
      }
      std::vector<FreezerCheckpoint> checkpoints;
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        for (uint64_t i = 3; i < 6; ++i) {
          freezer::put_range(freezer, i, i + 1);
          ASSERT_OK_INTO(checkpoints.emplace_back(), freezer->sync());
        }
      }
      options = freezer::with_engine(options, Engine::on_disk);
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        freezer::expect_range(freezer, 0, 6);
        if (synced) {
          ASSERT_OK(freezer->sync());
        }
      }
      options.checkpoint = checkpoints[target];

      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

      freezer::expect_range(freezer, 0, 4 + target);
      EXPECT_EQ(freezer->item_count(), 4 + target);
      EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    }
  }
}

// One key, in a position of the table that is in front of a small one and not of a large one.
void put_versions(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    ASSERT_OK(put(freezer, "key", concat(i)));
}

// A crash forgets epochs: checkpoints of different states may have the same one. What the slots in
// front of the table say about the older state is then no sign that the table can go back to it.
TEST(FreezerDisk, GivenTwoCheckpointsOfOneEpoch_WhenGoneBackToTheFirst_ThenPutsLeadToItsRecords) {
  MemoryStorage storage;
  FreezerOptions options = small_options(Engine::resident);
  options.table.initial_size = 1;
  FreezerCheckpoint first;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    put_versions(freezer, 0, 2);
    ASSERT_OK_INTO(first, freezer->sync());
  }
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    put_versions(freezer, 2, 40);
    ASSERT_OK_INTO(const FreezerCheckpoint second, freezer->close());
    ASSERT_EQ(second.epoch, first.epoch);
    ASSERT_GT(second.table_size, first.table_size);
  }
  options = freezer::with_engine(options, Engine::immediate);
  options.checkpoint = first;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    EXPECT_EQ(get(freezer, "key"), "1");
    put_versions(freezer, 2, 9);
    ASSERT_OK(freezer->sync());
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
  options.checkpoint.reset();
  options.access = FreezerAccess::rebuild;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  EXPECT_EQ(get(freezer, "key"), "8");
}

// A checkpoint from a future that was given up may have the sizes of the present one.
TEST(FreezerDisk, GivenACheckpointOfAnAbandonedFuture_WhenGiven_ThenNoPutLosesARecord) {
  MemoryStorage storage;
  FreezerOptions options = small_options(Engine::on_disk);
  options.section_target_bytes = 1 << 20;
  std::vector<FreezerCheckpoint> checkpoints;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 2);
    ASSERT_OK_INTO(checkpoints.emplace_back(), freezer->sync());
    freezer::put_range(freezer, 2, 12);
    ASSERT_OK_INTO(checkpoints.emplace_back(), freezer->sync());
  }
  options.checkpoint = checkpoints[0];
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 2, 4);
    ASSERT_OK(freezer->sync());
    freezer::put_range(freezer, 4, 14);
    ASSERT_OK(freezer->sync());
  }
  options.checkpoint = checkpoints[1];
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  freezer::expect_range(freezer, 0, 12);
  freezer::put_range(freezer, 12, 30);
  freezer::expect_range(freezer, 0, 30);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

// A store as the original leaves it: no manifest, no lock.
void drop_manifest(Storage& storage) {
  ASSERT_OK(storage.remove_partition(kManifestPartition));
}

TEST_P(FreezerTest, GivenAStoreOfTheOriginal_WhenOpened_ThenNothingIsLostWithAndWithoutCheckpoint) {
  for (const bool closed : {true, false}) {
    for (const bool with_checkpoint : {true, false}) {
      for (const Engine engine : freezer::kEngines) {
        SCOPED_TRACE(concat(closed ? "closed, " : "killed, ",
                            with_checkpoint ? "with checkpoint, " : "",
                            freezer::engine_name(engine)));
        MemoryStorage storage;
        FreezerCheckpoint checkpoint;
        {
          FreezerOptions options = small_options(Engine::immediate);
          options.table.resize_chunk = 1;  // a doubling is nearly always half done
          ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
          for (uint64_t i = 0; i < 40; ++i) {
            freezer::put_range(freezer, i, i + 1);
            ASSERT_OK_INTO(checkpoint, freezer->sync());
          }
          if (closed) {
            ASSERT_OK_INTO(checkpoint, freezer->close());
          }
        }
        drop_manifest(storage);
        FreezerOptions options = small_options(engine);
        if (with_checkpoint) options.checkpoint = checkpoint;
        {
          ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
          freezer::expect_range(freezer, 0, 40);
          EXPECT_EQ(freezer::findings_of(freezer, storage), "");
          EXPECT_EQ(freezer->manifest(), nullptr);
          freezer::put_range(freezer, 40, 60);
          ASSERT_OK_INTO(checkpoint, freezer->close());
        }
        options = small_options(GetParam());
        options.checkpoint = checkpoint;
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
        freezer::expect_range(freezer, 0, 60);
      }
    }
  }
}

// The table is gone, and nobody knows how large it was: the records tell.
TEST_P(FreezerTest, GivenNeitherManifestNorTable_WhenOpened_ThenEveryKeyIsFound) {
  for (const Engine engine : freezer::kEngines) {
    MemoryStorage storage;
    {
      FreezerOptions options = small_options(GetParam());
      options.table.resize_chunk = 1024;  // larger than a table in memory would be
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      for (uint64_t i = 0; i < 200; ++i) {
        freezer::put_range(freezer, i, i + 1);
        ASSERT_OK(freezer->sync());
      }
      ASSERT_OK(freezer->close());
    }
    drop_manifest(storage);
    ASSERT_OK(storage.remove_partition("table"));

    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, small_options(engine)));

    freezer::expect_range(freezer, 0, 200);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

TEST_P(FreezerTest, GivenAWrongGeometryWithoutManifest_WhenOpened_ThenRefusedAndNothingChanges) {
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
    freezer::put_range(freezer, 0, 20);
    ASSERT_OK(freezer->close());
  }
  drop_manifest(storage_);
  for (const auto& [key_size, page_size] : {std::pair(16, 128), std::pair(8, 64)}) {
    FreezerOptions options = small_options(GetParam());
    options.key_size_bytes = static_cast<uint32_t>(key_size);
    options.page_size_bytes = static_cast<uint32_t>(page_size);
    EXPECT_FALSE(Freezer::open(storage_, options));
  }

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
  freezer::expect_range(freezer, 0, 20);
}

TEST_P(FreezerTest, WhenOpenedForReadingOnly_ThenNothingChangesAndPutsAreRefused) {
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
    freezer::put_range(freezer, 0, 20);
    ASSERT_OK(freezer->close());
  }
  FreezerOptions options = small_options(GetParam());
  options.access = FreezerAccess::read_only;
  testkit::LoggedStorage logged(storage_);
  ASSERT_OK_INTO(const Store freezer, Freezer::open(logged, options));

  freezer::expect_range(freezer, 0, 20);
  EXPECT_THAT(put(freezer, "key", "1"), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->sync(), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->rebuild_table(), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(freezer->destroy(), FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_OK(freezer->close());
  EXPECT_EQ(logged.changes(), 0);
}

TEST_P(FreezerTest, WhenNothingWasPut_ThenCloseAndReopenWork) {
  for (int life = 0; life < 3; ++life) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
    EXPECT_EQ(get(freezer, "none"), "absent");
    EXPECT_EQ(freezer->item_count(), 0);
    EXPECT_EQ(freezer::findings_of(freezer, storage_), "");
    ASSERT_OK(freezer->close());
    EXPECT_THAT(put(freezer, "key", "1"), FailsWith(Errc::invalid_argument));
  }
}

// The blobs of firn's own work, closed in any way, are what the original finds: its algorithm,
// which immediate writing is, goes on with them.
TEST_P(FreezerTest, GivenAnOddTableOfMemory_WhenTheOriginalGoesOn_ThenChainsStayWhole) {
  FreezerCheckpoint checkpoint;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, small_options(GetParam())));
    freezer::put_range(freezer, 0, 333);
    ASSERT_OK_INTO(checkpoint, freezer->close());
  }
  drop_manifest(storage_);
  FreezerOptions options = small_options(Engine::immediate);
  options.checkpoint = checkpoint;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  EXPECT_TRUE(std::ranges::none_of(freezer->recovery().notes, [](const std::string& note) {
    return note.find("anew") != std::string::npos;
  }));
  for (uint64_t i = 333; i < 400; ++i) {
    freezer::put_range(freezer, i, i + 1);
    ASSERT_OK(freezer->sync());
  }

  freezer::expect_range(freezer, 0, 400);
  EXPECT_EQ(freezer::findings_of(freezer, storage_), "");
}

// A reader mends nothing, and still finds everything, without memory for fingerprints.
TEST_P(FreezerTest, GivenAStoreThatWasKilled_WhenOpenedForReadingWithoutMemory_ThenAllIsFound) {
  for (const bool is_table_lost : {false, true}) {
    MemoryStorage storage;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, small_options(GetParam())));
      freezer::put_range(freezer, 0, 50);
      ASSERT_OK(put(freezer, "key7", "newer"));
      ASSERT_OK(freezer->sync());
    }
    if (is_table_lost) {
      ASSERT_OK(storage.remove_partition("table"));
    }
    FreezerOptions options = small_options(Engine::on_disk);
    options.access = FreezerAccess::read_only;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::expect_range(freezer, 8, 50);
    EXPECT_EQ(get(freezer, "key7"), "newer");
    EXPECT_EQ(get(freezer, "none"), "absent");
    EXPECT_EQ(freezer::contains(freezer, "none"), "absent");
    const Bytes key = freezer::test_key("key9", 8);
    const Bytes none = freezer::test_key("none", 8);
    const auto answers = freezer->get_many(std::vector<ByteSpan>{key, none});
    EXPECT_EQ(freezer::answer(answers[0]), "9");
    EXPECT_EQ(freezer::answer(answers[1]), "absent");
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    EXPECT_THAT(put(freezer, "new", "1"), FailsWith(Errc::invalid_argument));
  }
}

TEST_P(FreezerTest, GivenACrashThatLeavesAnEmptySection_WhenClosedAndReopened_ThenItIsWhole) {
  const FreezerOptions options = small_options(GetParam());
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
    ASSERT_OK(put(freezer, "kept", std::string(100, 'v')));  // the section is full
    ASSERT_OK(freezer->close());
  }
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
    ASSERT_OK(put(freezer, "lost", "in another section"));
  }
  storage_.lose_unsynced();
  ASSERT_EQ(storage_.scan("index")->size(), 2u);
  // Mended at the next open, so that its close writes the manifest and nothing else.
  const Bytes right = to_bytes(as_bytes("right"));
  Bytes copy = *storage_.raw("manifest", right);
  copy.back() ^= std::byte{1};
  storage_.set_raw("manifest", right, copy);

  for (int life = 0; life < 2; ++life) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
    EXPECT_EQ(get(freezer, "kept"), std::string(100, 'v'));
    ASSERT_OK(freezer->close());
  }

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  EXPECT_EQ(freezer->item_count(), 1);
}

}  // namespace
}  // namespace firn
