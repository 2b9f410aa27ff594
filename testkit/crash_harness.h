// SPDX-License-Identifier: Apache-2.0
//
// Crash harness: cuts the power under a structure again and again, and asks its model whether what
// it recovered is legal. One Scenario per structure; the harness owns the device, the schedule and
// the faults.
//
//   HarnessResult result = run_random(make_journal_scenario, {.scenario = "journal", .seed = 1});
//   EXPECT_EQ(result.violation, std::nullopt);
//
//   run_random              long random lives: kills, power cuts, crashes inside recovery, full
//                           disks, failing calls, sectors that cannot be read while a recovery
//                           runs; the configuration too comes from the seed
//   run_exhaustive          one script, crashed and failed at every call, and for each of these its
//                           recovery at every call: crashed after a crash, failed after a failure
//   run_bounded_exhaustive  all workloads of a few operations x every crash point x every subset of
//                           what was pending, where there are few enough
//
// A violation is: check() says so; an open or step fails though no fault was injected since the
// last crash; recovering twice, or after an immediate power cut, or beside a sector that cannot be
// read for a while, gives another state than recovering once; a run does not repeat under its seed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/random.h"
#include "firn/base/result.h"
#include "firn/io/storage.h"
#include "testkit/simulated_file_system.h"

namespace firn::testkit {

// Rare states that the harness counts for the scenarios that name them in reached(), because the
// device knows of them or the harness itself.
namespace rare {
inline constexpr std::string_view kFileBack = "a power cut brings an unlinked file back";
inline constexpr std::string_view kGhostTaken = "a power cut takes what a failed sync left visible";
inline constexpr std::string_view kTornFile = "a crash leaves a part of a new file's header";
inline constexpr std::string_view kFullInRecovery = "the disk is full in recovery";
inline constexpr std::string_view kRecoveryRepeated = "a recovery that crashed is repeated";
}  // namespace rare

// A structure and its model. The model knows what was acknowledged (must survive), and what was
// issued (may survive). Draw sizes and options from the constructor's Random: bugs hide in them.
class Scenario {
 public:
  // Probes: what is rare, by name, and how often it was met.
  using Reached = std::map<std::string, uint64_t>;

  virtual ~Scenario() = default;

  // Opens the structure, or creates it: this is recovery. `storage` lives until after crash().
  [[nodiscard]] virtual Status open(Storage& storage) = 0;

  // One random operation. Tell the model before the call what is issued, and after its success what
  // is acknowledged. Returns the structure's failure; the harness knows whether it was to be
  // expected. Wrong answers during a run: remember them, and report them from check().
  [[nodiscard]] virtual Status step(Random& random) = 0;

  // After an open that succeeded, without faults: what is wrong with the recovered state, or
  // nullopt. From here on the recovered state is the acknowledged one, and nothing else is issued.
  [[nodiscard]] virtual std::optional<std::string> check() = 0;

  // Destroys the structure without closing it. Also after an open that failed.
  virtual void crash() = 0;

  // So that a run shows that it got to what it is for: at least one probe, all of them from the
  // beginning on, those of namespace rare with 0. `firn_sim` fails if one is never met.
  [[nodiscard]] virtual Reached reached() const = 0;

  // For run_bounded_exhaustive: the operations that workloads are made of.
  [[nodiscard]] virtual size_t alphabet_size() const { return 0; }
  [[nodiscard]] virtual Status perform(size_t operation) {
    (void)operation;
    return {};
  }
};

// Makes a fresh scenario; `config` decides its options.
using ScenarioFactory = std::function<std::unique_ptr<Scenario>(Random& config)>;

struct HarnessOptions {
  std::string scenario = "scenario";  // as messages and replay commands name it
  uint64_t seed = 1;
  uint64_t cuts = 1000;     // run_random: stops after the run that reaches this many crashes
  uint64_t steps = 12;      // run_exhaustive: operations of the script
  uint64_t max_plans = 16;  // run_exhaustive: survivor plans tried for each crash point
  uint64_t nesting = 1;  // run_exhaustive: recoveries in a row crashed at every call, behind a kill
  uint64_t max_operations = 2;          // run_bounded_exhaustive: length of the longest workload
  size_t exhaustive_items = 12;         // run_bounded_exhaustive: all subsets up to this many items
  SimulatedFileSystem::Lies lies = {};  // to see the scenario fail
  bool inject_errors = true;            // besides crashes: failing calls and full devices
};

struct HarnessResult {
  static constexpr size_t kDepths = 4;

  uint64_t runs = 0;
  uint64_t cuts = 0;    // kills and power cuts
  uint64_t faults = 0;  // calls that failed on purpose
  // How often a crash point was met inside recovery, inside the recovery after that, and so on; the
  // last one counts deeper ones, too.
  std::array<uint64_t, kDepths> recovery_cuts = {};
  Scenario::Reached reached = {};
  uint64_t trace_hash = 0;  // the sum over the runs: equal seeds and options give equal ones
  std::optional<std::string> violation = {};  // with the seed and the command that replays it

  void add(const HarnessResult& part);
};

// Run i uses the seed `seed + i`, so a violation's seed alone replays it. Every hundredth run is
// run twice, and the traces are compared.
[[nodiscard]] HarnessResult run_random(const ScenarioFactory& factory,
                                       const HarnessOptions& options);

[[nodiscard]] HarnessResult run_exhaustive(const ScenarioFactory& factory,
                                           const HarnessOptions& options);

[[nodiscard]] HarnessResult run_bounded_exhaustive(const ScenarioFactory& factory,
                                                   const HarnessOptions& options);

}  // namespace firn::testkit
