// SPDX-License-Identifier: Apache-2.0
#include "testkit/sim_main.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testkit/canary_scenario.h"
#include "testkit/temporary_directory.h"

namespace firn::testkit {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

struct Printed {
  int exit_code;
  std::string text;
};

Printed run_sim(std::vector<std::string> words, const std::vector<SimScenario>& scenarios) {
  words.insert(words.begin(), "sim");
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  ::testing::internal::CaptureStdout();
  const int exit_code = sim_main(static_cast<int>(arguments.size()), arguments.data(), scenarios);
  return {exit_code, ::testing::internal::GetCapturedStdout()};
}

// What sim_main prints about the scenario, from its trace on.
std::string printed_trace(const std::string& seed, const std::string& json) {
  const Printed printed =
      run_sim({"--mode", "random", "--cuts", "300", "--seed", seed, "--json", json},
              {{"canary", canary_factory(CanaryBug::none)}});
  EXPECT_EQ(printed.exit_code, 0);
  return printed.text.substr(printed.text.rfind("trace "));
}

// Makes blobs, and never meets what it says that it meets.
class BlindScenario final : public Scenario {
 public:
  explicit BlindScenario(Reached probes) : probes_(std::move(probes)) {}

  [[nodiscard]] Status open(Storage& storage) override {
    storage_ = &storage;
    return {};
  }
  [[nodiscard]] Status step(Random& random) override {
    const Bytes name = random.bytes(2);
    TRY(storage_->open("blobs", name, OpenMode::create));
    return {};
  }
  [[nodiscard]] std::optional<std::string> check() override { return std::nullopt; }
  void crash() override {}
  [[nodiscard]] Reached reached() const override { return probes_; }

 private:
  Reached probes_;
  Storage* storage_ = nullptr;
};

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

std::vector<SimScenario> blind_scenario(const Scenario::Reached& probes) {
  return {{"blind", [probes](Random&) { return std::make_unique<BlindScenario>(probes); }}};
}

TEST(SimMain, GivenManyCuts_WhenARareStateWasNeverMet_ThenItIsAViolation) {
  const std::vector<SimScenario> scenarios = blind_scenario({{"a blue moon", 0}});

  const Printed few = run_sim({"--mode", "random", "--cuts", "100"}, scenarios);
  const Printed many = run_sim({"--mode", "random", "--cuts", "20000"}, scenarios);

  EXPECT_EQ(few.exit_code, 0);
  EXPECT_EQ(many.exit_code, 1);
  EXPECT_THAT(many.text, HasSubstr("a blue moon: 0 VIOLATED: it is never met any more"));
}

TEST(SimMain, GivenAScenarioThatNamesNoRareState_WhenRun_ThenItIsAViolation) {
  const Printed printed = run_sim({"--mode", "random", "--cuts", "1"}, blind_scenario({}));

  EXPECT_EQ(printed.exit_code, 1);
  EXPECT_THAT(printed.text, HasSubstr("VIOLATED: the scenario names no rare state"));
}

}  // namespace
}  // namespace firn::testkit
