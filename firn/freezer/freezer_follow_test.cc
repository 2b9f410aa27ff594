// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer of another process: what they see, and when. The writer works in every
// way that there is; a reader beside it works from memory.
#include "firn/freezer/freezer_test_support.h"
#include "testkit/failing_calls.h"
#include "testkit/logged_storage.h"
#include "testkit/observed_storage.h"

namespace firn::freezer {
namespace {

using testkit::FailsWith;
using testkit::LoggedStorage;

FreezerOptions reading(const FreezerOptions& options) {
  FreezerOptions reader = with_engine(options, Engine::resident);
  reader.access = FreezerAccess::read_only;
  return reader;
}

class FreezerFollow : public EveryEngine {
 protected:
  LoggedStorage read_storage_{storage_};
};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerFollow,
                         testing::Values(Engine::immediate, Engine::on_disk, Engine::resident),
                         engine_of);

TEST_P(FreezerFollow, GivenAWriter_WhenItSyncs_ThenAReaderSeesThatAfterARefresh) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 50);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const Store reader, Freezer::open(read_storage_, reading(options())));
  expect_range(reader, 0, 50);

  put_range(writer, 50, 700);
  ASSERT_OK(put(writer, "key7", "seven"));
  EXPECT_EQ(get(reader, "key60"), "absent");
  ASSERT_OK(writer->sync());

  EXPECT_EQ(reader->refresh().value(), 651u);
  expect_range(reader, 8, 700);
  EXPECT_EQ(get(reader, "key7"), "seven");
  EXPECT_EQ(reader->item_count(), 701u);
  EXPECT_EQ(read_storage_.changes(), 0u);
  EXPECT_THAT(writer->refresh(), FailsWith(Errc::invalid_argument));
}

TEST_P(FreezerFollow, GivenACursorBehindTheLastSync_WhenRead_ThenThereIsNoSuchValueYet) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const Store reader, Freezer::open(read_storage_, reading(options())));
  ASSERT_OK_INTO(const FreezerCursor cursor, put(writer, "late", std::string(4000, 'l')));

  EXPECT_EQ(get(reader, cursor), "error: out of range");

  ASSERT_OK(writer->sync());
  ASSERT_OK(reader->refresh());
  EXPECT_EQ(get(reader, cursor), std::string(4000, 'l'));
}

TEST_P(FreezerFollow, GivenAReader_WhenTheStoreIsToGoBack_ThenOnlyOnceItIsGone) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK_INTO(const FreezerCheckpoint checkpoint, writer->sync());
  put_range(writer, 5, 9);
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK_INTO(Store reader, Freezer::open(read_storage_, reading(options())));
  FreezerOptions going_back = options();
  going_back.checkpoint = checkpoint;

  EXPECT_THAT(Freezer::open(storage_, going_back), FailsWith(Errc::locked));

  expect_range(reader, 0, 9);
  reader.reset();
  ASSERT_OK_INTO(writer, Freezer::open(storage_, going_back));
  EXPECT_EQ(get(writer, "key5"), "absent");
}

TEST_P(FreezerFollow, GivenAReaderWithoutMemory_WhenAWriterIsThere_ThenTheyExcludeEachOther) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 50);
  ASSERT_OK(writer->sync());
  FreezerOptions reading = with_engine(options(), Engine::on_disk);
  reading.access = FreezerAccess::read_only;

  EXPECT_THAT(Freezer::open(storage_, reading), FailsWith(Errc::locked, "give more than 0 bytes"));

  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK_INTO(Store reader, Freezer::open(storage_, reading));
  expect_range(reader, 0, 50);
  EXPECT_THAT(Freezer::open(storage_, options()), FailsWith(Errc::locked));
  EXPECT_EQ(reader->refresh().value(), 0u);
  expect_range(reader, 0, 50);
  reader.reset();
  EXPECT_OK(Freezer::open(storage_, options()));
}

// The table that was whole when the reader opened is not any more.
TEST_P(FreezerFollow, GivenAWriterThatChangesTheTable_WhenAReaderVerifies_ThenThatIsNoDamage) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 50);
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK_INTO(const Store reader, Freezer::open(read_storage_, reading(options())));
  EXPECT_EQ(findings_of(reader, storage_), "");

  ASSERT_OK_INTO(writer, Freezer::open(storage_, options()));
  put_range(writer, 50, 300);
  ASSERT_OK(writer->sync());
  EXPECT_EQ(findings_of(reader, storage_), "");
  ASSERT_OK(writer->close());
  writer.reset();

  EXPECT_EQ(findings_of(reader, storage_), "");
  EXPECT_EQ(read_storage_.changes(), 0u);
}

TEST_P(FreezerFollow, GivenAStoreWithoutAManifest_WhenRefreshed_ThenNothingIsNew) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 50);
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK(storage_.remove_partition(kManifestPartition));
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading(options())));

  EXPECT_EQ(reader->refresh().value(), 0u);

  expect_range(reader, 0, 50);
}

TEST_P(FreezerFollow, GivenLittleMemory_WhenTheStoreOutgrowsIt_ThenAReaderKeepsWhatItHas) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK(writer->sync());
  FreezerOptions little = reading(options());
  little.memory_budget_bytes = 72'000;
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, little));

  put_range(writer, 5, 5'000);
  ASSERT_OK(writer->sync());

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::invalid_argument, "open it anew"));
  EXPECT_LT(reader->item_count(), 5'000u);
  expect_range(reader, 0, reader->item_count());
  EXPECT_EQ(get(reader, "key4999"), "absent");
}

TEST_P(FreezerFollow, GivenDamagedNewRecords_WhenRefreshed_ThenAReaderKeepsWhatItHasAndIsToldWhy) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading(options())));
  put_range(writer, 5, 300);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto sections, storage_.scan("index"));
  Bytes keys = *storage_.raw("index", sections[0]);
  keys[keys.size() / 2] ^= std::byte{1};
  storage_.set_raw("index", sections[0], keys);

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::corrupt, "firn salvage SRC DST"));

  EXPECT_GE(reader->item_count(), 5u);
  expect_range(reader, 0, reader->item_count());
}

TEST_P(FreezerFollow, GivenAKeyPageThatWasDamagedWhenOpened_WhenRefreshed_ThenItIsToBeOpenedAnew) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 300);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto sections, storage_.scan("index"));
  Bytes keys = *storage_.raw("index", sections[0]);
  keys[keys.size() / 2] ^= std::byte{1};
  storage_.set_raw("index", sections[0], keys);
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading(options())));

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::corrupt, "open it anew"));
}

TEST_P(FreezerFollow, GivenAReaderThatWasClosed_WhenRefreshed_ThenRefused) {
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options()));
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading(options())));
  ASSERT_OK(reader->close());

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::invalid_argument, "closed"));
}

TEST_P(FreezerFollow, GivenAFloorThatNoWriterWrites_WhenRefreshed_ThenThatIsTold) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK_INTO(const Store reader, Freezer::open(storage_, reading(options())));
  RecoveryLog recovery(storage_, false);
  ASSERT_OK_INTO(const auto manifest, Manifest::open(storage_, false, recovery));
  Floors& floors = manifest->floors(StoreRole::index);
  ASSERT_OK(floors.begin_writing());
  ASSERT_OK(floors.raise(Section(0), floors.floor(Section(0)) + 1));
  ASSERT_OK(manifest->close());

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::corrupt, "no whole number of records"));

  expect_range(reader, 0, 5);
}

TEST_P(FreezerFollow, GivenNewPuts_WhenAnyCallOfARefreshFails_ThenThatIsToldAndTheNextOneSeesAll) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    ASSERT_OK_INTO(const Store writer, Freezer::open(memory, options()));
    put_range(writer, 0, 5);
    ASSERT_OK(writer->sync());
    testkit::FailingCalls calls;
    testkit::FailingStorage storage(memory, calls);
    ASSERT_OK_INTO(const Store reader, Freezer::open(storage, reading(options())));
    put_range(writer, 5, 50);
    ASSERT_OK(writer->sync());

    calls.fail(call);
    const auto refreshed = reader->refresh();
    SCOPED_TRACE(concat("call ", call, ": ", calls.failed().value_or("-")));
    calls.stop();
    if (!calls.failed()) {
      EXPECT_EQ(refreshed.value(), 45u);
      return;
    }
    EXPECT_THAT(refreshed, FailsWith(Errc::io, "the test made this call fail"));
    ASSERT_OK(reader->refresh());
    expect_range(reader, 0, 50);
  }
}

// A reader that found no writer trusts what a writer then changes: it opens what that has left.
TEST_P(FreezerFollow, GivenAWriterThatComesAndGoesWhileAReaderOpens_ThenItSeesAllOfBeforeOrAfter) {
  for (int moment = 1;; ++moment) {
    SCOPED_TRACE(concat("moment ", moment));
    MemoryStorage memory;
    {
      ASSERT_OK_INTO(const Store first, Freezer::open(memory, options()));
      put_range(first, 0, 5);
      ASSERT_OK(first->close());
    }
    int calls = 0;
    testkit::ObservedStorage observed(memory, [&] {
      if (++calls != moment) return;
      ASSERT_OK_INTO(const Store writer, Freezer::open(memory, options()));
      put_range(writer, 5, 10);
      ASSERT_OK(writer->close());
    });
    ASSERT_OK_INTO(const Store reader, Freezer::open(observed, reading(options())));
    const uint64_t seen = reader->item_count();
    EXPECT_THAT(seen, testing::AnyOf(5u, 10u));
    expect_range(reader, 0, seen);
    EXPECT_EQ(get(reader, concat("key", seen)), "absent");
    if (calls < moment) break;  // it was no moment of the open any more
  }
}

TEST_P(FreezerFollow,
       GivenACheckpoint_WhenOpenedForReading_ThenServedIfItIsTheNewestAndElseRefused) {
  ASSERT_OK_INTO(Store writer, Freezer::open(storage_, options()));
  put_range(writer, 0, 5);
  ASSERT_OK_INTO(const FreezerCheckpoint older, writer->sync());
  put_range(writer, 5, 9);
  ASSERT_OK_INTO(const FreezerCheckpoint newest, writer->close());
  writer.reset();
  for (const Engine engine : {Engine::on_disk, Engine::resident}) {
    FreezerOptions reading = with_engine(options(), engine);
    reading.access = FreezerAccess::read_only;
    reading.checkpoint = newest;
    ASSERT_OK_INTO(const Store reader, Freezer::open(read_storage_, reading));
    expect_range(reader, 0, 9);

    reading.checkpoint = older;
    EXPECT_THAT(Freezer::open(read_storage_, reading),
                FailsWith(Errc::invalid_argument, "newer records than the checkpoint"));
  }
  EXPECT_EQ(read_storage_.changes(), 0u);
}

// The floors that a reader finds may be older than the sections: the newest one is empty then, and
// puts of the one before are not there yet.
TEST_P(FreezerFollow, GivenANewSectionWhileAReaderOpens_WhenRefreshed_ThenNoPutIsLeftOut) {
  FreezerOptions options = this->options();
  options.section_target_bytes = 100;
  for (int moment = 1;; ++moment) {
    SCOPED_TRACE(concat("moment ", moment));
    MemoryStorage memory;
    ASSERT_OK_INTO(const Store writer, Freezer::open(memory, options));
    ASSERT_OK(put(writer, "a", "first"));
    ASSERT_OK(writer->sync());
    int calls = 0;
    testkit::ObservedStorage observed(memory, [&] {
      if (++calls != moment) return;
      ASSERT_OK(put(writer, "b", std::string(200, 'b')));
      ASSERT_OK(put(writer, "c", "third"));
    });
    ASSERT_OK_INTO(const Store reader, Freezer::open(observed, reading(options)));
    if (calls < moment) break;  // it was no moment of the open any more
    ASSERT_OK(writer->sync());

    ASSERT_OK(reader->refresh());

    EXPECT_EQ(reader->item_count(), 3u);
    EXPECT_EQ(get(reader, "b"), std::string(200, 'b'));
    EXPECT_EQ(get(reader, "c"), "third");
  }
}

}  // namespace
}  // namespace firn::freezer
