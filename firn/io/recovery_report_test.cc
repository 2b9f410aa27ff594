// SPDX-License-Identifier: Apache-2.0
#include "firn/io/recovery_report.h"

#include "firn/base/units.h"
#include "firn/io/file_storage.h"
#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testkit::FailsWith;

constexpr std::string_view kBlobHex = "0000000000000001";

class RecoveryLogTest : public testing::Test {
 protected:
  RecoveryLogTest() {
    auto opened = storage_.open("index", *from_hex(kBlobHex), OpenMode::create);
    EXPECT_OK(opened);
    blob_ = std::move(*opened);
  }

  void fill(std::string_view text) {
    ASSERT_OK(blob_->write_at(0, as_bytes(text)));
    ASSERT_OK(blob_->sync());
  }
  static BlobRange range(uint64_t offset, uint64_t size_bytes) {
    return {"index", std::string(kBlobHex), offset, size_bytes, "torn tail"};
  }
  std::string saved_text(const CutRange& cut) {
    const auto name = from_hex(cut.saved_as);
    EXPECT_TRUE(name);
    auto saved = storage_.open(kLostFoundPartition, *name, OpenMode::read_only);
    EXPECT_OK(saved);
    Bytes content((*saved)->size());
    EXPECT_OK((*saved)->read_at(0, content));
    return std::string(as_text(content));
  }

  MemoryStorage storage_;
  std::unique_ptr<Blob> blob_;
};

TEST_F(RecoveryLogTest, GivenATail_WhenSavedAndThePowerFails_ThenTheCopyIsEqual) {
  fill("hello world");
  RecoveryLog log(storage_, false);

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));
  storage_.lose_unsynced();

  ASSERT_THAT(log.report().cuts, SizeIs(1));
  const CutRange& cut = log.report().cuts[0];
  EXPECT_EQ(cut.saved_size_bytes, 6u);
  EXPECT_EQ(saved_text(cut), " world");
  EXPECT_EQ(as_text(*from_hex(cut.saved_as)), "index/0000000000000001@5");
  EXPECT_EQ(cut.range.reason, "torn tail");
}

TEST_F(RecoveryLogTest, GivenZerosOnly_WhenCut_ThenTheyAreListedButNotSaved) {
  fill(std::string_view("hello\0\0\0\0", 9));
  RecoveryLog log(storage_, false);

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 4)));

  ASSERT_THAT(log.report().cuts, SizeIs(1));
  EXPECT_EQ(log.report().cuts[0].saved_as, "");
  EXPECT_EQ(log.report().cuts[0].saved_size_bytes, 0u);
  ASSERT_OK_INTO(const auto names, storage_.scan(kLostFoundPartition));
  EXPECT_THAT(names, IsEmpty());
}

TEST_F(RecoveryLogTest, GivenAReadOnlyLog_WhenCut_ThenNothingIsWritten) {
  fill("hello world");
  RecoveryLog log(storage_, true);

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));

  EXPECT_THAT(log.report().cuts, SizeIs(1));
  EXPECT_EQ(log.report().cuts[0].saved_as, "");
  ASSERT_OK_INTO(const auto partitions, storage_.partitions());
  EXPECT_THAT(partitions, ElementsAre("index"));
}

TEST_F(RecoveryLogTest, GivenALongRange_WhenSaved_ThenOnlyTheBoundIsKept) {
  ASSERT_OK(blob_->resize(kSavedPerCutMaxBytes + 3));
  ASSERT_OK(blob_->write_at(kSavedPerCutMaxBytes, as_bytes("end")));
  RecoveryLog log(storage_, false);

  ASSERT_OK(log.save_before_cut(*blob_, range(0, kSavedPerCutMaxBytes + 3)));

  const CutRange& cut = log.report().cuts[0];
  EXPECT_EQ(cut.saved_size_bytes, kSavedPerCutMaxBytes);
  ASSERT_OK_INTO(const auto saved,
                 storage_.open(kLostFoundPartition, *from_hex(cut.saved_as), OpenMode::read_only));
  EXPECT_EQ(saved->size(), kSavedPerCutMaxBytes);
}

TEST_F(RecoveryLogTest, GivenTheSameRangeTwice_WhenItDiffers_ThenBothCopiesStay) {
  fill("hello world");
  RecoveryLog log(storage_, false);
  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));
  fill("hello there");

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));

  ASSERT_THAT(log.report().cuts, SizeIs(2));
  EXPECT_EQ(saved_text(log.report().cuts[0]), " world");
  EXPECT_EQ(saved_text(log.report().cuts[1]), " there");
}

TEST_F(RecoveryLogTest, GivenAnInterruptedRecovery_WhenRepeated_ThenTheCopyIsUsedAgain) {
  fill("hello world");
  RecoveryLog first(storage_, false);
  ASSERT_OK(first.save_before_cut(*blob_, range(5, 6)));

  RecoveryLog second(storage_, false);
  ASSERT_OK(second.save_before_cut(*blob_, range(5, 6)));

  EXPECT_EQ(second.report().cuts[0].saved_as, first.report().cuts[0].saved_as);
  ASSERT_OK_INTO(const auto names, storage_.scan(kLostFoundPartition));
  EXPECT_THAT(names, SizeIs(1));
}

TEST_F(RecoveryLogTest, GivenACopyOfAKilledRecovery_WhenUsedAgain_ThenItIsDurable) {
  fill("hello world");
  const Bytes name = to_bytes(as_bytes("index/0000000000000001@5"));
  ASSERT_OK_INTO(const auto copy, storage_.open(kLostFoundPartition, name, OpenMode::create_new));
  ASSERT_OK(copy->write_at(0, as_bytes(" world")));
  RecoveryLog log(storage_, false);

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));
  storage_.lose_unsynced();

  EXPECT_EQ(*from_hex(log.report().cuts[0].saved_as), name);
  EXPECT_EQ(saved_text(log.report().cuts[0]), " world");
}

TEST_F(RecoveryLogTest, GivenADamagedOldCopy_WhenSaved_ThenAnotherNameIsUsed) {
  fill("hello world");
  storage_.set_raw(kLostFoundPartition, as_bytes("index/0000000000000001@5"), Bytes(20));
  RecoveryLog log(storage_, false);

  ASSERT_OK(log.save_before_cut(*blob_, range(5, 6)));

  EXPECT_EQ(saved_text(log.report().cuts[0]), " world");
}

TEST_F(RecoveryLogTest, GivenTheLongestNames_WhenSaved_ThenTheNameFits) {
  fill("hello world");
  RecoveryLog log(storage_, false);
  const BlobRange longest{std::string(255, 'p'), std::string(254, 'f'), 0, 11, ""};
  fill("hello there");
  ASSERT_OK(log.save_before_cut(*blob_, longest));
  fill("hello world");

  ASSERT_OK(log.save_before_cut(*blob_, longest));

  EXPECT_EQ(saved_text(log.report().cuts[1]), "hello world");
}

TEST_F(RecoveryLogTest, GivenARangeBeyondTheBlob_WhenSaved_ThenItFailsAndListsNoCut) {
  fill("hello");
  RecoveryLog log(storage_, false);

  EXPECT_THAT(log.save_before_cut(*blob_, range(3, 3)), FailsWith(Errc::out_of_range));

  EXPECT_TRUE(log.report().empty());
}

TEST(RecoveryLogOnAFullDisk, GivenNoSpace_WhenSaved_ThenItFailsAndListsNoCut) {
  testkit::SimulatedFileSystem disk;
  FileStorage storage(disk);
  ASSERT_OK_INTO(const auto blob, storage.open("index", *from_hex(kBlobHex), OpenMode::create));
  ASSERT_OK(blob->write_at(0, Bytes(1000, std::byte{7})));
  disk.set_faults({.capacity_bytes = 1500});
  RecoveryLog log(storage, false);

  EXPECT_THAT(log.save_before_cut(*blob, {"index", std::string(kBlobHex), 0, 1000, "torn tail"}),
              FailsWith(Errc::no_space));

  EXPECT_TRUE(log.report().empty());
}

}  // namespace
}  // namespace firn
