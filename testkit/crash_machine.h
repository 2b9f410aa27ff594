// SPDX-License-Identifier: Apache-2.0
//
// CrashMachine: one simulated device, one scenario on it, and the judgement of what both say. The
// harness's strategies are sequences of its verbs. After a violation the verbs do nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/random.h"
#include "firn/base/text.h"
#include "firn/io/file_storage.h"
#include "testkit/crash_harness.h"
#include "testkit/fault_plan.h"
#include "testkit/simulated_file_system.h"
#include "testkit/survivors.h"

namespace firn::testkit {

class CrashMachine {
 public:
  CrashMachine(std::unique_ptr<Scenario> scenario, const HarnessOptions& options)
      : scenario_(std::move(scenario)) {
    disk_.set_lies(options.lies);
  }
  ~CrashMachine() { stop(); }
  CrashMachine(const CrashMachine&) = delete;
  CrashMachine& operator=(const CrashMachine&) = delete;

  // True if the structure is open. A failure without a fault is a violation.
  bool open();
  // Opens without faults and checks the model; true if both are fine.
  bool open_and_check();
  // Without faults; leaves none planned.
  void check(std::string_view moment);
  // True if the operation succeeded. A failure without a fault since the open is a violation.
  bool step(Random& random) { return judge_step(scenario_->step(random)); }
  bool perform(size_t operation) { return judge_step(scenario_->perform(operation)); }

  void kill();
  void cut_power(const SurvivorPlan& survivors);
  // A kill where the device allows one, otherwise a power cut that loses what was not synced.
  void kill_if_possible();

  // No crash was there yet.
  [[nodiscard]] bool is_new() const { return cuts_ == 0; }

  // Puts a line into the history.
  void note(std::string_view what) { history_ += concat("  ", what, "\n"); }

  [[nodiscard]] SimulatedFileSystem& disk() { return disk_; }
  [[nodiscard]] bool violated() const { return violation_.has_value(); }
  [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }
  // Of this run so far, without the violation.
  [[nodiscard]] HarnessResult result() const;
  // What happened so far, for the report: "power cut in call 12 (only item 3)".
  [[nodiscard]] const std::string& history() const { return history_; }

 private:
  bool judge_step(const Status& outcome);
  [[nodiscard]] Scenario::Reached reached() const;
  void stop();
  void violate(std::string text);

  SimulatedFileSystem disk_;
  std::unique_ptr<FileStorage> storage_;
  std::unique_ptr<Scenario> scenario_;
  uint64_t faults_at_open_ = 0;
  uint64_t cuts_ = 0;
  size_t depth_ = 0;  // recoveries that crashed since the last one that ended
  std::array<uint64_t, HarnessResult::kDepths> recovery_cuts_ = {};
  uint64_t recoveries_repeated_ = 0;
  uint64_t recoveries_full_ = 0;
  std::string history_;
  std::optional<std::string> violation_;
};

// The report of a violation: what, the history, the last operations, and how to replay it.
[[nodiscard]] std::string describe_violation(CrashMachine& machine, std::string_view what,
                                             const HarnessOptions& options, uint64_t seed,
                                             std::string_view mode);

}  // namespace firn::testkit
