// SPDX-License-Identifier: Apache-2.0
//
// One damaged section among others: nothing of it changes, everything else goes on.
#include <string>
#include <vector>

#include "firn/journal/journal_test_support.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

class DamagedSectionTest : public IndexedValueLogTest {
 protected:
  // Sections 1, 2 and 3 with three synced entries each.
  void SetUp() override {
    use_floors();
    reopen();
    for (const uint64_t section : {1u, 2u, 3u})
      append_entries(section, 3);
    ASSERT_OK(log_->sync_all());
    log_.reset();
  }

  // As a damaged block at the front of a file.
  void break_header(std::string_view partition, uint64_t section) {
    const Bytes name = journal::section_name(Section(section));
    auto raw = storage_.raw(partition, name);
    ASSERT_TRUE(raw.has_value());
    (*raw)[0] ^= std::byte{0xFF};
    storage_.set_raw(partition, name, *std::move(raw));
  }

  std::pair<Bytes, Bytes> blobs_of(uint64_t section) const {
    const Bytes name = journal::section_name(Section(section));
    return {storage_.raw(kIndex, name).value_or(Bytes()),
            storage_.raw(kValues, name).value_or(Bytes())};
  }

  // Sections 1 and 3 are read, written, closed and pruned, while section 2 stays as it is.
  void expect_the_others_go_on() {
    const auto before = blobs_of(2);
    reopen();
    EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(2))));
    EXPECT_EQ(log_->sections(), (std::vector{Section(1), Section(2), Section(3)}));
    EXPECT_THAT(append(2, 7), FailsWith(Errc::corrupt, "/0000000000000002"));
    append_entries(1, 2);
    append_entries(3, 1);
    ASSERT_OK(log_->sync(Section(3)));
    ASSERT_OK(log_->close());
    EXPECT_TRUE(floors_.is_kept_unclean());
    reopen();
    expect_entries(1, 5);
    expect_entries(3, 4);
    EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(2))));
    EXPECT_EQ(blobs_of(2), before);
    EXPECT_FALSE(has_lost_found());
    EXPECT_EQ(log_->prune(Section(3)), 2u);
    EXPECT_THAT(append(2, 7), FailsWith(Errc::pruned));
    EXPECT_FALSE(has_blob(kIndex, 2));
    EXPECT_FALSE(has_blob(kValues, 2));
    reopen();
    EXPECT_TRUE(log_->damaged().empty());
    expect_entries(3, 4);
  }

  std::vector<std::string> verify() {
    RecoveryLog findings(storage_, true);
    EXPECT_OK(log_->verify(true, findings, [](uint64_t) {}));
    std::vector<std::string> found;
    for (const BlobRange& range : findings.report().damage) {
      found.push_back(concat(range.partition, "/", range.blob, " ", range.offset, "+",
                             range.size_bytes, ": ", range.reason));
    }
    return found;
  }
};

TEST_F(DamagedSectionTest, WhenTheIndexHeaderIsDamaged_ThenTheOthersGoOn) {
  break_header(kIndex, 2);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenTheIndexIsShorterThanItsFloor_ThenTheOthersGoOn) {
  resize_blob(kIndex, 2, blob_size(kIndex, 2) - 1);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenTheIndexBlobIsMissing_ThenItsValuesStay) {
  remove_blob(kIndex, 2);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenTheValueHeaderIsDamaged_ThenTheOthersGoOn) {
  break_header(kValues, 2);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenTheValueBlobIsMissing_ThenTheOthersGoOn) {
  remove_blob(kValues, 2);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenTheValueBlobIsShorterThanAHeader_ThenNotEvenThatChanges) {
  const Bytes name = journal::section_name(Section(2));
  storage_.set_raw(kValues, name, Bytes(3));

  expect_the_others_go_on();
}

// What a crash left above the floor of a damaged section must not be cut either: with the values
// back it may be adopted.
TEST_F(DamagedSectionTest, GivenATornEnd_WhenTheValuesAreMissing_ThenNothingIsCut) {
  const auto values = storage_.raw(kValues, journal::section_name(Section(2)));
  remove_blob(kValues, 2);
  patch_blob(kIndex, 2, blob_size(kIndex, 2), pattern(1, 10));
  const auto before = all_blobs();
  open_sections_max_ = 1;  // sections are closed and opened again

  for (int attempt = 0; attempt < 2; ++attempt) {
    reopen();
    EXPECT_EQ(log_->entry_count(Section(2)), 3u);
    EXPECT_OK(get(2, 2));
    expect_entries(1, 3);
    EXPECT_OK(get(2, 2));
    ASSERT_OK(log_->close());
    EXPECT_EQ(all_blobs(), before);
  }

  storage_.set_raw(kValues, journal::section_name(Section(2)), *values);
  reopen();
  EXPECT_TRUE(log_->damaged().empty());
  expect_entries(2, 3);
  EXPECT_EQ(report_.cuts.size(), 1u);
}

// Of values that were cut, the front is still read.
TEST_F(DamagedSectionTest, WhenValuesAreCut_ThenWhatIsLeftIsRead) {
  resize_blob(kValues, 2, 2 * kStoredSizeBytes + 3);

  reopen();

  expect_entry(2, 0);
  expect_entry(2, 1);
  ASSERT_OK_INTO(const Entry lost, get(2, 2));
  EXPECT_THAT(get_value(2, lost.location),
              FailsWith(Errc::out_of_range, "values/0000000000000002"));
  EXPECT_THAT(append(2, 7), FailsWith(Errc::corrupt, "ends at file offset 51"));
  EXPECT_EQ(report_.damage.size(), 1u);
}

// The header of values without an index: nobody knows what they are, so they stay.
TEST_F(DamagedSectionTest, GivenOrphanValues_WhenTheirHeaderIsDamaged_ThenTheyStay) {
  plant_value_sections({9});
  break_header(kValues, 9);
  const auto before = blobs_of(9);

  reopen();

  EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(9))));
  EXPECT_THAT(append(9, 1), FailsWith(Errc::corrupt, "values/0000000000000009"));
  append_entries(8, 1);
  ASSERT_OK(log_->sync_all());
  EXPECT_EQ(blobs_of(9), before);

  used_floors_ = nullptr;
  reopen();
  EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(9))));
  EXPECT_EQ(blobs_of(9), before);
}

// After a clean close damage shows when a section is used, and does not spread.
TEST_F(DamagedSectionTest, GivenACleanClose_WhenAValueBlobIsMissing_ThenItIsNoticedAtOnce) {
  floors_.mark_clean();
  remove_blob(kValues, 2);

  reopen();

  EXPECT_THAT(log_->damaged(), ElementsAre(Key(Section(2))));
}

TEST_F(DamagedSectionTest, GivenACleanClose_WhenAHeaderIsDamaged_ThenOnlyItsSectionFails) {
  for (const std::string_view partition : {kIndex, kValues}) {
    SCOPED_TRACE(partition);
    floors_.mark_clean();
    break_header(partition, 2);
    reopen();

    EXPECT_THAT(append(2, 7), FailsWith(Errc::corrupt, "0000000000000002"));
    append_entries(1, 1);
    ASSERT_OK(log_->sync_all());

    EXPECT_THAT(verify(), ElementsAre(HasSubstr("invalid magic")));
    log_.reset();
    break_header(partition, 2);
  }
}

TEST_F(DamagedSectionTest, GivenACleanClose_WhenValuesHaveANewerVersion_ThenVerifySaysSo) {
  floors_.mark_clean();
  const Bytes name = journal::section_name(Section(2));
  Bytes newer = *storage_.raw(kValues, name);
  copy_bytes(newer, encode_blob_header(99));
  storage_.set_raw(kValues, name, newer);

  reopen();

  EXPECT_THAT(verify(), ElementsAre(HasSubstr("found 99")));
  expect_entries(1, 3);
}

// The damage of its values shows first, and its index cannot be opened either.
TEST_F(DamagedSectionTest, GivenACleanClose_WhenBothBlobsAreDamaged_ThenTheOthersGoOn) {
  floors_.mark_clean();
  break_header(kIndex, 2);
  remove_blob(kValues, 2);

  expect_the_others_go_on();
}

TEST_F(DamagedSectionTest, WhenVerified_ThenEverySectionIsLookedAt) {
  break_header(kIndex, 1);
  remove_blob(kValues, 2);
  resize_blob(kValues, 3, 5);
  reopen();

  EXPECT_THAT(verify(),
              ElementsAre(HasSubstr("index/0000000000000001 0+0: "),
                          HasSubstr("values/0000000000000002 0+0: blob values/0000000000000002"),
                          "values/0000000000000003 0+60: the values of 3 entries, 0 to 2, end "
                          "beyond the blob, which has 5 bytes"));
}

TEST_F(DamagedSectionTest, WhenRewoundBeforeIt_ThenItIsDropped) {
  break_header(kIndex, 2);
  reopen();

  EXPECT_THAT(log_->rewind(Section(2), 0), FailsWith(Errc::corrupt));
  ASSERT_OK(log_->rewind(Section(1), kEntrySizeBytes));

  EXPECT_EQ(log_->sections(), (std::vector{Section(1)}));
  expect_entries(1, 1);
  append_entries(2, 2);
  ASSERT_OK(log_->sync_all());
  reopen();
  EXPECT_TRUE(log_->damaged().empty());
  expect_entries(2, 2);
}

TEST_F(DamagedSectionTest, WhenReplayed_ThenItsErrorIsToldOnce) {
  break_header(kIndex, 2);
  reopen();

  ASSERT_OK_INTO(FixedReplay replay, log_->replay());
  std::vector<uint64_t> seen;
  while (true) {
    const auto item = replay.next();
    if (!item) {
      EXPECT_THAT(item, FailsWith(Errc::corrupt, "index/0000000000000002"));
      EXPECT_EQ(replay.failed_section(), Section(2));
      seen.push_back(0);
      replay.skip_damaged_page();
      continue;
    }
    if (!item->has_value()) break;
    seen.push_back((*item)->section.value);
  }
  EXPECT_THAT(seen, ElementsAre(1, 1, 1, 0, 3, 3, 3));
}

}  // namespace
}  // namespace firn
