// SPDX-License-Identifier: Apache-2.0
#include "testkit/sim_main.h"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testkit/canary_scenario.h"
#include "testkit/temporary_directory.h"

namespace firn::testkit {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// What sim_main prints about the scenario, from its trace on.
std::string printed_trace(const std::string& seed, const std::string& json) {
  std::vector<std::string> words = {"sim",    "--mode", "random", "--cuts", "300",
                                    "--seed", seed,     "--json", json};
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  ::testing::internal::CaptureStdout();
  const int exit_code = sim_main(static_cast<int>(arguments.size()), arguments.data(),
                                 {{"canary", canary_factory(CanaryBug::none)}});
  const std::string printed = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(exit_code, 0);
  return printed.substr(printed.rfind("trace "));
}

TEST(SimMain, GivenTheSameSeed_WhenRunTwice_ThenTheSameTraceIsPrintedAndReported) {
  const TemporaryDirectory directory;
  const std::string json = directory / "sim.json";

  const std::string first = printed_trace("5", json);
  const std::string again = printed_trace("5", json);
  std::ifstream file(json);
  const std::string report(std::istreambuf_iterator<char>(file), {});
  const std::string other = printed_trace("6", json);

  EXPECT_THAT(first, MatchesRegex("trace [0-9a-f]{16}\n"));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  EXPECT_THAT(report, HasSubstr("\"trace\":\"" + first.substr(6, 16) + '"'));
}

}  // namespace
}  // namespace firn::testkit
