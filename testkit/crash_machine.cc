// SPDX-License-Identifier: Apache-2.0
#include "testkit/crash_machine.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "firn/base/text.h"

namespace firn::testkit {

void CrashMachine::violate(std::string text) {
  if (!violation_) violation_ = std::move(text);
}

void CrashMachine::stop() {
  if (storage_ == nullptr) return;
  scenario_->crash();
  storage_.reset();
}

bool CrashMachine::open() {
  if (violated()) return false;
  storage_ = std::make_unique<FileStorage>(disk_);
  faults_at_open_ = disk_.fault_count();
  const uint64_t full_before = disk_.rare_events().full_calls;
  const Status opened = scenario_->open(*storage_);
  if (cuts_ > 0 && disk_.rare_events().full_calls > full_before) ++recoveries_full_;
  if (!opened && disk_.fault_count() == faults_at_open_)
    violate(concat("open fails without a fault: ", errc_name(opened.error().code), ": ",
                   opened.error().message));
  if (disk_.is_down()) {
    if (cuts_ == 0) return false;  // nothing was there to recover
    ++recovery_cuts_[std::min(depth_, recovery_cuts_.size() - 1)];
    ++depth_;
    return false;
  }
  if (opened && std::exchange(depth_, 0) > 0) ++recoveries_repeated_;
  return opened.has_value();
}

bool CrashMachine::open_and_check() {
  disk_.clear_faults();
  if (!open()) return false;
  check("after recovery");
  return !violated();
}

void CrashMachine::check(std::string_view moment) {
  if (violated()) return;
  disk_.clear_faults();
  if (auto problem = scenario_->check()) violate(concat(moment, ": ", *problem));
}

bool CrashMachine::judge_step(const Status& outcome) {
  if (outcome) return !disk_.is_down();
  if (disk_.fault_count() == faults_at_open_)
    violate(concat("an operation fails without a fault: ", errc_name(outcome.error().code), ": ",
                   outcome.error().message));
  return false;
}

Scenario::Reached CrashMachine::reached() const {
  const SimulatedFileSystem::RareEvents events = disk_.rare_events();
  Scenario::Reached all = scenario_->reached();
  const auto add = [&all](std::string_view what, uint64_t count) {
    if (const auto probe = all.find(std::string(what)); probe != all.end()) probe->second += count;
  };
  add(rare::kFileBack, events.files_back);
  add(rare::kGhostTaken, events.ghosts_taken);
  add(rare::kTornFile, events.torn_files);
  add(rare::kFullInRecovery, recoveries_full_);
  add(rare::kRecoveryRepeated, recoveries_repeated_);
  return all;
}

HarnessResult CrashMachine::result() const {
  uint64_t state = disk_.trace_hash();
  return {.runs = 1,
          .cuts = cuts_,
          .faults = disk_.fault_count(),
          .recovery_cuts = recovery_cuts_,
          .reached = reached(),
          .trace_hash = split_mix64(state)};
}

void CrashMachine::kill() {
  if (violated()) return;
  ++cuts_;
  history_ += concat("  kill in call ", disk_.call_count(), "\n");
  stop();
  disk_.drop_ghosts(SimulatedFileSystem::Ghosts::pages_and_lengths);
  disk_.kill();
}

void CrashMachine::cut_power(const SurvivorPlan& survivors) {
  if (violated()) return;
  ++cuts_;
  history_ +=
      concat("  power cut in call ", disk_.call_count(), ", survivors: ", survivors.description(),
             " of ", disk_.pending_items().size(), " items\n");
  stop();
  disk_.cut_power(survivors);
}

void CrashMachine::kill_if_possible() {
  if (disk_.has_ghost_entries())
    cut_power(SurvivorPlan::none());
  else
    kill();
}

std::string describe_violation(CrashMachine& machine, std::string_view what,
                               const HarnessOptions& options, uint64_t seed,
                               std::string_view mode) {
  constexpr size_t kOperationsShown = 60;
  std::string text = concat("VIOLATION in ", options.scenario, ": ", what, "\nSEED=", seed,
                            " CRASH_CALL=", machine.disk().call_count(), "\n", machine.history());
  const std::vector<Operation> operations = machine.disk().operations();
  const size_t skipped =
      operations.size() > kOperationsShown ? operations.size() - kOperationsShown : 0;
  if (!operations.empty()) text += concat("last calls, ", skipped, " left out:\n");
  for (size_t i = skipped; i < operations.size(); ++i)
    text += concat("  ", describe(operations[i]), "\n");
  text +=
      concat("replay: firn_sim --scenario ", options.scenario, " --mode ", mode, " --seed ", seed);
  if (mode == "random") text += " --cuts 1";
  return text + "\n";
}

}  // namespace firn::testkit
