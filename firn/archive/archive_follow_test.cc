// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer of another process: what they see, and when.
#include <map>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/observed_storage.h"

namespace firn::archive {
namespace {

using testkit::FailsWith;
using testkit::LoggedStorage;

PrunableArchiveOptions reading(PrunableArchiveOptions options) {
  options.access = ArchiveAccess::read_only;
  return options;
}

PrunableArchiveOptions small_pages() {
  PrunableArchiveOptions options = shared_options();
  options.page_size_bytes = 120;  // the third record of 84 bytes ends early in a page
  options.page_cache_bytes = 0;
  options.write_buffer_bytes = 1000;
  return options;
}

class ArchiveFollowTest : public testing::Test {
 protected:
  void expect_nothing_written() { EXPECT_EQ(read_storage_.changes(), 0u); }

  MemoryStorage memory_;
  LoggedStorage read_storage_{memory_};
};

TEST_F(ArchiveFollowTest, GivenAWriter_WhenItSyncsAndPrunes_ThenAReaderSeesThatAfterARefresh) {
  PrunableArchiveOptions options = shared_options();
  options.items_per_section = 2;
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 1, "one", "first"));
  ASSERT_OK(writer->sync());
  ASSERT_OK(put(writer, 2, "two", "second"));

  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));

  EXPECT_EQ(get(reader, 1), "first");
  EXPECT_EQ(get(reader, "two"), "absent");
  ASSERT_OK(writer->sync());
  EXPECT_EQ(get(reader, 2), "absent");
  EXPECT_EQ(reader->refresh().value(), 1u);
  EXPECT_EQ(get(reader, "two"), "second");
  ASSERT_OK(writer->prune(2));
  EXPECT_EQ(get(reader, 1), "first");  // its file is open
  EXPECT_EQ(reader->refresh().value(), 0u);
  EXPECT_EQ(get(reader, 1), "absent");
  EXPECT_EQ(reader->oldest_allowed(), 2u);
  expect_nothing_written();
}

TEST_F(ArchiveFollowTest, GivenManyItemsInOnePage_WhenFollowed_ThenThePageIsReadAnew) {
  PrunableArchiveOptions options = shared_options();
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 0, "key0", "0"));
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));

  for (uint64_t i = 1; i < 300; ++i) {
    ASSERT_OK(put(writer, i, concat("key", i), concat(i)));
    ASSERT_OK(writer->sync());
    ASSERT_EQ(reader->refresh().value(), 1u);
    ASSERT_EQ(get(reader, concat("key", i)), concat(i));
    ASSERT_EQ(get(reader, i / 2), concat(i / 2));
  }

  expect_nothing_written();
}

TEST_F(ArchiveFollowTest, GivenAPruneSinceTheOpen_WhenItsItemsAreRead_ThenTheyAreAbsent) {
  PrunableArchiveOptions options = shared_options();
  options.items_per_section = 1;
  options.open_sections_max = 2;  // the files of most sections are closed
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
  for (uint64_t i = 0; i < 10; ++i)
    ASSERT_OK(put(writer, i, concat("key", i), concat(i)));
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));

  ASSERT_OK(writer->prune(8));

  for (uint64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(get(reader, i), "absent");
    EXPECT_EQ(get(reader, concat("key", i)), "absent");
  }
  EXPECT_EQ(get(reader, 9), "9");
  RecoveryLog findings(memory_, true);
  EXPECT_OK(reader->log().verify(true, findings, [](uint64_t) {}));
  EXPECT_TRUE(findings.report().empty());
}

TEST_F(ArchiveFollowTest, GivenAKilledWriter_WhenAnotherRecovers_ThenNothingThatWasSeenVanishes) {
  const PrunableArchiveOptions options = shared_options();
  ASSERT_OK_INTO(auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 1, "one", "first"));
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));
  ASSERT_OK(put(writer, 2, "two", "second"));
  writer.reset();
  ASSERT_OK_INTO(const auto late_reader, PrunableArchive::open(read_storage_, reading(options)));

  ASSERT_OK_INTO(writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 2, "two again", "other"));
  ASSERT_OK(writer->sync());

  for (const auto& archive : {&reader, &late_reader}) {
    EXPECT_EQ(get(*archive, 1), "first");
    EXPECT_EQ((*archive)->refresh().value(), 1u);
    EXPECT_EQ(get(*archive, 1), "first");
    EXPECT_EQ(get(*archive, 2), "other");
  }
  expect_nothing_written();
}

TEST_F(ArchiveFollowTest, GivenNoLiveWriter_WhenOpenedAfterAKill_ThenWhatRecoveryAdoptsIsSeen) {
  PrunableArchiveOptions options = shared_options();
  options.write_buffer_bytes = 0;
  ASSERT_OK_INTO(auto writer, PrunableArchive::open(memory_, options));
  for (uint64_t i = 0; i < 100; ++i)
    ASSERT_OK(put(writer, i, concat("key", i), concat(i)));
  ASSERT_OK_INTO(const auto beside, PrunableArchive::open(read_storage_, reading(options)));
  EXPECT_EQ(beside->statistics().records, 0u);
  writer.reset();

  ASSERT_OK_INTO(const auto after, PrunableArchive::open(read_storage_, reading(options)));

  EXPECT_GT(after->statistics().records, 0u);
  const uint64_t seen = after->statistics().records;
  ASSERT_OK_INTO(writer, PrunableArchive::open(memory_, options));
  EXPECT_EQ(writer->statistics().records, seen);
  EXPECT_EQ(after->refresh().value(), 0u);
  EXPECT_EQ(beside->refresh().value(), seen);
}

// A killed writer left more than a page of entries whose values are gone.
void make_entries_without_values(MemoryStorage& storage, const PrunableArchiveOptions& options) {
  ASSERT_OK_INTO(auto writer, PrunableArchive::open(storage, options));
  for (uint64_t i = 0; i < 3; ++i)
    ASSERT_OK(put(writer, i, concat("key", i), concat(i)));
  ASSERT_OK(writer->sync());
  const Bytes section(8);
  const Bytes synced_values = storage.raw("values", section).value_or(Bytes());
  for (uint64_t i = 3; i < 50; ++i)
    ASSERT_OK(put(writer, i, concat("key", i), concat(i)));
  writer.reset();
  storage.set_raw("values", section, synced_values);
}

// A reader leaves them out, and needs nothing of what the next writer cuts.
TEST_F(ArchiveFollowTest, GivenEntriesWithoutValues_WhenAWriterCutsThem_ThenAReaderKeepsTheRest) {
  const PrunableArchiveOptions options = small_pages();
  make_entries_without_values(memory_, options);
  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));
  EXPECT_EQ(reader->recovery().notes.size(), 1u);

  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 3, "new", "new"));
  ASSERT_OK(writer->sync());

  for (uint64_t i = 0; i < 3; ++i)
    EXPECT_EQ(get(reader, concat("key", i)), concat(i));
  EXPECT_EQ(get(reader, 3), "absent");
  EXPECT_EQ(reader->refresh().value(), 1u);
  EXPECT_EQ(get(reader, 3), "new");
  expect_nothing_written();
}

// The page that is cut changes twice while it is read: it would be torn.
TEST_F(ArchiveFollowTest, GivenEntriesWithoutValues_WhenAWriterCutsThemDuringARead_ThenItSucceeds) {
  const PrunableArchiveOptions options = small_pages();
  for (int moment = 1, calls = 1; calls >= moment; ++moment) {
    SCOPED_TRACE(concat("moment ", moment));
    MemoryStorage memory;
    make_entries_without_values(memory, options);
    std::unique_ptr<PrunableArchive> writer;
    bool is_reading = false;
    calls = 0;
    testkit::ObservedStorage observed(memory, [&] {
      if (!is_reading || ++calls != moment) return;
      ASSERT_OK_INTO(writer, PrunableArchive::open(memory, options));
      for (const uint64_t i : {uint64_t{3}, uint64_t{4}}) {
        ASSERT_OK(put(writer, i, "new", "new"));
        ASSERT_OK(writer->sync());
      }
    });
    ASSERT_OK_INTO(const auto reader, PrunableArchive::open(observed, reading(options)));
    is_reading = true;

    EXPECT_EQ(get(reader, 2), "2");
  }
}

// No writer can be there.
TEST_F(ArchiveFollowTest, GivenAStoreWithoutAManifest_WhenRefreshed_ThenNothingIsNew) {
  const PrunableArchiveOptions options = shared_options();
  ASSERT_OK_INTO(auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK(put(writer, 1, "one", "first"));
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK(memory_.remove_partition(kManifestPartition));
  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(memory_, reading(options)));

  EXPECT_EQ(reader->refresh().value(), 0u);

  EXPECT_EQ(get(reader, 1), "first");
}

// It was restored from a backup.
TEST_F(ArchiveFollowTest, GivenAManifestOlderThanTheFiles_WhenRead_ThenEveryItemIsThere) {
  const PrunableArchiveOptions options = shared_options();
  std::map<Bytes, Bytes> backup;
  for (const uint64_t index : {uint64_t{1}, uint64_t{2}}) {
    ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
    ASSERT_OK(put(writer, index, concat("key", index), concat(index)));
    ASSERT_OK(writer->close());
    ASSERT_OK_INTO(const auto names, memory_.scan(kManifestPartition));
    for (const Bytes& name : names)
      backup.emplace(name, *memory_.raw(kManifestPartition, name));
  }
  for (const auto& [name, content] : backup)
    memory_.set_raw(kManifestPartition, name, content);

  ASSERT_OK_INTO(const auto reader, PrunableArchive::open(read_storage_, reading(options)));

  EXPECT_EQ(get(reader, "key1"), "1");
  EXPECT_EQ(get(reader, "key2"), "2");
  expect_nothing_written();
}

TEST_F(ArchiveFollowTest, GivenAReader_WhenTheArchiveIsToBeDestroyed_ThenOnlyOnceItIsGone) {
  const PrunableArchiveOptions options = shared_options();
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, options));
  ASSERT_OK_INTO(auto reader, PrunableArchive::open(memory_, reading(options)));

  EXPECT_THAT(writer->destroy(), FailsWith(Errc::locked));

  reader.reset();
  EXPECT_OK(writer->destroy());
}

TEST_F(ArchiveFollowTest, GivenAWriter_WhenAskedToRefresh_ThenItRefuses) {
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(memory_, shared_options()));

  EXPECT_THAT(writer->refresh(), FailsWith(Errc::invalid_argument));
}

}  // namespace
}  // namespace firn::archive
