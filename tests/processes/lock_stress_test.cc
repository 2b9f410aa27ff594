// SPDX-License-Identifier: Apache-2.0
//
// Locks are taken and let go in loops, by processes and by threads, while LOCK is deleted.
#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firn/base/random.h"
#include "testkit/matchers.h"
#include "tests/processes/shared_memory.h"
#include "tests/processes/store_handle.h"

namespace firn::processes {
namespace {

using testkit::FailsWith;

constexpr uint64_t kSeed = 5;

// Every one of them runs in a process of its own. True if all end without a failure.
bool succeed_in_processes(const std::vector<std::function<void()>>& works) {
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (const auto& work : works) {
    const pid_t child = ::fork();
    if (child == 0) {
      work();
      std::fflush(nullptr);
      ::_exit(testing::Test::HasFailure() ? 1 : 0);
    }
    children.push_back(child);
  }
  bool succeeded = true;
  for (const pid_t child : children) {
    int status = 0;
    succeeded = child > 0 && ::waitpid(child, &status, 0) == child && status == 0 && succeeded;
  }
  return succeeded;
}

// Who has which lock, as told by the holders.
class Holders {
 public:
  // For a while, during which nobody else may be inside whom the mode excludes.
  void stay_inside(LockMode mode) {
    constexpr int kLooks = 3;
    ++now_[index(mode)];
    ++entries_[index(mode)];
    bool is_apart = true;
    for (int look = 0; look < kLooks; ++look) {
      is_apart = is_apart && is_kept_apart(mode);
      std::this_thread::yield();
    }
    EXPECT_TRUE(is_apart) << "somebody else was inside beside mode " << index(mode);
    --now_[index(mode)];
  }
  // Every mode was inside often enough, or something failed somewhere.
  [[nodiscard]] bool are_done(uint64_t entries) {
    const bool were_inside =
        std::ranges::all_of(entries_, [&](const auto& count) { return count >= entries; });
    if (were_inside || testing::Test::HasFailure()) is_over_ = true;
    return is_over_;
  }

 private:
  static size_t index(LockMode mode) { return static_cast<size_t>(mode); }
  [[nodiscard]] bool is_kept_apart(LockMode mode) const {
    const bool is_about_followers = mode == LockMode::follower || mode == LockMode::no_followers;
    const uint64_t writers =
        now_[index(is_about_followers ? LockMode::no_followers : LockMode::exclusive)];
    const uint64_t readers =
        now_[index(is_about_followers ? LockMode::follower : LockMode::shared)];
    return is_for_writing(mode) ? writers == 1 && readers == 0 : writers == 0;
  }

  std::array<std::atomic<uint64_t>, 4> now_{};
  std::array<std::atomic<uint64_t>, 4> entries_{};
  std::atomic<bool> is_over_ = false;
};

class LockStress : public testing::Test {
 protected:
  void delete_lock_file() const { ::unlink((path_ + "/LOCK").c_str()); }
  [[nodiscard]] std::unique_ptr<Storage> open_store() const {
    auto opened = open_posix_storage(path_, {.create = true});
    EXPECT_OK(opened);
    return opened ? std::move(*opened) : nullptr;
  }

  // The lock, if it was to be had.
  [[nodiscard]] std::unique_ptr<StorageLock> visit(Storage& storage, LockMode mode) const {
    auto lock = storage.lock(mode);
    if (lock) {
      holders_->stay_inside(mode);
      return std::move(*lock);
    }
    EXPECT_THAT(lock, FailsWith(Errc::locked));
    return nullptr;
  }

  // A writer keeps followers out now and then.
  void take_every_lock(uint64_t seed) const {
    constexpr uint64_t kEntries = 1000;
    Random random(seed);
    const auto storage = open_store();
    while (!holders_->are_done(kEntries)) {
      const LockMode mode =
          std::array{LockMode::exclusive, LockMode::shared, LockMode::follower}[random.below(3)];
      const auto lock = visit(*storage, mode);
      if (random.one_in(8)) delete_lock_file();
      if (lock && mode == LockMode::exclusive) (void)visit(*storage, LockMode::no_followers);
    }
  }
  const testkit::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "store";
  const SharedMemory<Holders> holders_;
};

TEST_F(LockStress, GivenProcesses_WhenLockIsDeleted_ThenNoTwoThatExcludeEachOtherGetIn) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  EXPECT_TRUE(
      succeed_in_processes({[&] { take_every_lock(kSeed); }, [&] { take_every_lock(kSeed + 1); },
                            [&] { take_every_lock(kSeed + 2); }}));
}

TEST_F(LockStress, GivenThreads_WhenLockIsDeleted_ThenNoTwoThatExcludeEachOtherGetIn) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::vector<std::thread> threads;
  for (uint64_t seed = kSeed; seed < kSeed + 3; ++seed)
    threads.emplace_back([this, seed] { take_every_lock(seed); });

  for (std::thread& thread : threads)
    thread.join();
}

// Two that do everything at the same time.
struct Pair {
  std::atomic<uint64_t> arrivals = 0;
  std::atomic<uint64_t> inside = 0;

  void meet() {
    const uint64_t both = (arrivals.fetch_add(1) + 2) / 2 * 2;
    while (arrivals < both)
      std::this_thread::yield();
  }
};

TEST_F(LockStress, GivenNoLockFile_WhenAFollowerMeetsWhoKeepsThemOut_ThenNeverBothGetIn) {
  constexpr int kRounds = 8000;
  const SharedMemory<Pair> pair;
  const auto try_in_rounds = [&](LockMode mode) {
    const auto storage = open_store();
    Random random(kSeed);
    for (int round = 0; round < kRounds; ++round) {
      if (mode == LockMode::no_followers) delete_lock_file();
      pair->meet();
      // Whoever makes LOCK is the later one; now and then by less.
      const uint64_t delays = mode == LockMode::follower ? random.below(5) : 0;
      for (uint64_t delay = 0; delay < delays; ++delay)
        EXPECT_OK(storage->find_writer());
      const auto lock = storage->lock(mode);
      if (lock) ++pair->inside;
      EXPECT_TRUE(lock || lock.error().code == Errc::locked) << lock.error().message;
      pair->meet();
      EXPECT_LE(pair->inside, 1u) << "round " << round;
      pair->meet();
      if (lock) --pair->inside;
    }
  };

  EXPECT_TRUE(succeed_in_processes({[&] { try_in_rounds(LockMode::follower); },
                                    [&] { try_in_rounds(LockMode::no_followers); }}));
}

// What the writers say.
struct Progress {
  std::atomic<uint64_t> synced = 0;
  std::atomic<uint64_t> lives = 0;
};

class EveryStoreStress : public EveryStore {
 protected:
  // Half of the lives end without a close, and the next one recovers.
  void write(uint64_t seed, uint64_t lives) const {
    Random random(seed);
    while (progress_->lives < lives && !HasFailure()) {
      auto opened = open(Access::write);
      if (!opened) {
        ASSERT_THAT(opened, FailsWith(Errc::locked));
        continue;
      }
      const Handle writer = std::move(*opened);
      ASSERT_OK_INTO(uint64_t items, writer->count());
      ASSERT_GE(items, progress_->synced);
      for (const uint64_t end = items + 1 + random.below(30); items < end;)
        ASSERT_OK(writer->put(++items));
      ASSERT_OK(writer->sync());
      progress_->synced = items;
      if (random.one_in(2)) {
        ASSERT_OK(writer->close());
      }
      ++progress_->lives;
    }
  }
  // Until the writers are through.
  void read(uint64_t seed, uint64_t lives) const {
    Random random(seed);
    while (progress_->lives < lives && !HasFailure()) {
      const uint64_t before = progress_->synced;
      if (random.one_in(3)) ::unlink((path_ + "/LOCK").c_str());
      const auto reader = open(Access::read);
      if (!reader) {
        const Errc code = reader.error().code;
        ASSERT_TRUE(code == Errc::locked || (before == 0 && code == Errc::not_found))
            << reader.error().message;
        continue;
      }
      ASSERT_OK_INTO(const uint64_t seen, (*reader)->count());
      ASSERT_GE(seen, before);
      const Status refreshed = (*reader)->refresh();
      ASSERT_TRUE(refreshed || refreshed.error().code == Errc::locked) << refreshed.error().message;
      ASSERT_OK_INTO(const uint64_t then, (*reader)->count());
      ASSERT_GE(then, seen);
    }
  }

  const SharedMemory<Progress> progress_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryStoreStress, testing::ValuesIn(kStoreKinds), name_of_kind);

TEST_P(EveryStoreStress, GivenWritersThatComeAndGo_WhenLockIsDeleted_ThenReadersSeeAllSynced) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  constexpr uint64_t kLives = 40;

  EXPECT_TRUE(
      succeed_in_processes({[&] {
                              write(kSeed, kLives);
                              progress_->lives = kLives;
                            },
                            [&] { read(kSeed + 1, kLives); }, [&] { read(kSeed + 2, kLives); }}));

  ASSERT_OK_INTO(const Handle last, open(Access::read));
  EXPECT_EQ(last->count().value(), progress_->synced);
}

}  // namespace
}  // namespace firn::processes
