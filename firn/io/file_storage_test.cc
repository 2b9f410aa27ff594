// SPDX-License-Identifier: Apache-2.0
#include "firn/io/file_storage.h"

#include "firn/io/recording_file_system.h"
#include "testkit/matchers.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

using io::RecordingFileSystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testkit::FailsWith;

constexpr std::string_view kHeader = "4357494300000000";

class FileStorageTest : public testing::Test {
 protected:
  static ByteSpan name(std::string_view text) { return as_bytes(text); }  // "a" is file 61
  static Bytes owned(std::string_view text) { return to_bytes(as_bytes(text)); }

  // A store with an empty blob p/61 that an earlier process made.
  void make_existing_blob() {
    FileStorage earlier(disk_);
    ASSERT_OK(earlier.open("p", name("a"), OpenMode::create));
  }

  Result<std::unique_ptr<Blob>> open(std::string_view blob, OpenMode mode = OpenMode::create) {
    return storage_.open("p", as_bytes(blob), mode);
  }

  testkit::SimulatedFileSystem disk_;
  RecordingFileSystem recording_{disk_};
  FileStorage storage_{recording_};
};

// --- The order of calls

TEST_F(FileStorageTest, GivenNothing_WhenABlobIsCreated_ThenHeaderFileAndDirectoriesSyncInOrder) {
  ASSERT_OK(open("a", OpenMode::create_new));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("make_directory p", "create p/61", "write p/61 0+8", "sync p/61",
                          "sync_directory /p", "sync_directory /"));
}

TEST_F(FileStorageTest, GivenAPartitionOfThisProcess_WhenABlobIsCreated_ThenTheRootIsLeftAlone) {
  ASSERT_OK(open("a", OpenMode::create_new));
  (void)recording_.take_calls();

  ASSERT_OK(open("b", OpenMode::create_new));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("create p/62", "write p/62 0+8", "sync p/62", "sync_directory /p"));
}

TEST_F(FileStorageTest, GivenASecondPartition_WhenABlobIsCreated_ThenTheRootIsSyncedAgain) {
  ASSERT_OK(open("a", OpenMode::create_new));
  (void)recording_.take_calls();

  ASSERT_OK(storage_.open("q", name("a"), OpenMode::create_new));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("make_directory q", "create q/61", "write q/61 0+8", "sync q/61",
                          "sync_directory /q", "sync_directory /"));
}

TEST_F(FileStorageTest, GivenAnEmptyBlobOfAnEarlierProcess_WhenOpened_ThenItIsMadeDurable) {
  make_existing_blob();

  ASSERT_OK(open("a", OpenMode::read_write));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("open p/61", "sync p/61", "sync_directory /p", "sync_directory /"));
}

TEST_F(FileStorageTest, GivenAFilledBlobOfAnEarlierProcess_WhenOpened_ThenDirectoriesSyncOnce) {
  disk_.write_raw("p", "61", *from_hex(std::string(kHeader) + "00"));
  disk_.write_raw("p", "62", *from_hex(std::string(kHeader) + "00"));

  ASSERT_OK(open("a"));
  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("open p/61", "sync_directory /p", "sync_directory /"));

  ASSERT_OK(open("b"));
  EXPECT_THAT(recording_.take_calls(), ElementsAre("open p/62"));
}

TEST_F(FileStorageTest, GivenAnyBlob_WhenOpenedReadOnly_ThenNothingIsSynced) {
  make_existing_blob();
  disk_.write_raw("p", "62", Bytes(3));

  ASSERT_OK(open("a", OpenMode::read_only));
  ASSERT_OK(open("b", OpenMode::read_only));

  EXPECT_THAT(recording_.take_calls(), ElementsAre("open p/61", "open p/62"));
}

TEST_F(FileStorageTest, GivenATornFile_WhenOpenedByAWriter_ThenItIsReplacedDurably) {
  disk_.write_raw("p", "61", Bytes(3));

  ASSERT_OK(open("a", OpenMode::read_write));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("open p/61", "remove p/61", "make_directory p", "create p/61",
                          "write p/61 0+8", "sync p/61", "sync_directory /p", "sync_directory /"));
  EXPECT_EQ(to_hex(disk_.read_raw("p", "61")), kHeader);
}

TEST_F(FileStorageTest, GivenBlobs_WhenRemoved_ThenUnlinkedInOrderWithOneDirectorySync) {
  for (const std::string_view blob : {"a", "b", "c"})
    ASSERT_OK(open(blob));
  (void)recording_.take_calls();
  const std::vector<Bytes> names = {owned("c"), owned("x"), owned("a")};

  ASSERT_OK(storage_.remove("p", names));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("remove p/63", "remove p/78", "remove p/61", "sync_directory /p"));
}

TEST_F(FileStorageTest, GivenAMissingPartition_WhenBlobsAreRemoved_ThenItsAbsenceIsMadeDurable) {
  const std::vector<Bytes> names = {owned("a")};

  ASSERT_OK(storage_.remove("p", names));

  EXPECT_THAT(recording_.take_calls(),
              ElementsAre("remove p/61", "sync_directory /p", "sync_directory /"));
}

TEST_F(FileStorageTest, GivenAPartition_WhenRemoved_ThenTheRootIsSyncedLast) {
  for (const std::string_view blob : {"a", "b"})
    ASSERT_OK(open(blob));
  (void)recording_.take_calls();

  ASSERT_OK(storage_.remove_partition("p"));

  EXPECT_THAT(recording_.take_calls(), ElementsAre("list /p", "remove p/61", "remove p/62",
                                                   "remove_directory p", "sync_directory /"));
}

// --- Crashes

TEST_F(FileStorageTest, GivenACreatedBlob_WhenThePowerFails_ThenItIsThere) {
  ASSERT_OK(open("a", OpenMode::create_new));

  disk_.cut_power(testkit::SurvivorPlan::none());

  FileStorage later(disk_);
  ASSERT_OK_INTO(const auto names, later.scan("p"));
  EXPECT_THAT(names, ElementsAre(owned("a")));
  EXPECT_OK(later.open("p", name("a"), OpenMode::read_write));
}

TEST_F(FileStorageTest, GivenARemovedBlob_WhenThePowerFails_ThenItStaysAway) {
  ASSERT_OK(open("a", OpenMode::create_new));
  const std::vector<Bytes> names = {owned("a")};
  ASSERT_OK(storage_.remove("p", names));

  disk_.cut_power(testkit::SurvivorPlan::none());

  FileStorage later(disk_);
  EXPECT_THAT(later.open("p", name("a"), OpenMode::read_only), FailsWith(Errc::not_found));
}

// A process dies after any call of a creation; the next one adopts the blob, and the power fails.
TEST_F(FileStorageTest, GivenAnInterruptedCreation_WhenAdopted_ThenAPowerCutDoesNotTakeItAway) {
  for (const std::string_view call :
       {"write p/61 0+8", "sync p/61", "sync_directory /p", "sync_directory /"}) {
    testkit::SimulatedFileSystem disk;
    RecordingFileSystem dying(disk);
    dying.fail_calls(std::string(call));
    ASSERT_FALSE(FileStorage(dying).open("p", name("a"), OpenMode::create));
    disk.kill();

    {
      FileStorage next(disk);
      ASSERT_OK_INTO(const auto blob, next.open("p", name("a"), OpenMode::create));
      ASSERT_OK(blob->write_at(0, as_bytes("x")));
      ASSERT_OK(blob->sync());
    }
    disk.cut_power(testkit::SurvivorPlan::none());

    FileStorage last(disk);
    ASSERT_OK_INTO(const auto blob, last.open("p", name("a"), OpenMode::read_only));
    EXPECT_EQ(blob->size(), 1u) << call;
  }
}

// --- Failures

TEST_F(FileStorageTest, GivenAFailedWrite_WhenUsedFurther_ThenOnlyReadsGoOn) {
  ASSERT_OK_INTO(const auto blob, open("a"));
  ASSERT_OK(blob->write_at(0, as_bytes("hello")));
  recording_.fail_calls("write p/61 13+5", Errc::no_space);
  EXPECT_THAT(blob->write_at(5, as_bytes("world")), FailsWith(Errc::no_space));
  recording_.fail_calls(std::nullopt);

  EXPECT_THAT(blob->write_at(0, as_bytes("x")), FailsWith(Errc::poisoned, "write p/61 13+5"));
  EXPECT_THAT(blob->resize(1), FailsWith(Errc::poisoned, "'p/61'"));
  EXPECT_THAT(blob->sync(), FailsWith(Errc::poisoned));

  Bytes out(5);
  EXPECT_OK(blob->read_at(0, out));
  EXPECT_EQ(as_text(out), "hello");
  EXPECT_EQ(blob->size(), 5u);
}

TEST_F(FileStorageTest, GivenAFailedSync_WhenSyncedAgain_ThenItIsNotRetried) {
  ASSERT_OK_INTO(const auto blob, open("a"));
  ASSERT_OK(blob->write_at(0, as_bytes("hello")));
  recording_.fail_calls("sync p/61");
  EXPECT_THAT(blob->sync(), FailsWith(Errc::io));
  recording_.fail_calls(std::nullopt);
  (void)recording_.take_calls();

  EXPECT_THAT(blob->sync(), FailsWith(Errc::poisoned, "injected failure of sync p/61"));
  EXPECT_THAT(blob->write_at(5, as_bytes("x")), FailsWith(Errc::poisoned));

  EXPECT_THAT(recording_.take_calls(), IsEmpty());
}

TEST_F(FileStorageTest, GivenAFailedResize_WhenUsedFurther_ThenThePoisonNamesIt) {
  ASSERT_OK_INTO(const auto blob, open("a"));
  recording_.fail_calls("resize p/61 11");
  EXPECT_THAT(blob->resize(3), FailsWith(Errc::io));

  EXPECT_THAT(blob->write_at(0, as_bytes("x")), FailsWith(Errc::poisoned, "resize p/61 11"));
}

TEST_F(FileStorageTest, GivenAFailedHeader_WhenCreatedAgain_ThenItSucceedsAfresh) {
  recording_.fail_calls("write p/61 0+8", Errc::no_space);
  EXPECT_THAT(open("a"), FailsWith(Errc::no_space));
  EXPECT_FALSE(disk_.has_raw("p", "61"));

  recording_.fail_calls(std::nullopt);

  EXPECT_OK(open("a", OpenMode::create_new));
}

TEST_F(FileStorageTest, GivenAFailedDirectorySync_WhenChangedFurther_ThenThePartitionRefuses) {
  ASSERT_OK_INTO(const auto other, open("other"));
  recording_.fail_calls("sync_directory /p");
  EXPECT_THAT(open("a"), FailsWith(Errc::io));
  recording_.fail_calls(std::nullopt);
  const std::vector<Bytes> names = {owned("a")};

  EXPECT_THAT(open("a"), FailsWith(Errc::poisoned, "sync_directory /p"));
  EXPECT_THAT(open("b", OpenMode::create_new), FailsWith(Errc::poisoned));
  EXPECT_THAT(storage_.remove("p", names), FailsWith(Errc::poisoned));

  EXPECT_OK(open("other", OpenMode::read_only));
  EXPECT_OK(other->write_at(0, as_bytes("x")));
  EXPECT_OK(storage_.open("q", name("a"), OpenMode::create));
  EXPECT_OK(FileStorage(disk_).open("p", name("a"), OpenMode::create));
}

TEST_F(FileStorageTest, GivenAFailedRootSync_WhenChangedFurther_ThenNewPartitionsAreRefused) {
  recording_.fail_calls("sync_directory /");
  EXPECT_THAT(open("a"), FailsWith(Errc::io));
  recording_.fail_calls(std::nullopt);

  EXPECT_THAT(open("a"), FailsWith(Errc::poisoned, "sync_directory /"));
  EXPECT_THAT(storage_.open("q", name("a"), OpenMode::create), FailsWith(Errc::poisoned));
  EXPECT_THAT(storage_.remove_partition("p"), FailsWith(Errc::poisoned));
}

TEST_F(FileStorageTest, GivenADirectoryThatCannotBeListed_WhenScanned_ThenItIsNoEmptyPartition) {
  make_existing_blob();
  recording_.fail_calls("list /p");

  EXPECT_THAT(storage_.scan("p"), FailsWith(Errc::io));
  EXPECT_THAT(storage_.remove_partition("p"), FailsWith(Errc::io));

  recording_.fail_calls("list /");
  EXPECT_THAT(storage_.partitions(), FailsWith(Errc::io));
}

TEST_F(FileStorageTest, GivenAnUnlinkThatFails_WhenRemoved_ThenTheRestIsKept) {
  for (const std::string_view blob : {"a", "b", "c"})
    ASSERT_OK(open(blob));
  recording_.fail_calls("remove p/62");
  const std::vector<Bytes> names = {owned("a"), owned("b"), owned("c")};

  EXPECT_THAT(storage_.remove("p", names), FailsWith(Errc::io));

  ASSERT_OK_INTO(const auto left, storage_.scan("p"));
  EXPECT_THAT(left, ElementsAre(owned("b"), owned("c")));
}

TEST_F(FileStorageTest, GivenABlobCutFromOutside_WhenRead_ThenItIsCorruptNotShort) {
  ASSERT_OK_INTO(const auto blob, open("a"));
  ASSERT_OK(blob->write_at(0, as_bytes("hello")));
  ASSERT_OK(blob->sync());
  disk_.write_raw("p", "61", *from_hex(kHeader));
  Bytes out(5);

  EXPECT_THAT(blob->read_at(0, out), FailsWith(Errc::corrupt, "'p/61'"));
}

// --- Foreign entries

TEST_F(FileStorageTest, GivenAForeignFile_WhenScanned_ThenItIsNamed) {
  for (const std::string_view foreign : {"notes.txt", "616", "6A", "zz"}) {
    testkit::SimulatedFileSystem disk;
    FileStorage storage(disk);
    ASSERT_OK(storage.open("p", name("a"), OpenMode::create));
    disk.write_raw("p", foreign, Bytes(3));

    EXPECT_THAT(storage.scan("p"), FailsWith(Errc::corrupt, "'" + std::string(foreign) + "'"));
    EXPECT_OK(storage.remove_partition("p"));
  }
}

TEST_F(FileStorageTest, GivenForeignEntriesInTheRoot_WhenPartitionsAreListed_ThenTheyAreSkipped) {
  make_existing_blob();
  disk_.write_raw("", "LOCK", Bytes(3));
  ASSERT_OK(disk_.make_directory("lost+found"));

  ASSERT_OK_INTO(const auto partitions, storage_.partitions());

  EXPECT_THAT(partitions, ElementsAre("p"));
}

TEST_F(FileStorageTest, GivenALimitOfBlobSizes_WhenExceeded_ThenNothingIsWritten) {
  FileStorage limited(recording_, {.blob_size_max_bytes = 10});
  ASSERT_OK_INTO(const auto blob, limited.open("p", name("a"), OpenMode::create));
  (void)recording_.take_calls();

  EXPECT_THAT(blob->write_at(8, as_bytes("abc")), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(blob->resize(11), FailsWith(Errc::invalid_argument));

  EXPECT_THAT(recording_.take_calls(), IsEmpty());
  EXPECT_OK(blob->write_at(8, as_bytes("ab")));
}

}  // namespace
}  // namespace firn
