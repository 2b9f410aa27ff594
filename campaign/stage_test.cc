// SPDX-License-Identifier: Apache-2.0
#include "campaign/stage.h"

#include <array>

#include <gtest/gtest.h>

namespace firn::campaign {
namespace {

struct NamedRow {
  std::string_view name;
};

constexpr std::array kRows = {NamedRow("bad"), NamedRow("good")};

TEST(Stage, GivenARowThatAlwaysFails_WhenRun_ThenItEndsAfterAFewAndTheOthersGoOn) {
  const StageArguments arguments{.cases = 100};
  Stage stage("test", arguments);
  uint64_t bad = 0;

  stage.run_in_turns(kRows, [&](const NamedRow& row, uint64_t seed) {
    if (row.name == "good") return stage.add_case("good");
    ++bad;
    stage.add_violation("bad", seed, "it always fails");
  });

  EXPECT_EQ(bad, 10u);
  EXPECT_FALSE(stage.wants_more("good"));
  EXPECT_EQ(stage.finish(), 1);
}

TEST(Stage, GivenADuration_WhenEveryRunFails_ThenItEndsBeforeThat) {
  const StageArguments arguments{.duration_seconds = 3600};
  Stage stage("test", arguments);

  stage.run_in_turns(kRows, [&](const NamedRow& row, uint64_t seed) {
    stage.add_case(std::string(row.name));
    stage.add_violation(std::string(row.name), seed, "it always fails");
  });

  EXPECT_EQ(stage.finish(), 1);
}

TEST(Stage, GivenRunsThatAreNoCases_WhenRun_ThenTheRowEndsAndThatIsAViolation) {
  const StageArguments arguments{.cases = 100};
  Stage stage("test", arguments);

  stage.run_in_turns(kRows, [&](const NamedRow& row, uint64_t) {
    if (row.name == "good") stage.add_case("good");
  });

  EXPECT_EQ(stage.finish(), 1);
}

TEST(Stage, GivenRunsWithoutViolations_WhenRun_ThenEachRowHasItsCases) {
  const StageArguments arguments{.cases = 100};
  Stage stage("test", arguments);
  uint64_t cases = 0;

  stage.run_in_turns(kRows, [&](const NamedRow& row, uint64_t) {
    ++cases;
    stage.add_case(std::string(row.name));
  });

  EXPECT_EQ(cases, 200u);
  EXPECT_EQ(stage.finish(), 0);
}

}  // namespace
}  // namespace firn::campaign
