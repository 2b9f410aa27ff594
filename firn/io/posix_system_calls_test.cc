// SPDX-License-Identifier: Apache-2.0
//
// What the posix backend asks of the system, and in which order: a flush that is left out, or that
// comes too late, changes nothing that a running system shows. The functions below take the places
// of the system's in this program; they list the calls of a test and fail those that it names.
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "firn/base/text.h"
#include "firn/io/posix_storage.h"
#include "testkit/matchers.h"
#include "testkit/temporary_directory.h"

namespace {

using firn::concat;

// Of the test that runs; null outside of one.
struct SystemCalls {
  std::string root;                // what paths below it are shown relative to
  std::vector<std::string> calls;  // "fsync index", "renameat2 new.tmp index/61"
  std::string failing;             // the next call listed as this fails
  int error_number = 0;
  size_t transfer_max = SIZE_MAX;  // bytes that one write takes
};
SystemCalls* recorder = nullptr;

std::string shown(const std::string& path) {
  const std::string_view root = recorder->root;
  if (path == root) return ".";
  if (path.starts_with(concat(root, "/"))) return path.substr(root.size() + 1);
  return root.starts_with(concat(path, "/")) ? "above" : path;
}

std::string path_of(int fd) {
  std::string path(4096, '\0');
  const ssize_t size = ::readlink(concat("/proc/self/fd/", fd).c_str(), path.data(), path.size());
  path.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return path;
}

std::string path_in(int directory_fd, const char* name) {
  return shown(concat(path_of(directory_fd), "/", name));
}

// False if the call must fail, with errno set.
bool admit(const std::function<std::string()>& describe) {
  if (recorder == nullptr) return true;
  recorder->calls.push_back(describe());
  if (recorder->failing != recorder->calls.back()) return true;
  recorder->failing.clear();
  errno = recorder->error_number;
  return false;
}

int call(long number, auto... arguments) {
  return static_cast<int>(::syscall(number, arguments...));
}

}  // namespace

extern "C" {

int fsync(int fd) {
  return admit([&] { return concat("fsync ", shown(path_of(fd))); }) ? call(SYS_fsync, fd) : -1;
}

int fdatasync(int fd) {
  return admit([&] { return concat("fdatasync ", shown(path_of(fd))); }) ? call(SYS_fdatasync, fd)
                                                                         : -1;
}

ssize_t pwritev(int fd, const iovec* vectors, int count, off_t offset) {
  if (!admit([&] { return concat("write ", shown(path_of(fd)), " at ", offset); })) return -1;
  if (recorder != nullptr && vectors[0].iov_len > recorder->transfer_max) {
    const iovec part = {vectors[0].iov_base, recorder->transfer_max};
    return ::syscall(SYS_pwritev, fd, &part, 1, offset, 0);
  }
  return ::syscall(SYS_pwritev, fd, vectors, count, offset, 0);
}

int ftruncate(int fd, off_t size) noexcept {
  return admit([&] { return concat("resize ", shown(path_of(fd)), " ", size); })
             ? call(SYS_ftruncate, fd, size)
             : -1;
}

int posix_fadvise(int fd, off_t offset, off_t size, int advice) noexcept {
  if (!admit([&] { return concat("drop ", shown(path_of(fd))); })) return errno;
  return call(SYS_fadvise64, fd, offset, size, advice) == 0 ? 0 : errno;
}

int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  return admit([&] { return concat("rename ", path_in(from_fd, from), " ", path_in(to_fd, to)); })
             ? call(SYS_renameat2, from_fd, from, to_fd, to, flags)
             : -1;
}

int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
  return admit([&] { return concat("link ", path_in(from_fd, from), " ", path_in(to_fd, to)); })
             ? call(SYS_linkat, from_fd, from, to_fd, to, flags)
             : -1;
}

int unlinkat(int fd, const char* name, int flags) noexcept {
  return admit([&] { return concat("unlink ", path_in(fd, name)); })
             ? call(SYS_unlinkat, fd, name, flags)
             : -1;
}

int mkdirat(int fd, const char* name, mode_t mode) noexcept {
  return admit([&] { return concat("mkdir ", path_in(fd, name)); })
             ? call(SYS_mkdirat, fd, name, mode)
             : -1;
}

int mkdir(const char* path, mode_t mode) noexcept {
  return admit([&] { return concat("mkdir ", shown(path)); })
             ? call(SYS_mkdirat, AT_FDCWD, path, mode)
             : -1;
}

}  // extern "C"

namespace firn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testkit::FailsWith;

class PosixSystemCallsTest : public testing::Test {
 protected:
  PosixSystemCallsTest() {
    calls_.root = directory_ / "store";
    recorder = &calls_;
  }
  ~PosixSystemCallsTest() override { recorder = nullptr; }

  std::vector<std::string> take_calls() { return std::exchange(calls_.calls, {}); }
  void fail_once(std::string call, int error_number) {
    calls_.failing = std::move(call);
    calls_.error_number = error_number;
  }

  void open_store() { ASSERT_OK_INTO(storage_, open_posix_storage(calls_.root, {.create = true})); }
  void open_blob(OpenMode mode = OpenMode::create) {
    ASSERT_OK_INTO(blob_, storage_->open("p", name(), mode));
  }
  // A store with one blob, as another process left it; the calls for that are forgotten.
  void open_existing() {
    open_store();
    open_blob();
    ASSERT_OK(blob_->write_at(0, as_bytes("abc")));
    ASSERT_OK(blob_->sync());
    open_store();
    take_calls();
  }
  static ByteSpan name() { return as_bytes("a"); }  // file 61

  testkit::TemporaryDirectory directory_;
  SystemCalls calls_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Blob> blob_;
};

TEST_F(PosixSystemCallsTest, WhenAStoreIsMade_ThenEachDirectoryIsDurableBeforeTheNext) {
  calls_.root = directory_ / "a/store";

  open_store();

  // First the entry of the directory that was there, then each new one's.
  EXPECT_THAT(take_calls(),
              ElementsAre("fsync above", "mkdir above", "fsync above", "mkdir .", "fsync above"));
}

TEST_F(PosixSystemCallsTest, GivenAStore_WhenOpenedForWriting_ThenItsOwnEntryIsMadeDurable) {
  open_store();
  take_calls();

  ASSERT_OK_INTO(storage_, open_posix_storage(calls_.root, {}));

  EXPECT_THAT(take_calls(), ElementsAre("fsync above"));
}

TEST_F(PosixSystemCallsTest, WhenABlobIsMade_ThenItsContentIsDurableBeforeItsNameAndAllOfIt) {
  open_store();
  take_calls();

  open_blob();

  EXPECT_THAT(take_calls(),
              ElementsAre("mkdir p", "unlink new.tmp", "write new.tmp at 0", "fsync new.tmp",
                          "rename new.tmp p/61", "fsync p", "fsync ."));
}

TEST_F(PosixSystemCallsTest, GivenAFileSystemWithoutSuchARename_WhenABlobIsMade_ThenByALink) {
  open_store();
  take_calls();
  fail_once("rename new.tmp p/61", EINVAL);

  open_blob();

  EXPECT_THAT(take_calls(), ElementsAre("mkdir p", "unlink new.tmp", "write new.tmp at 0",
                                        "fsync new.tmp", "rename new.tmp p/61", "link new.tmp p/61",
                                        "unlink new.tmp", "fsync p", "fsync ."));
}

TEST_F(PosixSystemCallsTest, GivenABlob_WhenOpenedForWriting_ThenCleanPagesGoAndEntriesAreSynced) {
  open_existing();

  open_blob(OpenMode::read_write);

  EXPECT_THAT(take_calls(), ElementsAre("drop p/61", "fsync p", "fsync ."));
}

TEST_F(PosixSystemCallsTest, WhenABlobIsSynced_ThenItsFileIsFlushed) {
  open_existing();
  open_blob(OpenMode::read_write);
  take_calls();

  ASSERT_OK(blob_->write_at(3, as_bytes("def")));
  ASSERT_OK(blob_->sync());
  ASSERT_OK(blob_->resize(2));
  ASSERT_OK(blob_->sync());

  EXPECT_THAT(take_calls(),
              ElementsAre("write p/61 at 11", "fdatasync p/61", "resize p/61 10", "fsync p/61"));
}

TEST_F(PosixSystemCallsTest, WhenBlobsAreRemoved_ThenTheDirectoryIsFlushedAfterwards) {
  open_existing();
  const std::vector<Bytes> names = {to_bytes(name())};

  ASSERT_OK(storage_->remove("p", names));
  EXPECT_THAT(take_calls(), ElementsAre("unlink p/61", "fsync p"));

  ASSERT_OK(storage_->remove_partition("p"));
  EXPECT_THAT(take_calls(), ElementsAre("unlink p", "fsync ."));
}

TEST_F(PosixSystemCallsTest, WhenReadOnly_ThenNothingIsChanged) {
  open_existing();

  ASSERT_OK_INTO(storage_, open_posix_storage(calls_.root, {.read_only = true}));
  open_blob(OpenMode::read_only);
  Bytes content(3);
  ASSERT_OK(blob_->read_at(0, content));

  EXPECT_THAT(take_calls(), IsEmpty());
}

// --- What fails

TEST_F(PosixSystemCallsTest, WhenAFlushFails_ThenItsPagesAreDroppedAndItIsNotTriedAgain) {
  for (const int error_number : {EIO, ENOSPC, EDQUOT, EINTR, EROFS}) {
    open_existing();
    open_blob(OpenMode::read_write);
    ASSERT_OK(blob_->write_at(3, as_bytes("def")));
    take_calls();
    fail_once("fdatasync p/61", error_number);

    EXPECT_FALSE(blob_->sync());
    EXPECT_THAT(blob_->sync(), FailsWith(Errc::poisoned));

    EXPECT_THAT(take_calls(), ElementsAre("fdatasync p/61", "drop p/61"));
    ASSERT_OK(storage_->remove_partition("p"));
  }
}

TEST_F(PosixSystemCallsTest, WhenTheFlushOfADirectoryFails_ThenTheCallerLearnsIt) {
  open_existing();
  fail_once("fsync p", EIO);
  EXPECT_THAT(storage_->open("p", name(), OpenMode::read_write), FailsWith(Errc::io, "'"));

  open_existing();
  fail_once("fsync .", EIO);
  EXPECT_THAT(storage_->open("p", name(), OpenMode::read_write), FailsWith(Errc::io, "'"));

  fail_once("fsync above", EIO);
  EXPECT_THAT(open_posix_storage(calls_.root, {.create = true}), FailsWith(Errc::io, "parent"));
}

TEST_F(PosixSystemCallsTest, WhenAFileCannotBeMade_ThenNothingIsLeftUnderItsName) {
  open_store();
  for (const std::string_view call :
       {"mkdir p", "write new.tmp at 0", "fsync new.tmp", "rename new.tmp p/61"}) {
    for (const int error_number : {EIO, ENOSPC, EDQUOT, EROFS}) {
      SCOPED_TRACE(concat(call, ", errno ", error_number));
      open_store();
      fail_once(std::string(call), error_number);

      const auto created = storage_->open("p", name(), OpenMode::create_new);

      const bool full = error_number == ENOSPC || error_number == EDQUOT;
      EXPECT_THAT(created, FailsWith(full ? Errc::no_space : Errc::io));
      EXPECT_THAT(storage_->open("p", name(), OpenMode::read_only), FailsWith(Errc::not_found));
      take_calls();
    }
  }
  open_blob(OpenMode::create_new);
}

TEST_F(PosixSystemCallsTest, GivenSignalsAndShortWrites_WhenWritten_ThenAllOfItArrives) {
  open_existing();
  open_blob(OpenMode::read_write);
  calls_.transfer_max = 2;
  fail_once("write p/61 at 10", EINTR);

  ASSERT_OK(blob_->write_at(0, as_bytes("12345")));

  EXPECT_THAT(take_calls(), SizeIs(3 + 4));  // of the open; three pieces, one of them twice
  Bytes content(5);
  ASSERT_OK(blob_->read_at(0, content));
  EXPECT_EQ(as_text(content), "12345");
  fail_once("resize p/61 9", EINTR);
  EXPECT_OK(blob_->resize(1));
}

TEST_F(PosixSystemCallsTest, WhenAWriteOrResizeFails_ThenTheBlobIsPoisoned) {
  for (const std::string_view call : {"write p/61 at 8", "resize p/61 9"}) {
    for (const int error_number : {EIO, ENOSPC, EDQUOT, EROFS}) {
      open_existing();
      open_blob(OpenMode::read_write);
      fail_once(std::string(call), error_number);

      const Status done =
          call.starts_with("write") ? blob_->write_at(0, as_bytes("xyz")) : blob_->resize(1);

      const bool full = error_number == ENOSPC || error_number == EDQUOT;
      EXPECT_THAT(done, FailsWith(full ? Errc::no_space : Errc::io));
      EXPECT_THAT(blob_->sync(), FailsWith(Errc::poisoned));
      ASSERT_OK(storage_->remove_partition("p"));
    }
  }
}

}  // namespace
}  // namespace firn
