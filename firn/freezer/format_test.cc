// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a freezer, in hexadecimal: a small life from its first put to a recovery.
#include "firn/freezer/format.h"

#include <string>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::Pair;
using freezer::Slot;
using freezer::SlotState;

FreezerOptions example_options() {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 64;
  options.section_target_bytes = 1 << 20;
  options.table.initial_size = 4;
  options.table.resize_frequency = 2;
  options.table.resize_chunk = 4;
  return freezer::with_engine(options, Engine::immediate);
}

Result<FreezerCursor> put(const freezer::Store& freezer, uint64_t key, uint32_t value) {
  std::byte key_bytes[8];
  std::byte value_bytes[4];
  store_big_endian(key_bytes, key);
  store_big_endian(value_bytes, value);
  return freezer->put(key_bytes, value_bytes);
}

std::string hex_of(const MemoryStorage& storage, std::string_view partition) {
  std::string hex;
  storage.for_each_durable([&](std::string_view of, ByteSpan, ByteSpan content) {
    if (of == partition) hex += to_hex(content);
  });
  return hex;
}

std::string zeros(size_t bytes) {
  return std::string(bytes * 2, '0');
}

const std::string kHeader = "4357494300000000";
const std::string kPosition1 = "00000000000000010000000000000000000000000000000102e041552b";
const std::string kPosition2 = "00000000000000010000000000000000000000000000000201c7f60e46";
const std::string kFirstTable =
    kHeader + zeros(58) + kPosition1 + zeros(29) + kPosition2 + zeros(29) + zeros(58);

class FreezerExample : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_INTO(freezer_, Freezer::open(storage_, example_options()));
    ASSERT_OK_INTO(const auto first, put(freezer_, 1, 100));
    EXPECT_EQ(to_hex(freezer::encode_cursor(first)), "0000000000000000000000000000000000000008");
    ASSERT_OK(put(freezer_, 2, 200));
    ASSERT_OK_INTO(const auto third, put(freezer_, 3, 300));
    EXPECT_EQ(third.location.offset, 0x10);
    ASSERT_OK_INTO(checkpoint_, freezer_->sync());
  }

  MemoryStorage storage_;
  freezer::Store freezer_;
  FreezerCheckpoint checkpoint_;
};

TEST_F(FreezerExample, WhenThreeKeysAreSynced_ThenTheFilesAreThoseOfTheExample) {
  EXPECT_EQ(to_hex(freezer::encode_checkpoint(checkpoint_)),
            "00000000000000010000000000000000000000000000006c00000004");
  EXPECT_EQ(hex_of(storage_, "table"), kFirstTable);
  EXPECT_EQ(hex_of(storage_, "index"),
            "43574943000000000000000000000001"
            "ffffffffffffffffffffffffffffffff"
            "00000000000000000000000800000000"
            "00000002000000000000000000000000"
            "00000000000000000040f92833940000"
            "00000000000000080000000800000000"
            "00000003ffffffffffffffffffffffff"
            "ffffffff000000000000001000000008"
            "00000000000000000000000000000000"
            "0000000000"
            "2cc26b87ff000000000000");
  EXPECT_EQ(hex_of(storage_, "values"),
            kHeader + "00000064ee3b4fba" + "000000c8013335cc" + "0000012c363b92be");
  EXPECT_EQ(freezer_->statistics().resizable, 1);
}

TEST_F(FreezerExample, WhenTheTableDoubles_ThenBothHalvesAreThoseOfTheExample) {
  ASSERT_OK(put(freezer_, 5, 500));
  ASSERT_OK_INTO(const auto checkpoint, freezer_->sync());

  EXPECT_EQ(to_hex(freezer::encode_checkpoint(checkpoint)),
            "00000000000000020000000000000000000000000000009000000008");
  const std::string reset1 =
      "00000000000000020000000000000000000000000000000100"
      "10c123a1";
  const std::string reset2 =
      "00000000000000020000000000000000000000000000000300"
      "3784134f";
  const std::string half = zeros(58) + kPosition1 + reset1 + kPosition2 + reset2 + zeros(58);
  EXPECT_EQ(hex_of(storage_, "table"), kHeader + half + half);
}

TEST_F(FreezerExample, WhenRecoveredToTheFirstCheckpoint_ThenTheTableIsAsItWas) {
  ASSERT_OK(put(freezer_, 5, 500));
  ASSERT_OK(freezer_->sync());
  freezer_.reset();

  FreezerOptions options = example_options();
  options.checkpoint = checkpoint_;
  ASSERT_OK_INTO(freezer_, Freezer::open(storage_, options));

  EXPECT_EQ(hex_of(storage_, "table"), kFirstTable);
  EXPECT_EQ(freezer_->statistics().resizable, 1);
  EXPECT_EQ(freezer_->item_count(), 3);
}

Slot slot_of(uint64_t epoch) {
  return {.epoch = epoch, .head = {Section(1), Position(2)}, .added = 3};
}

Pair pair_of(std::optional<uint64_t> first, std::optional<uint64_t> second) {
  Pair pair;
  if (first) pair.slots[0] = {SlotState::valid, slot_of(*first)};
  if (second) pair.slots[1] = {SlotState::valid, slot_of(*second)};
  return pair;
}

TEST(FreezerFormat, GivenAPair_WhenASlotIsChosen_ThenSameEpochThenEmptyThenOlder) {
  EXPECT_EQ(pair_of({}, {}).slot_for(1), 0);
  EXPECT_EQ(pair_of(1, {}).slot_for(1), 0);
  EXPECT_EQ(pair_of(1, {}).slot_for(2), 1);
  EXPECT_EQ(pair_of({}, 1).slot_for(1), 1);
  EXPECT_EQ(pair_of({}, 1).slot_for(2), 0);
  EXPECT_EQ(pair_of(1, 2).slot_for(3), 0);
  EXPECT_EQ(pair_of(2, 1).slot_for(3), 1);
  EXPECT_EQ(pair_of(1, 2).slot_for(2), 1);
  EXPECT_EQ(pair_of(2, 1).head()->epoch, 2);
  EXPECT_EQ(pair_of({}, {}).head(), nullptr);
  EXPECT_TRUE(pair_of(2, 2).is_damaged());
  EXPECT_FALSE(pair_of(2, 3).is_damaged());
}

TEST(FreezerFormat, GivenASlot_WhenAnyBitFlips_ThenItIsDamaged) {
  Bytes bytes(freezer::kSlotSizeBytes);
  freezer::encode_slot(bytes, slot_of(7));
  ASSERT_EQ(freezer::decode_slot(bytes).slot, slot_of(7));

  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(freezer::decode_slot(bytes).state, SlotState::damaged) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  EXPECT_EQ(freezer::decode_slot(Bytes(freezer::kSlotSizeBytes)).state, SlotState::empty);
}

TEST(FreezerFormat, GivenATableRecord_WhenDecoded_ThenOnlyPossibleOnesAreTaken) {
  const freezer::TableRecord record{
      .state = freezer::TableState::written,
      .checkpoint = {.epoch = 7, .section = Section(1), .index_size_bytes = 72, .table_size = 8},
      .items = 9,
      .settled = 3,
      .heads_sum = 0x0123456789ABCDEF};
  const Bytes bytes = freezer::encode_table_record(record);
  EXPECT_EQ(*freezer::decode_table_record(bytes), record);

  for (const auto& [offset, value] :
       {std::pair(0, 1), std::pair(1, 3), std::pair(29, 9), std::pair(45, 5)}) {
    Bytes wrong = bytes;
    wrong[static_cast<size_t>(offset)] = static_cast<std::byte>(value);
    EXPECT_THAT(freezer::decode_table_record(wrong), testkit::FailsWith(Errc::corrupt)) << offset;
  }
  EXPECT_THAT(freezer::decode_table_record(ByteSpan(bytes).first(53)),
              testkit::FailsWith(Errc::corrupt));
}

TEST(FreezerFormat, GivenARecordThatIsCutOrTooLong_WhenDecoded_ThenItIsCorrupt) {
  const Bytes cursor = freezer::encode_cursor({Section(1), {2, 3}});
  const Bytes checkpoint = freezer::encode_checkpoint({.table_size = 4});
  const Bytes record = freezer::encode_table_record({.checkpoint = {.table_size = 4}});
  const auto expect_exact_size = [](const Bytes& bytes, const auto& decode) {
    EXPECT_OK(decode(bytes));
    for (size_t size = 0; size < bytes.size(); ++size)
      EXPECT_THAT(decode(ByteSpan(bytes).first(size)), testkit::FailsWith(Errc::corrupt)) << size;
    Bytes longer = bytes;
    longer.push_back(std::byte{0});
    EXPECT_THAT(decode(longer), testkit::FailsWith(Errc::corrupt, "expected the end"));
  };

  expect_exact_size(cursor, freezer::decode_cursor);
  expect_exact_size(checkpoint, freezer::decode_checkpoint);
  expect_exact_size(record, freezer::decode_table_record);
}

TEST(FreezerFormat, GivenATableSize_WhenAsked_ThenOnlyPowersOfTwoUpToTheLimitAreOne) {
  EXPECT_FALSE(freezer::is_table_size(0));
  EXPECT_TRUE(freezer::is_table_size(1));
  EXPECT_FALSE(freezer::is_table_size(3));
  EXPECT_TRUE(freezer::is_table_size(freezer::kTableSizeMax));
  EXPECT_FALSE(freezer::is_table_size(2 * uint64_t{freezer::kTableSizeMax}));
}

}  // namespace
}  // namespace firn
