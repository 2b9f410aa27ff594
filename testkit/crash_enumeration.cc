// SPDX-License-Identifier: Apache-2.0
//
// run_exhaustive and run_bounded_exhaustive. Both repeat a deterministic workload from its start
// for every crash point, survivor plan and interrupted recovery: a scenario cannot be copied, and
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

// What goes wrong between two recoveries, or before the first one.
struct Interruption {
  FaultPlan faults = {};                       // calls counted from its start
  std::optional<SurvivorPlan> survivors = {};  // nullopt: killed where the device allows that
};

// One history: a workload with faults, a crash, recoveries that meet faults, each with a crash
// behind it, and a recovery without faults.
struct Experiment {
  Interruption workload = {};
  std::vector<Interruption> recoveries = {};
};

struct Outcome {
  bool faulted = false;          // the workload met its faults
  bool recovery_faulted = true;  // so did every recovery
  size_t pending = 0;            // items at the end of the workload
};

class Laboratory {
 public:
  Laboratory(const ScenarioFactory& factory, const HarnessOptions& options, std::string_view mode)
      : factory_(factory), options_(options), mode_(mode) {}

  Outcome run(const Workload& workload, const Experiment& experiment) {
    Random config(options_.seed);
    CrashMachine machine(factory_(config), options_);
    const Outcome outcome = carry_out(machine, workload, experiment);
    result_.add(machine.result());
    if (machine.violated()) report(workload, experiment, *machine.violation());
    return outcome;
  }

  [[nodiscard]] bool violated() const { return result_.violation.has_value(); }
  [[nodiscard]] HarnessResult take_result() { return std::move(result_); }

 private:
  static Outcome carry_out(CrashMachine& machine, const Workload& workload,
                           const Experiment& experiment) {
    Outcome outcome;
    outcome.faulted = interrupt(machine, experiment.workload, [&] {
      workload(machine);
      outcome.pending = machine.disk().pending_items().size();
    });
    for (const Interruption& recovery : experiment.recoveries) {
      outcome.recovery_faulted &= interrupt(machine, recovery, [&] {
        // A recovery may do without the call that failed: what it serves then is right.
        if (machine.open()) machine.check("after recovery with a failed call");
      });
    }
    if (!machine.open_and_check()) return outcome;
    machine.cut_power(SurvivorPlan::none());
    machine.open_and_check();
    return outcome;
  }

  // True if `work` met the faults.
  static bool interrupt(CrashMachine& machine, const Interruption& interruption,
                        const std::function<void()>& work) {
    SimulatedFileSystem& disk = machine.disk();
    const uint64_t faults_before = disk.fault_count();
    FaultPlan faults = interruption.faults;
    for (CrashPoint& point : faults.crashes)
      point.call += disk.call_count();
    for (CallFailure& failure : faults.failures)
      failure.call += disk.call_count();
    disk.set_faults(std::move(faults));
    work();
    disk.clear_faults();
    if (interruption.survivors)
      machine.cut_power(*interruption.survivors);
    else
      machine.kill_if_possible();
    return disk.fault_count() > faults_before;
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

// Crashes recovery at each of its calls in turn: once before the call, and nothing pending
// survives, once behind it. With `nesting`, so it goes on in the recovery behind the former, with
// one crash for each call there.
void crash_recovery_everywhere(Laboratory& laboratory, const Workload& workload,
                               Experiment experiment, uint64_t nesting = 1) {
  const bool is_nested = !experiment.recoveries.empty();
  experiment.recoveries.emplace_back();
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    experiment.recoveries.back() = {
        .faults = {.crashes = {{call, CrashMoment::before}}},
        .survivors = is_nested ? SurvivorPlan::random(call) : SurvivorPlan::none()};
    if (!laboratory.run(workload, experiment).recovery_faulted) return;
    if (nesting > 1) crash_recovery_everywhere(laboratory, workload, experiment, nesting - 1);
    if (is_nested) continue;
    experiment.recoveries.back() = {.faults = {.crashes = {{call, CrashMoment::after}}},
                                    .survivors = SurvivorPlan::random(call)};
    laboratory.run(workload, experiment);
  }
}

void crash_everywhere(Laboratory& laboratory, const Workload& workload,
                      const HarnessOptions& options) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    for (const CrashMoment moment : {CrashMoment::before, CrashMoment::after}) {
      Experiment experiment{.workload = {.faults = {.crashes = {{call, moment}}}}};
      const Outcome killed = laboratory.run(workload, experiment);
      if (!killed.faulted || laboratory.violated()) return;
      crash_recovery_everywhere(laboratory, workload, experiment,
                                moment == CrashMoment::before ? options.nesting : 1);
      for (const SurvivorPlan& plan : chosen_plans(killed.pending, options.max_plans, call)) {
        if (laboratory.violated()) return;
        experiment.workload.survivors = plan;
        laboratory.run(workload, experiment);
      }
      for (const SurvivorPlan& plan : {SurvivorPlan::none(), SurvivorPlan::all()}) {
        experiment.workload.survivors = plan;
        crash_recovery_everywhere(laboratory, workload, experiment);
      }
    }
  }
}

// Fails each call of recovery in turn, as the workload's call failed.
void fail_recovery_everywhere(Laboratory& laboratory, const Workload& workload,
                              Experiment experiment) {
  CallFailure failure = experiment.workload.faults.failures.front();
  experiment.recoveries.emplace_back();
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    failure.call = call;
    experiment.recoveries.back() = {.faults = {.failures = {failure}, .seed = call}};
    if (failure.for_ever) experiment.recoveries.back().survivors = SurvivorPlan::random(call);
    if (!laboratory.run(workload, experiment).recovery_faulted) return;
  }
}

void fail_everywhere(Laboratory& laboratory, const Workload& workload) {
  for (uint64_t call = 1; !laboratory.violated(); ++call) {
    bool faulted = false;
    for (const Errc code : {Errc::io, Errc::no_space}) {
      for (const bool for_ever : {false, true}) {
        Experiment experiment{
            .workload = {.faults = {.failures = {{call, code, for_ever}}, .seed = call}}};
        if (!laboratory.run(workload, experiment).faulted) continue;
        faulted = true;
        // A bad call and a program that ends; a disk that stays full, and the power goes.
        if ((code == Errc::no_space) == for_ever)
          fail_recovery_everywhere(laboratory, workload, experiment);
        experiment.workload.survivors = SurvivorPlan::none();
        laboratory.run(workload, experiment);
        experiment.workload.survivors = SurvivorPlan::random(call);
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
      Experiment experiment{
          .workload = {.faults = {.crashes = {{call, moment}}, .count_reads = false}}};
      const Outcome killed = laboratory.run(workload, experiment);
      if (!killed.faulted) return;
      for (const SurvivorPlan& plan : survivor_plans(killed.pending, options.exhaustive_items)) {
        if (laboratory.violated()) return;
        experiment.workload.survivors = plan;
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
