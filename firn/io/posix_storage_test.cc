// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_storage.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firn/base/text.h"
#include "testkit/child_process.h"
#include "testkit/matchers.h"
#include "testkit/temporary_directory.h"

namespace firn {
namespace {

using testing::ElementsAre;
using testkit::ChildProcess;
using testkit::FailsWith;

ByteSpan name(std::string_view text) {
  return as_bytes(text);
}  // "a" is file 61

ino_t inode_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_ino;
}

mode_t mode_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class PosixStorageTest : public testing::Test {
 protected:
  std::unique_ptr<Storage> open_store(PosixOptions options = {.create = true}) {
    auto opened = open_posix_storage(root_, options);
    EXPECT_OK(opened);
    return opened ? std::move(*opened) : nullptr;
  }

  testkit::TemporaryDirectory directory_;
  const std::string root_ = directory_ / "store";
};

// --- The root

TEST_F(PosixStorageTest, GivenMissingParents_WhenCreated_ThenAllAreMadeForTheOwnerOnly) {
  const std::string deep = directory_ / "a/b//c/";

  ASSERT_OK(open_posix_storage(deep, {.create = true}));

  EXPECT_EQ(mode_of(directory_ / "a"), 0700u);
  EXPECT_EQ(mode_of(directory_ / "a/b/c"), 0700u);
  EXPECT_OK(open_posix_storage(deep, {}));
}

TEST_F(PosixStorageTest, GivenNoDirectory_WhenOpenedWithoutCreating_ThenNotFound) {
  EXPECT_THAT(open_posix_storage(root_, {}), FailsWith(Errc::not_found, root_));
  EXPECT_THAT(open_posix_storage("", {.create = true}), FailsWith(Errc::invalid_argument));
}

TEST_F(PosixStorageTest, GivenALinkThatLeadsNowhere_WhenCreated_ThenItIsToldAndKept) {
  std::filesystem::create_directory_symlink("nowhere", root_);

  EXPECT_THAT(open_posix_storage(root_, {.create = true}),
              FailsWith(Errc::invalid_argument, "store' is a symbolic link that leads nowhere"));

  EXPECT_TRUE(std::filesystem::is_symlink(root_));
}

TEST_F(PosixStorageTest, GivenAFileAsItsPath_WhenOpened_ThenItIsRefused) {
  std::ofstream(root_) << "x";

  for (const bool create : {false, true}) {
    EXPECT_THAT(open_posix_storage(root_, {.create = create}),
                FailsWith(Errc::invalid_argument, root_));
    EXPECT_THAT(open_posix_storage(root_ + "/below", {.create = create}),
                FailsWith(Errc::invalid_argument));
  }
}

TEST_F(PosixStorageTest, GivenAReadOnlyStore_WhenChanged_ThenItIsRefused) {
  ASSERT_OK(open_store()->open("p", name("a"), OpenMode::create));
  const auto storage = open_store({.read_only = true});
  const std::vector<Bytes> names = {to_bytes(name("a"))};

  EXPECT_OK(storage->open("p", name("a"), OpenMode::read_only));
  EXPECT_THAT(storage->open("p", name("a"), OpenMode::create),
              FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(storage->remove("p", names), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage->remove_partition("p"), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(open_posix_storage(root_, {.create = true, .read_only = true}),
              FailsWith(Errc::invalid_argument));
}

TEST_F(PosixStorageTest, GivenNewBlobs_WhenLookedAt_ThenOnlyTheOwnerMayReadThem) {
  ASSERT_OK(open_store()->open("p", name("a"), OpenMode::create));

  EXPECT_EQ(mode_of(root_ + "/p"), 0700u);
  EXPECT_EQ(mode_of(root_ + "/p/61"), 0600u);
}

// --- Creation

TEST_F(PosixStorageTest, GivenBlobs_WhenCreated_ThenNoStagedFileIsLeft) {
  const auto storage = open_store();
  ASSERT_OK(storage->open("p", name("a"), OpenMode::create));
  EXPECT_THAT(storage->open("p", name("a"), OpenMode::create_new),
              FailsWith(Errc::invalid_argument));

  EXPECT_FALSE(std::filesystem::exists(root_ + "/new.tmp"));
}

TEST_F(PosixStorageTest, GivenAStagedFileThatIsALinkToABlob_WhenCreating_ThenTheBlobIsUntouched) {
  const auto storage = open_store();
  ASSERT_OK_INTO(const auto blob, storage->open("p", name("a"), OpenMode::create));
  ASSERT_OK(blob->write_at(0, as_bytes("hello")));
  std::filesystem::create_hard_link(root_ + "/p/61", root_ + "/new.tmp");

  ASSERT_OK(storage->open("p", name("b"), OpenMode::create));

  EXPECT_EQ(content_of(root_ + "/p/61").substr(8), "hello");
  EXPECT_NE(inode_of(root_ + "/p/61"), inode_of(root_ + "/p/62"));
}

// --- Planted entries

TEST_F(PosixStorageTest, GivenAPlantedFifo_WhenOpened_ThenItIsRefusedWithoutHanging) {
  const auto storage = open_store();
  ASSERT_OK(storage->open("p", name("b"), OpenMode::create));
  ASSERT_EQ(::mkfifo((root_ + "/p/61").c_str(), 0600), 0);

  for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write, OpenMode::create})
    EXPECT_THAT(storage->open("p", name("a"), mode), FailsWith(Errc::corrupt, "/p/61'"));
  EXPECT_THAT(storage->scan("p"), FailsWith(Errc::corrupt, "'61'"));
}

TEST_F(PosixStorageTest, GivenASymbolicLink_WhenOpened_ThenItIsNotFollowed) {
  const auto storage = open_store();
  ASSERT_OK(storage->open("p", name("b"), OpenMode::create));
  std::filesystem::create_symlink("62", root_ + "/p/61");

  for (const OpenMode mode : {OpenMode::read_only, OpenMode::read_write, OpenMode::create})
    EXPECT_THAT(storage->open("p", name("a"), mode), FailsWith(Errc::corrupt, "symbolic link"));
  EXPECT_THAT(storage->scan("p"), FailsWith(Errc::corrupt, "'61'"));
}

TEST_F(PosixStorageTest, GivenAPartitionThatIsALinkOrAFile_WhenUsed_ThenItIsRefused) {
  const auto storage = open_store();
  ASSERT_OK(storage->open("p", name("a"), OpenMode::create));
  std::filesystem::create_directory_symlink("p", root_ + "/link");
  std::ofstream(root_ + "/file") << "x";

  for (const std::string_view partition : {"link", "file"}) {
    const std::string what = concat("store/", partition, "' is not a directory");
    EXPECT_THAT(storage->open(partition, name("a"), OpenMode::read_only),
                FailsWith(Errc::corrupt, what));
    EXPECT_THAT(storage->open(partition, name("b"), OpenMode::create),
                FailsWith(Errc::corrupt, what));
    EXPECT_THAT(storage->scan(partition), FailsWith(Errc::corrupt, "follows no links"));
  }
  ASSERT_OK_INTO(const auto partitions, storage->partitions());
  EXPECT_THAT(partitions, ElementsAre("p"));
}

TEST_F(PosixStorageTest, GivenADirectoryAsABlob_WhenUsed_ThenItIsRefusedAndKept) {
  const auto storage = open_store();
  ASSERT_OK(storage->open("p", name("b"), OpenMode::create));
  std::filesystem::create_directory(root_ + "/p/61");

  EXPECT_THAT(storage->open("p", name("a"), OpenMode::read_write), FailsWith(Errc::corrupt));
  EXPECT_THAT(storage->scan("p"), FailsWith(Errc::corrupt, "'61'"));
  EXPECT_THAT(storage->remove_partition("p"), FailsWith(Errc::corrupt, "'61'"));
  EXPECT_OK(storage->open("p", name("b"), OpenMode::read_write));
}

TEST_F(PosixStorageTest, GivenTheLockFilesName_WhenUsedAsAPartition_ThenItIsRefused) {
  const auto storage = open_store();

  EXPECT_THAT(storage->open("LOCK", name("a"), OpenMode::create),
              FailsWith(Errc::invalid_argument));
  EXPECT_OK(storage->lock(LockMode::exclusive));
}

// --- The lock

TEST_F(PosixStorageTest, GivenAHeldLock_WhenOpenedAgainHere_ThenTheHolderIsNamed) {
  const auto first = open_store();
  const auto second = open_store();
  ASSERT_OK_INTO(const auto lock, first->lock(LockMode::exclusive));

  const auto refused = second->lock(LockMode::exclusive);

  EXPECT_THAT(refused, FailsWith(Errc::locked, concat("this process: pid ", ::getpid())));
  EXPECT_THAT(second->lock(LockMode::shared), FailsWith(Errc::locked, "open for writing"));
}

TEST_F(PosixStorageTest, GivenAHolderInAnotherProcess_WhenLocked_ThenPidHostAndProgramAreNamed) {
  const auto storage = open_store();
  std::array<int, 2> held{};
  std::array<int, 2> finish{};
  ASSERT_EQ(::pipe(held.data()), 0);
  ASSERT_EQ(::pipe(finish.data()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte = 'n';
    const auto own = open_store();
    const auto lock = own->lock(LockMode::exclusive);
    if (lock) byte = 'y';
    if (::write(held[1], &byte, 1) != 1 || ::read(finish[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(held[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);

  const auto refused = storage->lock(LockMode::exclusive);
  const auto reader_refused = storage->lock(LockMode::shared);
  ASSERT_EQ(::write(finish[1], "x", 1), 1);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  EXPECT_THAT(refused, FailsWith(Errc::locked, concat("another process: pid ", child, " on host ",
                                                      host.data(), ", program 'firn_io_test'")));
  EXPECT_THAT(reader_refused, FailsWith(Errc::locked, concat("pid ", child)));
  EXPECT_OK(storage->lock(LockMode::exclusive));
  for (const int fd : {held[0], held[1], finish[0], finish[1]})
    ::close(fd);
}

TEST_F(PosixStorageTest, GivenReaders_WhenLockedExclusively_ThenTheMessageSpeaksOfReaders) {
  const auto storage = open_store();
  {
    ASSERT_OK(storage->lock(LockMode::exclusive));
  }
  ASSERT_OK_INTO(const auto reader, storage->lock(LockMode::shared));

  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::locked, "open for reading"));
}

TEST_F(PosixStorageTest, GivenNoLockFile_WhenReadersLock_ThenTheyMakeNoneAndAWriterSeesThem) {
  const auto storage = open_store();
  const auto expect_no_lock_file = [&] { EXPECT_FALSE(std::filesystem::exists(root_ + "/LOCK")); };
  ASSERT_OK_INTO(auto shared, storage->lock(LockMode::shared));
  ASSERT_OK_INTO(auto follower, storage->lock(LockMode::follower));
  expect_no_lock_file();

  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::locked, "open for reading"));
  shared.reset();
  ASSERT_OK_INTO(const auto writer, storage->lock(LockMode::exclusive));
  EXPECT_THAT(storage->lock(LockMode::no_followers), FailsWith(Errc::locked, "open for reading"));
  follower.reset();
  EXPECT_OK(storage->lock(LockMode::no_followers));
}

TEST_F(PosixStorageTest, GivenADeletedLockFile_WhenFollowersMeetWhoKeepsThemOut_ThenOneGivesWay) {
  const auto storage = open_store();
  const std::string lock_file = root_ + "/LOCK";
  ASSERT_OK_INTO(const auto writer, storage->lock(LockMode::exclusive));
  ASSERT_OK_INTO(auto follower, storage->lock(LockMode::follower));

  ASSERT_EQ(::unlink(lock_file.c_str()), 0);
  EXPECT_THAT(storage->lock(LockMode::no_followers), FailsWith(Errc::locked, "open for reading"));
  follower.reset();
  ASSERT_OK_INTO(auto alone, storage->lock(LockMode::no_followers));
  ASSERT_EQ(::unlink(lock_file.c_str()), 0);
  EXPECT_THAT(storage->lock(LockMode::follower), FailsWith(Errc::locked, "taking away"));
  alone.reset();
  EXPECT_OK(storage->lock(LockMode::follower));
}

// A second descriptor of the lock file must not free it when it is closed.
TEST_F(PosixStorageTest, GivenAWriter_WhenLockAndStoreAreReachedInOtherWays_ThenNoSecondOneGetsIn) {
  const auto storage = open_store();
  ASSERT_OK_INTO(auto lock, storage->lock(LockMode::exclusive));
  const auto expect_locked = [&](const std::string& path) {
    ASSERT_OK_INTO(const auto second, open_posix_storage(path, {}));
    EXPECT_THAT(second->lock(LockMode::exclusive), FailsWith(Errc::locked)) << path;
    EXPECT_THAT(second->lock(LockMode::shared), FailsWith(Errc::locked)) << path;
  };

  const std::string link = root_ + "-link";
  ASSERT_EQ(::symlink(root_.c_str(), link.c_str()), 0);
  expect_locked(link);
  expect_locked(root_ + "/../" + root_.substr(root_.find_last_of('/') + 1));
  ::unlink(link.c_str());
  content_of(root_ + "/LOCK");  // opens and closes it
  expect_locked(root_);
  EXPECT_THAT(storage->find_writer().value().value_or(StorageWriter()).name,
              testing::HasSubstr("firn_io_test"));

  ASSERT_EQ(::unlink((root_ + "/LOCK").c_str()), 0);
  EXPECT_TRUE(storage->find_writer()->has_value());
  expect_locked(root_);
  EXPECT_TRUE(storage->find_writer()->has_value());  // an empty LOCK is there now
  std::ofstream(root_ + "/LOCK") << "replaced";
  expect_locked(root_);
  ASSERT_TRUE(storage->find_writer()->has_value());
  EXPECT_FALSE(storage->find_writer().value()->is_settled);
  ASSERT_OK(lock->settle());
  EXPECT_TRUE(storage->find_writer().value()->is_settled);
  ASSERT_EQ(::unlink((root_ + "/LOCK").c_str()), 0);

  lock.reset();
  EXPECT_FALSE(storage->find_writer()->has_value());
  ASSERT_OK_INTO(const auto second, open_posix_storage(root_, {}));
  EXPECT_OK(second->lock(LockMode::exclusive));
}

TEST_F(PosixStorageTest, GivenAForkedChild_WhenItsParentReleasesTheLock_ThenTheChildHasNoneLeft) {
  const auto storage = open_store();
  ASSERT_OK_INTO(auto lock, storage->lock(LockMode::exclusive));
  ASSERT_OK_INTO(auto follower, storage->lock(LockMode::follower));
  const ChildProcess child([](const auto&) { ::pause(); });

  lock.reset();
  EXPECT_OK(storage->lock(LockMode::exclusive));
  EXPECT_THAT(storage->lock(LockMode::no_followers), FailsWith(Errc::locked));

  follower.reset();
  EXPECT_OK(storage->lock(LockMode::no_followers));
}

// Who died cannot unlock. Its child is refused by every handle, but nobody knows.
TEST_F(PosixStorageTest, GivenAHolderThatIsKilled_WhenAChildOfItLives_ThenTheLockIsStillHeld) {
  const auto storage = open_store();
  std::array<int, 2> finish{};
  ASSERT_EQ(::pipe(finish.data()), 0);
  ChildProcess holder([&](const auto& acknowledge) {
    const auto own = open_store();
    const auto lock = own->lock(LockMode::exclusive);
    const ChildProcess child([&](const auto&) {
      ::close(finish[1]);
      acknowledge(1);
      char byte = 0;
      if (::read(finish[0], &byte, 1) == 1) ::_exit(1);
    });
    ::pause();
  });
  ASSERT_TRUE(holder.wait_for(1));
  ::close(finish[0]);

  holder.kill();
  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::locked));

  ::close(finish[1]);  // the child ends
  auto lock = storage->lock(LockMode::exclusive);
  while (!lock && lock.error().code == Errc::locked)
    lock = storage->lock(LockMode::exclusive);
  EXPECT_OK(lock);
}

TEST_F(PosixStorageTest, GivenAForkedChild_WhenItUsesWhatWasOpen_ThenEveryCallIsRefused) {
  const auto storage = open_store();
  ASSERT_OK_INTO(const auto blob, storage->open("p", name("a"), OpenMode::create));
  ASSERT_OK(blob->write_at(0, as_bytes("before")));
  ASSERT_OK_INTO(auto lock, storage->lock(LockMode::exclusive));

  ChildProcess child([&](const auto& acknowledge) {
    const auto refused = FailsWith(Errc::invalid_argument, "forked child");
    Bytes read(3);
    EXPECT_THAT(blob->write_at(0, as_bytes("in the child")), refused);
    EXPECT_THAT(blob->resize(0), refused);
    EXPECT_THAT(blob->sync(), refused);
    EXPECT_THAT(blob->read_at(0, read), refused);
    EXPECT_THAT(storage->open("p", name("a"), OpenMode::read_only), refused);
    EXPECT_THAT(storage->open("q", name("b"), OpenMode::create_new), refused);
    EXPECT_THAT(storage->remove("p", std::vector<Bytes>{to_bytes(name("a"))}), refused);
    EXPECT_THAT(storage->remove_partition("p"), refused);
    EXPECT_THAT(storage->list("p"), refused);
    EXPECT_THAT(storage->partitions(), refused);
    EXPECT_THAT(storage->lock(LockMode::follower), refused);
    EXPECT_THAT(storage->find_writer(), refused);
    EXPECT_THAT(lock->settle(), refused);
    lock.reset();
    std::fflush(nullptr);
    if (!HasFailure()) acknowledge(1);
  });

  EXPECT_TRUE(child.wait_for(1));
  child.kill();
  Bytes content(6);
  ASSERT_OK(blob->read_at(0, content));
  EXPECT_EQ(as_text(content), "before");
  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::locked));
  EXPECT_OK(lock->settle());
}

TEST_F(PosixStorageTest, GivenALockFile_WhenLockedOftenAndReleased_ThenItIsNeverReplaced) {
  const auto storage = open_store();
  {
    ASSERT_OK(storage->lock(LockMode::exclusive));
  }
  const ino_t inode = inode_of(root_ + "/LOCK");
  std::ofstream(root_ + "/LOCK", std::ios::app) << std::string(3000, 'x');

  {
    ASSERT_OK(storage->lock(LockMode::exclusive));
  }
  {
    ASSERT_OK(storage->lock(LockMode::shared));
  }

  EXPECT_EQ(inode_of(root_ + "/LOCK"), inode);
  EXPECT_THAT(content_of(root_ + "/LOCK"),
              testing::MatchesRegex("pid=[0-9]+\nhost=.+\nboot_id=.*\nprogram=firn_io_test\n"));
}

TEST_F(PosixStorageTest, GivenAHostileLockFile_WhenReported_ThenItsControlCharactersAreMasked) {
  const auto storage = open_store();
  ASSERT_OK_INTO(const auto lock, storage->lock(LockMode::exclusive));
  std::ofstream(root_ + "/LOCK") << "pid=\x1b[31m7\nhost\nprogram=" << std::string(5000, 'p');

  const auto refused = storage->lock(LockMode::exclusive);

  EXPECT_THAT(refused, FailsWith(Errc::locked, "pid ?[31m7 on host unknown, program 'ppp"));
  EXPECT_LT(refused.error().message.size(), 600u);
}

TEST_F(PosixStorageTest, GivenALockFileThatIsNoFile_WhenLocked_ThenItIsRefused) {
  const auto storage = open_store();
  ASSERT_EQ(::mkfifo((root_ + "/LOCK").c_str(), 0600), 0);

  EXPECT_THAT(storage->lock(LockMode::exclusive), FailsWith(Errc::corrupt, "LOCK"));
  EXPECT_THAT(storage->lock(LockMode::shared), FailsWith(Errc::corrupt, "LOCK"));
}

// --- Limits

TEST_F(PosixStorageTest, GivenTheLimitOfOpenFiles_WhenAsked_ThenAboutHalfMayBeBlobs) {
  const auto storage = open_store();

  EXPECT_GE(storage->limits().open_blobs_max, 16u);
}

TEST_F(PosixStorageTest, GivenManyBuffers_WhenWritten_ThenAllArriveInOrder) {
  const auto storage = open_store();
  ASSERT_OK_INTO(const auto blob, storage->open("p", name("a"), OpenMode::create));
  Bytes content(3000);
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<std::byte>(i * 7 >> 2);
  std::vector<ByteSpan> buffers;
  for (size_t i = 0; i < content.size(); ++i) {
    buffers.push_back(ByteSpan(content).subspan(i, 1));
    buffers.emplace_back();
  }

  ASSERT_OK(blob->write_at(3, buffers));

  Bytes read(content.size());
  ASSERT_OK(blob->read_at(3, read));
  EXPECT_TRUE(equal_bytes(read, content));
}

}  // namespace
}  // namespace firn
