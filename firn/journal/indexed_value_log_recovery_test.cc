// SPDX-License-Identifier: Apache-2.0
//
// What an IndexedValueLog recovers from cut, damaged and missing blobs. First the behaviours of the
// original's oversized journal ("Pinned 7.1.n"), in its order and on a store without floors; what
// is cut is saved aside and reported there too, by rule 4. Then what floors change.
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/journal_test_support.h"

namespace firn {
namespace {

class IndexedValueLogRecoveryTest : public IndexedValueLogTest {
 protected:
  // Sections with so many synced entries each, left by a kill.
  void write_sections(const std::vector<std::pair<uint64_t, uint64_t>>& counts) {
    reopen();
    for (const auto& [section, count] : counts)
      append_entries(section, count);
    ASSERT_OK(log_->sync_all());
    log_.reset();
  }

  void keep_values(uint64_t section, uint64_t count) {
    resize_blob(kValues, section, count * kStoredSizeBytes);
  }

  void expect_next_position(uint64_t section, uint64_t position) {
    ASSERT_OK_INTO(const auto appended, append(section, id_of(section, position)));
    EXPECT_EQ(appended.position, Position(position));
    expect_entry(section, position);
  }

  // A whole physical page of one entry, with a right checksum.
  static Bytes page_of(uint64_t id, uint64_t offset, uint32_t size);

  // The section is set aside, its reads tell of the damage, and nothing on disk changes.
  void expect_set_aside(uint64_t section, std::string_view part) {
    const auto before = all_blobs();
    for (int attempt = 0; attempt < 2; ++attempt) {
      reopen();
      const auto damaged = log_->damaged();
      ASSERT_EQ(damaged.size(), 1u);
      EXPECT_EQ(damaged.begin()->first, Section(section));
      EXPECT_THAT(damaged.begin()->second.message, ::testing::HasSubstr(std::string(part)));
      ASSERT_EQ(report_.damage.size(), 1u);
      EXPECT_EQ(report_.damage[0].reason, damaged.begin()->second.message);
      EXPECT_THAT(append(section, 0), FailsWith(Errc::corrupt, std::string(part)));
      EXPECT_TRUE(floors_.is_kept_unclean());
      EXPECT_EQ(all_blobs(), before);
      EXPECT_FALSE(has_lost_found());
    }
  }
};

Bytes IndexedValueLogRecoveryTest::page_of(uint64_t id, uint64_t offset, uint32_t size) {
  // Written by the journal itself, in a storage of its own.
  MemoryStorage storage;
  PageCache cache(0);
  RecoveryLog recovery(storage, false);
  FixedJournalOptions options;
  options.partition = "page";
  options.record_size_bytes = kEntrySizeBytes;
  options.page_size_bytes = kEntrySizeBytes;
  options.cache = &cache;
  auto journal = FixedJournal::open(storage, options, recovery);
  EXPECT_OK(journal);
  Bytes entry(kEntrySizeBytes);
  store_big_endian(entry.data(), id);
  store_big_endian(entry.data() + 8, offset);
  store_big_endian(entry.data() + 16, size);
  EXPECT_OK((*journal)->append(Section(0), entry));
  EXPECT_OK((*journal)->sync_all());
  const Bytes raw = *storage.raw("page", journal::section_name(Section(0)));
  return {raw.begin() + kBlobHeaderSizeBytes, raw.end()};
}

// Pinned 7.1.2
TEST_F(IndexedValueLogRecoveryTest, GivenTwoOfFiveValuesCut_WhenReopened_ThenThreeEntriesRemain) {
  write_sections({{1, 5}});

  keep_values(1, 3);
  reopen();

  expect_entries(1, 3);
  EXPECT_THAT(report_.notes, ::testing::ElementsAre(::testing::HasSubstr("dropped 2 entries")));
}

// Pinned 7.1.5
TEST_F(IndexedValueLogRecoveryTest, GivenOneSectionOnly_WhenReopened_ThenAMissingOneIsHarmless) {
  write_sections({{2, 1}});

  reopen();

  expect_entries(2, 1);
  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
}

// Pinned 7.1.6
TEST_F(IndexedValueLogRecoveryTest, GivenAllValuesCut_WhenReopened_ThenTheSectionStartsAnew) {
  write_sections({{1, 5}});

  keep_values(1, 0);
  reopen();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
  expect_next_position(1, 0);
}

// Pinned 7.1.7
TEST_F(IndexedValueLogRecoveryTest, GivenSectionsCutDifferently_WhenReopened_ThenEachKeepsItsOwn) {
  write_sections({{1, 3}, {2, 5}, {3, 2}});

  keep_values(1, 1);
  keep_values(2, 3);
  reopen();

  expect_entries(1, 1);
  expect_entries(2, 3);
  expect_entries(3, 2);
}

// Pinned 7.1.8. Rule 4: the damaged page is saved aside before it is cut.
TEST_F(IndexedValueLogRecoveryTest, GivenADamagedLastPage_WhenReopened_ThenOnlyItsEntryIsLost) {
  use_one_entry_a_page();
  write_sections({{1, 5}});
  ASSERT_EQ(blob_size(kIndex, 1), 160u);

  patch_blob(kIndex, 1, 160 - 12, Bytes(12, std::byte{0xFF}));
  reopen();

  expect_entries(1, 4);
  EXPECT_EQ(report_.cuts.size(), 2u);  // the page, and the value of its entry
  EXPECT_TRUE(has_lost_found());
  expect_next_position(1, 4);
}

// Pinned 7.1.9
TEST_F(IndexedValueLogRecoveryTest, GivenUndamagedSections_WhenReopened_ThenAllEntriesRead) {
  write_sections({{1, 10}, {2, 10}, {3, 10}});

  reopen();

  for (uint64_t section = 1; section <= 3; ++section)
    expect_entries(section, 10);
  EXPECT_TRUE(report_.empty());
}

// Pinned 7.1.10
TEST_F(IndexedValueLogRecoveryTest, GivenTheOnlyValueCut_WhenReopened_ThenItsEntryIsGone) {
  write_sections({{1, 1}});

  keep_values(1, 0);
  reopen();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
}

// Pinned 7.1.11
TEST_F(IndexedValueLogRecoveryTest, GivenTheLastValueLacksOneByte_WhenReopened_ThenItsEntryIsGone) {
  write_sections({{1, 3}});

  resize_blob(kValues, 1, 3 * kStoredSizeBytes - 1);
  reopen();

  expect_entries(1, 2);
  expect_next_position(1, 2);
}

// Pinned 7.1.12
TEST_F(IndexedValueLogRecoveryTest, GivenTheValueBlobIsMissing_WhenReopened_ThenAllEntriesAreGone) {
  write_sections({{1, 3}});

  remove_blob(kValues, 1);
  reopen();

  for (uint64_t position = 0; position < 3; ++position)
    EXPECT_THAT(get(1, position), FailsWith(Errc::out_of_range));
}

// Pinned 7.1.13
TEST_F(IndexedValueLogRecoveryTest, GivenARecoveredLog_WhenAppendedAndSynced_ThenItGoesOn) {
  write_sections({{1, 5}});
  keep_values(1, 2);
  reopen();

  for (uint64_t position = 2; position < 7; ++position)
    expect_next_position(1, position);
  ASSERT_OK(log_->sync_all());
  reopen();

  expect_entries(1, 7);
}

// Pinned 7.1.14. Without floors no boundary is recorded: the section is empty, not pruned.
TEST_F(IndexedValueLogRecoveryTest, GivenOnlyValuesWerePruned_WhenReopened_ThenTheSectionIsEmpty) {
  write_sections({{1, 1}, {2, 1}, {3, 1}});

  remove_blob(kValues, 1);
  reopen();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
  EXPECT_EQ(log_->entry_count(Section(1)), 0u);
  expect_entries(2, 1);
  expect_entries(3, 1);
}

// Pinned 7.1.15. Rule 4: the values without an index are saved aside.
TEST_F(IndexedValueLogRecoveryTest, GivenAnIndexBlobIsMissing_WhenReopened_ThenOthersAreIntact) {
  write_sections({{1, 1}, {2, 1}, {3, 1}});

  remove_blob(kIndex, 2);
  reopen();

  EXPECT_THAT(get(2, 0), FailsWith(Errc::out_of_range));
  expect_entries(1, 1);
  expect_entries(3, 1);
  EXPECT_FALSE(has_blob(kValues, 2));
  EXPECT_TRUE(has_lost_found());
}

// Pinned 7.1.16
TEST_F(IndexedValueLogRecoveryTest, GivenUnsyncedEntries_WhenPowerIsCut_ThenSyncedOnesRemain) {
  write_sections({{1, 3}});
  reopen();
  append_entries(1, 5);

  log_.reset();
  storage_.lose_unsynced();
  reopen();

  EXPECT_EQ(blob_size(kValues, 1), 3 * kStoredSizeBytes);
  expect_entries(1, 3);
}

TEST_F(IndexedValueLogRecoveryTest, GivenUnsyncedEntries_WhenRewound_ThenWhatIsKeptIsDurable) {
  for (const uint64_t section : {1u, 2u}) {
    reopen();
    append_entries(section, 5);
    const uint64_t kept_bytes = 3 * kEntrySizeBytes;

    ASSERT_OK(section == 1 ? log_->rewind(Section(section), kept_bytes)
                           : log_->rewind_section(Section(section), kept_bytes));
    log_.reset();
    storage_.lose_unsynced();
    reopen();

    expect_entries(section, 3);
  }
}

// Pinned 7.1.17
TEST_F(IndexedValueLogRecoveryTest, GivenTheIndexIsBehind_WhenReopened_ThenValuesAreCutToIt) {
  use_one_entry_a_page();
  write_sections({{1, 3}});

  resize_blob(kIndex, 1, 2 * kPagedEntrySizeBytes);
  reopen();

  expect_entries(1, 2);
  for (uint64_t position = 2; position < 5; ++position)
    expect_next_position(1, position);
  ASSERT_OK(log_->sync_all());
  reopen();
  expect_entries(1, 5);
}

// Pinned 7.1.18
TEST_F(IndexedValueLogRecoveryTest, GivenAFractionOfAPage_WhenReopened_ThenItIsCut) {
  write_sections({{1, 3}});
  ASSERT_EQ(blob_size(kIndex, 1), 76u);

  resize_blob(kIndex, 1, 82);
  reopen();

  expect_entries(1, 3);
  EXPECT_EQ(blob_size(kIndex, 1), 76u);
  expect_next_position(1, 3);
}

// Pinned 7.1.19
TEST_F(IndexedValueLogRecoveryTest, GivenOnlyAFractionOfAPage_WhenReopened_ThenTheSectionIsEmpty) {
  write_sections({{1, 1}});

  resize_blob(kIndex, 1, 10);
  reopen();

  EXPECT_EQ(log_->entry_count(Section(1)), 0u);
  expect_next_position(1, 0);
}

// Pinned 7.1.20
TEST_F(IndexedValueLogRecoveryTest, GivenARewindThatCutTheIndexOnly_WhenReopened_ThenItIsDone) {
  use_one_entry_a_page();
  write_sections({{1, 5}});

  resize_blob(kIndex, 1, 2 * kPagedEntrySizeBytes);
  reopen();

  expect_entries(1, 2);
  EXPECT_EQ(blob_size(kValues, 1), 2 * kStoredSizeBytes);
  expect_next_position(1, 2);
}

// Pinned 7.1.21
TEST_F(IndexedValueLogRecoveryTest, GivenARewindThatCutTheValuesOnly_WhenReopened_ThenItIsDone) {
  write_sections({{1, 5}});

  keep_values(1, 2);
  reopen();

  expect_entries(1, 2);
  expect_next_position(1, 2);
}

// Pinned 7.1.24
TEST_F(IndexedValueLogRecoveryTest, GivenValuesWithoutIndex_WhenReopened_ThenTheyAreRemoved) {
  write_sections({{1, 1}, {2, 1}});
  plant_value_sections({3});

  reopen();

  expect_entries(1, 1);
  expect_entries(2, 1);
  EXPECT_EQ(log_->newest_section(), Section(2));
  EXPECT_FALSE(has_blob(kValues, 3));
}

// Pinned 7.1.25
TEST_F(IndexedValueLogRecoveryTest, GivenManyValuesWithoutIndex_WhenReopened_ThenAllAreRemoved) {
  write_sections({{1, 1}});
  plant_value_sections({2, 3, 4});

  reopen();

  expect_entries(1, 1);
  EXPECT_EQ(log_->newest_section(), Section(1));
  for (uint64_t section = 2; section <= 4; ++section)
    EXPECT_FALSE(has_blob(kValues, section));
}

// Pinned 7.1.26
TEST_F(IndexedValueLogRecoveryTest, GivenOnlyValues_WhenOpened_ThenThereAreNoSections) {
  plant_value_sections({1, 2, 3});

  reopen();

  EXPECT_EQ(log_->oldest_section(), std::nullopt);
  EXPECT_EQ(log_->newest_section(), std::nullopt);
  EXPECT_EQ(report_.notes.size(), 3u);
  EXPECT_EQ(report_.cuts.size(), 3u);  // rule 4
}

// Pinned 7.1.27
TEST_F(IndexedValueLogRecoveryTest, GivenRemovedOrphans_WhenTheirSectionIsAppended_ThenItIsNew) {
  write_sections({{1, 1}});
  plant_value_sections({2, 3});
  reopen();

  expect_next_position(2, 0);
  ASSERT_OK(log_->sync_all());
  reopen();

  expect_entries(1, 1);
  expect_entries(2, 1);
  EXPECT_EQ(log_->newest_section(), Section(2));
}

// Pinned 7.1.28
TEST_F(IndexedValueLogRecoveryTest, GivenNoOrphans_WhenReopened_ThenNothingIsRemoved) {
  write_sections({{1, 2}, {2, 2}, {3, 2}});

  reopen();

  for (uint64_t section = 1; section <= 3; ++section)
    expect_entries(section, 2);
  EXPECT_EQ(log_->newest_section(), Section(3));
  EXPECT_TRUE(report_.empty());
}

// Pinned 7.1.29
TEST_F(IndexedValueLogRecoveryTest, GivenAnEmptyIndexAndAnOrphan_WhenReopened_ThenOnlyItStays) {
  write_sections({{1, 1}});
  plant_value_sections({2});
  resize_blob(kIndex, 1, 0);

  reopen();

  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
  EXPECT_EQ(log_->newest_section(), Section(1));
  EXPECT_FALSE(has_blob(kValues, 2));
}

// Pinned 7.1.30
TEST_F(IndexedValueLogRecoveryTest, GivenOrphansBetweenSections_WhenReopened_ThenSectionsStay) {
  write_sections({{1, 1}, {3, 1}, {5, 1}});
  plant_value_sections({2, 4, 6});

  reopen();

  for (const uint64_t section : {1u, 3u, 5u})
    expect_entries(section, 1);
  for (const uint64_t section : {2u, 4u, 6u})
    EXPECT_FALSE(has_blob(kValues, section));
  EXPECT_EQ(log_->oldest_section(), Section(1));
  EXPECT_EQ(log_->newest_section(), Section(5));
}

// Pinned 7.1.31
TEST_F(IndexedValueLogRecoveryTest, GivenGarbageBehindTheValues_WhenReopened_ThenItIsCut) {
  write_sections({{1, 2}});
  patch_blob(kValues, 1, 2 * kStoredSizeBytes, Bytes(100, std::byte{0xDE}));

  reopen();

  ASSERT_OK_INTO(const auto appended, append(1, id_of(1, 2)));
  EXPECT_EQ(appended.position, Position(2));
  EXPECT_EQ(appended.location.offset, 2 * kStoredSizeBytes);
  expect_entries(1, 3);
}

// Pinned 7.1.32
TEST_F(IndexedValueLogRecoveryTest, GivenALocationThatOverflows_WhenReopened_ThenItIsDropped) {
  use_one_entry_a_page();
  write_sections({{1, 1}});
  patch_blob(kIndex, 1, 0, page_of(1, UINT64_MAX - 10, 100));

  reopen();

  ASSERT_OK_INTO(const auto appended, append(1, id_of(1, 0)));
  EXPECT_EQ(appended.position, Position(0));
  EXPECT_EQ(appended.location.offset, 0u);
  expect_entries(1, 1);
}

// Values end before entries 2 and 3, and what entry 2 says of its value is not known.
TEST_F(IndexedValueLogRecoveryTest, GivenCutValuesAndADamagedPage_WhenReopened_ThenTheRestStays) {
  use_one_entry_a_page();
  write_sections({{1, 4}});
  keep_values(1, 2);
  patch_blob(kIndex, 1, 2 * kPagedEntrySizeBytes, eight_bytes(UINT64_MAX));

  reopen();

  expect_entries(1, 2);
  expect_next_position(1, 2);
}

// Pinned 7.1.33
TEST_F(IndexedValueLogRecoveryTest, GivenAnIndexCutToZero_WhenReopened_ThenItsValueBytesAreKept) {
  write_sections({{1, 3}, {2, 1}});
  resize_blob(kIndex, 1, 0);

  reopen();

  EXPECT_EQ(log_->oldest_section(), Section(1));
  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
  expect_entries(2, 1);
  ASSERT_OK_INTO(const auto appended, append(1, id_of(1, 0)));
  EXPECT_EQ(appended.position, Position(0));
  EXPECT_EQ(appended.location.offset, 3 * kStoredSizeBytes);
  ASSERT_OK(log_->sync_all());
  reopen();
  expect_entries(1, 1);
}

// Pinned 7.1.36
TEST_F(IndexedValueLogRecoveryTest, GivenTheLargestSections_WhenOneIsCut_ThenNothingOverflows) {
  const uint64_t first = UINT64_MAX - 3;
  write_sections({{first, 1}, {first + 1, 1}, {first + 2, 1}});
  resize_blob(kValues, first + 1, kStoredSizeBytes / 2);

  reopen();

  expect_entries(first, 1);
  expect_entries(first + 2, 1);
  EXPECT_EQ(log_->entry_count(Section(first + 1)), 0u);
  expect_next_position(first + 1, 0);
  ASSERT_OK(log_->rewind(Section(UINT64_MAX), 0));
  ASSERT_OK(log_->rewind(Section(first), kEntrySizeBytes));
  expect_entries(first, 1);
  EXPECT_EQ(log_->newest_section(), Section(first));
}

// Pinned 7.1.37
TEST_F(IndexedValueLogRecoveryTest, GivenARecoveryThatWasInterrupted_WhenReopened_ThenItFinishes) {
  write_sections({{1, 5}});  // pages of 64 bytes: entries 0 to 2, then 3 and 4
  keep_values(1, 3);
  resize_blob(kIndex, 1, 80);

  reopen();

  expect_entries(1, 3);
  ASSERT_OK_INTO(const auto appended, append(1, id_of(1, 3)));
  EXPECT_EQ(appended.position, Position(3));
  EXPECT_EQ(appended.location.offset, 3 * kStoredSizeBytes);
  expect_entries(1, 4);
}

// Pinned 7.1.38
TEST_F(IndexedValueLogRecoveryTest, GivenACleanupThatWasInterrupted_WhenReopened_ThenItFinishes) {
  write_sections({{1, 1}});
  plant_value_sections({2, 3, 4});
  remove_blob(kValues, 2);

  reopen();

  EXPECT_EQ(log_->sections(), (std::vector{Section(1)}));
  EXPECT_FALSE(has_blob(kValues, 3));
  EXPECT_FALSE(has_blob(kValues, 4));
  expect_next_position(2, 0);
}

// ------------------------------------------------------------------------------ with known floors

// Rule 4, as 7.1.2, 7.1.10 and 7.1.21.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenValuesBelowThemAreCut_ThenItIsSetAside) {
  use_floors();
  write_sections({{1, 5}});

  keep_values(1, 2);

  expect_set_aside(1, "ends at file offset 48, but values up to file offset 108 were synced");
}

// Rule 4, as 7.1.11.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenOneByteOfTheLastValueIsCut_ThenItIsSetAside) {
  use_floors();
  write_sections({{1, 3}});

  resize_blob(kValues, 1, 3 * kStoredSizeBytes - 1);

  expect_set_aside(1, "ends at file offset 67, but values up to file offset 68 were synced");
}

// Rules 4 and 7, as 7.1.12 and 7.1.14: what is missing was not pruned.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenTheValueBlobIsMissing_ThenItIsSetAside) {
  use_floors();
  write_sections({{1, 3}, {2, 1}});

  remove_blob(kValues, 1);

  expect_set_aside(1, "values/0000000000000001: missing");
  floors_.mark_clean();
  expect_set_aside(1, "values/0000000000000001: missing");
}

// Rules 4 and 7, as 7.1.15.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenTheIndexBlobIsMissing_ThenItIsSetAside) {
  use_floors();
  write_sections({{1, 1}, {2, 1}, {3, 1}});

  remove_blob(kIndex, 2);

  expect_set_aside(2, "index/0000000000000002: missing");
  floors_.mark_clean();
  expect_set_aside(2, "index/0000000000000002: missing");
}

// Rule 4, as 7.1.8.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenTheLastPageIsDamaged_ThenItIsSetAside) {
  use_floors();
  use_one_entry_a_page();
  write_sections({{1, 5}});

  patch_blob(kIndex, 1, 160 - 12, Bytes(12, std::byte{0xFF}));

  expect_set_aside(1, "index/0000000000000001: page 4 at file offset 136");
}

// Rule 4, as 7.1.17, 7.1.19, 7.1.20, 7.1.29 and 7.1.33.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenTheIndexIsCut_ThenItIsSetAside) {
  use_floors();
  use_one_entry_a_page();
  write_sections({{1, 3}});

  for (const uint64_t size : {2 * kPagedEntrySizeBytes, uint64_t{10}, uint64_t{0}}) {
    resize_blob(kIndex, 1, size);
    expect_set_aside(1, "known durable");
  }
}

// Rule 4, as 7.1.32: at the floor an impossible location is damage.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenALocationOverflows_ThenItIsSetAside) {
  use_floors();
  use_one_entry_a_page();
  write_sections({{1, 1}});

  patch_blob(kIndex, 1, 0, page_of(1, UINT64_MAX - 10, 100));

  expect_set_aside(1, "values/0000000000000001");
  EXPECT_THAT(log_->value_size(Section(1)), FailsWith(Errc::corrupt, "ends nowhere"));
}

// Below the floor, what an entry says of its value is looked at by verify.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenLocationsCannotBe_ThenVerifyNamesEach) {
  use_floors();
  use_one_entry_a_page();
  write_sections({{1, 7}});
  const std::vector<ValueLocation> locations = {
      {1000, 20}, {500, 20}, {UINT64_MAX - 10, 100}, {90, 3}, {0, 20}};
  for (size_t i = 0; i < locations.size(); ++i)
    patch_blob(kIndex, 1, (i + 1) * kPagedEntrySizeBytes,
               page_of(id_of(1, i + 1), locations[i].offset, locations[i].size_bytes));
  reopen();

  std::vector<std::string> found;
  RecoveryLog findings(storage_, true);
  EXPECT_OK(log_->verify(false, findings, [](uint64_t) {}));
  for (const BlobRange& range : findings.report().damage)
    found.push_back(concat(range.offset, "+", range.size_bytes, " ", range.reason));
  EXPECT_THAT(found, ::testing::UnorderedElementsAre(
                         "1000+20 the values of 1 entries, 1 to 1, end beyond the blob, which "
                         "has 140 bytes",
                         "500+20 the values of 1 entries, 2 to 2, end beyond the blob, which has "
                         "140 bytes",
                         concat(UINT64_MAX - 10,
                                "+100 value of entry 3: its location is "
                                "impossible"),
                         "90+3 value of entry 4: its location is impossible",
                         "0+20 value of entry 5: its location is impossible"));
  // entry 6 is as it was
}

// As 7.1.18 and 7.1.31: what follows the synced bytes was never promised.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenBytesFollowThem_ThenTheyAreCutAndReported) {
  use_floors();
  write_sections({{1, 3}});
  patch_blob(kIndex, 1, blob_size(kIndex, 1), pattern(1, 6));
  patch_blob(kValues, 1, blob_size(kValues, 1), Bytes(100, std::byte{0xDE}));

  reopen();

  expect_entries(1, 3);
  EXPECT_EQ(blob_size(kIndex, 1), 76u);
  EXPECT_EQ(blob_size(kValues, 1), 3 * kStoredSizeBytes);
  ASSERT_EQ(report_.cuts.size(), 2u);
  EXPECT_EQ(report_.cuts[1].range.offset, 3 * kStoredSizeBytes);
  EXPECT_EQ(report_.cuts[1].range.size_bytes, 100u);
  EXPECT_NE(report_.cuts[1].saved_as, "");  // with the page their entries may have been cut
  expect_next_position(1, 3);
}

// Rules 4 and 5: above the floor entries count up to the first whose value is not right. The size
// of the value blob alone does not tell: its bytes may be zeros.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenAValueAboveThemIsTorn_ThenEntriesEndBeforeIt) {
  write_sections({{1, 6}});  // no floors: a power cut lost the raises
  use_floors();
  floors_.plant(Section(1), 2 * kEntrySizeBytes);
  patch_blob(kValues, 1, 3 * kStoredSizeBytes, Bytes(kStoredSizeBytes));

  reopen();

  expect_entries(1, 3);
  EXPECT_EQ(blob_size(kValues, 1), 3 * kStoredSizeBytes);
  EXPECT_EQ(report_.cuts.size(), 2u);
  EXPECT_EQ(floors_.floor(Section(1)), 3 * kEntrySizeBytes);
  EXPECT_THAT(report_.notes,
              ::testing::ElementsAre(::testing::AllOf(::testing::HasSubstr("dropped 3 entries"),
                                                      ::testing::HasSubstr("checksum"))));
  expect_next_position(1, 3);
}

// Below the floor, rot in a value is found by its reader, and nothing else is touched.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenAnEntryAboveThemLeadsBack_ThenItIsCut) {
  use_one_entry_a_page();
  write_sections({{1, 6}});  // no floors: a power cut lost the raises
  use_floors();
  floors_.plant(Section(1), 2 * kEntrySizeBytes);
  // To an intact value, but to that of another entry.
  patch_blob(kIndex, 1, 3 * kPagedEntrySizeBytes, page_of(id_of(1, 3), 0, kStoredSizeBytes));

  reopen();

  expect_entries(1, 3);
}

TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenAValueAboveThemHasNoChecksum_ThenItIsCut) {
  use_one_entry_a_page();
  write_sections({{1, 6}});  // no floors: a power cut lost the raises
  use_floors();
  floors_.plant(Section(1), 2 * kEntrySizeBytes);
  patch_blob(kIndex, 1, 3 * kPagedEntrySizeBytes, page_of(id_of(1, 3), 3 * kStoredSizeBytes, 3));

  reopen();

  expect_entries(1, 3);
  expect_next_position(1, 3);
}

TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenAValueBelowThemRots_ThenOnlyItsReadFails) {
  use_floors();
  write_sections({{1, 4}});
  patch_blob(kValues, 1, kStoredSizeBytes, Bytes(1, std::byte{0xFF}));

  reopen();

  EXPECT_THAT(get_value(1, {kStoredSizeBytes, kStoredSizeBytes}), FailsWith(Errc::corrupt));
  for (const uint64_t position : {0u, 2u, 3u})
    expect_entry(1, position);
  EXPECT_TRUE(report_.empty());
}

// Rule 4, after a clean close: values that were cut off are never replaced by others under their
// entries.
TEST_F(IndexedValueLogRecoveryTest, GivenACleanClose_WhenValuesWereCut_ThenAppendRefuses) {
  use_floors();
  reopen();
  append_entries(1, 5);
  ASSERT_OK(log_->close());
  floors_.mark_clean();
  keep_values(1, 2);
  const auto before = all_blobs();

  reopen();

  EXPECT_THAT(append(1, id_of(1, 5)),
              FailsWith(Errc::corrupt, "values up to file offset 108 were synced"));
  expect_entry(1, 1);
  ASSERT_OK_INTO(const Entry cut, get(1, 2));
  EXPECT_THAT(get_value(1, cut.location), FailsWith(Errc::out_of_range));
  EXPECT_EQ(all_blobs(), before);
}

// Rule 3: what recovery adopts survives a power cut right after it.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenAKilledWritersEntriesAreAdopted_ThenTheyStay) {
  use_floors();
  reopen();
  append_entries(1, 120);  // both buffers overflowed: written, some synced
  reopen();                // a kill
  ASSERT_OK_INTO(const uint64_t adopted, log_->entry_count(Section(1)));
  ASSERT_GT(adopted, 0u);

  log_.reset();
  storage_.lose_unsynced();
  reopen();

  expect_entries(1, adopted);
}

// Rule 3: the values of adopted entries too, when only the page cache of a killed writer has them.
TEST_F(IndexedValueLogRecoveryTest, GivenFloors_WhenOnlyValuesWereUnsynced_ThenAdoptionSyncsThem) {
  use_floors();
  reopen();
  append_entries(1, 2);
  ASSERT_OK(log_->sync_all());
  ASSERT_OK_INTO(auto values,
                 storage_.open(kValues, journal::section_name(Section(1)), OpenMode::read_write));
  const Bytes third = blob(kValues, 1);
  used_floors_ = nullptr;  // the raise of the floor is lost
  reopen();
  append_entries(1, 1);
  ASSERT_OK(log_->sync_all());
  const Bytes stored = blob(kValues, 1);
  log_.reset();
  resize_blob(kValues, 1, third.size());
  ASSERT_OK(values->write_at(third.size(), ByteSpan(stored).subspan(third.size())));  // no sync

  use_floors();
  reopen();
  expect_entries(1, 3);
  log_.reset();
  storage_.lose_unsynced();
  reopen();

  expect_entries(1, 3);
  EXPECT_EQ(floors_.floor(Section(1)), 3 * kEntrySizeBytes);
}

// Rule 7: index sections below the boundary are gone, their values are leftovers.
TEST_F(IndexedValueLogRecoveryTest, GivenAnInterruptedPrune_WhenReopened_ThenItIsFinished) {
  use_floors();
  write_sections({{1, 1}, {2, 1}, {3, 1}});
  ASSERT_OK(floors_.set_boundary(Section(3)));
  remove_blob(kIndex, 1);

  reopen();

  for (uint64_t section = 1; section <= 2; ++section) {
    EXPECT_FALSE(has_blob(kIndex, section));
    EXPECT_FALSE(has_blob(kValues, section));
    EXPECT_THAT(append(section, 0), FailsWith(Errc::pruned));
  }
  expect_entries(3, 1);
  EXPECT_FALSE(has_lost_found());
}

TEST_F(IndexedValueLogRecoveryTest, GivenReadOnly_WhenRecovered_ThenNothingOnDiskChanges) {
  write_sections({{1, 5}, {2, 4}});
  plant_value_sections({7});
  keep_values(1, 3);
  patch_blob(kValues, 2, 4 * kStoredSizeBytes, Bytes(10));
  const auto before = all_blobs();

  ASSERT_OK_INTO(log_, try_open(storage_, true));

  expect_entries(1, 3);
  expect_entries(2, 4);
  EXPECT_EQ(log_->sections(), (std::vector{Section(1), Section(2)}));
  EXPECT_EQ(all_blobs(), before);
  EXPECT_FALSE(has_lost_found());
  EXPECT_FALSE(report_.empty());
}

}  // namespace
}  // namespace firn
