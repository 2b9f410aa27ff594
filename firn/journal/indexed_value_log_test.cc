// SPDX-License-Identifier: Apache-2.0
//
// The behaviours of the original's oversized journal that involve no damage ("Pinned 7.1.n"; the
// others are in indexed_value_log_recovery_test.cc), on a store without floors, and what is ours.
#include "firn/journal/indexed_value_log.h"

#include "firn/io/file_storage.h"
#include "firn/journal/journal_test_support.h"
#include "testkit/logged_storage.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

// Pinned 7.1.1
TEST_F(IndexedValueLogTest, WhenAppended_ThenEntryAndValueRead) {
  reopen();

  ASSERT_OK_INTO(const auto appended, append(1, 42));

  EXPECT_EQ(appended.position, Position(0));
  EXPECT_EQ(appended.location, (ValueLocation{0, kStoredSizeBytes}));
  EXPECT_EQ(get(1, 0), (Entry{42, appended.location}));
  EXPECT_EQ(get_value(1, appended.location), value(42));
}

// Pinned 7.1.3
TEST_F(IndexedValueLogTest, GivenASyncedEntry_WhenReopened_ThenEntryAndValueRead) {
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync(Section(1)));

  storage_.lose_unsynced();
  reopen();

  expect_entries(1, 1);
}

// Pinned 7.1.4
TEST_F(IndexedValueLogTest, WhenPruned_ThenLowerSectionsFailAndOthersRead) {
  reopen();
  for (uint64_t section = 1; section <= 5; ++section)
    append_entries(section, 1);
  ASSERT_OK(log_->sync_all());

  EXPECT_EQ(log_->prune(Section(3)), 2u);

  for (uint64_t section = 1; section <= 2; ++section) {
    EXPECT_THAT(get(section, 0), FailsWith(Errc::pruned));
    EXPECT_FALSE(has_blob(kIndex, section));
    EXPECT_FALSE(has_blob(kValues, section));
  }
  for (uint64_t section = 3; section <= 5; ++section)
    expect_entries(section, 1);
}

// Pinned 7.1.22
TEST_F(IndexedValueLogTest, WhenTheSizeCannotHoldAChecksum_ThenTheValueIsRefused) {
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync_all());

  for (uint32_t size = 0; size < 4; ++size)
    EXPECT_THAT(get_value(1, {0, size}), FailsWith(Errc::out_of_range)) << size;
}

// Pinned 7.1.23
TEST_F(IndexedValueLogTest, WhenTheSizeIsOneLess_ThenTheValueFailsItsChecksum) {
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync_all());

  EXPECT_THAT(get_value(1, {0, kStoredSizeBytes - 1}), FailsWith(Errc::corrupt, "checksum"));
}

// Pinned 7.1.34
TEST_F(IndexedValueLogTest, WhenTheSizeIsThatOfTheChecksum_ThenTheValueFailsItsChecksum) {
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync_all());

  EXPECT_THAT(get_value(1, {0, 4}), FailsWith(Errc::corrupt, "checksum"));
}

// Pinned 7.1.35
TEST_F(IndexedValueLogTest, WhenTheSizeIsOneMoreThanTheChecksum_ThenTheValueFailsItsChecksum) {
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync_all());

  EXPECT_THAT(get_value(1, {0, 5}), FailsWith(Errc::corrupt, "checksum"));
}

// Pinned 7.1.39
TEST_F(IndexedValueLogTest, WhenRewoundToZero_ThenTheSectionIsEmpty) {
  reopen();
  append_entries(0, 1);

  ASSERT_OK(log_->rewind(Section(0), 0));

  Bytes out(kEntrySizeBytes);
  ASSERT_OK_INTO(const auto last, log_->read_last(Section(0), out));
  EXPECT_EQ(last, std::nullopt);
  EXPECT_EQ(log_->size(Section(0)), 0u);
  EXPECT_EQ(value_size(0), 0u);
}

// Pinned 7.1.40
TEST_F(IndexedValueLogTest, GivenNoSection_WhenRewoundToZero_ThenNothingHappens) {
  reopen();

  ASSERT_OK(log_->rewind(Section(0), 0));

  Bytes out(kEntrySizeBytes);
  EXPECT_THAT(log_->read_last(Section(0), out), FailsWith(Errc::out_of_range));
  EXPECT_EQ(value_size(0), 0u);
}

// Pinned 7.1.41. Rule 7: the original had removed later index sections by then; ours changes
// nothing when it refuses.
TEST_F(IndexedValueLogTest, GivenNoSection_WhenRewoundToMore_ThenItRefusesAndChangesNothing) {
  reopen();
  EXPECT_THAT(log_->rewind(Section(0), kEntrySizeBytes), FailsWith(Errc::out_of_range));

  append_entries(5, 2);
  ASSERT_OK(log_->sync_all());
  EXPECT_THAT(log_->rewind(Section(0), kEntrySizeBytes), FailsWith(Errc::out_of_range));

  expect_entries(5, 2);
}

// Pinned 7.1.42
TEST_F(IndexedValueLogTest, GivenNoSection_WhenOneSectionIsRewoundToMore_ThenItRefuses) {
  reopen();

  EXPECT_THAT(log_->rewind_section(Section(0), kEntrySizeBytes), FailsWith(Errc::out_of_range));
}

// Pinned 7.1.43
TEST_F(IndexedValueLogTest, WhenPruned_ThenTheLastEntryOfAPrunedSectionIsPruned) {
  reopen();
  append_entries(0, 1);
  append_entries(1, 1);

  ASSERT_OK(log_->prune(Section(1)));

  Bytes out(kEntrySizeBytes);
  EXPECT_THAT(log_->read_last(Section(0), out), FailsWith(Errc::pruned));
  ASSERT_OK_INTO(const auto last, log_->read_last(Section(1), out));
  EXPECT_EQ(last, Position(0));
}

// --------------------------------------------------------------------- beyond the pinned
// behaviours

TEST_F(IndexedValueLogTest, WhenRewound_ThenValuesEndWithTheLastEntryAndTheRangeIsReused) {
  reopen();
  append_entries(1, 5);
  append_entries(2, 2);
  ASSERT_OK(log_->sync_all());

  ASSERT_OK(log_->rewind(Section(1), 2 * kEntrySizeBytes));

  EXPECT_EQ(value_size(1), 2 * kStoredSizeBytes);
  EXPECT_EQ(blob_size(kValues, 1), 2 * kStoredSizeBytes);
  EXPECT_FALSE(has_blob(kValues, 2));
  append_entries(1, 1);
  expect_entries(1, 3);
  ASSERT_OK(log_->sync_all());
  reopen();
  expect_entries(1, 3);
}

TEST_F(IndexedValueLogTest, WhenOneSectionIsRewound_ThenLaterOnesStay) {
  reopen();
  append_entries(1, 5);
  append_entries(2, 2);

  ASSERT_OK(log_->rewind_section(Section(1), kEntrySizeBytes));

  expect_entries(1, 1);
  expect_entries(2, 2);
}

TEST_F(IndexedValueLogTest, GivenAnAppendThatWasRefusedAsPruned_WhenSynced_ThenSyncSucceeds) {
  reopen();
  append_entries(5, 1);
  ASSERT_OK(log_->prune(Section(3)));

  EXPECT_THAT(append(2, 0), FailsWith(Errc::pruned));

  EXPECT_OK(log_->sync_all());
  EXPECT_OK(log_->close());
}

TEST_F(IndexedValueLogTest, WhenThePrefixHasAnotherSize_ThenAppendRefusesAndChangesNothing) {
  reopen();

  EXPECT_THAT(log_->append(Section(1), Bytes(7), value(1)), FailsWith(Errc::invalid_argument));

  EXPECT_FALSE(has_blob(kIndex, 1));
  EXPECT_FALSE(has_blob(kValues, 1));
}

TEST_F(IndexedValueLogTest, GivenImpossibleOptions_WhenOpened_ThenTheyAreRefused) {
  RecoveryLog recovery(storage_, false);

  auto short_entry = options();
  short_entry.index.record_size_bytes = 11;
  EXPECT_THAT(IndexedValueLog::open(storage_, short_entry, recovery),
              FailsWith(Errc::invalid_argument, "12 bytes"));
  auto same_partition = options();
  same_partition.values.partition = same_partition.index.partition;
  EXPECT_THAT(IndexedValueLog::open(storage_, same_partition, recovery),
              FailsWith(Errc::invalid_argument, "share the partition"));
}

TEST_F(IndexedValueLogTest, GivenReadOnly_WhenMutated_ThenItRefusesAndChangesNothing) {
  reopen();
  append_entries(1, 3);
  append_entries(2, 3);
  ASSERT_OK(log_->sync_all());
  const auto before = all_blobs();
  log_.reset();
  ASSERT_OK_INTO(log_, try_open(storage_, true));

  EXPECT_THAT(append(1, 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->prune(Section(2)), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->rewind(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->rewind_section(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->destroy(), FailsWith(Errc::invalid_argument));

  EXPECT_EQ(all_blobs(), before);
  expect_entries(1, 3);
  expect_entries(2, 3);
}

// Rule 6: after the values failed, nothing may tell the store that all is well.
TEST_F(IndexedValueLogTest, GivenValuesThatFailedInARewind_WhenClosed_ThenCloseFails) {
  used_floors_ = &floors_;
  testkit::LoggedStorage logged(storage_);
  ASSERT_OK_INTO(log_, try_open(logged));
  append_entries(1, 3);
  ASSERT_OK(log_->sync_all());
  logged.clear_log();
  ASSERT_OK(log_->rewind_section(Section(1), 2 * kEntrySizeBytes));
  const size_t changes = logged.log().size();
  ASSERT_EQ(logged.log().back(), "sync values/" + journal::section_hex(Section(1)));

  logged.fail_change(changes - 1);  // the same again: now the sync of the values fails
  EXPECT_THAT(log_->rewind_section(Section(1), kEntrySizeBytes), FailsWith(Errc::io));

  EXPECT_THAT(log_->sync_all(), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->close(), FailsWith(Errc::poisoned));
  log_.reset();
}

TEST_F(IndexedValueLogTest, WhenDestroyed_ThenNothingIsLeft) {
  reopen();
  append_entries(1, 2);
  append_entries(2, 2);

  ASSERT_OK(log_->destroy());

  EXPECT_TRUE(all_blobs().empty());
}

TEST_F(IndexedValueLogTest, WhenVerified_ThenDamagedPagesAndValuesAreNamed) {
  use_one_entry_a_page();
  reopen();
  append_entries(1, 5);
  ASSERT_OK(log_->sync_all());
  reopen();
  RecoveryLog clean(storage_, false);
  uint64_t checked_bytes = 0;
  const auto progress = [&](uint64_t bytes) { checked_bytes += bytes; };
  ASSERT_OK(log_->verify(true, clean, progress));
  EXPECT_TRUE(clean.report().empty());
  EXPECT_EQ(checked_bytes, 5 * (kEntrySizeBytes + kStoredSizeBytes));

  patch_blob(kIndex, 1, 1 * kPagedEntrySizeBytes, eight_bytes(UINT64_MAX));
  patch_blob(kValues, 1, 3 * kStoredSizeBytes, eight_bytes(UINT64_MAX));
  reopen();
  RecoveryLog findings(storage_, false);
  ASSERT_OK(log_->verify(true, findings, progress));

  ASSERT_EQ(findings.report().damage.size(), 2u);
  EXPECT_EQ(findings.report().damage[0].partition, kIndex);
  EXPECT_EQ(findings.report().damage[0].offset, kPagedEntrySizeBytes);
  EXPECT_EQ(findings.report().damage[1].partition, kValues);
  EXPECT_EQ(findings.report().damage[1].offset, 3 * kStoredSizeBytes);
}

// What cannot be read is not damaged.
TEST_F(IndexedValueLogTest, GivenADeviceThatFails_WhenVerified_ThenThatIsTheAnswer) {
  testkit::SimulatedFileSystem disk;
  FileStorage storage(disk);
  ASSERT_OK_INTO(log_, try_open(storage));
  append_entries(1, 3);
  ASSERT_OK(log_->sync_all());
  const std::string name = journal::section_hex(Section(1));

  disk.make_unreadable("values", name, kBlobHeaderSizeBytes, 1);
  RecoveryLog findings(storage, true);
  EXPECT_THAT(log_->verify(true, findings, [](uint64_t) {}), FailsWith(Errc::io));

  EXPECT_TRUE(findings.report().empty());
  log_.reset();
}

// A rewind that fails half-way must not look like one that never was, whichever call fails.
TEST_F(IndexedValueLogTest, GivenACallThatFails_WhenRewound_ThenNothingChangedOrTheLogIsPoisoned) {
  use_one_entry_a_page();  // so that the entry that stays must be read from its page
  open_sections_max_ = 1;
  bool rewound = false;
  size_t poisoned = 0;
  for (uint64_t failing = 1; !rewound; ++failing) {
    SCOPED_TRACE(failing);
    ASSERT_LT(failing, 20u);
    testkit::SimulatedFileSystem disk;
    FileStorage storage(disk);
    ASSERT_OK_INTO(log_, try_open(storage));
    append_entries(1, 3);
    append_entries(2, 3);  // closes the blobs of section 1
    ASSERT_OK(log_->sync_all());

    disk.set_faults({.failures = {{.call = disk.call_count() + failing, .code = Errc::io}},
                     .count_reads = true});
    rewound = log_->rewind_section(Section(1), kEntrySizeBytes).has_value();
    disk.clear_faults();

    if (!rewound) {
      if (log_->entry_count(Section(1)).value_or(0) == 3 && append(1, id_of(1, 3)).has_value()) {
        expect_entries(1, 4);
      } else {
        EXPECT_THAT(append(1, 9), FailsWith(Errc::poisoned));
        EXPECT_THAT(log_->sync_all(), FailsWith(Errc::poisoned));
        ++poisoned;
      }
    }
    log_.reset();
  }
  EXPECT_GE(poisoned, 4u);
}

TEST_F(IndexedValueLogTest, WhenReplayed_ThenEntriesComeInOrder) {
  reopen();
  append_entries(1, 3);
  append_entries(7, 2);

  ASSERT_OK_INTO(FixedReplay entries, log_->replay(Section(1), Position(1)));

  std::vector<uint64_t> ids;
  while (true) {
    ASSERT_OK_INTO(const auto item, entries.next());
    if (!item) break;
    ids.push_back(load_big_endian<uint64_t>(item->record.data()));
  }
  EXPECT_EQ(ids, (std::vector{id_of(1, 1), id_of(1, 2), id_of(7, 0), id_of(7, 1)}));
}

}  // namespace
}  // namespace firn
