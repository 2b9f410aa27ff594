// SPDX-License-Identifier: Apache-2.0
//
// What recovery cannot adopt of an IndexedValueLog is cut. Its entries and its values are in
// lost-found before, and the report says where: a wrong decision can be undone by hand.
#include <gtest/gtest.h>

#include "firn/io/file_storage.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/journal_test_support.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

using ::testing::HasSubstr;
using testkit::SimulatedFileSystem;
using testkit::SurvivorPlan;

// Section 1 has six entries, one a page. Two are at the floor, and the value of the fourth is torn,
// or its page is.
class DroppedEntriesTest : public IndexedValueLogTest {
 protected:
  static constexpr uint64_t kKept = 3;
  static constexpr uint64_t kWritten = 6;

  void SetUp() override { use_one_entry_a_page(); }

  enum class Torn : uint8_t { value, page };
  void write_torn_section(Storage& storage, Torn what = Torn::value) {
    used_floors_ = nullptr;
    ASSERT_OK_INTO(log_, try_open(storage));
    append_entries(1, kWritten);
    ASSERT_OK(log_->sync_all());
    log_.reset();
    const bool is_value = what == Torn::value;
    ASSERT_OK_INTO(auto torn,
                   storage.open(is_value ? kValues : kIndex, name(), OpenMode::read_write));
    ASSERT_OK(torn->write_at(kKept * (is_value ? kStoredSizeBytes : kPagedEntrySizeBytes),
                             eight_bytes(0)));
    ASSERT_OK(torn->sync());
    floors_.plant(Section(1), 2 * kEntrySizeBytes);
    use_floors();
  }

  static Bytes name() { return journal::section_name(Section(1)); }

  static Bytes tail(const Bytes& all, uint64_t begin) {
    return {all.begin() + static_cast<ptrdiff_t>(begin), all.end()};
  }

  static Result<Bytes> content(Storage& storage, std::string_view partition, ByteSpan blob_name) {
    TRY_INTO(auto blob, storage.open(partition, blob_name, OpenMode::read_only));
    Bytes bytes(blob->size());
    TRY(blob->read_at(0, bytes));
    return bytes;
  }

  // Whether lost-found holds these bytes. A crash while they are saved leaves a shorter copy, too.
  static bool has_copy(Storage& storage, const Bytes& bytes) {
    const auto names = storage.scan(kLostFoundPartition);
    return names && std::ranges::any_of(*names, [&](const Bytes& copy) {
             const Result<Bytes> saved = content(storage, kLostFoundPartition, copy);
             return saved && *saved == bytes;
           });
  }

  // What the last open saved of a partition, as the report tells.
  Result<Bytes> saved(Storage& storage, std::string_view partition) const {
    for (const CutRange& cut : report_.cuts)
      if (cut.range.partition == partition)
        return content(storage, kLostFoundPartition, *from_hex(cut.saved_as));
    return fail(Errc::not_found, "the report lists no cut");
  }

  void expect_none_lost_unsaved(Torn what);
};

TEST_F(DroppedEntriesTest, WhenReopened_ThenTheirPagesAndValuesAreSavedAndReported) {
  write_torn_section(storage_);
  const Bytes entries = blob(kIndex, 1);
  const Bytes values = blob(kValues, 1);

  reopen();

  expect_entries(1, kKept);
  ASSERT_EQ(report_.cuts.size(), 2u);
  const BlobRange& range = report_.cuts[0].range;
  EXPECT_EQ(range.partition, kIndex);
  EXPECT_EQ(range.blob, "0000000000000001");
  EXPECT_EQ(range.offset, kKept * kPagedEntrySizeBytes);
  EXPECT_EQ(range.size_bytes, (kWritten - kKept) * kPagedEntrySizeBytes);
  EXPECT_THAT(range.reason, HasSubstr("dropped 3 entries, 3 to 5: "));
  EXPECT_THAT(range.reason, HasSubstr("checksum"));
  EXPECT_EQ(saved(storage_, kIndex), tail(entries, kKept * kPagedEntrySizeBytes));
  EXPECT_EQ(saved(storage_, kValues), tail(values, kKept * kStoredSizeBytes));
}

TEST_F(DroppedEntriesTest, GivenAPageOfKeptEntriesToo_WhenReopened_ThenItIsSavedWhole) {
  page_size_bytes_ = 4 * kEntrySizeBytes;
  write_torn_section(storage_);
  const Bytes entries = blob(kIndex, 1);

  reopen();

  expect_entries(1, kKept);
  EXPECT_EQ(saved(storage_, kIndex), entries);
}

TEST_F(DroppedEntriesTest, GivenReadOnly_WhenOpened_ThenTheyAreListedAndNothingIsWritten) {
  write_torn_section(storage_);
  const auto before = all_blobs();

  ASSERT_OK_INTO(log_, try_open(storage_, true));

  expect_entries(1, kKept);
  ASSERT_EQ(report_.cuts.size(), 2u);
  EXPECT_EQ(report_.cuts[0].range.partition, kIndex);
  EXPECT_EQ(report_.cuts[0].saved_as, "");
  EXPECT_EQ(all_blobs(), before);
  EXPECT_FALSE(has_lost_found());
}

// Without their entries nobody would know that there were values.
TEST_F(DroppedEntriesTest, GivenATornPage_WhenReopened_ThenTheValuesOfItsEntriesAreSavedToo) {
  write_torn_section(storage_, Torn::page);
  const Bytes values = blob(kValues, 1);

  reopen();

  expect_entries(1, kKept);
  ASSERT_EQ(report_.cuts.size(), 2u);
  EXPECT_EQ(report_.cuts[1].range.offset, kKept * kStoredSizeBytes);
  EXPECT_EQ(saved(storage_, kValues), tail(values, kKept * kStoredSizeBytes));
}

// Whatever call of recovery the power fails in: what the blobs have no more is in lost-found.
void DroppedEntriesTest::expect_none_lost_unsaved(Torn what) {
  SimulatedFileSystem prepared;
  Bytes lost_entries;
  Bytes lost_values;
  {
    FileStorage storage(prepared);
    write_torn_section(storage, what);
    ASSERT_OK_INTO(lost_entries, content(storage, kIndex, name()));
    ASSERT_OK_INTO(lost_values, content(storage, kValues, name()));
    lost_entries = tail(lost_entries, kKept * kPagedEntrySizeBytes);
    lost_values = tail(lost_values, kKept * kStoredSizeBytes);
  }
  bool crashed = true;
  uint64_t crashes = 0;
  for (uint64_t call = 1; crashed; ++call) {
    for (const bool everything_survives : {false, true}) {
      SCOPED_TRACE(::testing::Message()
                   << "call " << call << ", survivors " << everything_survives);
      const auto disk = prepared.clone();
      floors_.plant(Section(1), 2 * kEntrySizeBytes);
      disk->set_faults({.crashes = {{.call = disk->call_count() + call}}});
      {
        FileStorage storage(*disk);
        crashed = !try_open(storage);
      }
      disk->cut_power(everything_survives ? SurvivorPlan::all() : SurvivorPlan::none());
      disk->clear_faults();
      crashes += crashed ? 1 : 0;

      FileStorage storage(*disk);
      log_.reset();
      ASSERT_OK_INTO(log_, try_open(storage));
      expect_entries(1, kKept);
      EXPECT_TRUE(has_copy(storage, lost_entries));
      EXPECT_TRUE(has_copy(storage, lost_values));
      for (const CutRange& cut : report_.cuts)
        EXPECT_NE(cut.saved_as, "") << "whichever recovery saved it: " << describe(cut);
      log_.reset();
    }
  }
  EXPECT_GT(crashes, 20u);
}

TEST_F(DroppedEntriesTest, GivenAPowerCutAtAnyCall_WhenReopened_ThenNoneIsLostUnsaved) {
  expect_none_lost_unsaved(Torn::value);
}

TEST_F(DroppedEntriesTest, GivenATornPageAndAPowerCut_WhenReopened_ThenNoneIsLostUnsaved) {
  expect_none_lost_unsaved(Torn::page);
}

}  // namespace
}  // namespace firn
