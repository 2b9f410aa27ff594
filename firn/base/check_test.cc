// SPDX-License-Identifier: Apache-2.0
#include "firn/base/check.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace firn {
namespace {

struct CaughtCheck {
  std::string file;
  int line;
  std::string condition;
  std::string message;
};

void throw_failure(const CheckFailure& failure) {
  throw CaughtCheck{failure.file, failure.line, failure.condition, failure.message};
}

void ignore_failure(const CheckFailure&) {}

class CheckTest : public testing::Test {
 protected:
  ~CheckTest() override { set_check_failure_handler(nullptr); }
};

using CheckDeathTest = CheckTest;

TEST_F(CheckTest, GivenAReplacedHandler_WhenACheckFails_ThenItGetsThePlaceAndTheWords) {
  set_check_failure_handler(&throw_failure);
  const int answer = 41;
  int line = 0;

  try {
    line = __LINE__ + 1;
    CHECK(answer == 42, "the answer is known");
    FAIL() << "the check passed";
  } catch (const CaughtCheck& caught) {
    EXPECT_THAT(caught.file, testing::EndsWith("check_test.cc"));
    EXPECT_EQ(caught.line, line);
    EXPECT_EQ(caught.condition, "answer == 42");
    EXPECT_EQ(caught.message, "the answer is known");
  }
}

TEST_F(CheckTest, GivenAReplacedHandler_WhenUnreachableIsReached_ThenItIsCalled) {
  set_check_failure_handler(&throw_failure);

  EXPECT_THROW(UNREACHABLE("no such branch"), CaughtCheck);
}

TEST_F(CheckTest, GivenATrueCondition_WhenChecked_ThenItIsEvaluatedOnceAndNothingHappens) {
  set_check_failure_handler(&throw_failure);
  int evaluations = 0;

  CHECK(++evaluations == 1, "counted once");

  EXPECT_EQ(evaluations, 1);
}

TEST_F(CheckTest, GivenHandlers_WhenReplaced_ThenThePreviousOneIsReturned) {
  set_check_failure_handler(&throw_failure);

  EXPECT_EQ(set_check_failure_handler(&ignore_failure), &throw_failure);
  EXPECT_EQ(set_check_failure_handler(nullptr), &ignore_failure);
}

TEST_F(CheckDeathTest, GivenTheDefaultHandler_WhenACheckFails_ThenTheProcessPrintsItAndAborts) {
  EXPECT_DEATH(CHECK(1 + 1 == 3, "sums are right"),
               "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3 \\(sums are right\\)");
}

TEST_F(CheckDeathTest, GivenAHandlerThatReturns_WhenACheckFails_ThenTheProcessAbortsAllTheSame) {
  set_check_failure_handler(&ignore_failure);

  EXPECT_DEATH(CHECK(false, "never"), "");
}

}  // namespace
}  // namespace firn
