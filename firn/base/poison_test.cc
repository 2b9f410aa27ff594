// SPDX-License-Identifier: Apache-2.0
//
// What a handle remembers of its failed mutations.
#include "firn/base/poison.h"

#include <new>

#include <gtest/gtest.h>

namespace firn {
namespace {

TEST(Poison, GivenASuccess_WhenChecked_ThenTheHandleIsHealthy) {
  Poison poison;

  EXPECT_TRUE(poison.watch(Status()).has_value());
  EXPECT_EQ(poison.watch(Result<int>(7)).value(), 7);

  EXPECT_TRUE(poison.check().has_value());
}

TEST(Poison, GivenTwoFailures_WhenChecked_ThenTheFirstIsTold) {
  Poison poison;

  EXPECT_EQ(poison.watch(Status(fail(Errc::io, "first"))).error().code, Errc::io);
  EXPECT_EQ(poison.watch(Status(fail(Errc::no_space, "second"))).error().code, Errc::no_space);

  const Status checked = poison.check();
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, Errc::poisoned);
  EXPECT_NE(checked.error().message.find("first"), std::string::npos);
}

// Half of what this handle had to do is done, although it was not the one that failed.
TEST(Poison, GivenALayerBelowThatIsPoisoned_WhenChecked_ThenTheHandleIsPoisonedToo) {
  Poison poison;

  EXPECT_EQ(poison.watch(Status(fail(Errc::poisoned, "below"))).error().code, Errc::poisoned);

  EXPECT_FALSE(poison.check().has_value());
}

TEST(Poison, GivenAMutationThatAnExceptionLeft_WhenChecked_ThenTheHandleIsPoisoned) {
  Poison poison;

  {
    const Poison::Guard guard(poison);
  }
  EXPECT_TRUE(poison.check().has_value());

  try {
    const Poison::Guard guard(poison);
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
    EXPECT_EQ(poison.check().error().code, Errc::poisoned);
  }
}

}  // namespace
}  // namespace firn
