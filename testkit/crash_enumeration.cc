// SPDX-License-Identifier: Apache-2.0
//
// run_exhaustive and run_bounded_exhaustive. Both repeat a deterministic workload from its start
// for every crash point, survivor plan and second crash point: a scenario cannot be copied, and
// small workloads run in microseconds.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "testkit/crash_harness.h"
#include "testkit/crash_machine.h"

namespace firn::testkit {
namespace {

// Opens and works, until done or down.
using Workload = std::function<void(CrashMachine&)>;

// One history: a workload with faults, a crash, maybe a crash in recovery, recovery.
struct Experiment {
  FaultPlan faults = {};
  std::optional<SurvivorPlan> survivors = {};     // nullopt: killed where the device allows that
  std::optional<CrashPoint> recovery_crash = {};  // call counted from the start of recovery
  SurvivorPlan recovery_survivors = SurvivorPlan::none();
};

struct Outcome {
  bool faulted = false;           // the workload met its faults
  bool recovery_crashed = false;  // recovery was long enough for its crash point
  size_t pending = 0;             // items at the end of the workload
};

class Laboratory {
 public:
  Laboratory(const ScenarioFactory& factory, const HarnessOptions& options, std::string_view mode)
      : factory_(factory), options_(options), mode_(mode) {}

  Outcome run(const Workload& workload, const Experiment& experiment) {
    Random config(options_.seed);
    CrashMachine machine(factory_(config), options_);
    const Outcome outcome = carry_out(machine, workload, experiment);
    ++result_.runs;
    result_.cuts += machine.cuts();
    result_.faults += machine.disk().fault_count();
    uint64_t state = result_.trace_hash ^ machine.disk().trace_hash();
    result_.trace_hash = split_mix64(state);
    if (machine.violated()) report(workload, experiment, *machine.violation());
    return outcome;
  }

  [[nodiscard]] bool violated() const { return result_.violation.has_value(); }
  [[nodiscard]] HarnessResult take_result() { return std::move(result_); }

 private:
  static Outcome carry_out(CrashMachine& machine, const Workload& workload,
                           const Experiment& experiment) {
    Outcome outcome;
    SimulatedFileSystem& disk = machine.disk();
    disk.set_faults(experiment.faults);
    workload(machine);
    outcome.faulted = disk.fault_count() > 0;
    outcome.pending = disk.pending_items().size();
    disk.clear_faults();
    crash(machine, experiment.survivors);
    if (experiment.recovery_crash) {
      CrashPoint point = *experiment.recovery_crash;
      point.call += disk.call_count();
      disk.set_faults({.crashes = {point}});
      machine.open();
      outcome.recovery_crashed = disk.is_down();
      machine.cut_power(experiment.recovery_survivors);
    }
    if (!machine.open_and_check()) return outcome;
    machine.cut_power(SurvivorPlan::none());
    machine.open_and_check();
    return outcome;
  }

  static void crash(CrashMachine& machine, const std::optional<SurvivorPlan>& survivors) {
    if (survivors)
      machine.cut_power(*survivors);
    else
      machine.kill_if_possible();
  }

  void report(const Workload& workload, const Experiment& experiment, std::string_view what) {
    Random config(options_.seed);
    CrashMachine machine(factory_(config), options_);
    machine.disk().record_operations(true);
    carry_out(machine, workload, experiment);
    result_.violation = describe_violation(machine, what, options_, options_.seed, mode_);
  }

  const ScenarioFactory& factory_;
  const HarnessOptions& options_;
  std::string_view mode_;
  HarnessResult result_;
};

// At most `max_plans` of them, spread evenly, plus some that tear sectors.
std::vector<SurvivorPlan> chosen_plans(size_t pending, uint64_t max_plans, uint64_t seed) {
  std::vector<SurvivorPlan> plans = few_survivor_plans(pending);
  if (pending == 0) return plans;
  const std::vector<SurvivorPlan> all = survivor_plans(pending, 4);
  const uint64_t wanted = max_plans > plans.size() ? max_plans - plans.size() : 0;
  const uint64_t stride = std::max<uint64_t>(1, all.size() / std::max<uint64_t>(1, wanted / 2));
  for (size_t i = 0; i < all.size() && plans.size() < max_plans; i += stride)
    plans.push_back(all[i]);
  while (plans.size() < max_plans)
    plans.push_back(SurvivorPlan::random(seed++));
  return plans;
}

// Crashes recovery at each of its calls in turn.
void crash_recovery_everywhere(Laboratory& laboratory, const Workload& workload,
                               Experiment experiment) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    experiment.recovery_crash = CrashPoint{call, CrashMoment::before};
    experiment.recovery_survivors = SurvivorPlan::none();
    if (!laboratory.run(workload, experiment).recovery_crashed) return;
    experiment.recovery_crash->moment = CrashMoment::after;
    experiment.recovery_survivors = SurvivorPlan::random(call);
    laboratory.run(workload, experiment);
  }
}

void crash_everywhere(Laboratory& laboratory, const Workload& workload,
                      const HarnessOptions& options) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    for (const CrashMoment moment : {CrashMoment::before, CrashMoment::after}) {
      Experiment experiment{.faults = {.crashes = {{call, moment}}}};
      const Outcome killed = laboratory.run(workload, experiment);
      if (!killed.faulted || laboratory.violated()) return;
      crash_recovery_everywhere(laboratory, workload, experiment);
      for (const SurvivorPlan& plan : chosen_plans(killed.pending, options.max_plans, call)) {
        if (laboratory.violated()) return;
        experiment.survivors = plan;
        laboratory.run(workload, experiment);
      }
      for (const SurvivorPlan& plan : {SurvivorPlan::none(), SurvivorPlan::all()}) {
        experiment.survivors = plan;
        crash_recovery_everywhere(laboratory, workload, experiment);
      }
    }
  }
}

void fail_everywhere(Laboratory& laboratory, const Workload& workload) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    bool faulted = false;
    for (const Errc code : {Errc::io, Errc::no_space}) {
      for (const bool for_ever : {false, true}) {
        Experiment experiment{.faults = {.failures = {{call, code, for_ever}}, .seed = call}};
        faulted |= laboratory.run(workload, experiment).faulted;
        experiment.survivors = SurvivorPlan::none();
        laboratory.run(workload, experiment);
        experiment.survivors = SurvivorPlan::random(call);
        laboratory.run(workload, experiment);
      }
    }
    if (!faulted) return;
  }
}

void try_all_crashes(Laboratory& laboratory, const Workload& workload,
                     const HarnessOptions& options) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    for (const CrashMoment moment : {CrashMoment::before, CrashMoment::after}) {
      Experiment experiment{.faults = {.crashes = {{call, moment}}, .count_reads = false}};
      const Outcome killed = laboratory.run(workload, experiment);
      if (!killed.faulted) return;
      for (const SurvivorPlan& plan : survivor_plans(killed.pending, options.exhaustive_items)) {
        if (laboratory.violated()) return;
        experiment.survivors = plan;
        laboratory.run(workload, experiment);
      }
    }
  }
}

}  // namespace

HarnessResult run_exhaustive(const ScenarioFactory& factory, const HarnessOptions& options) {
  Laboratory laboratory(factory, options, "exhaustive");
  const Workload script = [&options](CrashMachine& machine) {
    Random random(options.seed);
    if (!machine.open()) return;
    for (uint64_t i = 0; i < options.steps; ++i) {
      machine.step(random);
      if (machine.violated() || machine.disk().is_down()) return;
    }
  };
  crash_everywhere(laboratory, script, options);
  if (options.inject_errors) fail_everywhere(laboratory, script);
  return laboratory.take_result();
}

HarnessResult run_bounded_exhaustive(const ScenarioFactory& factory,
                                     const HarnessOptions& options) {
  Laboratory laboratory(factory, options, "bounded");
  Random config(options.seed);
  const size_t alphabet = factory(config)->alphabet_size();
  for (uint64_t length = 1; length <= options.max_operations; ++length) {
    // Counts through all words of this length, the last letter fastest.
    std::vector<size_t> word(length, 0);
    for (bool more = alphabet > 0; more && !laboratory.violated();) {
      const Workload workload = [&word](CrashMachine& machine) {
        if (!machine.open()) return;
        for (const size_t operation : word) {
          machine.perform(operation);
          if (machine.violated() || machine.disk().is_down()) return;
        }
      };
      try_all_crashes(laboratory, workload, options);
      size_t letter = length;
      while (letter > 0 && ++word[letter - 1] == alphabet)
        word[--letter] = 0;
      more = letter > 0;
    }
  }
  return laboratory.take_result();
}

}  // namespace firn::testkit
