// SPDX-License-Identifier: Apache-2.0
//
// Freezer: what verify finds in the table, however the freezer works. Nothing else looks at all of
// it while the heads are in memory.
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::findings_of;
using freezer::kPairSizeBytes;
using freezer::put;
using freezer::RecordPlace;
using freezer::Store;

constexpr uint64_t kVerifiedKeys = 40;
constexpr uint32_t kPositions = 64;

FreezerOptions verified_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.table.initial_size = kPositions;
  options.table.resize_frequency = 4;
  return freezer::with_engine(options, engine);
}

// Every way of working in which the table is taken as it is, or is not read at all.
std::vector<FreezerOptions> ways_to_verify() {
  std::vector<FreezerOptions> ways = {verified_options(Engine::resident),
                                      verified_options(Engine::resident),
                                      verified_options(Engine::on_disk)};
  ways[1].access = ways[2].access = FreezerAccess::read_only;
  return ways;
}

void make_closed(Storage& storage, Engine engine) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, verified_options(engine)));
  freezer::put_range(freezer, 0, kVerifiedKeys);
  ASSERT_OK(freezer->close());
}

MutableByteSpan pair_at(Bytes& table, uint64_t position) {
  return MutableByteSpan(table).subspan(position * kPairSizeBytes, kPairSizeBytes);
}

std::optional<RecordPlace> head_at(Bytes& table, uint64_t position) {
  const freezer::Pair pair = freezer::decode_pair(pair_at(table, position));
  if (pair.head() == nullptr) return std::nullopt;
  return pair.head()->head;
}

void set_head(Bytes& table, uint64_t position, RecordPlace head) {
  std::ranges::fill(pair_at(table, position), std::byte{0});
  freezer::encode_slot(pair_at(table, position).first(freezer::kSlotSizeBytes),
                       {.epoch = 1, .head = head, .added = 1});
}

uint64_t count_lines(const std::string& text) {
  return static_cast<uint64_t>(std::ranges::count(text, '\n'));
}

class FreezerVerify : public freezer::EveryEngine {
 protected:
  // Makes a closed store for each way to verify, changes its table, and calls back.
  void for_each_way(const std::function<void(Bytes& table)>& change,
                    const std::function<void(const std::string& findings)>& expect) {
    for (const FreezerOptions& way : ways_to_verify()) {
      SCOPED_TRACE(concat("budget ", way.memory_budget_bytes));
      MemoryStorage storage;
      make_closed(storage, GetParam());
      ASSERT_OK_INTO(const Store before, Freezer::open(storage, way));
      ASSERT_EQ(findings_of(before, storage), "");
      Bytes table = freezer::table_bytes(storage);
      change(table);
      freezer::set_table_bytes(storage, table);
      expect(findings_of(before, storage));
      if (way.access != FreezerAccess::read_only) continue;
      ASSERT_OK_INTO(const Store after, Freezer::open(storage, way));
      expect(findings_of(after, storage));
      freezer::expect_range(after, 0, kVerifiedKeys);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerVerify, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerVerify, GivenHeadsThatAreNoRecords_WhenVerified_ThenEachPositionIsNamed) {
  for (const RecordPlace nowhere :
       {RecordPlace{Section(0), Position(1'000'000'000)}, RecordPlace{Section(77), Position(0)}}) {
    for_each_way(
        [&](Bytes& table) {
          for (uint64_t position = 0; position < kPositions; ++position)
            set_head(table, position, nowhere);
        },
        [](const std::string& findings) { EXPECT_EQ(count_lines(findings), kPositions); });
  }
}

TEST_P(FreezerVerify, GivenTheNewestHeadEverywhere_WhenVerified_ThenEachOtherPositionIsNamed) {
  uint64_t with_records = 0;
  for_each_way(
      [&](Bytes& table) {
        std::optional<RecordPlace> newest;
        with_records = 0;
        for (uint64_t position = 0; position < kPositions; ++position) {
          newest = std::max(newest, head_at(table, position));
          if (head_at(table, position)) ++with_records;
        }
        for (uint64_t position = 0; position < kPositions; ++position)
          set_head(table, position, *newest);
      },
      [&](const std::string& findings) { EXPECT_EQ(count_lines(findings), with_records - 1); });
}

TEST_P(FreezerVerify, GivenADamagedKeyPage_WhenVerified_ThenItIsNamedAndTheTableIsNot) {
  for (const FreezerOptions& way : ways_to_verify()) {
    MemoryStorage storage;
    make_closed(storage, GetParam());
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, way));
    const Bytes section = storage.scan("index").value().front();
    Bytes keys = *storage.raw("index", section);
    keys[8 + 140 + 5] ^= std::byte{1};  // in the second page
    storage.set_raw("index", section, keys);

    RecoveryLog findings(storage, true);
    EXPECT_OK(freezer->verify(FreezerDepth::values, findings, [](uint64_t) {}));

    ASSERT_FALSE(findings.report().damage.empty());
    for (const BlobRange& range : findings.report().damage)
      EXPECT_EQ(range.partition, "index") << range.reason;
    EXPECT_EQ(findings.report().damage.front().offset, 140u);
    EXPECT_EQ(findings.report().notes.size(), 1u);
  }
}

// No chain tells, because no record belongs there.
TEST_P(FreezerVerify, GivenAHeadWhereNoneWas_WhenVerified_ThenTheSumTells) {
  for_each_way(
      [](Bytes& table) {
        uint64_t position = 0;
        while (head_at(table, position))
          ++position;
        set_head(table, position, {Section(0), Position(0)});
      },
      [](const std::string& findings) {
        EXPECT_EQ(count_lines(findings), 1);
        EXPECT_THAT(findings, testing::HasSubstr("not those that were written"));
      });
}

TEST_P(FreezerVerify, GivenEveryByteOfTheTableChanged_WhenVerified_ThenEachPositionIsNamed) {
  for_each_way(
      [](Bytes& table) {
        for (std::byte& byte : table)
          byte ^= std::byte{0x5a};
      },
      [](const std::string& findings) { EXPECT_EQ(count_lines(findings), kPositions); });
}

TEST_P(FreezerVerify, GivenALostCutOrUnreadableTable_WhenVerified_ThenItIsToldOnce) {
  const std::function<void(MemoryStorage&)> changes[] = {
      [](MemoryStorage& storage) { ASSERT_OK(storage.remove_partition("table")); },
      [](MemoryStorage& storage) { freezer::set_table_bytes(storage, Bytes(kPairSizeBytes)); },
      [](MemoryStorage& storage) {
        Bytes raw = *storage.raw("table", as_bytes("table"));
        raw[1] ^= std::byte{0x20};
        storage.set_raw("table", as_bytes("table"), raw);
      }};
  for (const auto& change : changes) {
    MemoryStorage storage;
    make_closed(storage, GetParam());
    change(storage);
    for (FreezerOptions way : ways_to_verify()) {
      way.access = FreezerAccess::read_only;
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, way));
      EXPECT_EQ(count_lines(findings_of(freezer, storage)), 1);
    }
  }
}

// What was put since is in memory only, and memory may have more positions.
TEST_P(FreezerVerify, GivenPutsSinceTheTableWasWritten_WhenVerified_ThenNothingIsFound) {
  make_closed(storage_, GetParam());
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, verified_options(Engine::resident)));
  for (uint64_t i = kVerifiedKeys; i < uint64_t{10} * kPositions; ++i) {
    ASSERT_OK(put(freezer, concat("key", i), concat(i)));
    if (i % 50 == 0) {
      EXPECT_EQ(findings_of(freezer, storage_), "") << i;
    }
  }
  EXPECT_GT(freezer->statistics().table_size, kPositions);
  ASSERT_OK(freezer->sync());
  freezer.reset();  // without close
  for (const FreezerOptions& way : ways_to_verify()) {
    ASSERT_OK_INTO(const Store other, Freezer::open(storage_, way));
    EXPECT_EQ(findings_of(other, storage_), "");
  }
}

// In memory a put writes one position at close. The others must not be left wrong for whoever uses
// the table next: the original believes it.
TEST_P(FreezerVerify, GivenWrongHeads_WhenMemoryPutsAndCloses_ThenTheTableIsRight) {
  for (const bool is_valid : {true, false}) {
    MemoryStorage storage;
    make_closed(storage, GetParam());
    Bytes table = freezer::table_bytes(storage);
    for (uint64_t position = 0; position < kPositions; ++position)
      set_head(table, position, {Section(0), Position(1'000'000'000)});
    if (!is_valid) table[7] ^= std::byte{1};
    freezer::set_table_bytes(storage, table);
    {
      ASSERT_OK_INTO(const Store freezer,
                     Freezer::open(storage, verified_options(Engine::resident)));
      ASSERT_OK(put(freezer, "new", "1"));
      ASSERT_OK(freezer->close());
    }
    for (const FreezerOptions& way : ways_to_verify()) {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, way));
      EXPECT_EQ(findings_of(freezer, storage), "");
      EXPECT_TRUE(freezer->recovery().notes.empty());
    }
  }
}

}  // namespace
}  // namespace firn
