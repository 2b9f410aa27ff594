// SPDX-License-Identifier: Apache-2.0
//
// A short run of every scenario, and proof that each can fail: on a device whose syncs settle
// nothing it must report a violation. `make sim` runs them for longer.
#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/scenarios.h"

namespace firn::testkit {

// Its bytes, which gtest prints otherwise, are addresses.
static void PrintTo(const SimScenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

}  // namespace firn::testkit

namespace firn::sim {
namespace {

using testkit::HarnessResult;
using testkit::SimScenario;

class Scenarios : public ::testing::TestWithParam<SimScenario> {};

// What is rare in a life must not be so rare that nobody notices when it is never met.
TEST_P(Scenarios, GivenRandomCrashes_WhenRecovered_ThenNothingIsViolatedAndEachRareStateWasMet) {
  const HarnessResult result = testkit::run_random(
      GetParam().factory, {.scenario = GetParam().name, .seed = 1'000'000, .cuts = 10'000});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_FALSE(result.reached.empty());
  for (const auto& [what, count] : result.reached)
    EXPECT_GT(count, 0) << what;
}

TEST_P(Scenarios, GivenACrashAtEveryCall_WhenRecovered_ThenNothingIsViolated) {
  // Each step of a freezer makes many calls.
  const uint64_t steps = GetParam().name == "freezer" ? 1 : 2;
  const HarnessResult result = testkit::run_exhaustive(
      GetParam().factory, {.scenario = GetParam().name, .steps = steps, .max_plans = 1});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
}

// Whatever is drawn at random, in whatever order things are visited.
TEST_P(Scenarios, GivenOneSeed_WhenRunTwice_ThenAllCallsAreTheSame) {
  const testkit::HarnessOptions options = {
      .scenario = GetParam().name, .seed = 2'000'000, .cuts = 2000, .max_operations = 1};
  for (const auto run : {testkit::run_random, testkit::run_bounded_exhaustive}) {
    const HarnessResult first = run(GetParam().factory, options);
    const HarnessResult second = run(GetParam().factory, options);

    EXPECT_EQ(first.violation, std::nullopt) << *first.violation;
    EXPECT_GT(first.cuts, 0);
    EXPECT_EQ(first.trace_hash, second.trace_hash);
  }
}

TEST_P(Scenarios, GivenSyncsThatSettleNothing_WhenCrashed_ThenTheScenarioNotices) {
  const HarnessResult files = testkit::run_random(
      GetParam().factory,
      {.scenario = GetParam().name, .cuts = 2000, .lies = {.file_syncs = true}});
  const HarnessResult directories = testkit::run_random(
      GetParam().factory,
      {.scenario = GetParam().name, .cuts = 2000, .lies = {.directory_syncs = true}});

  EXPECT_TRUE(files.violation.has_value());
  EXPECT_TRUE(directories.violation.has_value());
}

INSTANTIATE_TEST_SUITE_P(All, Scenarios, ::testing::ValuesIn(all_scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

}  // namespace
}  // namespace firn::sim
