// SPDX-License-Identifier: Apache-2.0
//
// A forked child has a copy of every handle of its parent, and of every buffer in it.
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firn/base/read_section.h"
#include "testkit/child_process.h"
#include "testkit/epochs.h"
#include "testkit/matchers.h"
#include "tests/processes/store_handle.h"

namespace firn::processes {
namespace {

using testkit::ChildProcess;
using testkit::FailsWith;

class EveryStoreForked : public EveryStore {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryStoreForked, testing::ValuesIn(kStoreKinds), name_of_kind);

// True if `work` succeeds in a forked child. What it expects in vain is printed there.
bool succeeds_in_child(const std::function<void()>& work) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

void put_range(StoreHandle& handle, uint64_t first, uint64_t last) {
  for (uint64_t item = first; item <= last; ++item)
    ASSERT_OK(handle.put(item));
}

TEST_P(EveryStoreForked, GivenAWriter_WhenAChildUsesIt_ThenItIsRefusedAndTheParentGoesOn) {
  ASSERT_OK_INTO(Handle writer, open(Access::write));
  put_range(*writer, 1, 50);
  ASSERT_OK(writer->sync());
  put_range(*writer, 51, 53);  // in the buffers of both
  const auto before = state_of_files(path_);

  EXPECT_TRUE(succeeds_in_child([&] {
    EXPECT_THAT(writer->put(54), FailsWith(Errc::invalid_argument, "forked child"));
    EXPECT_THAT(writer->sync(), FailsWith(Errc::invalid_argument, "forked child"));
    EXPECT_THAT(writer->close(), FailsWith(Errc::invalid_argument, "forked child"));
    writer.reset();
  }));

  EXPECT_EQ(state_of_files(path_), before);
  EXPECT_THAT(open(Access::write), FailsWith(Errc::locked));
  put_range(*writer, 54, 60);
  ASSERT_OK(writer->close());
  writer.reset();
  ASSERT_OK_INTO(writer, open(Access::write));
  EXPECT_TRUE(writer->recovery().was_clean);
  EXPECT_EQ(writer->count().value(), 60u);
}

TEST_P(EveryStoreForked, GivenAReader_WhenAChildUsesIt_ThenItIsRefusedAndTheParentFollows) {
  ASSERT_OK_INTO(const Handle writer, open(Access::write));
  put_range(*writer, 1, 50);
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(Handle reader, open(Access::read));
  const auto before = state_of_files(path_);

  EXPECT_TRUE(succeeds_in_child([&] {
    EXPECT_THAT(reader->refresh(), FailsWith(Errc::invalid_argument, "forked child"));
    EXPECT_THAT(reader->close(), FailsWith(Errc::invalid_argument, "forked child"));
    reader.reset();
  }));

  EXPECT_EQ(state_of_files(path_), before);
  put_range(*writer, 51, 53);
  ASSERT_OK(writer->sync());
  ASSERT_OK(reader->refresh());
  EXPECT_EQ(reader->count().value(), 53u);
}

// The lock goes with the handle of the parent, and not with the copies.
TEST_P(EveryStoreForked, GivenAChildThatLives_WhenItsParentCloses_ThenTheStoreIsFree) {
  ASSERT_OK_INTO(Handle writer, open(Access::write));
  put_range(*writer, 1, 50);
  ChildProcess child([&](const auto& acknowledge) {
    acknowledge(1);
    ::pause();
  });
  ASSERT_TRUE(child.wait_for(1));

  ASSERT_OK(writer->close());

  ASSERT_OK_INTO(writer, open(Access::write));
  EXPECT_EQ(writer->count().value(), 50u);
}

TEST_P(EveryStoreForked, GivenAChild_WhenItOpensTheStoreItself_ThenItIsAWriterLikeAnyOther) {
  ASSERT_OK_INTO(Handle writer, open(Access::write));
  put_range(*writer, 1, 50);
  ASSERT_OK(writer->close());

  EXPECT_TRUE(succeeds_in_child([&] {
    ASSERT_OK_INTO(Handle own, open(Access::write));
    put_range(*own, 51, 60);
    EXPECT_TRUE(succeeds_in_child(
        [&] { EXPECT_THAT(own->sync(), FailsWith(Errc::invalid_argument, "forked child")); }));
    ASSERT_OK(own->close());
  }));

  ASSERT_OK_INTO(writer, open(Access::write));
  EXPECT_EQ(writer->count().value(), 60u);
}

using Retired = testkit::CountedRetired<std::atomic<uint64_t>>;

// What is found without a lock has locks of those who change it, and readers that may be in it.
TEST(ForkBesideThreads, GivenThreadsThatReadAndRetire_WhenForked_ThenTheChildIsNotHeldUpByThem) {
  std::atomic<bool> is_done = false;
  std::atomic<uint64_t> readers = 0;
  std::thread reader([&] {
    const ReadSection reading;
    ++readers;
    while (!is_done)
      std::this_thread::yield();
  });
  std::thread retiring([&] {
    std::atomic<uint64_t> destroyed = 0;
    while (!is_done) {
      Retired object(destroyed);
      ReadSection::retire(object);
      ReadSection::collect(&destroyed);
      ReadSection::drain(&destroyed);
    }
  });
  while (readers == 0)
    std::this_thread::yield();
  {
    const ReadSection reading;
  }  // so that a child has a session of its own, and takes no other's
  bool all_succeed = true;
  for (int child = 0; child < 100 && all_succeed; ++child) {
    all_succeed = succeeds_in_child([] {
      ::alarm(30);  // ends a child that waits for ever
      std::atomic<uint64_t> destroyed = 0;
      Retired object(destroyed);
      {
        const ReadSection reading;
      }
      ReadSection::retire(object);
      ReadSection::collect(&destroyed);
      EXPECT_EQ(destroyed, 1u);
    });
  }
  is_done = true;
  reader.join();
  retiring.join();
  EXPECT_TRUE(all_succeed);
}

}  // namespace
}  // namespace firn::processes
