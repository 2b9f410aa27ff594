// SPDX-License-Identifier: Apache-2.0
//
// Readers beside a writer of another process, which prunes what they are about to read: what they
// miss is told as pruned. What nobody pruned is damage, and never "not found".
#include <functional>
#include <string>
#include <vector>

#include "firn/journal/journal_test_support.h"
#include "testkit/failing_calls.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

class JournalReaderTest : public FixedJournalTest {
 protected:
  // Sections 1, 2 and 3 with three synced records each.
  void SetUp() override {
    used_floors_ = &floors_;
    reopen();
    for (const uint64_t section : {1u, 2u, 3u})
      append_records(section, 3);
    ASSERT_OK(journal_->sync_all());
    journal_.reset();
    floors_.pin();
  }

  void open_reader() { ASSERT_OK_INTO(journal_, try_open(storage_, true)); }

  void writer_prunes(uint64_t oldest_retained) {
    for (uint64_t section = 1; section < oldest_retained; ++section)
      remove_blob(kIndex, section);
    floors_.prune_elsewhere(Section(oldest_retained));
  }
};

TEST_F(JournalReaderTest, GivenAPruneSinceTheFloorsWereRead_WhenOpened_ThenItIsNoDamage) {
  writer_prunes(3);

  open_reader();

  EXPECT_TRUE(report_.empty());
  EXPECT_EQ(journal_->sections(), std::vector{Section(3)});
  EXPECT_THAT(get(2, 0), FailsWith(Errc::pruned, "from 3 on"));
  EXPECT_EQ(get(3, 0), record(300));
}

TEST_F(JournalReaderTest, GivenAPruneUnderWay_WhenOpened_ThenItIsNotCalledInterrupted) {
  ASSERT_OK(floors_.set_boundary(Section(3)));  // the blobs are still there

  open_reader();

  EXPECT_TRUE(report_.empty());
  EXPECT_EQ(journal_->sections(), std::vector{Section(3)});
}

TEST_F(JournalReaderTest, GivenABlobThatNobodyPruned_WhenOpened_ThenItsSectionIsDamaged) {
  remove_blob(kIndex, 2);
  floors_.prune_elsewhere(Section(2));

  open_reader();

  EXPECT_THAT(journal_->damaged(), ElementsAre(Key(Section(2))));
  EXPECT_THAT(get(2, 0), FailsWith(Errc::corrupt, "missing"));
  EXPECT_EQ(get(3, 0), record(300));
}

TEST_F(JournalReaderTest, GivenAReader_WhenTheWriterPrunes_ThenWhatItMissesIsPruned) {
  open_reader();
  ASSERT_EQ(get(3, 0), record(300));
  writer_prunes(3);

  EXPECT_THAT(get(1, 0), FailsWith(Errc::pruned, "from 3 on"));
  EXPECT_EQ(replay(0, 0), expected(3, 0, 3));
  RecoveryLog findings(storage_, true);
  EXPECT_THAT(journal_->verify_section(Section(2), findings), FailsWith(Errc::pruned));

  // Its floors are of before.
  ASSERT_OK_INTO(const auto grown, journal_->follow());
  EXPECT_THAT(grown, IsEmpty());
  EXPECT_EQ(journal_->sections(), std::vector{Section(3)});
}

TEST_F(JournalReaderTest, GivenAReader_WhenABlobIsTakenAway_ThenThatIsDamage) {
  open_reader();
  remove_blob(kIndex, 1);
  remove_blob(kIndex, 2);
  floors_.prune_elsewhere(Section(2));

  EXPECT_THAT(get(2, 0), FailsWith(Errc::corrupt, "is not pruned"));
  EXPECT_EQ(get(3, 0), record(300));
  EXPECT_THAT(replay(0, 0), FailsWith(Errc::corrupt, "is not pruned"));
  RecoveryLog findings(storage_, true);
  EXPECT_OK(journal_->verify_section(Section(2), findings));
  ASSERT_EQ(findings.report().damage.size(), 1u);
  EXPECT_EQ(findings.report().damage[0].blob, journal::section_hex(Section(2)));
}

// Nobody else prunes a store that is open for writing, and without floors nobody knows of a prune.
TEST_F(JournalReaderTest, GivenNoReaderBesideAWriter_WhenABlobIsTakenAway_ThenThatIsDamage) {
  open_sections_max_ = 1;
  const auto blob = storage_.raw(kIndex, journal::section_name(Section(1)));
  testkit::MemoryFloors unpinned;
  for (const bool with_floors : {true, false}) {
    for (const bool read_only : {true, false}) {
      if (with_floors && read_only) continue;
      used_floors_ = with_floors ? &unpinned : nullptr;
      ASSERT_OK_INTO(journal_, try_open(storage_, read_only));
      ASSERT_EQ(get(3, 0), record(300));  // closes section 1
      remove_blob(kIndex, 1);
      unpinned.prune_elsewhere(Section(3));

      EXPECT_THAT(get(1, 0), FailsWith(Errc::corrupt, "is not pruned"));
      EXPECT_EQ(get(2, 0), record(200));
      storage_.set_raw(kIndex, journal::section_name(Section(1)), *blob);
      EXPECT_EQ(get(1, 0), record(100));
      journal_.reset();
    }
  }
}

TEST_F(JournalReaderTest, GivenAFloorThatSplitsARecord_WhenFollowed_ThenItIsCorrupt) {
  open_reader();
  floors_.plant(Section(2), 3 * kRecordSizeBytes + 1);

  EXPECT_THAT(journal_->follow(), FailsWith(Errc::corrupt, "no whole number of records"));
}

class IndexedReaderTest : public IndexedValueLogTest {
 protected:
  // Sections 1, 2 and 3 with three synced entries each.
  void SetUp() override {
    use_floors();
    use_one_entry_a_page();
    reopen();
    for (const uint64_t section : {1u, 2u, 3u})
      append_entries(section, 3);
    ASSERT_OK(log_->sync_all());
    log_.reset();
    floors_.pin();
  }

  void open_reader() { ASSERT_OK_INTO(log_, try_open(storage_, true)); }

  std::vector<std::string> verify() {
    RecoveryLog findings(storage_, true);
    EXPECT_OK(log_->verify(true, findings, [](uint64_t) {}));
    std::vector<std::string> found;
    for (const BlobRange& range : findings.report().damage)
      found.push_back(concat(range.partition, "/", range.blob, ": ", range.reason));
    return found;
  }
};

TEST_F(IndexedReaderTest, GivenMissingBlobs_WhenOpened_ThenTheirSectionsAreSetAside) {
  remove_blob(kValues, 2);
  remove_blob(kIndex, 3);
  remove_blob(kValues, 3);

  open_reader();

  EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(2)), Key(Section(3))));
  EXPECT_EQ(report_.damage.size(), 2u);
  expect_entries(1, 3);
  ASSERT_OK_INTO(const Entry entry, get(2, 0));
  EXPECT_THAT(get_value(2, entry.location), FailsWith(Errc::corrupt, "missing"));
  EXPECT_THAT(get(3, 0), FailsWith(Errc::corrupt, "missing"));

  // The writer goes on, as far as it can.
  ASSERT_OK(floors_.raise(Section(2), 4 * kEntrySizeBytes));
  EXPECT_EQ(log_->follow(), std::vector<Section>());
}

TEST_F(IndexedReaderTest, GivenAReader_WhenTheWriterPrunes_ThenMissedValuesArePruned) {
  open_reader();
  ASSERT_OK_INTO(const Entry entry, get(1, 0));
  for (const std::string_view partition : {kIndex, kValues})
    remove_blob(partition, 1);
  floors_.prune_elsewhere(Section(2));

  EXPECT_THAT(get_value(1, entry.location), FailsWith(Errc::pruned, "from 2 on"));
  EXPECT_THAT(verify(), IsEmpty());
}

TEST_F(IndexedReaderTest, GivenAReader_WhenBlobsAreTakenAway_ThenThatIsDamage) {
  open_reader();
  ASSERT_OK_INTO(const Entry entry, get(1, 0));
  remove_blob(kValues, 1);
  remove_blob(kIndex, 2);

  EXPECT_THAT(get_value(1, entry.location), FailsWith(Errc::corrupt, "is not pruned"));
  EXPECT_THAT(get(2, 0), FailsWith(Errc::corrupt, "is not pruned"));
  EXPECT_THAT(verify(), ElementsAre(HasSubstr("values/0000000000000001: "),
                                    HasSubstr("index/0000000000000002: ")));
}

// Where no entry says how far the values go, they are read as they are.
TEST_F(IndexedReaderTest, GivenADamagedIndex_WhenAValueIsRead_ThenItIsRight) {
  patch_blob(kIndex, 2, 2 * kPagedEntrySizeBytes, eight_bytes(UINT64_MAX));
  open_reader();

  EXPECT_THAT(get(2, 1), FailsWith(Errc::corrupt));
  EXPECT_EQ(get_value(2, {kStoredSizeBytes, kStoredSizeBytes}), value(id_of(2, 1)));
}

TEST_F(IndexedReaderTest, GivenAFloorThatSplitsAnEntry_WhenFollowed_ThenItIsCorrupt) {
  open_reader();
  floors_.plant(Section(2), 3 * kEntrySizeBytes + 1);

  EXPECT_THAT(log_->follow(), FailsWith(Errc::corrupt, "no whole number of records"));
}

// ---- failing calls

struct MissedBlob {
  std::string name;
  std::string_view partition;
  std::function<Status(const IndexedValueLog&)> use;  // none: it is missed when the log is opened
};

TEST_F(IndexedReaderTest, GivenAMissingBlob_WhenACallFails_ThenThatIsToldAndNotDamage) {
  const auto read_entry = [](const IndexedValueLog& log) {
    Bytes entry(kEntrySizeBytes);
    return log.read_entry(Section(1), Position(0), entry);
  };
  const auto read_value = [](const IndexedValueLog& log) -> Status {
    TRY(log.read_value(Section(1), {0, kStoredSizeBytes}));
    return {};
  };
  const Bytes name = journal::section_name(Section(1));
  for (const MissedBlob& missed : std::vector<MissedBlob>{{"an index, opened", kIndex, nullptr},
                                                          {"values, opened", kValues, nullptr},
                                                          {"an index, read", kIndex, read_entry},
                                                          {"values, read", kValues, read_value}}) {
    const auto blob = storage_.raw(missed.partition, name);
    bool failed = true;
    for (uint64_t call = 0; failed; ++call) {
      testkit::FailingCalls calls;
      testkit::FailingStorage storage(storage_, calls);
      testkit::FailingFloors floors(calls);
      for (const Section section : floors_.sections())
        floors.plant(section, floors_.floor(section));
      floors.pin();
      used_floors_ = &floors;
      const auto open = [&]() -> Status {
        TRY_INTO(log_, try_open(storage, true));
        return {};
      };
      if (missed.use) {
        ASSERT_OK(open());
      }
      remove_blob(missed.partition, 1);
      calls.fail(call);
      const Status outcome = missed.use ? missed.use(*log_) : open();
      failed = calls.failed().has_value();
      SCOPED_TRACE(concat(missed.name, ", call ", call, ": ", calls.failed().value_or("-")));
      if (failed) {
        EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
      } else if (missed.use) {
        EXPECT_THAT(outcome, FailsWith(Errc::corrupt, "is not pruned"));
      } else {
        EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(1))));
      }
      log_.reset();
      storage_.set_raw(missed.partition, name, *blob);
    }
  }
}

}  // namespace
}  // namespace firn
