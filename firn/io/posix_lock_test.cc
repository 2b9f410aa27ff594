// SPDX-License-Identifier: Apache-2.0
//
// The lock of a store while processes die and fork.
#include <atomic>
#include <filesystem>
#include <list>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "firn/io/posix_storage.h"
#include "testkit/child_process.h"
#include "testkit/matchers.h"
#include "testkit/temporary_directory.h"

namespace firn {
namespace {

using testkit::ChildProcess;
using testkit::FailsWith;

class PosixLockTest : public testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Storage> open_store() const {
    auto opened = open_posix_storage(root_, {.create = true});
    EXPECT_OK(opened);
    return opened ? std::move(*opened) : nullptr;
  }
  // In a child that is about to die: closes what it has open of `path`, as the kernel does then.
  static void close_all_of(const std::string& path) {
    std::vector<int> open;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      if (std::error_code gone; std::filesystem::read_symlink(entry.path(), gone) == path)
        open.push_back(std::stoi(entry.path().filename()));
    for (const int fd : open)
      ::close(fd);
  }
  void wait_until_somebody_has_the_lock_file() const {
    const int fd = ::open(lock_file_.c_str(), O_RDONLY | O_CLOEXEC);
    struct flock probe{};
    do {
      probe = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    } while (::fcntl(fd, F_OFD_GETLK, &probe) == 0 && probe.l_type == F_UNLCK);
    ::close(fd);
  }

  testkit::TemporaryDirectory directory_;
  const std::string root_ = std::filesystem::canonical(directory_.path()) / "store";
  const std::string lock_file_ = root_ + "/LOCK";
};

TEST_F(PosixLockTest, GivenAWriterThatDies_WhenOnlyLockIsFreeYet_ThenTheNextOneWaitsForTheRest) {
  const auto storage = open_store();
  for (int round = 0; round < 20; ++round) {
    ChildProcess dying([&](const auto& acknowledge) {
      const auto own = open_store();
      const auto lock = own->lock(LockMode::exclusive);
      close_all_of(lock_file_);
      if (lock) acknowledge(1);
      wait_until_somebody_has_the_lock_file();
      close_all_of(root_);
      ::pause();
    });
    ASSERT_TRUE(dying.wait_for(1));

    EXPECT_OK(storage->lock(LockMode::exclusive));
  }
}

// Children that are forked in the middle of an attempt have copies of its descriptors.
TEST_F(PosixLockTest, GivenThreadsThatTryInVain_WhenChildrenAreForked_ThenTheseKeepNoLock) {
  const auto storage = open_store();
  ASSERT_OK_INTO(auto reader, storage->lock(LockMode::shared));
  ASSERT_OK_INTO(auto follower, storage->lock(LockMode::follower));
  std::atomic<bool> is_over = false;
  std::atomic<uint64_t> attempts = 0;
  std::vector<std::thread> threads;
  for (const LockMode mode : {LockMode::exclusive, LockMode::no_followers}) {
    threads.emplace_back([&, mode] {
      while (!is_over) {
        EXPECT_THAT(storage->lock(mode), FailsWith(Errc::locked));
        ++attempts;
      }
    });
  }
  while (!std::filesystem::exists(lock_file_))
    std::this_thread::yield();

  std::list<ChildProcess> children;
  for (uint64_t child = 0; child < 12; ++child) {
    const uint64_t before = attempts;
    wait_until_somebody_has_the_lock_file();
    children.emplace_back([](const auto&) { ::pause(); });
    while (attempts == before)
      std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& thread : threads)
    thread.join();

  reader.reset();
  follower.reset();
  ASSERT_OK_INTO(const auto writer, storage->lock(LockMode::exclusive));
  EXPECT_OK(storage->lock(LockMode::no_followers));
  EXPECT_OK(storage->lock(LockMode::follower));
}

}  // namespace
}  // namespace firn
