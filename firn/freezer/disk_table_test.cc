// SPDX-License-Identifier: Apache-2.0
//
// DiskTable alone: what it does about damage and calls that fail while it is read, doubles and
// settles. Its answers in a freezer are tested with that.
#include "firn/freezer/disk_table.h"

#include <memory>
#include <optional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/io/memory_storage.h"
#include "testkit/failing_calls.h"
#include "testkit/matchers.h"
#include "testkit/observed_storage.h"

namespace firn::freezer {
namespace {

using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;
using testkit::ObservedStorage;

constexpr uint32_t kSize = 4;

RecordPlace record(uint64_t number) {
  return {Section(0), Position(number)};
}

class DiskTableTest : public testing::Test {
 protected:
  // Four positions on a storage whose calls may fail. Two due positions make it double, in steps of
  // two.
  void SetUp() override {
    ASSERT_OK_INTO(table_, open(storage_));
    ASSERT_OK(table_->start(kSize, 0, 0, kSize / 2));
  }

  static Result<std::unique_ptr<DiskTable>> open(Storage& storage) {
    return DiskTable::open(storage, {.partition = "table", .frequency = 1, .chunk = 2},
                           OpenMode::create);
  }

  void put(uint32_t position, uint64_t epoch, uint64_t number) {
    ASSERT_OK_INTO(const Pair pair, table_->read(position));
    ASSERT_OK(table_->put(position, pair, epoch, record(number)));
  }

  // Flips a bit of the position's first slot; twice mends it.
  void flip(uint64_t position) {
    ASSERT_OK_INTO(const auto blob,
                   memory_.open("table", DiskTable::blob_name(), OpenMode::read_write));
    std::byte byte;
    ASSERT_OK(blob->read_at(position * kPairSizeBytes + 20, MutableByteSpan(&byte, 1)));
    byte ^= std::byte{1};
    const ByteSpan bytes(&byte, 1);
    ASSERT_OK(blob->write_at(position * kPairSizeBytes + 20, bytes));
  }

  MemoryStorage memory_;
  FailingCalls calls_;
  FailingStorage storage_{memory_, calls_};
  std::unique_ptr<DiskTable> table_;
};

TEST_F(DiskTableTest, GivenMoreRecordsThanASlotCounts_WhenPut_ThenItStaysAtTheMost) {
  for (uint64_t number = 0; number < 300; ++number)
    put(1, number + 1, number);

  ASSERT_OK_INTO(const Pair pair, table_->read(1));
  EXPECT_EQ(pair.head()->head, record(299));
  EXPECT_EQ(pair.head()->added, UINT8_MAX);
}

TEST_F(DiskTableTest, GivenABlobThatIsTooShort_WhenAPositionIsRead_ThenItIsDamaged) {
  ASSERT_OK(table_->start_reading(2 * kSize));

  EXPECT_OK(table_->read(kSize - 1));
  EXPECT_THAT(table_->read(kSize), FailsWith(Errc::corrupt, "position 4"));
}

TEST_F(DiskTableTest, GivenADamagedPosition_WhenAReadFails_ThenThatIsToldAndNotDamage) {
  put(1, 1, 0);
  flip(1);

  for (const uint64_t call : {0u, 1u}) {
    calls_.fail(call);
    EXPECT_THAT(table_->read(1), FailsWith(Errc::io, "the test made this call fail"));
  }
  EXPECT_THAT(table_->read(1), FailsWith(Errc::corrupt, "position 1"));
}

TEST_F(DiskTableTest, GivenAWriteWhileAPositionIsRead_WhenItIsTorn_ThenItIsReadAgain) {
  put(1, 1, 7);
  flip(1);
  int calls = 0;
  ObservedStorage observed(memory_, [&] {
    if (calls-- == 1) flip(1);
  });
  ASSERT_OK_INTO(const auto table, open(observed));
  ASSERT_OK(table->start_reading(kSize));

  calls = 2;  // in the middle of the first read
  ASSERT_OK_INTO(const Pair pair, table->read(1));

  EXPECT_LT(calls, 0) << "read again";
  EXPECT_EQ(pair.head()->head, record(7));
}

TEST_F(DiskTableTest, GivenADamagedPosition_WhenTheTableDoubles_ThenItStopsThere) {
  put(0, 1, 0);
  put(1, 1, 1);
  flip(1);

  EXPECT_THAT(table_->step(2), FailsWith(Errc::corrupt, "position 1"));

  EXPECT_TRUE(table_->is_doubling());
  EXPECT_EQ(table_->size(), kSize);
}

TEST_F(DiskTableTest, GivenATableThatDoubles_WhenItIsFinishedAndACallFails_ThenThatIsTold) {
  put(0, 1, 0);
  put(1, 1, 1);
  ASSERT_OK(table_->step(2));
  ASSERT_TRUE(table_->is_doubling());
  EXPECT_TRUE(table_->is_settled()) << "there is nothing to settle before it has doubled";

  for (uint64_t call = 0; table_->is_doubling(); ++call) {
    calls_.fail(call);
    const Status finished = table_->finish_doubling(2);
    EXPECT_EQ(finished.has_value(), !calls_.failed());
    calls_.stop();
  }

  EXPECT_EQ(table_->size(), 2 * kSize);
  for (const uint64_t position : {0u, 1u, 4u, 5u}) {
    ASSERT_OK_INTO(const Pair pair, table_->read(position));
    EXPECT_EQ(pair.head()->head, record(position % kSize));
  }
}

// A table of which memory wrote parts counts anew, and positions that it left alone may be due.
TEST_F(DiskTableTest, GivenMoreDuePositionsThanAreCounted_WhenTheTableDoubles_ThenNoneAreLeft) {
  put(0, 1, 0);
  put(1, 1, 1);
  put(2, 1, 2);
  ASSERT_OK(table_->start(kSize, 2, table_->heads_sum(), kSize / 2));

  ASSERT_OK(table_->step(2));
  ASSERT_OK(table_->finish_doubling(2));

  EXPECT_EQ(table_->resizable(), 0u);
}

TEST_F(DiskTableTest, GivenDamageAndACallThatFails_WhenSettled_ThenTheDamageStaysAndTheCallIsTold) {
  put(0, 1, 0);
  put(1, 1, 1);
  ASSERT_OK(table_->step(2));
  ASSERT_OK(table_->finish_doubling(2));
  ASSERT_FALSE(table_->is_settled());
  flip(0);
  const auto first_there = [](uint32_t, RecordPlace head) { return head; };

  calls_.fail(0);
  EXPECT_THAT(table_->settle(3, kSize, first_there), FailsWith(Errc::io));
  EXPECT_FALSE(table_->is_settled());
  EXPECT_OK(table_->settle(3, kSize, first_there));

  EXPECT_TRUE(table_->is_settled());
  EXPECT_THAT(table_->read(0), FailsWith(Errc::corrupt));
}

TEST_F(DiskTableTest, GivenADamagedPosition_WhenHeadsAreForgotten_ThenItStaysInTheSum) {
  put(0, 1, 0);
  put(1, 1, 1);
  flip(0);

  ASSERT_OK(table_->forget_heads(0, kSize));

  EXPECT_EQ(table_->heads_sum(), head_summand(0, record(0)));
}

}  // namespace
}  // namespace firn::freezer
