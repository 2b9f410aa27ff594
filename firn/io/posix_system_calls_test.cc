// SPDX-License-Identifier: Apache-2.0
//
// What the posix backend asks of the system, and in which order: a flush that is left out, or that
// comes too late, changes nothing that a running system shows.
#include <cerrno>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "firn/io/posix_storage.h"
#include "testkit/matchers.h"
#include "testkit/system_calls.h"
#include "testkit/temporary_directory.h"

namespace firn {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testkit::FailsWith;
using testkit::SystemCall;

bool asks_only(SystemCall call) {
  return call == SystemCall::open || call == SystemCall::close || call == SystemCall::read ||
         call == SystemCall::lock || call == SystemCall::examine || call == SystemCall::list ||
         call == SystemCall::map || call == SystemCall::reserve;
}

// Lists the calls that change or flush something, with paths relative to the store: "fsync index",
// "rename new.tmp index/61".
class SystemCalls final : public testkit::SystemCallHook {
 public:
  std::string root;
  std::vector<std::string> calls;
  std::string failing;     // of the next calls described as this one fails ...
  int failing_number = 1;  // ... the first, the second and so on
  int error_number = 0;
  size_t write_max = SIZE_MAX;  // bytes that one write takes

  int intercept(SystemCall call, const std::function<std::string()>& describe) override {
    is_write_ = call == SystemCall::write;
    std::istringstream words(describe());
    std::string text;
    for (std::string word; words >> word;)
      text += concat(text.empty() ? "" : " ", word.starts_with('/') ? shown(word) : word);
    if (!asks_only(call)) calls.push_back(text);
    if (failing != text || --failing_number > 0) return 0;
    failing.clear();
    return error_number;
  }
  [[nodiscard]] size_t transfer_max() const override { return is_write_ ? write_max : SIZE_MAX; }

 private:
  [[nodiscard]] std::string shown(const std::string& path) const {
    if (path == root) return ".";
    if (path.starts_with(concat(root, "/"))) return path.substr(root.size() + 1);
    return root.starts_with(concat(path, "/")) ? "above" : path;
  }

  bool is_write_ = false;
};

class PosixSystemCallsTest : public testing::Test {
 protected:
  PosixSystemCallsTest() {
    calls_.root = directory_ / "store";
    testkit::set_system_call_hook(&calls_);
  }
  ~PosixSystemCallsTest() override { testkit::set_system_call_hook(nullptr); }

  std::vector<std::string> take_calls() { return std::exchange(calls_.calls, {}); }
  void fail_once(std::string call, int error_number, int number = 1) {
    calls_.failing = std::move(call);
    calls_.failing_number = number;
    calls_.error_number = error_number;
  }
  // Whether the call that is to fail did.
  [[nodiscard]] bool has_failed() const { return calls_.failing.empty(); }

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

TEST_F(PosixSystemCallsTest, WhenAnyCallOfAListingFails_ThenItIsNotAShorterList) {
  open_existing();
  ASSERT_OK(storage_->open("p", as_bytes("b"), OpenMode::create));
  // A copy of the descriptor, the stream, two directories, two files, the end.
  constexpr int kCalls = 7;

  for (int number = 1; number <= kCalls; ++number) {
    SCOPED_TRACE(number);
    fail_once("list p", EIO, number);
    EXPECT_THAT(storage_->list("p"), FailsWith(Errc::io, "/p'"));
    fail_once("list p", ENOMEM, number);
    EXPECT_THAT(storage_->list("p"), FailsWith(Errc::io, "/p'"));
  }

  fail_once("list p", EIO, kCalls + 1);
  ASSERT_OK_INTO(const auto names, storage_->list("p"));
  EXPECT_THAT(names.blobs, SizeIs(2));
  EXPECT_FALSE(has_failed());
}

TEST_F(PosixSystemCallsTest, WhenTheLockFileCannotBeExamined_ThenNobodyIsSaidToReplaceIt) {
  open_store();
  for (int number = 1; number <= 3; ++number) {
    fail_once("examine LOCK", EIO, number);
    EXPECT_THAT(storage_->lock(LockMode::exclusive), FailsWith(Errc::io, "cannot examine"))
        << number;
    EXPECT_TRUE(has_failed());
  }
  fail_once("lock LOCK", EIO);
  EXPECT_THAT(storage_->lock(LockMode::exclusive), FailsWith(Errc::io, "cannot lock"));
  fail_once("lock LOCK", EINTR);
  EXPECT_OK(storage_->lock(LockMode::exclusive));
}

TEST_F(PosixSystemCallsTest, WhenALockCannotBeSettled_ThenItSaysWhereAndASignalIsNoReason) {
  open_store();
  ASSERT_OK_INTO(const auto lock, storage_->lock(LockMode::exclusive));
  fail_once("lock LOCK", EIO);
  EXPECT_THAT(lock->settle(), FailsWith(Errc::io, concat("'", calls_.root, "/LOCK'")));
  EXPECT_FALSE(storage_->find_writer().value()->is_settled);
  fail_once("lock LOCK", EINTR);
  EXPECT_OK(lock->settle());
  EXPECT_TRUE(has_failed());
  EXPECT_TRUE(storage_->find_writer().value()->is_settled);
}

// The directory is locked for who deletes LOCK.
TEST_F(PosixSystemCallsTest, WhenTheDirectoryCannotBeLocked_ThenTheLockFileServesAlone) {
  open_store();
  for (const int number : {1, 2}) {
    fail_once("lock .", EIO, number);
    ASSERT_OK_INTO(const auto lock, storage_->lock(LockMode::exclusive));
    EXPECT_TRUE(has_failed());
    EXPECT_THAT(storage_->lock(LockMode::exclusive), FailsWith(Errc::locked));
    EXPECT_THAT(storage_->lock(LockMode::shared), FailsWith(Errc::locked));
  }
}

TEST_F(PosixSystemCallsTest, WhenAFileCannotBeExamined_ThenTheCallerLearnsIt) {
  open_existing();
  fail_once("examine p/61", EIO);
  EXPECT_THAT(storage_->open("p", name(), OpenMode::read_only), FailsWith(Errc::io, "p/61'"));
  fail_once("mkdir q", EEXIST);
  EXPECT_THAT(storage_->open("q", name(), OpenMode::create), FailsWith(Errc::not_found, "examine"));
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
  calls_.write_max = 2;
  fail_once("write p/61 at 10", EINTR);

  ASSERT_OK(blob_->write_at(0, as_bytes("12345")));

  EXPECT_THAT(take_calls(), SizeIs(3 + 4));  // of the open; three pieces, one of them twice
  Bytes content(5);
  ASSERT_OK(blob_->read_at(0, content));
  EXPECT_EQ(as_text(content), "12345");
  fail_once("resize p/61 9", EINTR);
  EXPECT_OK(blob_->resize(1));
}

// It is never tried again: the descriptor may be another file's by then.
TEST_F(PosixSystemCallsTest, WhenACloseFails_ThenWhatWasSyncedIsThere) {
  for (const int error_number : {EIO, ENOSPC, EDQUOT, EINTR}) {
    open_existing();
    open_blob(OpenMode::read_write);
    ASSERT_OK(blob_->write_at(0, as_bytes("xyz")));
    ASSERT_OK(blob_->sync());
    fail_once("close p/61", error_number);

    blob_.reset();

    EXPECT_TRUE(has_failed());
    open_blob(OpenMode::read_only);
    Bytes content(3);
    ASSERT_OK(blob_->read_at(0, content));
    EXPECT_EQ(as_text(content), "xyz");
    ASSERT_OK(storage_->remove_partition("p"));
  }
}

// The system need not know this call, and a signal only makes it late. Whatever else it says may
// be all that anybody hears of a lost page.
TEST_F(PosixSystemCallsTest, WhenWritingOutFails_ThenTheBlobIsPoisonedUnlessItIsOnlyAdvice) {
  const Bytes large(9 << 20);
  for (const int error_number : {ENOSYS, EINVAL, EINTR, EIO, ENOSPC, EDQUOT, EROFS}) {
    SCOPED_TRACE(error_number);
    open_existing();
    open_blob(OpenMode::read_write);
    fail_once(concat("write out p/61 at 8+", large.size()), error_number);

    const Status written = blob_->write_at(0, large);

    EXPECT_TRUE(has_failed());
    const bool is_full = error_number == ENOSPC || error_number == EDQUOT;
    if (error_number == ENOSYS || error_number == EINVAL || error_number == EINTR) {
      EXPECT_OK(written);
      EXPECT_OK(blob_->sync());
    } else {
      EXPECT_THAT(written, FailsWith(is_full ? Errc::no_space : Errc::io, "p/61'"));
      EXPECT_THAT(blob_->sync(), FailsWith(Errc::poisoned));
    }
    ASSERT_OK(storage_->remove_partition("p"));
  }
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
