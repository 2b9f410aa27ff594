// SPDX-License-Identifier: Apache-2.0
//
// Freezer, working on disk: after the table has doubled, each half of a position gets a head of its
// own, while others read, put, fail, kill and cut the power.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/freezer/freezer_test_support.h"
#include "testkit/forwarding_storage.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::notes_of;
using freezer::put;
using freezer::Store;
using testkit::LoggedStorage;

FreezerOptions settling_options(Engine engine = Engine::on_disk, uint32_t chunk = 8) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.section_target_bytes = 1000;
  options.write_buffer_bytes = 512;
  options.table.initial_size = 8;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = chunk;
  return freezer::with_engine(options, engine);
}

void put_synced(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i) {
    freezer::put_range(freezer, i, i + 1);
    ASSERT_OK(freezer->sync());
  }
}

// Positions whose chain begins with a record of another one, although some belong to it.
uint64_t foreign_heads(const Store& freezer, const MemoryStorage& storage) {
  const uint32_t size = freezer->statistics().table_size;
  std::vector<bool> has_records(size);
  EXPECT_OK(freezer->visit([&](const FreezerItem& item) {
    has_records[crc32c(item.key) & (size - 1)] = true;
    return true;
  }));
  const Bytes table = freezer::table_bytes(storage);
  Bytes record(freezer::record_size_bytes(freezer->key_size_bytes()));
  uint64_t count = 0;
  for (uint64_t position = 0; position < size; ++position) {
    const freezer::Pair pair = freezer::decode_pair(
        ByteSpan(table).subspan(position * freezer::kPairSizeBytes, freezer::kPairSizeBytes));
    const freezer::Slot* const head = pair.head();
    if (head == nullptr || !has_records[position]) continue;
    EXPECT_OK(freezer->log().read_entry(head->head.section, head->head.position, record));
    if ((crc32c(freezer::key_of(record)) & (size - 1)) != position) ++count;
  }
  return count;
}

TEST(FreezerSettling, GivenPutsWithoutASync_WhenTheTableIsFull_ThenItDoublesBesideThem) {
  constexpr uint64_t kPuts = 1000;
  for (const Engine engine : {Engine::on_disk, Engine::immediate}) {
    MemoryStorage storage;
    ASSERT_OK_INTO(Store freezer, Freezer::open(storage, settling_options(engine, 64)));

    freezer::put_range(freezer, 0, kPuts);

    if (engine == Engine::immediate) {
      EXPECT_EQ(freezer->statistics().table_size, 8) << "the original doubles with syncs only";
      continue;
    }
    EXPECT_GE(freezer->statistics().table_size, 512);
    ASSERT_OK(freezer->sync());
    freezer::expect_range(freezer, 0, kPuts);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    ASSERT_OK(freezer->close());
    ASSERT_OK_INTO(freezer, Freezer::open(storage, settling_options(engine, 64)));
    freezer::expect_range(freezer, 0, kPuts);
    EXPECT_EQ(notes_of(freezer), "");
  }
}

// What the log says that was written to the table.
uint64_t table_bytes_written(const LoggedStorage& storage) {
  uint64_t bytes = 0;
  for (const std::string& entry : storage.log())
    if (entry.starts_with("write table/")) bytes += std::stoull(entry.substr(entry.rfind('+') + 1));
  return bytes;
}

// A step writes `chunk` positions and as many of the other half; a put makes one step at most, to
// double or to settle, and writes its own head.
TEST(FreezerSettling, WhenTheTableDoubles_ThenNoPutWritesMoreThanAStepOfIt) {
  constexpr uint32_t kChunk = 16;
  MemoryStorage memory;
  LoggedStorage storage(memory);
  FreezerOptions options = settling_options(Engine::on_disk, kChunk);
  options.write_buffer_bytes = 1 << 16;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
  uint64_t most = 0;
  for (uint64_t i = 0; i < 5000; ++i) {
    storage.clear_log();
    freezer::put_range(freezer, i, i + 1);
    most = std::max(most, table_bytes_written(storage));
  }

  EXPECT_GE(freezer->statistics().table_size, 2048);
  EXPECT_GT(most, kChunk * freezer::kPairSizeBytes) << "some put made a step";
  EXPECT_LE(most, (2 * 2 * kChunk + 1) * freezer::kPairSizeBytes);
}

TEST(FreezerSettling, GivenATableThatDoubledBesidePuts_WhenKilledBeforeASync_ThenItIsMadeAnew) {
  MemoryStorage storage;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, settling_options(Engine::on_disk, 64)));
  freezer::put_range(freezer, 0, 10);
  ASSERT_OK(freezer->sync());
  freezer::put_range(freezer, 10, 1000);
  freezer.reset();

  ASSERT_OK_INTO(freezer, Freezer::open(storage, settling_options(Engine::on_disk, 64)));

  EXPECT_GT(freezer->item_count(), 900) << "what was in buffers is lost";
  freezer::expect_range(freezer, 0, freezer->item_count());
  EXPECT_GE(freezer->statistics().table_size, 512);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

TEST(FreezerSettling, WhenTheTableHasDoubled_ThenEachHalfBeginsWithARecordOfItsOwn) {
  for (const Engine engine : {Engine::on_disk, Engine::immediate}) {
    MemoryStorage storage;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options(engine)));
    uint64_t doublings = 0;
    uint64_t foreign_before = 0;
    for (uint64_t i = 0; i < 400; ++i) {
      put_synced(freezer, i, i + 1);
      const uint64_t foreign = foreign_heads(freezer, storage);
      if (freezer->statistics().resizes > doublings) {
        ++doublings;
        // The original never shortens a chain.
        const bool has_foreign = engine == Engine::immediate && doublings > 3;
        if (engine == Engine::on_disk || has_foreign) {
          EXPECT_EQ(foreign_before > 0, has_foreign) << i;
        }
      }
      foreign_before = foreign;
    }
    EXPECT_GE(doublings, 5);
    freezer::expect_range(freezer, 0, 400);
    EXPECT_EQ(get(freezer, "none"), "absent");
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

// A store whose table has doubled as the original's does, some positions in the sync of their put:
// their other slot has another head. Returns how many keys it has.
uint64_t make_unsettled(MemoryStorage& storage, uint32_t chunk = 8) {
  const auto freezer = Freezer::open(storage, settling_options(Engine::immediate, chunk));
  EXPECT_OK(freezer);
  uint64_t keys = 0;
  while ((*freezer)->statistics().resizes < 4) {
    freezer::put_range(*freezer, keys, keys + 12);
    keys += 12;
    EXPECT_OK((*freezer)->sync());
  }
  EXPECT_OK((*freezer)->close());
  EXPECT_GT(foreign_heads(*freezer, storage), 8);
  return keys;
}

TEST(FreezerSettling, GivenAnEndAfterEachPut_WhenReopened_ThenItGoesOnWhereItWas) {
  for (const bool is_closed : {true, false}) {
    MemoryStorage storage;
    uint64_t keys = make_unsettled(storage);
    uint64_t foreign = 1;
    for (const uint64_t end = keys + 20; foreign > 0; ++keys) {
      ASSERT_LT(keys, end);
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
      ASSERT_EQ(notes_of(freezer), "");
      put_synced(freezer, keys, keys + 1);
      foreign = foreign_heads(freezer, storage);
      if (is_closed) {
        ASSERT_OK(freezer->close());
      }
    }
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
    freezer::expect_range(freezer, 0, keys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

// However rare syncs are, chains stay short: 2.0 records a hit, and 5.1 a miss, if only syncs
// settle.
TEST(FreezerSettling, GivenPutsWithOneSync_WhenClosedAndReopened_ThenChainsAreShort) {
  MemoryStorage storage;
  FreezerOptions options = settling_options(Engine::on_disk, 64);
  options.section_target_bytes = 1 << 20;
  options.write_buffer_bytes = 1 << 16;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 20'000);
    ASSERT_OK(freezer->sync());
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  ASSERT_OK_INTO(const FreezerChains chains, freezer->chains());
  EXPECT_LE(chains.records_per_hit, 1.7);
  EXPECT_LE(chains.records_per_miss, 3.2);
  EXPECT_EQ(foreign_heads(freezer, storage), 0);
  EXPECT_EQ(freezer::findings_of(freezer, storage) + notes_of(freezer), "");
}

// What close() settles is what the next open takes over.
TEST(FreezerSettling, GivenAnUnsettledTable_WhenClosed_ThenItIsSettled) {
  MemoryStorage storage;
  const uint64_t keys = make_unsettled(storage);
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
  EXPECT_EQ(foreign_heads(freezer, storage), 0);
  EXPECT_EQ(notes_of(freezer), "");
  freezer::expect_range(freezer, 0, keys);
}

// The twin of a position that was copied has the same slots until the table has doubled. Doubling
// is faster than settling here, so what would be settled next was copied already; it is put to.
TEST(FreezerSettling, GivenAnUnsettledTable_WhenItDoublesAgain_ThenItIsTakenOver) {
  constexpr uint32_t kChunk = 32;
  constexpr uint32_t kSettledByPut = 8;
  MemoryStorage storage;
  uint64_t keys = make_unsettled(storage, kChunk);
  uint32_t size = 0;
  {
    ASSERT_OK_INTO(const Store freezer,
                   Freezer::open(storage, settling_options(Engine::immediate, kChunk)));
    size = freezer->statistics().table_size;
    for (; freezer->statistics().resizable + 1 < size / 2; ++keys)
      put_synced(freezer, keys, keys + 1);
    ASSERT_OK(freezer->close());
  }
  {
    ASSERT_OK_INTO(const Store freezer,
                   Freezer::open(storage, settling_options(Engine::on_disk, kChunk)));
    while (!freezer->statistics().resizing) {
      put_synced(freezer, keys, keys + 1);
      ++keys;
    }
    ASSERT_GT(foreign_heads(freezer, storage), 8);
    for (uint64_t again = 0; freezer->statistics().table_size == size; ++again) {
      const Bytes key = freezer::test_key(concat("key", again), freezer->key_size_bytes());
      const uint32_t position = crc32c(key) & (size - 1);
      if (position / kSettledByPut == 1) put_synced(freezer, again, again + 1);
    }
  }

  ASSERT_OK_INTO(const Store freezer,
                 Freezer::open(storage, settling_options(Engine::on_disk, kChunk)));
  EXPECT_EQ(notes_of(freezer), "");
  freezer::expect_range(freezer, 0, keys);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

Status put_and_sync(const Store& freezer, uint64_t& synced, uint64_t end) {
  for (uint64_t i = synced; i < end; ++i) {
    TRY(put(freezer, concat("key", i), concat(i)));
    if (i % 2 == 0) TRY(put(freezer, concat("key", i), concat(i)));
    TRY(freezer->sync());
    synced = i + 1;
  }
  return {};
}

// The table is repaired, not made anew: what was settled by the sync that failed is dropped, and
// the puts behind the last good sync fit what is left.
TEST(FreezerSettling, WhenAnyChangeFails_ThenTheTableOfTheLastSyncIsTakenOver) {
  bool has_failed = true;
  for (uint64_t change = 0; has_failed; ++change) {
    ASSERT_LT(change, 1000);
    for (const bool power_cut : {false, true}) {
      SCOPED_TRACE(concat("change ", change, power_cut ? ", power cut" : ", killed"));
      MemoryStorage memory;
      LoggedStorage storage(memory);
      uint64_t synced = make_unsettled(memory);
      {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
        storage.fail_change(change, true);
        const uint64_t end = synced + 6;
        has_failed = !put_and_sync(freezer, synced, end);
      }
      if (power_cut) memory.lose_unsynced();
      for (int life = 0; life < 2; ++life) {
        ASSERT_OK_INTO(const Store freezer, Freezer::open(memory, settling_options()));
        EXPECT_THAT(notes_of(freezer), testing::Not(testing::HasSubstr("anew")));
        freezer::expect_range(freezer, 0, synced);
        EXPECT_EQ(freezer::findings_of(freezer, memory), "");
        ASSERT_OK(put_and_sync(freezer, synced, synced + 2));
        freezer::expect_range(freezer, 0, synced);
      }
    }
  }
}

// Calls back once, before the next read of the table.
class InterruptedTable final : public MemoryStorage {
 public:
  std::function<void()> other;

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    TRY_INTO(auto blob, MemoryStorage::open(partition, name, mode, versions));
    if (partition != "table") return blob;
    return std::make_unique<TableBlob>(*this, std::move(blob));
  }

 private:
  class TableBlob final : public testkit::ForwardingBlob {
   public:
    TableBlob(InterruptedTable& storage, std::unique_ptr<Blob> inner)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      if (storage_.other) std::exchange(storage_.other, nullptr)();
      return ForwardingBlob::read_at(offset, out);
    }

   private:
    InterruptedTable& storage_;
  };
};

TEST(FreezerSettling, GivenAReaderThatKnowsThePosition_WhenItIsSplitAndSettled_ThenItsKeyIsFound) {
  constexpr uint64_t kReaderKeys = 8;
  for (uint64_t i = 0; i < kReaderKeys; ++i) {
    InterruptedTable storage;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
    freezer::put_range(freezer, 0, kReaderKeys);
    ASSERT_OK(freezer->sync());
    const uint32_t size = freezer->statistics().table_size;
    storage.other = [&] {
      uint64_t next = kReaderKeys;
      while (freezer->statistics().table_size == size || foreign_heads(freezer, storage) > 0) {
        put_synced(freezer, next, next + 1);
        ++next;
      }
    };

    EXPECT_EQ(get(freezer, concat("key", i)), concat(i));

    EXPECT_GT(freezer->statistics().table_size, size);
  }
}

// Version 2 of the manifest's record did not say how far the table is settled.
TEST(FreezerSettling, GivenARecordOfTheVersionBefore_WhenOpened_ThenItBeginsAnew) {
  MemoryStorage storage;
  const uint64_t keys = make_unsettled(storage);
  {
    RecoveryLog recovery(storage, false);
    ASSERT_OK_INTO(const auto manifest, Manifest::open(storage, false, recovery));
    Bytes record = *manifest->record(freezer::kTableRecord);
    ASSERT_EQ(record[0], std::byte{3});
    record[0] = std::byte{2};
    record[45] = std::byte{77};
    ASSERT_OK(manifest->set_record(freezer::kTableRecord, record));
    ASSERT_OK(manifest->close());
  }

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
  EXPECT_EQ(notes_of(freezer), "");
  put_synced(freezer, keys, keys + 16);

  EXPECT_EQ(foreign_heads(freezer, storage), 0);
  freezer::expect_range(freezer, 0, keys + 16);
}

// Memory writes the positions that changed; the others keep the chains that they have on disk.
TEST(FreezerSettling, GivenAnUnsettledTable_WhenMemoryWritesAPartOfIt_ThenTheRestIsTakenOver) {
  MemoryStorage storage;
  uint64_t keys = make_unsettled(storage);
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options(Engine::resident)));
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    put_synced(freezer, keys, keys + 1);
    ++keys;
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
    ASSERT_OK(freezer->close());
    EXPECT_EQ(notes_of(freezer), "");
  }

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
  EXPECT_EQ(notes_of(freezer), "");
  freezer::expect_range(freezer, 0, keys);
}

}  // namespace
}  // namespace firn
