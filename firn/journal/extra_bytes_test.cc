// SPDX-License-Identifier: Apache-2.0
//
// Bytes behind the end of a section that nobody refers to: they are cut, and never without a word.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/journal/journal_test_support.h"

namespace firn {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Bytes kAdded = to_bytes(as_bytes("these bytes are not firn's"));

// The content of a copy in lost-found, by the name that a report gives.
Bytes saved_copy(const MemoryStorage& storage, const CutRange& cut) {
  const auto raw = storage.raw(kLostFoundPartition, *from_hex(cut.saved_as));
  if (!raw) return {};
  return {raw->begin() + kBlobHeaderSizeBytes, raw->end()};
}

class ExtraJournalBytesTest : public FixedJournalTest {
 protected:
  // Sections 1 and 2 with five records each, in pages of 44 + 12 bytes, closed.
  void SetUp() override {
    used_floors_ = &floors_;
    reopen();
    append_records(1, 5);
    append_records(2, 5);
    ASSERT_OK(journal_->close());
    journal_.reset();
    floors_.mark_clean();
  }

  static constexpr uint64_t kEnd = uint64_t{4} * 56;
};

TEST_F(ExtraJournalBytesTest, GivenACleanClose_WhenReopened_ThenTheyAreSavedCutAndReported) {
  for (const Bytes& added : {kAdded, Bytes(100, std::byte{0x77})}) {
    const auto before = all_blobs();
    floors_.mark_clean();
    patch_blob(kIndex, 2, kEnd, added);

    reopen();

    ASSERT_EQ(report_.cuts.size(), 1u);
    const CutRange& cut = report_.cuts[0];
    EXPECT_EQ(cut.range.partition, kIndex);
    EXPECT_EQ(cut.range.blob, journal::section_hex(Section(2)));
    EXPECT_EQ(cut.range.offset, kEnd);
    EXPECT_EQ(cut.range.size_bytes, added.size());
    EXPECT_EQ(saved_copy(storage_, cut), added);
    EXPECT_THAT(report_.damage, IsEmpty());
    EXPECT_EQ(replay(0, 0).value().size(), 10u);
    EXPECT_EQ(all_blobs(), before);
    journal_.reset();
  }
}

TEST_F(ExtraJournalBytesTest, GivenACleanClose_WhenOnlyRead_ThenTheyAreReportedAndStay) {
  patch_blob(kIndex, 1, kEnd, kAdded);
  const auto before = all_blobs();

  ASSERT_OK_INTO(journal_, try_open(storage_, true));

  ASSERT_EQ(report_.cuts.size(), 1u);
  EXPECT_EQ(report_.cuts[0].saved_as, "");
  EXPECT_EQ(replay(0, 0).value().size(), 10u);
  EXPECT_EQ(all_blobs(), before);
}

TEST_F(ExtraJournalBytesTest, GivenACleanClose_WhenASectionIsShorter_ThenItsUserIsToldOfTheDamage) {
  resize_blob(kIndex, 2, kEnd - 56);
  const auto before = all_blobs();

  reopen();

  EXPECT_TRUE(report_.empty());
  EXPECT_EQ(get(1, 4), record(104));
  EXPECT_THAT(get(2, 0), FailsWith(Errc::corrupt, "known durable"));
  EXPECT_THAT(append(2, 1), FailsWith(Errc::corrupt, "known durable"));
  EXPECT_EQ(all_blobs(), before);
}

// A cut that comes after open can be told to nobody: so there is none.
TEST_F(ExtraJournalBytesTest, WhenAddedToASectionThatIsClosed_ThenItFailsAndStaysAsItIs) {
  open_sections_max_ = 1;
  reopen();
  ASSERT_EQ(get(1, 0), record(100));
  ASSERT_EQ(get(2, 0), record(200));  // closes section 1
  patch_blob(kIndex, 1, kEnd, kAdded);
  const auto before = all_blobs();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::corrupt, "index/0000000000000001"));
  EXPECT_THAT(append(1, 7), FailsWith(Errc::corrupt, "changed from outside"));

  EXPECT_EQ(get(2, 4), record(204));
  EXPECT_EQ(all_blobs(), before);
  EXPECT_FALSE(has_lost_found());
}

// Whole records in valid pages are no less added.
TEST_F(ExtraJournalBytesTest, WhenRecordsAreAddedToASectionThatIsClosed_ThenItFailsAndStays) {
  MemoryStorage other;
  used_floors_ = nullptr;
  ASSERT_OK_INTO(journal_, try_open(other));
  append_records(1, 6);
  ASSERT_OK(journal_->close());
  used_floors_ = &floors_;
  open_sections_max_ = 1;
  reopen();
  ASSERT_EQ(get(2, 0), record(200));  // closes section 1
  const Bytes name = journal::section_name(Section(1));
  storage_.set_raw(kIndex, name, *other.raw(kIndex, name));
  const auto before = all_blobs();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::corrupt, "no longer ends behind 160 payload bytes"));
  EXPECT_THAT(append(1, 7), FailsWith(Errc::corrupt, "changed from outside"));

  EXPECT_EQ(all_blobs(), before);
}

class ExtraValueBytesTest : public IndexedValueLogTest {
 protected:
  void SetUp() override {
    use_floors();
    use_one_entry_a_page();
    reopen();
    append_entries(1, 3);
    append_entries(2, 3);
    ASSERT_OK(log_->close());
    log_.reset();
  }

  static constexpr uint64_t kEnd = 3 * kStoredSizeBytes;
};

TEST_F(ExtraValueBytesTest, GivenACleanClose_WhenReopened_ThenTheyAreSavedCutAndReported) {
  floors_.mark_clean();
  const auto before = all_blobs();
  patch_blob(kValues, 2, kEnd, kAdded);

  reopen();

  ASSERT_EQ(report_.cuts.size(), 1u);
  const CutRange& cut = report_.cuts[0];
  EXPECT_EQ(cut.range.partition, kValues);
  EXPECT_EQ(cut.range.blob, journal::section_hex(Section(2)));
  EXPECT_EQ(cut.range.offset, kEnd);
  EXPECT_EQ(cut.range.size_bytes, kAdded.size());
  EXPECT_EQ(saved_copy(storage_, cut), kAdded);
  expect_entries(1, 3);
  expect_entries(2, 3);
  EXPECT_EQ(all_blobs(), before);
}

TEST_F(ExtraValueBytesTest, GivenACleanClose_WhenOnlyRead_ThenTheyAreReportedAndStay) {
  floors_.mark_clean();
  patch_blob(kIndex, 1, 3 * kPagedEntrySizeBytes, kAdded);
  patch_blob(kValues, 2, kEnd, kAdded);
  const auto before = all_blobs();

  ASSERT_OK_INTO(log_, try_open(storage_, true));

  EXPECT_EQ(report_.cuts.size(), 2u);
  expect_entries(1, 3);
  expect_entries(2, 3);
  EXPECT_EQ(all_blobs(), before);
}

// Nothing of a damaged section changes, although something follows its end.
TEST_F(ExtraValueBytesTest, GivenACleanClose_WhenItsValuesAreDamaged_ThenNothingIsCut) {
  floors_.mark_clean();
  patch_blob(kIndex, 1, 3 * kPagedEntrySizeBytes, kAdded);
  resize_blob(kValues, 1, kEnd - 1);
  const auto before = all_blobs();

  reopen();

  EXPECT_EQ(log_->damaged().size(), 1u);
  EXPECT_EQ(all_blobs(), before);
  EXPECT_FALSE(has_lost_found());
}

// A whole entry with its value, which an older state of the floors does not know, is no garbage.
TEST_F(ExtraValueBytesTest, GivenACleanCloseWithAnOlderFloor_WhenReopened_ThenNothingIsCut) {
  floors_.plant(Section(2), 2 * kEntrySizeBytes);
  floors_.mark_clean();

  reopen();

  expect_entries(2, 3);
  EXPECT_TRUE(report_.empty());
}

TEST_F(ExtraValueBytesTest, GivenAStoppedWriter_WhenItsEntriesNeverArrived_ThenTheCutIsTold) {
  patch_blob(kValues, 2, kEnd, kAdded);

  reopen();

  ASSERT_EQ(report_.cuts.size(), 1u);
  EXPECT_EQ(report_.cuts[0].range.offset, kEnd);
  EXPECT_EQ(report_.cuts[0].range.size_bytes, kAdded.size());
  EXPECT_EQ(report_.cuts[0].saved_as, "");
  EXPECT_THAT(describe(report_.cuts[0]), HasSubstr("not saved: values that were written ahead"));
  EXPECT_FALSE(has_lost_found());
}

TEST_F(ExtraValueBytesTest, GivenUnknownFloors_WhenReopened_ThenTheyAreSaved) {
  used_floors_ = nullptr;
  patch_blob(kValues, 2, kEnd, kAdded);

  reopen();

  ASSERT_EQ(report_.cuts.size(), 1u);
  EXPECT_EQ(saved_copy(storage_, report_.cuts[0]), kAdded);
}

}  // namespace
}  // namespace firn
