// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: one short life, crashed and failed at every I/O call, and its recovery at every
// call after that. Random lives are in archive_sim.cc.
#include <array>
#include <memory>

#include <gtest/gtest.h>

#include "firn/archive/archive_sim.h"
#include "testkit/crash_harness.h"

namespace firn {
namespace {

// put, put_multi, sync, put, prune, close and reopen
constexpr std::array<size_t, 6> kScript = {0, 1, 2, 0, 3, 4};

class ScriptedArchive final : public archive::ArchiveScenario {
 public:
  using ArchiveScenario::ArchiveScenario;

  [[nodiscard]] Status step(Random&) override { return perform(kScript[next_++ % kScript.size()]); }

 private:
  size_t next_ = 0;
};

TEST(PrunableArchiveCrash, GivenACrashOrFailureAtEveryCall_WhenRecovered_ThenNothingSyncedIsLost) {
  const testkit::ScenarioFactory factory = [](Random& config) {
    return std::make_unique<ScriptedArchive>(config);
  };

  const testkit::HarnessResult result = testkit::run_exhaustive(
      factory, {.scenario = "archive script", .steps = kScript.size(), .max_plans = 2});

  EXPECT_EQ(result.violation, std::nullopt) << *result.violation;
  EXPECT_GT(result.cuts, 1000);
}

}  // namespace
}  // namespace firn
