// SPDX-License-Identifier: Apache-2.0
//
// A store never has two writers: not while one closes, not when LOCK is gone, not by another path.
#include <atomic>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testkit/matchers.h"
#include "tests/processes/shared_memory.h"
#include "tests/processes/store_handle.h"

namespace firn::processes {
namespace {

using testkit::FailsWith;

class EveryStoreOfOneWriter : public EveryStore {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryStoreOfOneWriter, testing::ValuesIn(kStoreKinds),
                         name_of_kind);

// What several processes see.
struct Witness {
  std::atomic<uint64_t> inside = 0;   // writers
  std::atomic<uint64_t> items = 0;    // that the last one left
  std::atomic<uint64_t> opened = 0;   // how often one got in
  std::atomic<uint64_t> refused = 0;  // how often one did not
};

using SharedWitness = SharedMemory<Witness>;

// Opens, puts, closes, again and again, until writers got in `openings` times.
void take_turns(const StoreKind& kind, const std::string& path, const SharedWitness& witness,
                uint64_t openings) {
  while (witness->opened < openings) {
    const auto handle = kind.open(path, Access::write);
    if (!handle) {
      ASSERT_THAT(handle, FailsWith(Errc::locked));
      ++witness->refused;
      continue;
    }
    ASSERT_EQ(witness->inside.fetch_add(1), 0u) << "two writers at once";
    ++witness->opened;
    ASSERT_TRUE(witness->items == 0 || (*handle)->recovery().was_clean)
        << "the last writer gave the lock away before it had closed";
    ASSERT_EQ((*handle)->count().value(), witness->items);
    ASSERT_OK((*handle)->put(witness->items + 1));
    ++witness->items;
    witness->inside = 0;
    ASSERT_OK((*handle)->close());
  }
}

TEST_P(EveryStoreOfOneWriter,
       GivenTwoThatOpenAndClose_WhenEachTriesInALoop_ThenOneIsInsideAtATime) {
  const SharedWitness witness;
  constexpr uint64_t kOpenings = 60;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    take_turns(GetParam(), path_, witness, kOpenings);
    std::fflush(nullptr);
    ::_exit(HasFailure() ? 1 : 0);
  }

  take_turns(GetParam(), path_, witness, kOpenings);

  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_OK_INTO(const Handle last, open(Access::write));
  EXPECT_EQ(last->count().value(), witness->items);
}

TEST_P(EveryStoreOfOneWriter, GivenAWriter_WhenItsLockFileIsTakenAway_ThenNoSecondOneGetsIn) {
  const std::string lock = path_ + "/LOCK";
  ASSERT_OK_INTO(Handle writer, open(Access::write));
  ASSERT_OK(writer->put(1));
  ASSERT_OK(writer->sync());
  ASSERT_OK(writer->put(2));
  const auto expect_locked = [&] { EXPECT_THAT(open(Access::write), FailsWith(Errc::locked)); };
  // It is a reader beside a writer, which sees what was synced and nothing else.
  const auto expect_followed = [&] {
    ASSERT_OK_INTO(const Handle reader, open(Access::read));
    EXPECT_EQ(reader->count().value(), 1u);
    EXPECT_TRUE(reader->recovery().damage.empty() && reader->recovery().cuts.empty());
  };

  std::filesystem::rename(lock, directory_ / "moved");
  expect_locked();
  expect_followed();
  std::filesystem::remove(lock);
  expect_locked();
  std::filesystem::rename(directory_ / "moved", lock);
  expect_locked();
  expect_followed();
  std::filesystem::remove(lock);
  std::ofstream(lock) << "pid=1\n";
  expect_locked();
  expect_followed();

  ASSERT_OK(writer->close());
  ASSERT_OK_INTO(writer, open(Access::write));
  EXPECT_TRUE(writer->recovery().was_clean);
  EXPECT_EQ(writer->count().value(), 2u);
}

TEST_P(EveryStoreOfOneWriter, GivenNoLockFile_WhenRead_ThenTheReaderMakesNoneAndChangesNothing) {
  ASSERT_OK_INTO(Handle writer, open(Access::write));
  ASSERT_OK(writer->put(1));
  ASSERT_OK(writer->close());
  writer.reset();
  std::filesystem::remove(path_ + "/LOCK");
  const auto before = state_of_files(path_);

  {
    ASSERT_OK_INTO(const Handle reader, open(Access::read));
    EXPECT_EQ(reader->count().value(), 1u);
    EXPECT_OK(reader->refresh());
    EXPECT_EQ(state_of_files(path_), before);
    ASSERT_OK_INTO(writer, open(Access::write));
    EXPECT_OK(reader->refresh());
  }
}

TEST_P(EveryStoreOfOneWriter, GivenAWriter_WhenTheStoreIsReachedByOtherPaths_ThenItIsLocked) {
  std::filesystem::create_directory(directory_ / "elsewhere");
  std::filesystem::create_directory_symlink(directory_.path(), directory_ / "elsewhere/to_parent");
  std::filesystem::create_directory(path_);
  std::filesystem::create_directory_symlink("store", directory_ / "to_store");
  ASSERT_OK_INTO(Handle writer, GetParam().open(directory_ / "to_store", Access::write));

  for (const char* const path : {"store", "to_store", "elsewhere/to_parent/store", "store/../store",
                                 "elsewhere/../to_store/."}) {
    EXPECT_THAT(GetParam().open(directory_ / path, Access::write), FailsWith(Errc::locked)) << path;
  }

  ASSERT_OK(writer->close());
  EXPECT_OK(GetParam().open(directory_ / "elsewhere/to_parent/store", Access::write));
}

TEST_P(EveryStoreOfOneWriter, GivenAWriterThatIsMoved_WhenANewStoreIsMadeThere_ThenEachHasItsOwn) {
  ASSERT_OK_INTO(const Handle moved, open(Access::write));
  ASSERT_OK(moved->put(1));
  std::filesystem::rename(path_, directory_ / "moved");

  ASSERT_OK_INTO(const Handle fresh, open(Access::write));
  EXPECT_EQ(fresh->count().value(), 0u);
  EXPECT_THAT(GetParam().open(directory_ / "moved", Access::write), FailsWith(Errc::locked));

  ASSERT_OK(moved->close());
  ASSERT_OK_INTO(const Handle again, GetParam().open(directory_ / "moved", Access::write));
  EXPECT_EQ(again->count().value(), 1u);
}

}  // namespace
}  // namespace firn::processes
