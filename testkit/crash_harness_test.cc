// SPDX-License-Identifier: Apache-2.0
//
// The harness is itself under test here: a correct toy must pass, and every bug put into it, or
// into the device below it, must be found.
#include "testkit/crash_harness.h"

#include <gtest/gtest.h>

#include "testkit/canary_scenario.h"
#include "testkit/matchers.h"

namespace firn::testkit {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

TEST(CrashHarness, GivenACorrectLog_WhenCrashedAtRandom_ThenNothingIsViolated) {
  const HarnessResult result =
      run_random(canary_factory(CanaryBug::none), {.scenario = "canary", .cuts = 20'000});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_GE(result.cuts, 20'000u);
  EXPECT_GT(result.faults, 1000u);
}

TEST(CrashHarness, GivenProbesOfTheHarness_WhenCrashedAtRandom_ThenEachIsCounted) {
  const HarnessResult result =
      run_random(canary_factory(CanaryBug::none), {.scenario = "canary", .cuts = 20'000});

  for (const std::string_view probe :
       {rare::kGhostTaken, rare::kTornFile, rare::kFullInRecovery, rare::kRecoveryRepeated})
    EXPECT_GT(result.reached.at(std::string(probe)), 0u) << probe;
  EXPECT_FALSE(result.reached.contains(std::string(rare::kFileBack))) << "it removes no file";
  EXPECT_LE(result.reached.at(std::string(rare::kRecoveryRepeated)), result.recovery_cuts[0]);
}

TEST(CrashHarness, GivenACorrectLog_WhenCrashedAtEveryCall_ThenNothingIsViolated) {
  const HarnessResult result =
      run_exhaustive(canary_factory(CanaryBug::none), {.scenario = "canary", .steps = 4});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_GT(result.runs, 1000u);
}

TEST(CrashHarness, GivenACorrectLog_WhenAllSmallWorkloadsAreTried_ThenNothingIsViolated) {
  const HarnessResult result =
      run_bounded_exhaustive(canary_factory(CanaryBug::none), {.scenario = "canary"});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_GT(result.runs, 500u);
}

TEST(CrashHarness, GivenThreeRecoveriesInARow_WhenEachIsCrashedAtEveryCall_ThenNothingIsViolated) {
  const HarnessResult result = run_exhaustive(
      canary_factory(CanaryBug::none),
      {.scenario = "canary", .steps = 1, .max_plans = 1, .nesting = 3, .inject_errors = false});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_GT(result.recovery_cuts[2], 1000u);
  EXPECT_EQ(result.recovery_cuts[3], 0u);
}

TEST(CrashHarness, GivenRandomLives_WhenCrashed_ThenRecoveriesCrashFourInARow) {
  const HarnessResult result =
      run_random(canary_factory(CanaryBug::none), {.scenario = "canary", .cuts = 5000});

  EXPECT_GT(result.recovery_cuts[0], result.recovery_cuts[1]);
  EXPECT_GT(result.recovery_cuts[1], result.recovery_cuts[2]);
  EXPECT_GT(result.recovery_cuts[2], result.recovery_cuts[3]);
  EXPECT_GT(result.recovery_cuts[3], 10u);
}

// Neither the script nor crashes of its recovery find this one, and random lives seldom do.
TEST(CrashHarness, GivenARecoveryThatIgnoresAFailure_WhenItFailsAtEveryCall_ThenItIsFound) {
  const ScenarioFactory buggy = canary_factory(CanaryBug::ignored_failure);
  HarnessOptions options{.scenario = "canary", .seed = 3, .steps = 4, .inject_errors = false};

  EXPECT_EQ(run_exhaustive(buggy, options).violation, std::nullopt);
  options.inject_errors = true;
  EXPECT_THAT(run_exhaustive(buggy, options).violation, Optional(HasSubstr("SEED=3")));
}

TEST(CrashHarness, GivenARecoveryThatCutsWhatItCannotRead_WhenSectorsAreBad_ThenItIsFound) {
  const HarnessResult result =
      run_random(canary_factory(CanaryBug::unreadable_is_torn),
                 {.scenario = "canary", .cuts = 20'000, .inject_errors = false});

  EXPECT_THAT(result.violation, Optional(HasSubstr("bad sector")));
}

class CrashHarnessCanary : public ::testing::TestWithParam<CanaryBug> {};

TEST_P(CrashHarnessCanary, GivenABug_WhenCrashedAtRandom_ThenItIsFoundAndItsSeedReplaysIt) {
  const ScenarioFactory buggy = canary_factory(GetParam());

  const HarnessResult found = run_random(buggy, {.scenario = "canary", .cuts = 20'000});

  ASSERT_TRUE(found.violation.has_value());
  EXPECT_THAT(*found.violation, HasSubstr("SEED="));
  EXPECT_THAT(*found.violation, HasSubstr("last calls"));
  EXPECT_THAT(*found.violation, HasSubstr("firn_sim --scenario canary"));
  const uint64_t seed = found.runs;  // the first run has seed 1
  EXPECT_THAT(*found.violation, HasSubstr("SEED=" + std::to_string(seed) + " "));
  const HarnessResult replayed = run_random(buggy, {.scenario = "canary", .seed = seed, .cuts = 1});
  EXPECT_EQ(replayed.violation, found.violation);
}

TEST_P(CrashHarnessCanary, GivenABug_WhenCrashedAtEveryCall_ThenItIsFound) {
  const HarnessResult found =
      run_exhaustive(canary_factory(GetParam()), {.scenario = "canary", .seed = 3, .steps = 4});

  EXPECT_THAT(found.violation, Optional(HasSubstr("SEED=3")));
}

INSTANTIATE_TEST_SUITE_P(AllBugs, CrashHarnessCanary,
                         ::testing::Values(CanaryBug::no_value_sync, CanaryBug::index_synced_first,
                                           CanaryBug::no_index_sync, CanaryBug::unsynced_adoption,
                                           CanaryBug::unsynced_cut, CanaryBug::unreadable_is_torn));

TEST(CrashHarness, GivenADeviceThatLosesSyncs_WhenCrashedAtRandom_ThenItIsFound) {
  const HarnessResult files =
      run_random(canary_factory(CanaryBug::none),
                 {.scenario = "canary", .cuts = 2000, .lies = {.file_syncs = true}});
  const HarnessResult directories =
      run_random(canary_factory(CanaryBug::none),
                 {.scenario = "canary", .cuts = 2000, .lies = {.directory_syncs = true}});

  EXPECT_TRUE(files.violation.has_value());
  EXPECT_TRUE(directories.violation.has_value());
}

TEST(CrashHarness, GivenABug_WhenSmallWorkloadsAreTried_ThenItIsFound) {
  const HarnessResult found =
      run_bounded_exhaustive(canary_factory(CanaryBug::no_value_sync), {.scenario = "canary"});

  EXPECT_TRUE(found.violation.has_value());
}

TEST(CrashHarness, GivenTheSameSeed_WhenRunTwice_ThenTheTraceHashesAreEqual) {
  const auto run = [](uint64_t seed) {
    return run_random(canary_factory(CanaryBug::none), {.seed = seed, .cuts = 500}).trace_hash;
  };

  const uint64_t first = run(5);

  EXPECT_EQ(first, run(5));
  EXPECT_NE(first, run(6));
}

// Answers at random which no seed determines.
class Unrepeatable final : public Scenario {
 public:
  [[nodiscard]] Status open(Storage& storage) override {
    static uint64_t openings = 0;
    TRY_INTO(const auto blob,
             storage.open("toy", as_bytes(std::to_string(++openings)), OpenMode::create));
    return {};
  }
  [[nodiscard]] Status step(Random&) override { return {}; }
  [[nodiscard]] std::optional<std::string> check() override { return std::nullopt; }
  void crash() override {}
  [[nodiscard]] Reached reached() const override { return {}; }
};

TEST(CrashHarness, GivenAScenarioThatDoesNotRepeat_WhenRun_ThenTheHarnessSaysSo) {
  const HarnessResult result =
      run_random([](Random&) { return std::make_unique<Unrepeatable>(); }, {.cuts = 2000});

  EXPECT_THAT(result.violation, Optional(HasSubstr("two different traces")));
}

}  // namespace
}  // namespace firn::testkit
