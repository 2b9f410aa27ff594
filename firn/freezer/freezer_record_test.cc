// SPDX-License-Identifier: Apache-2.0
//
// Freezer: what the manifest says: numbers that cannot be, a state of the table that is not the
// expected one, and an older copy of it all.
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::notes_of;
using freezer::put;
using freezer::Store;
using freezer::TableRecord;
using freezer::TableState;
using testkit::FailsWith;

constexpr uint64_t kRecordedKeys = 20;

void make_recorded(Storage& storage, Engine engine) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, short_section_options(engine)));
  freezer::put_range(freezer, 0, kRecordedKeys);
  ASSERT_OK(freezer->close());
}

void change_record(Storage& storage, const std::function<void(TableRecord&)>& change) {
  freezer::set_table_record(storage, [&](Bytes& bytes) {
    ASSERT_OK_INTO(TableRecord record, freezer::decode_table_record(bytes));
    change(record);
    bytes = freezer::encode_table_record(record);
  });
}

class FreezerRecord : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerRecord, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST(FreezerRecordedNumbers, GivenANumberThatCannotBe_WhenOpened_ThenCorruptAndItIsNamed) {
  const std::vector<std::pair<std::string, uint64_t>> impossible = {
      {"key_size", 0},
      {"key_size", 1025},
      {"page_size", 0},
      {"page_size", 65536},
      {"table_initial_size", 0},
      {"table_initial_size", 12},
      {"table_initial_size", uint64_t{1} << 32},
      {"resize_frequency", 0},
      {"resize_frequency", 255},
      {"resize_chunk", 0},
      {"resize_chunk", uint64_t{1} << 32}};
  for (const auto& [name, number] : impossible) {
    MemoryStorage storage;
    ManifestIdentity identity;
    identity.kind = "freezer";
    identity.geometry = {{name, number}};
    RecoveryLog recovery(storage, false);
    ASSERT_OK_INTO(const auto manifest, Manifest::create(storage, identity, recovery));
    ASSERT_OK(manifest->close());

    EXPECT_THAT(Freezer::open(storage, {}),
                FailsWith(Errc::corrupt, concat("an impossible ", name, ": ", number)));
  }
}

TEST_P(FreezerRecord, GivenACleanCloseThatLeftTheTableUnfinished_WhenOpened_ThenEveryKeyIsFound) {
  for (const TableState state : {TableState::stale, TableState::written}) {
    MemoryStorage storage;
    make_recorded(storage, GetParam());
    change_record(storage, [=](TableRecord& record) { record.state = state; });

    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, short_section_options(GetParam())));

    EXPECT_TRUE(freezer->recovery().was_clean);
    freezer::expect_range(freezer, 0, kRecordedKeys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

TEST_P(FreezerRecord, GivenTheLastEpochs_WhenSyncedOrOpened_ThenRefusedAndNoEpochComesTwice) {
  make_recorded(storage_, GetParam());
  change_record(storage_, [](TableRecord& record) { record.checkpoint.epoch = UINT64_MAX - 2; });
  {
    ASSERT_OK_INTO(const Store last, Freezer::open(storage_, short_section_options(GetParam())));
    ASSERT_OK(last->sync());
    EXPECT_THAT(last->rebuild_table(), FailsWith(Errc::no_space, "as often as epochs"));
    EXPECT_THAT(last->sync(), testing::AnyOf(FailsWith(Errc::no_space), testkit::IsOk()));
    freezer::expect_range(last, 0, kRecordedKeys);
  }
  change_record(storage_, [](TableRecord& record) { record.checkpoint.epoch = UINT64_MAX - 1; });

  EXPECT_THAT(Freezer::open(storage_, short_section_options(GetParam())),
              FailsWith(Errc::corrupt, "the highest there is"));
}

// More than memory could number: the store works from disk, whatever memory there is, and takes
// what the records need that are there.
TEST_P(FreezerRecord, GivenAClaimOfVeryManyRecords_WhenOpened_ThenServedFromDisk) {
  make_recorded(storage_, GetParam());
  change_record(storage_, [](TableRecord& record) { record.items = uint64_t{1} << 33; });
  FreezerOptions options = short_section_options(GetParam());
  options.memory_budget_bytes = 1 << 20;

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));

  EXPECT_FALSE(freezer->statistics().resident);
  EXPECT_LT(freezer->statistics().memory_bytes, uint64_t{1} << 18);
  freezer::expect_range(freezer, 0, kRecordedKeys);
  EXPECT_EQ(get(freezer, "none"), "absent");
}

// The newer copy of the manifest said that the table has newer slots.
TEST_P(FreezerRecord, GivenTheOlderCopyOfTheManifest_WhenTheTableIsNewer_ThenEveryKeyIsFound) {
  make_recorded(storage_, GetParam());
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, short_section_options(GetParam())));
    freezer::put_range(freezer, kRecordedKeys, kRecordedKeys + 1);
  }
  const auto copy = [&](std::string_view side) {
    return *storage_.raw("manifest", as_bytes(side));
  };
  const auto version = [&](std::string_view side) {
    return load_big_endian<uint64_t>(copy(side).data() + 8);
  };
  const std::string_view newer = version("left") > version("right") ? "left" : "right";
  Bytes damaged = copy(newer);
  damaged.back() ^= std::byte{1};
  storage_.set_raw("manifest", as_bytes(newer), damaged);

  ASSERT_OK_INTO(const Store freezer,
                 Freezer::open(storage_, short_section_options(Engine::on_disk)));

  freezer::expect_range(freezer, 0, kRecordedKeys);
  EXPECT_EQ(freezer->recovery().damage.size(), 1u);
  EXPECT_THAT(notes_of(freezer), testing::Not(testing::HasSubstr("anew")));
  EXPECT_EQ(freezer::findings_of(freezer, storage_), "");
}

// Positions do not move while they are written: the store leaves its memory with later puts.
TEST(FreezerLeaving, GivenADoublingUnderWay_WhenItOutgrowsItsMemory_ThenItLeavesOnceThatHasEnded) {
  constexpr uint64_t kPutsPerLook = 1024;  // at the memory
  MemoryStorage storage;
  FreezerOptions options = short_section_options(Engine::resident);
  options.section_target_bytes = 1 << 20;
  uint64_t memory_bytes = 0;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    freezer::put_range(freezer, 0, 1);
    ASSERT_OK(freezer->close());
    memory_bytes = freezer->statistics().memory_bytes;
  }
  options.memory_budget_bytes = memory_bytes + 2000;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  freezer::put_range(freezer, 1, 1 + kPutsPerLook);
  ASSERT_TRUE(freezer->statistics().resizing);
  ASSERT_GT(freezer->statistics().memory_bytes, options.memory_budget_bytes);

  freezer::put_range(freezer, 1 + kPutsPerLook, 2 + kPutsPerLook);
  EXPECT_FALSE(freezer->statistics().leaving);
  constexpr uint64_t kPuts = 3 * kPutsPerLook + 20;  // with the second look it doubles again
  freezer::put_range(freezer, 2 + kPutsPerLook, kPuts);

  EXPECT_FALSE(freezer->statistics().resident);
  freezer::expect_range(freezer, 0, kPuts);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
}

}  // namespace
}  // namespace firn
