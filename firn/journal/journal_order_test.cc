// SPDX-License-Identifier: Apache-2.0
//
// In which order journals change what is on disk: the crash rules as sequences of calls. Each test
// fails when its sync or its order is taken away; simulated power cuts show why that matters.
#include <string>
#include <vector>

#include "firn/journal/journal_test_support.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The log of a storage, with "index/0000000000000001" shown as "index/1".
std::vector<std::string> short_names(const std::vector<std::string>& log) {
  std::vector<std::string> result;
  for (std::string entry : log) {
    for (size_t at = entry.find('/'); at != std::string::npos; at = entry.find('/', at + 1)) {
      const size_t digits = entry.find_first_not_of('0', at + 1);
      const size_t end = entry.find_first_not_of("0123456789abcdef", at + 1);
      const size_t last = (end == std::string::npos ? entry.size() : end) - 1;
      if (last - at != 16) continue;  // no section
      entry.erase(at + 1, std::min(digits, last) - at - 1);
    }
    result.push_back(std::move(entry));
  }
  return result;
}

class FixedJournalOrderTest : public FixedJournalTest {
 protected:
  void SetUp() override {
    used_floors_ = &floors_;
    floors_.on_change = [this](std::string change) { logged_.note_event(std::move(change)); };
  }
  void TearDown() override { journal_.reset(); }

  void open_logged() {
    journal_.reset();
    ASSERT_OK_INTO(journal_, try_open(logged_));
  }
  std::vector<std::string> take_log() {
    auto log = short_names(logged_.log());
    logged_.clear_log();
    return log;
  }

  testkit::LoggedStorage logged_{storage_};
};

class IndexedValueLogOrderTest : public IndexedValueLogTest {
 protected:
  void SetUp() override {
    use_floors();
    floors_.on_change = [this](std::string change) { logged_.note_event(std::move(change)); };
  }
  void TearDown() override { log_.reset(); }

  void open_logged() {
    log_.reset();
    ASSERT_OK_INTO(log_, try_open(logged_));
  }
  std::vector<std::string> take_log() {
    auto log = short_names(logged_.log());
    logged_.clear_log();
    return log;
  }

  // Whenever index pages are written, every value appended until then is on the device. The log
  // holds "append" before each append. Returns how often pages were written.
  size_t expect_values_durable_at_index_writes() {
    size_t index_writes = 0;
    bool durable = true;
    for (const std::string& entry : take_log()) {
      if (entry == "append" || entry.starts_with("write values/")) durable = false;
      if (entry.starts_with("sync values/")) durable = true;
      if (!entry.starts_with("write index/")) continue;
      ++index_writes;
      EXPECT_TRUE(durable) << entry;
    }
    return index_writes;
  }

  testkit::LoggedStorage logged_{storage_};
};

// Rule 7: whoever refers to a blob comes after it; the clean mark goes before the first write.
TEST_F(FixedJournalOrderTest, WhenASectionIsBorn_ThenTheCleanMarkGoesFirst) {
  open_logged();
  take_log();

  append_records(1, 1);

  EXPECT_THAT(take_log(), ElementsAre("begin", "create index/1"));
}

// The floor is what a sync proved, so it rises after it.
TEST_F(FixedJournalOrderTest, WhenSynced_ThenTheFloorRisesAfterTheDevice) {
  open_logged();
  append_records(1, 1);
  take_log();

  ASSERT_OK(journal_->sync(Section(1)));

  EXPECT_THAT(take_log(), ElementsAre("write index/1 0+56", "sync index/1", "raise 1 32"));
  ASSERT_OK(journal_->sync(Section(1)));
  ASSERT_OK(journal_->sync_all());
  EXPECT_THAT(take_log(), ElementsAre());  // a clean section costs nothing
}

TEST_F(FixedJournalOrderTest, GivenAFailedSync_WhenReturned_ThenTheFloorDidNotRise) {
  open_logged();
  append_records(1, 1);

  logged_.fail_change(1);
  EXPECT_THAT(journal_->sync(Section(1)), FailsWith(Errc::io));

  EXPECT_EQ(floors_.floor(Section(1)), 0u);
  EXPECT_THAT(journal_->sync(Section(1)), FailsWith(Errc::poisoned));
  EXPECT_THAT(append(1, 5), FailsWith(Errc::poisoned));
  EXPECT_THAT(journal_->close(), FailsWith(Errc::poisoned));
}

TEST_F(FixedJournalOrderTest, GivenAFailedWrite_WhenAnotherSectionIsAppended_ThenPoisoned) {
  open_logged();
  append_records(2, 1);
  append_records(1, 1);

  logged_.fail_change(0);
  Result<Position> appended = append(1, 101);
  for (uint64_t number = 102; appended && number < 200; ++number)
    appended = append(1, number);

  EXPECT_THAT(appended, FailsWith(Errc::io));
  EXPECT_THAT(append(2, 201), FailsWith(Errc::poisoned));
}

TEST_F(FixedJournalOrderTest, WhenClosed_ThenTheFloorRisesAfterTheDevice) {
  open_logged();
  append_records(1, 1);
  take_log();

  ASSERT_OK(journal_->close());

  EXPECT_THAT(take_log(), ElementsAre("write index/1 0+56", "sync index/1", "raise 1 32"));
}

// A store has nothing above a floor once it was opened, and when it is closed.
TEST_F(FixedJournalOrderTest, GivenAFloorBelowItsSection_WhenOpened_ThenItRises) {
  open_logged();
  append_records(1, 2);
  ASSERT_OK(journal_->close());
  floors_.plant(Section(1), 32);
  floors_.mark_clean();
  take_log();

  open_logged();

  EXPECT_EQ(get(1, 1), record(101));
  EXPECT_THAT(take_log(), ElementsAre("sync index/1", "begin", "raise 1 64"));
}

// Rule 7: boundary, then unlink.
TEST_F(FixedJournalOrderTest, WhenPruned_ThenTheBoundaryComesBeforeTheFirstUnlink) {
  open_logged();
  for (uint64_t section = 1; section <= 4; ++section)
    append_records(section, 1);
  ASSERT_OK(journal_->sync_all());
  take_log();

  ASSERT_OK(journal_->prune(Section(3)));

  EXPECT_THAT(take_log(), ElementsAre("boundary 3", "remove index/1 index/2"));
}

// Rules 2 to 4: floors fall before anything is cut, and below what is kept, so that an interrupted
// cut is noticed; later sections go first, newest first.
TEST_F(FixedJournalOrderTest, WhenRewound_ThenFloorsFallBeforeTheCut) {
  open_logged();
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 4);
  ASSERT_OK(journal_->sync_all());
  take_log();

  ASSERT_OK(journal_->rewind(Section(1), 2 * kRecordSizeBytes));

  // 64 bytes: a full page of 44 and 20 bytes of the next, whose record is rewritten in two steps.
  EXPECT_THAT(take_log(),
              ElementsAre("forget 3 2", "remove index/3", "remove index/2", "lower 1 32",
                          "resize index/1 112", "write index/1 106+6", "sync index/1",
                          "write index/1 100+6", "sync index/1", "raise 1 64"));
}

TEST_F(FixedJournalOrderTest, WhenCleared_ThenFloorsAreForgottenFirst) {
  open_logged();
  append_records(1, 1);
  append_records(2, 1);
  ASSERT_OK(journal_->sync_all());
  take_log();

  ASSERT_OK(journal_->clear());

  EXPECT_THAT(take_log(), ElementsAre("forget 1 2", "remove index/1 index/2"));
}

// Rule 3: a section that is not there must not come back after the next power cut. After a clean
// close nothing is pending.
TEST_F(FixedJournalOrderTest, WhenOpenedAfterAKill_ThenEarlierRemovalsAreSettled) {
  open_logged();
  EXPECT_THAT(take_log(), ElementsAre("remove index/00"));
  append_records(1, 1);
  ASSERT_OK(journal_->close());
  floors_.mark_clean();
  take_log();

  open_logged();

  EXPECT_THAT(take_log(), ElementsAre());
}

// Rule 4: what recovery cuts is saved before; rule 3: what it adopts is synced before the floor
// rises to it.
TEST_F(FixedJournalOrderTest, GivenATornTail_WhenReopened_ThenItIsSavedThenCutThenTheFloorRises) {
  reopen();
  append_records(1, 4);  // pages of 44, 44 and 40 bytes
  ASSERT_OK(journal_->sync_all());
  journal_.reset();
  floors_.plant(Section(1), 32);
  patch_blob(kIndex, 1, uint64_t{2} * 56, eight_bytes(UINT64_MAX));
  logged_.clear_log();

  open_logged();

  const auto log = take_log();
  const auto place = [&](std::string_view start) {
    return std::ranges::find_if(log, [&](const std::string& e) { return e.starts_with(start); }) -
           log.begin();
  };
  EXPECT_LT(place("create lost-found"), place("write lost-found"));
  EXPECT_LT(place("write lost-found"), place("sync lost-found"));
  EXPECT_LT(place("sync lost-found"), place("resize index/1"));
  EXPECT_LT(place("resize index/1"), place("sync index/1"));
  EXPECT_LT(place("sync index/1"), place("raise 1 64"));
  EXPECT_EQ(log.back(), "raise 1 64");
}

// Rule 1: values, then the entries that refer to them, then the floor.
TEST_F(IndexedValueLogOrderTest, WhenSynced_ThenValuesThenEntriesThenTheFloor) {
  open_logged();
  take_log();
  append_entries(1, 1);
  EXPECT_THAT(take_log(), ElementsAre("begin", "create values/1", "create index/1"));

  ASSERT_OK(log_->sync(Section(1)));

  EXPECT_THAT(take_log(), ElementsAre("write values/1 0+20", "sync values/1", "write index/1 0+76",
                                      "sync index/1", "raise 1 20"));
}

TEST_F(IndexedValueLogOrderTest, WhenClosed_ThenValuesThenEntriesThenTheFloor) {
  open_logged();
  take_log();
  append_entries(1, 1);
  EXPECT_THAT(take_log(), ElementsAre("begin", "create values/1", "create index/1"));

  ASSERT_OK(log_->close());

  EXPECT_THAT(take_log(), ElementsAre("write values/1 0+20", "sync values/1", "write index/1 0+76",
                                      "sync index/1", "raise 1 20"));
}

TEST_F(IndexedValueLogOrderTest, WhenAllIsSynced_ThenNoEntryIsWrittenBeforeItsValue) {
  open_logged();
  append_entries(1, 1);
  append_entries(2, 1);
  take_log();

  ASSERT_OK(log_->sync_all());

  EXPECT_THAT(take_log(),
              ElementsAre("write values/1 0+20", "sync values/1", "write values/2 0+20",
                          "sync values/2", "write index/1 0+76", "sync index/1", "raise 1 20",
                          "write index/2 0+76", "sync index/2", "raise 2 20"));
}

// Rule 1, between syncs: the buffer of the index overflows long before anybody syncs.
TEST_F(IndexedValueLogOrderTest, WhenTheIndexBufferOverflows_ThenItsValuesAreOnTheDeviceBefore) {
  open_logged();

  for (uint64_t i = 0; i < 300; ++i) {
    logged_.note_event("append");
    append_entries(1, 1);
  }

  EXPECT_GE(expect_values_durable_at_index_writes(), 5u);
}

// The same for the first entry of a section, if it is larger than the buffer.
TEST_F(IndexedValueLogOrderTest, GivenEntriesLargerThanTheBuffer_WhenAppended_ThenValuesGoFirst) {
  auto large = options();
  large.index.record_size_bytes = 100;
  large.index.page_size_bytes = 16;
  large.index.write_buffer_bytes = 0;
  RecoveryLog recovery(logged_, false);
  ASSERT_OK_INTO(log_, IndexedValueLog::open(logged_, large, recovery));

  for (uint64_t section = 1; section <= 3; ++section) {
    logged_.note_event("append");
    ASSERT_OK(log_->append(Section(section), Bytes(88), value(section)));
  }

  EXPECT_GE(expect_values_durable_at_index_writes(), 3u);
}

// Rule 7: boundary, index, values: no value goes while an entry refers to it.
TEST_F(IndexedValueLogOrderTest, WhenPruned_ThenBoundaryThenIndexThenValues) {
  open_logged();
  for (uint64_t section = 1; section <= 4; ++section)
    append_entries(section, 1);
  ASSERT_OK(log_->sync_all());
  take_log();

  ASSERT_OK(log_->prune(Section(3)));

  EXPECT_THAT(take_log(),
              ElementsAre("boundary 3", "remove index/1 index/2", "remove values/1 values/2"));
}

// Rule 2: entries are gone durably before the bytes that they referred to can hold another value.
TEST_F(IndexedValueLogOrderTest, WhenRewound_ThenTheIndexShrinksDurablyBeforeTheValuesDo) {
  use_one_entry_a_page();
  open_logged();
  for (uint64_t section = 1; section <= 3; ++section)
    append_entries(section, 3);
  ASSERT_OK(log_->sync_all());
  take_log();

  ASSERT_OK(log_->rewind(Section(1), kEntrySizeBytes));

  EXPECT_THAT(take_log(),
              ElementsAre("forget 3 2", "remove index/3", "remove index/2", "lower 1 0",
                          "resize index/1 32", "sync index/1", "raise 1 20", "remove values/3",
                          "remove values/2", "resize values/1 20", "sync values/1"));
}

// Rules 3 and 4 together, in both blobs.
TEST_F(IndexedValueLogOrderTest, GivenATornValue_WhenReopened_ThenTheIndexIsCutBeforeTheValues) {
  use_one_entry_a_page();
  reopen();
  append_entries(1, 5);
  ASSERT_OK(log_->sync_all());
  log_.reset();
  floors_.plant(Section(1), kEntrySizeBytes);
  patch_blob(kValues, 1, 3 * kStoredSizeBytes, eight_bytes(0));
  logged_.clear_log();

  open_logged();

  const auto log = take_log();
  const auto place = [&](std::string_view start) {
    return std::ranges::find_if(log, [&](const std::string& e) { return e.starts_with(start); }) -
           log.begin();
  };
  EXPECT_THAT(log[2], HasSubstr("sync lost-found/"));  // the values: soon nobody knows of them
  EXPECT_EQ(log[3], "remove index/00");                // settles what a dead writer removed
  EXPECT_EQ(log[4], "sync index/1");  // what the page cache of a dead writer may hold
  EXPECT_LT(place("sync index/1"), place("sync values/1"));
  const auto cut = log.begin() + place("resize index/1 96");
  const auto is_saved = [](const std::string& e) { return e.starts_with("sync lost-found"); };
  EXPECT_EQ(std::count_if(log.begin(), cut, is_saved), 3);  // the entries, and their values again
  EXPECT_LT(place("resize index/1 96"), place("resize values/1 60"));
  EXPECT_LT(place("sync values/1"), place("raise 1 60"));
  EXPECT_LT(place("sync index/1"), place("raise 1 60"));
  EXPECT_EQ(log[log.size() - 2], "resize values/1 60");
  EXPECT_EQ(log.back(), "sync values/1");
}

// Values without an index are saved before they are removed.
TEST_F(IndexedValueLogOrderTest, GivenOrphanValues_WhenReopened_ThenTheyAreSavedThenRemoved) {
  plant_value_sections({3});

  open_logged();

  EXPECT_THAT(take_log(), ElementsAre("remove index/00", HasSubstr("create lost-found/"),
                                      HasSubstr("write lost-found/"), HasSubstr("sync lost-found/"),
                                      "remove values/3"));
}

// Unsynced sections hold their blobs open; the log syncs on its own before there are too many.
TEST_F(IndexedValueLogOrderTest, GivenManySectionsWithoutSync_WhenAppended_ThenFewBlobsAreOpen) {
  open_sections_max_ = 8;
  open_logged();

  size_t open_max = 0;
  for (uint64_t round = 0; round < 2; ++round) {
    for (uint64_t section = 0; section < 1000; ++section) {
      append_entries(section, 1);
      open_max = std::max(
          {open_max, log_->index().open_section_count(), log_->values().open_section_count()});
    }
  }

  EXPECT_LE(open_max, 8u);
  expect_entries(0, 2);
  expect_entries(999, 2);
}

TEST_F(IndexedValueLogOrderTest, GivenTenThousandSections_WhenReopened_ThenFewBlobsAreOpen) {
  constexpr uint64_t kSections = 10'000;
  open_sections_max_ = 16;
  reopen();
  for (uint64_t section = 0; section < kSections; ++section)
    ASSERT_OK(append(section, id_of(section, 0)));
  ASSERT_OK(log_->close());

  reopen();  // after a kill: every section is looked at
  EXPECT_LE(log_->index().open_section_count(), 16u);
  EXPECT_LE(log_->values().open_section_count(), 16u);
  expect_entries(kSections - 1, 1);
  ASSERT_OK(log_->close());
  floors_.mark_clean();

  reopen();  // after a clean close: all have been looked at, and are closed again
  EXPECT_EQ(log_->index().open_section_count(), 0u);
  EXPECT_EQ(log_->values().open_section_count(), 0u);
  expect_entries(kSections / 2, 1);
}

}  // namespace
}  // namespace firn
