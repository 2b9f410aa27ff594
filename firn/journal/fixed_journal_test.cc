// SPDX-License-Identifier: Apache-2.0
//
// The behaviours of the original's segmented fixed journal, in its order ("Pinned 7.2.n"), on a
// store without floors; after each what differs, or is new, when floors are known. A comment names
// the rule of ours where it changes an outcome.
#include "firn/journal/fixed_journal.h"

#include <span>

#include "firn/base/crc32c.h"
#include "firn/io/file_storage.h"
#include "firn/io/page_record.h"
#include "firn/journal/journal_test_support.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using testkit::IsOk;

// Pinned 7.2.1
TEST_F(FixedJournalTest, WhenAppended_ThenPositionsCountPerSectionAndReadBack) {
  reopen();

  EXPECT_EQ(append(1, 100), Position(0));
  EXPECT_EQ(append(1, 101), Position(1));
  EXPECT_EQ(append(2, 200), Position(0));

  EXPECT_EQ(get(1, 0), record(100));
  EXPECT_EQ(get(1, 1), record(101));
  EXPECT_EQ(get(2, 0), record(200));
  EXPECT_THAT(get(1, 2), FailsWith(Errc::out_of_range, "no record 2"));
  EXPECT_THAT(get(3, 0), FailsWith(Errc::out_of_range, "no section 3"));
}

// Pinned 7.2.2
TEST_F(FixedJournalTest, GivenTwoSyncedSections_WhenReopened_ThenReplayYieldsAllInOrder) {
  reopen();
  append_records(1, 10);
  append_records(2, 10);
  ASSERT_OK(journal_->sync_all());

  reopen();

  auto all = expected(1, 0, 10);
  for (Replayed& item : expected(2, 0, 10))
    all.push_back(std::move(item));
  EXPECT_EQ(replay(0, 0), all);
  EXPECT_TRUE(report_.empty());
}

// Pinned 7.2.3
TEST_F(FixedJournalTest, WhenReplayStartsWithin_ThenThePositionAppliesToThatSectionOnly) {
  reopen();
  append_records(1, 10);
  append_records(2, 5);
  ASSERT_OK(journal_->sync_all());

  auto from_five = expected(1, 5, 10);
  auto from_nine = expected(1, 9, 10);
  for (const Replayed& item : expected(2, 0, 5)) {
    from_five.push_back(item);
    from_nine.push_back(item);
  }
  EXPECT_EQ(replay(1, 5), from_five);
  EXPECT_EQ(replay(1, 9), from_nine);
  EXPECT_EQ(replay(2, 3), expected(2, 3, 5));
  EXPECT_EQ(replay(1, 10), expected(2, 0, 5));  // the end of a section is allowed
  EXPECT_THAT(journal_->replay(Section(1), Position(100)), FailsWith(Errc::out_of_range));
}

// Pinned 7.2.4
TEST_F(FixedJournalTest, WhenPruned_ThenLowerSectionsArePrunedAndOthersRead) {
  reopen();
  for (uint64_t section = 1; section <= 5; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());

  EXPECT_EQ(journal_->prune(Section(3)), 2u);

  for (const uint64_t pruned : {1u, 2u})
    EXPECT_THAT(get(pruned, 0), FailsWith(Errc::pruned, "sections from 3"));
  for (const uint64_t kept : {3u, 4u, 5u})
    EXPECT_EQ(get(kept, 0), record(kept * 100));
  EXPECT_FALSE(has_blob(kIndex, 2));
  EXPECT_EQ(journal_->prune(Section(2)), 0u);  // a lower boundary later changes nothing
}

// Rule 7: the boundary is recorded, so every prune guards, even one that removes nothing.
TEST_F(FixedJournalTest, WhenPruneRemovesNothing_ThenLowerSectionsAreGuardedAllTheSame) {
  reopen();
  append_records(5, 1);

  EXPECT_EQ(journal_->prune(Section(3)), 0u);

  EXPECT_THAT(append(2, 0), FailsWith(Errc::pruned));
  EXPECT_THAT(journal_->size(Section(2)), FailsWith(Errc::pruned));
  EXPECT_THAT(journal_->sync(Section(2)), FailsWith(Errc::pruned));
  EXPECT_THAT(journal_->rewind(Section(2), 0), FailsWith(Errc::pruned));
  EXPECT_THAT(journal_->rewind_section(Section(2), 0), FailsWith(Errc::pruned));
}

// Rule 7, with floors: the boundary outlives the handle.
TEST_F(FixedJournalTest, GivenFloors_WhenReopenedAfterPrune_ThenTheBoundaryHolds) {
  used_floors_ = &floors_;
  reopen();
  for (uint64_t section = 1; section <= 5; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());
  ASSERT_EQ(journal_->prune(Section(3)), 2u);

  reopen();

  EXPECT_THAT(get(2, 0), FailsWith(Errc::pruned));
  EXPECT_THAT(append(2, 0), FailsWith(Errc::pruned));
  EXPECT_EQ(get(3, 0), record(300));
}

// Rule 7, with floors: blobs below the boundary are leftovers of an interrupted prune.
TEST_F(FixedJournalTest, GivenFloors_WhenAPruneWasInterrupted_ThenOpenFinishesIt) {
  used_floors_ = &floors_;
  reopen();
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());
  ASSERT_OK(floors_.set_boundary(Section(3)));

  reopen();

  EXPECT_FALSE(has_blob(kIndex, 1));
  EXPECT_FALSE(has_blob(kIndex, 2));
  EXPECT_EQ(get(3, 0), record(300));
  EXPECT_THAT(report_.notes, ::testing::ElementsAre(::testing::HasSubstr("interrupted prune")));
}

// Pinned 7.2.5
TEST_F(FixedJournalTest, WhenRewound_ThenLaterSectionsAreGone) {
  reopen();
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 1);

  ASSERT_OK_INTO(const uint64_t size, journal_->size(Section(1)));
  ASSERT_OK(journal_->rewind(Section(1), size));

  EXPECT_EQ(journal_->size(Section(2)), 0u);
  EXPECT_EQ(journal_->size(Section(3)), 0u);
  EXPECT_FALSE(has_blob(kIndex, 2));
  EXPECT_EQ(get(1, 0), record(100));
}

// Pinned 7.2.6
TEST_F(FixedJournalTest, GivenTenSections_WhenRewoundToTheFifth_ThenReplayYieldsFive) {
  reopen();
  for (uint64_t section = 1; section <= 10; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());

  ASSERT_OK(journal_->rewind(Section(5), kRecordSizeBytes));

  std::vector<Replayed> five;
  for (uint64_t section = 1; section <= 5; ++section)
    five.push_back({section, 0, record(section * 100)});
  EXPECT_EQ(replay(0, 0), five);
}

// Pinned 7.2.7
TEST_F(FixedJournalTest, GivenARewind_WhenReopened_ThenOnlyTheKeptSectionsExist) {
  reopen();
  for (uint64_t section = 1; section <= 4; ++section)
    append_records(section, 2);
  ASSERT_OK(journal_->sync_all());
  ASSERT_OK(journal_->rewind(Section(2), kRecordSizeBytes));
  ASSERT_OK(journal_->sync_all());

  reopen();

  EXPECT_EQ(journal_->sections(), (std::vector{Section(1), Section(2)}));
  EXPECT_EQ(journal_->record_count(Section(1)), 2u);
  EXPECT_EQ(journal_->record_count(Section(2)), 1u);
}

// Rule 2: the truncation is durable by itself, so a power cut right after it brings nothing back.
TEST_F(FixedJournalTest, GivenARewind_WhenPowerIsCutWithoutSync_ThenTheCutRecordsStayGone) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 4);
  ASSERT_OK(journal_->sync_all());

  ASSERT_OK(journal_->rewind(Section(1), 2 * kRecordSizeBytes));
  storage_.lose_unsynced();
  ASSERT_NO_FATAL_FAILURE(reopen());

  EXPECT_EQ(journal_->record_count(Section(1)), 2u);
  EXPECT_EQ(floors_.floor(Section(1)), 2 * kRecordSizeBytes);
}

// Pinned 7.2.8. Rule 4: what is cut is saved aside and reported.
TEST_F(FixedJournalTest, GivenTheLastByteIsCut_WhenReopened_ThenOnlyTheTornRecordIsLost) {
  reopen();
  append_records(1, 5);
  ASSERT_OK(journal_->sync_all());

  resize_blob(kIndex, 1, blob_size(kIndex, 1) - 1);
  reopen();

  EXPECT_EQ(replay(0, 0), expected(1, 0, 4));
  EXPECT_EQ(report_.cuts.size(), 1u);
  EXPECT_TRUE(has_lost_found());
}

// Rule 4: below a floor the same cut is damage, and nothing is changed, however often one tries.
TEST_F(FixedJournalTest, GivenFloors_WhenTheLastByteIsCut_ThenTheSectionIsSetAsideUnchanged) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 5);
  ASSERT_OK(journal_->sync_all());
  resize_blob(kIndex, 1, blob_size(kIndex, 1) - 1);
  const auto before = all_blobs();

  journal_.reset();
  for (int attempt = 0; attempt < 2; ++attempt) {
    reopen();
    expect_set_aside(1, "index/0000000000000001");
    EXPECT_EQ(all_blobs(), before);
    EXPECT_FALSE(has_lost_found());
  }
}

// Rules 4 and 5: above the floor the stream ends before the first invalid page; a valid late page
// does not hide it.
TEST_F(FixedJournalTest, GivenFloors_WhenAPageAboveTheFloorIsTorn_ThenTheTailIsCutAndSaved) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 3);
  ASSERT_OK(journal_->sync_all());
  used_floors_ = nullptr;  // a power cut lost the raise of the floor
  reopen();
  for (uint64_t i = 3; i < 12; ++i)
    ASSERT_OK(append(1, 100 + i));
  ASSERT_OK(journal_->sync_all());
  used_floors_ = &floors_;

  patch_blob(kIndex, 1, uint64_t{5} * 56,
             eight_bytes(UINT64_MAX));  // page 5 holds bytes 220 to 263
  reopen();

  EXPECT_EQ(replay(0, 0), expected(1, 0, 6));
  ASSERT_EQ(report_.cuts.size(), 1u);
  EXPECT_EQ(report_.cuts[0].range.blob, journal::section_hex(Section(1)));
  EXPECT_EQ(report_.cuts[0].range.offset, 4 * 56u);  // record 6 begins in page 4
  EXPECT_FALSE(report_.cuts[0].saved_as.empty());
  EXPECT_EQ(append(1, 106), Position(6));
}

// Rule 7: losing a whole blob is not "pruned".
TEST_F(FixedJournalTest, GivenFloors_WhenASyncedBlobIsMissing_ThenOnlyItsSectionIsSetAside) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 1);
  append_records(2, 1);
  ASSERT_OK(journal_->sync_all());
  remove_blob(kIndex, 1);

  journal_.reset();
  for (const bool clean : {false, true}) {
    if (clean) floors_.mark_clean();
    reopen();
    expect_set_aside(1, "index/0000000000000001: missing");
    EXPECT_EQ(get(2, 0), record(200));
    EXPECT_EQ(append(2, 201), Position(clean ? 2 : 1));
    ASSERT_OK(journal_->sync_all());
  }
}

// Rule 11: a floor that no journal of these records can have is damage, not a reason to stop.
TEST_F(FixedJournalTest, GivenFloors_WhenAFloorSplitsARecord_ThenTheSectionIsSetAside) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 2);
  ASSERT_OK(journal_->sync_all());
  floors_.plant(Section(1), 2 * kRecordSizeBytes - 1);

  reopen();
  expect_set_aside(1, "no whole number of records");
}

// Pinned 7.2.9
// With floors the geometry is known: another one is damage of the section, not of the call.
TEST_F(FixedJournalTest, GivenFloors_WhenASectionHasAnotherPageSize_ThenItIsSetAside) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 5);
  ASSERT_OK(journal_->sync_all());
  MemoryStorage other;
  FixedJournalOptions changed = options();
  changed.page_size_bytes = 20;
  changed.floors = nullptr;
  RecoveryLog recovery(other, false);
  ASSERT_OK_INTO(journal_, FixedJournal::open(other, changed, recovery));
  append_records(1, 5);
  ASSERT_OK(journal_->close());
  journal_.reset();
  const Bytes name = journal::section_name(Section(1));
  storage_.set_raw(kIndex, name, *other.raw(kIndex, name));
  const auto before = all_blobs();

  reopen();

  expect_set_aside(1, "page size 44 does not fit");
  EXPECT_EQ(all_blobs(), before);
}

TEST_F(FixedJournalTest, GivenSyncedRecords_WhenReopened_ThenTheySurvive) {
  reopen();
  append_records(1, 5);
  ASSERT_OK(journal_->sync(Section(1)));

  storage_.lose_unsynced();
  reopen();

  EXPECT_EQ(replay(0, 0), expected(1, 0, 5));
}

// Pinned 7.2.10
TEST_F(FixedJournalTest, WhenAsked_ThenRecordCountIsOfTheSectionAndZeroForAMissingOne) {
  reopen();
  EXPECT_EQ(journal_->record_count(Section(1)), 0u);

  append_records(1, 5);

  EXPECT_EQ(journal_->record_count(Section(1)), 5u);
  EXPECT_EQ(journal_->record_count(Section(2)), 0u);
}

// Pinned 7.2.11
TEST_F(FixedJournalTest, GivenSectionsWithGaps_WhenReopened_ThenEachReadsAndOthersAreMissing) {
  reopen();
  for (const uint64_t section : {1u, 5u, 10u})
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());

  reopen();

  for (const uint64_t section : {1u, 5u, 10u})
    EXPECT_EQ(get(section, 0), record(section * 100));
  for (const uint64_t missing : {0u, 2u, 3u, 4u, 6u, 7u, 8u, 9u, 11u})
    EXPECT_THAT(get(missing, 0), FailsWith(Errc::out_of_range));
  const std::vector<Replayed> three = {
      {1, 0, record(100)}, {5, 0, record(500)}, {10, 0, record(1000)}};
  EXPECT_EQ(replay(0, 0), three);
  EXPECT_EQ(replay(5, 0), (std::vector<Replayed>{three[1], three[2]}));
}

// Pinned 7.2.12
TEST_F(FixedJournalTest, GivenAnEmptySectionBetweenOthers_WhenReopened_ThenReplaySkipsIt) {
  reopen();
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->rewind_section(Section(2), 0));
  ASSERT_OK(journal_->sync_all());

  reopen();

  EXPECT_EQ(journal_->record_count(Section(1)), 1u);
  EXPECT_EQ(journal_->record_count(Section(2)), 0u);
  EXPECT_EQ(journal_->record_count(Section(3)), 1u);
  const std::vector<Replayed> third = {{3, 0, record(300)}};
  EXPECT_EQ(replay(0, 0), (std::vector<Replayed>{{1, 0, record(100)}, third[0]}));
  EXPECT_EQ(replay(2, 0), third);
}

// Pinned 7.2.13. Rule 4: cut at a record boundary; the rest of the record is saved aside.
TEST_F(FixedJournalTest, GivenARecordCutAcrossPages_WhenReopened_ThenItIsGoneAsAWhole) {
  reopen();
  append_records(1, 3);  // 96 bytes: pages of 44, 44 and 8
  ASSERT_OK(journal_->sync_all());

  resize_blob(kIndex, 1, blob_size(kIndex, 1) - 1);
  reopen();

  EXPECT_EQ(journal_->record_count(Section(1)), 2u);
  EXPECT_EQ(journal_->size(Section(1)), 64u);
  EXPECT_THAT(get(1, 2), FailsWith(Errc::out_of_range));
  EXPECT_TRUE(has_lost_found());

  reopen();  // recovery is idempotent
  EXPECT_EQ(journal_->size(Section(1)), 64u);
  EXPECT_TRUE(report_.empty());
}

// Pinned 7.2.14
TEST_F(FixedJournalTest, WhenCleared_ThenOldSectionsAreMissingAndNewOnesUsable) {
  reopen();
  for (uint64_t section = 1; section <= 4; ++section)
    append_records(section, 2);
  ASSERT_OK(journal_->sync_all());

  ASSERT_OK(journal_->clear());

  for (uint64_t section = 1; section <= 4; ++section) {
    EXPECT_THAT(get(section, 0), FailsWith(Errc::out_of_range));
    EXPECT_FALSE(has_blob(kIndex, section));
  }
  append_records(10, 1);
  ASSERT_OK(journal_->sync_all());
  EXPECT_EQ(get(10, 0), record(1000));
  EXPECT_THAT(get(1, 0), FailsWith(Errc::out_of_range));
}

// With floors: clearing forgets the floors first, so that nothing is missed at the next open.
TEST_F(FixedJournalTest, GivenFloors_WhenCleared_ThenItReopens) {
  used_floors_ = &floors_;
  reopen();
  append_records(1, 2);
  ASSERT_OK(journal_->sync_all());

  ASSERT_OK(journal_->clear());
  reopen();

  EXPECT_TRUE(journal_->sections().empty());
  ASSERT_OK(journal_->destroy());
  EXPECT_THAT(storage_.partitions(), IsOk());
  EXPECT_TRUE(storage_.partitions()->empty());
}

// Pinned 7.2.15
TEST_F(FixedJournalTest, WhenASectionIsMissing_ThenItsLastRecordIsOutOfRange) {
  reopen();

  EXPECT_THAT(last(0), FailsWith(Errc::out_of_range));
  EXPECT_THAT(last(99), FailsWith(Errc::out_of_range));
}

// Pinned 7.2.16
TEST_F(FixedJournalTest, WhenRewoundToZero_ThenThereIsNoLastRecord) {
  reopen();
  append_records(0, 2);
  EXPECT_EQ(last(0), record(1));

  ASSERT_OK(journal_->rewind(Section(0), 0));

  EXPECT_EQ(last(0), Bytes());
}

// Pinned 7.2.17
TEST_F(FixedJournalTest, WhenPruned_ThenTheLastRecordOfAPrunedSectionIsPruned) {
  reopen();
  append_records(0, 1);
  append_records(1, 1);

  ASSERT_OK(journal_->prune(Section(1)));

  EXPECT_THAT(last(0), FailsWith(Errc::pruned));
  EXPECT_EQ(last(1), record(100));
}

// --------------------------------------------------------------------- beyond the pinned
// behaviours

TEST_F(FixedJournalTest, WhenTheRecordHasAnotherSize_ThenAppendRefusesAndChangesNothing) {
  reopen();

  EXPECT_THAT(journal_->append(Section(1), Bytes(31)), FailsWith(Errc::invalid_argument));

  EXPECT_TRUE(journal_->sections().empty());
  EXPECT_FALSE(has_blob(kIndex, 1));
  EXPECT_EQ(append(1, 0), Position(0));
}

TEST_F(FixedJournalTest, GivenABlobThatIsNoSection_WhenOpened_ThenItIsRefused) {
  storage_.set_raw(kIndex, Bytes(4), Bytes(kBlobHeaderSizeBytes));

  EXPECT_THAT(try_open(storage_), FailsWith(Errc::corrupt, "is no section"));
}

TEST_F(FixedJournalTest, GivenADamagedPage_WhenReplayed_ThenTheErrorEndsItsSectionOnly) {
  reopen();
  append_records(1, 20);
  append_records(2, 1);
  ASSERT_OK(journal_->sync_all());
  patch_blob(kIndex, 1, uint64_t{3} * 56, eight_bytes(UINT64_MAX));  // page 3: bytes 132 to 175
  reopen();
  ASSERT_EQ(report_.damage.size(), 1u);

  ASSERT_OK_INTO(FixedReplay items, journal_->replay());
  std::vector<uint64_t> positions;
  int errors = 0;
  while (true) {
    const auto item = items.next();
    if (!item) {
      EXPECT_EQ(item.error().code, Errc::corrupt);
      ++errors;
      continue;
    }
    if (!*item) break;
    positions.push_back((**item).section.value * 100 + (**item).position.value);
  }

  EXPECT_EQ(errors, 1);
  EXPECT_EQ(positions, (std::vector<uint64_t>{100, 101, 102, 103, 200}));
}

TEST_F(FixedJournalTest, GivenADamagedPage_WhenItIsSkipped_ThenReplayGoesOnBehindIt) {
  reopen();
  append_records(1, 20);
  ASSERT_OK(journal_->sync_all());
  patch_blob(kIndex, 1, uint64_t{3} * 56, eight_bytes(UINT64_MAX));  // page 3: bytes 132 to 175
  reopen();

  ASSERT_OK_INTO(FixedReplay items, journal_->replay());
  std::vector<uint64_t> positions;
  while (true) {
    const auto item = items.next();
    if (!item) {
      items.skip_damaged_page();
      continue;
    }
    if (!*item) break;
    EXPECT_EQ(to_bytes((**item).record), record(100 + (**item).position.value));
    positions.push_back((**item).position.value);
  }

  // Records 4 and 5 begin in page 3; every other one is delivered.
  std::vector<uint64_t> all_but_two;
  for (uint64_t i = 0; i < 20; ++i)
    if (i != 4 && i != 5) all_but_two.push_back(i);
  EXPECT_EQ(positions, all_but_two);
}

TEST_F(FixedJournalTest, GivenAPageThatLostItsEnd_WhenItIsSkipped_ThenTheNextPageIsWhole) {
  reopen();
  append_records(1, 20);
  ASSERT_OK(journal_->sync_all());
  // Page 1 has bytes 44 to 87, of record 2 (bytes 66 to 98) no longer all.
  Bytes page = to_bytes(ByteSpan(blob(kIndex, 1)).subspan(56, 56));
  encode_page_record(page.data() + 44, {{PageSlot{40, crc32c(ByteSpan(page).first(40))}, {}}});
  patch_blob(kIndex, 1, 56, page);
  reopen();

  ASSERT_OK_INTO(FixedReplay items, journal_->replay());
  std::vector<uint64_t> positions;
  while (true) {
    const auto item = items.next();
    if (!item) items.skip_damaged_page();
    if (!item) continue;
    if (!*item) break;
    positions.push_back((**item).position.value);
  }

  ASSERT_EQ(positions.size(), 19u);
  EXPECT_THAT(std::span(positions).first(4), ElementsAre(0, 1, 3, 4));
}

TEST_F(FixedJournalTest, GivenADamagedPage_WhenSkippedLater_ThenTheSectionsThatFollowAreWhole) {
  reopen();
  append_records(1, 20);
  append_records(2, 2);
  ASSERT_OK(journal_->sync_all());
  patch_blob(kIndex, 1, 0, eight_bytes(UINT64_MAX));
  reopen();
  ASSERT_OK_INTO(FixedReplay items, journal_->replay());
  EXPECT_THAT(items.next(), FailsWith(Errc::corrupt));

  std::vector<Bytes> records;
  while (true) {
    ASSERT_OK_INTO(const auto item, items.next());
    items.skip_damaged_page();
    if (!item) break;
    records.push_back(to_bytes(item->record));
  }

  EXPECT_EQ(records, (std::vector{record(200), record(201)}));
}

TEST_F(FixedJournalTest, GivenReadOnly_WhenMoreSectionsThanMayBeOpenAreRead_ThenAllRead) {
  reopen();
  for (uint64_t section = 0; section < 8; ++section)
    append_records(section, 3);
  ASSERT_OK(journal_->sync_all());
  open_sections_max_ = 2;

  journal_.reset();
  ASSERT_OK_INTO(journal_, try_open(storage_, true));

  for (int round = 0; round < 2; ++round)
    for (uint64_t section = 0; section < 8; ++section)
      EXPECT_EQ(get(section, 2), record(section * 100 + 2));
  EXPECT_LE(journal_->open_section_count(), 2u);
}

TEST_F(FixedJournalTest, GivenReadOnly_WhenMutated_ThenItRefusesAndChangesNothing) {
  reopen();
  append_records(1, 3);
  append_records(2, 3);
  ASSERT_OK(journal_->sync_all());
  const auto before = all_blobs();

  journal_.reset();
  ASSERT_OK_INTO(journal_, try_open(storage_, true));

  EXPECT_THAT(append(1, 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(journal_->prune(Section(2)), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(journal_->rewind(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(journal_->rewind_section(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(journal_->clear(), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(journal_->destroy(), FailsWith(Errc::invalid_argument));
  EXPECT_EQ(all_blobs(), before);
  EXPECT_EQ(get(1, 0), record(100));
}

TEST_F(FixedJournalTest, GivenReadOnly_WhenATailIsTorn_ThenItIsHiddenAndStays) {
  reopen();
  append_records(1, 5);
  ASSERT_OK(journal_->sync_all());
  resize_blob(kIndex, 1, blob_size(kIndex, 1) - 1);
  const auto before = all_blobs();

  journal_.reset();
  ASSERT_OK_INTO(journal_, try_open(storage_, true));

  EXPECT_EQ(replay(0, 0), expected(1, 0, 4));
  EXPECT_EQ(report_.cuts.size(), 1u);
  EXPECT_EQ(all_blobs(), before);
  EXPECT_FALSE(has_lost_found());
}

// What fails before the first removal changes nothing, and poisons nothing.
TEST_F(FixedJournalTest, GivenABlobThatCannotBeOpened_WhenRewound_ThenLaterSectionsStay) {
  open_sections_max_ = 1;
  testkit::SimulatedFileSystem disk;
  FileStorage storage(disk);
  ASSERT_OK_INTO(journal_, try_open(storage));
  for (uint64_t section = 1; section <= 3; ++section) {
    append_records(section, 2);
    ASSERT_OK(journal_->sync_all());
  }
  disk.set_faults({.failures = {{.call = disk.call_count() + 1, .code = Errc::io}}});

  EXPECT_THAT(journal_->rewind(Section(1), kRecordSizeBytes), FailsWith(Errc::io));

  disk.clear_faults();
  EXPECT_EQ(get(1, 1), record(101));
  EXPECT_EQ(get(3, 1), record(301));
  ASSERT_OK(journal_->rewind(Section(1), kRecordSizeBytes));
  EXPECT_EQ(journal_->sections(), (std::vector{Section(1)}));
  journal_.reset();
}

// Rule 3: also a truncation that a killed program left in memory is made durable before it is
// shown.
TEST_F(FixedJournalTest, GivenACrashInARewind_WhenRecovered_ThenAPowerCutChangesNothing) {
  for (const uint64_t kept : {0u, 1u, 2u, 3u, 4u}) {
    bool rewound = false;
    for (uint64_t crashing = 1; !rewound; ++crashing) {
      SCOPED_TRACE(::testing::Message() << "to " << kept << ", call " << crashing);
      ASSERT_LT(crashing, 20u);
      testkit::SimulatedFileSystem disk;
      auto storage = std::make_unique<FileStorage>(disk);
      testkit::MemoryFloors floors;
      used_floors_ = &floors;
      ASSERT_OK_INTO(journal_, try_open(*storage));
      append_records(1, 5);
      ASSERT_OK(journal_->sync_all());

      disk.set_faults({.crashes = {{.call = disk.call_count() + crashing}}});
      rewound = journal_->rewind_section(Section(1), kept * kRecordSizeBytes).has_value();
      disk.clear_faults();
      uint64_t found = 0;
      for (const bool power_cut : {false, true}) {
        journal_.reset();
        storage.reset();
        if (power_cut)
          disk.cut_power(testkit::SurvivorPlan::none());
        else
          disk.kill();
        storage = std::make_unique<FileStorage>(disk);
        ASSERT_OK_INTO(journal_, try_open(*storage));
        ASSERT_OK_INTO(const uint64_t count, journal_->record_count(Section(1)));
        EXPECT_GE(count, kept);
        EXPECT_TRUE(!power_cut || count == found) << count << " after " << found;
        found = count;
      }
      journal_.reset();
    }
  }
}

TEST_F(FixedJournalTest, GivenACleanClose_WhenReopened_ThenSectionsWithinTheBoundAreOpen) {
  used_floors_ = &floors_;
  open_sections_max_ = 2;
  reopen();
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 5);
  ASSERT_OK(journal_->close());
  floors_.mark_clean();

  reopen();

  EXPECT_EQ(journal_->open_section_count(), 2u);
  for (uint64_t section = 1; section <= 3; ++section)
    EXPECT_EQ(get(section, 4), record(section * 100 + 4));
  EXPECT_EQ(journal_->open_section_count(), 2u);
}

TEST_F(FixedJournalTest,
       GivenUnknownFloors_WhenRecordsOfAKilledWriterAreAdopted_ThenTheyAreDurable) {
  reopen();
  append_records(1, 40);  // more than the buffer holds: pages were written, none synced
  const uint64_t appended = 40;

  reopen();  // a kill: written bytes are visible, not durable
  ASSERT_OK_INTO(const uint64_t adopted, journal_->record_count(Section(1)));
  ASSERT_GT(adopted, 0u);
  ASSERT_LT(adopted, appended);
  storage_.lose_unsynced();
  reopen();

  EXPECT_EQ(replay(0, 0), expected(1, 0, adopted));
}

}  // namespace
}  // namespace firn
