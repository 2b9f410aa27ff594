// SPDX-License-Identifier: Apache-2.0
#include "firn/base/per_thread.h"

#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace firn {
namespace {

struct Counted {
  Counted() {
    if (throws) throw std::bad_alloc();
    ++made;
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { ++destroyed; }

  static inline bool throws = false;
  static inline int made = 0;
  static inline int destroyed = 0;
};

Counted& first_object() {
  thread_local constinit PerThread<Counted> object;
  return object.get();
}
Counted& second_object() {
  thread_local constinit PerThread<Counted> object;
  return object.get();
}

class PerThreadTest : public testing::Test {
 protected:
  PerThreadTest() { Counted::made = Counted::destroyed = 0; }
};

TEST_F(PerThreadTest, GivenThreads_WhenTheyUseIt_ThenEachHasItsOwnUntilItEnds) {
  Counted* mine = nullptr;
  std::thread([&] {
    mine = &first_object();
    EXPECT_EQ(&first_object(), mine);
    EXPECT_NE(&second_object(), mine);
    std::thread([&] { EXPECT_NE(&first_object(), mine); }).join();
    EXPECT_EQ(Counted::made, 3);
    EXPECT_EQ(Counted::destroyed, 1);
  }).join();

  EXPECT_EQ(Counted::destroyed, 3);
}

TEST_F(PerThreadTest, GivenAThreadThatDoesNotUseIt_WhenItEnds_ThenNothingWasMade) {
  std::thread([] {}).join();

  EXPECT_EQ(Counted::made, 0);
}

TEST_F(PerThreadTest, GivenNoMemory_WhenItIsUsed_ThenItThrowsAndTheNextUseMakesIt) {
  std::thread([] {
    Counted::throws = true;
    EXPECT_THROW(static_cast<void>(first_object()), std::bad_alloc);
    Counted::throws = false;
    static_cast<void>(first_object());
  }).join();

  EXPECT_EQ(Counted::made, 1);
  EXPECT_EQ(Counted::destroyed, 1);
}

}  // namespace
}  // namespace firn
