// SPDX-License-Identifier: Apache-2.0
//
// run_random. The enumerations are in crash_enumeration.cc.
#include "testkit/crash_harness.h"

#include <algorithm>
#include <array>
#include <utility>

#include "firn/base/text.h"
#include "testkit/crash_machine.h"

namespace firn::testkit {
namespace {

// The independent streams that one seed gives: changing how one is used leaves the others as they
// are.
struct Streams {
  explicit Streams(uint64_t seed)
      : config(split_mix64(seed)),
        workload(split_mix64(seed)),
        schedule(split_mix64(seed)),
        faults(split_mix64(seed)) {}

  Random config;
  Random workload;
  Random schedule;
  Random faults;
};

class RandomRun {
 public:
  RandomRun(const ScenarioFactory& factory, const HarnessOptions& options, uint64_t seed,
            bool record)
      : streams_(seed),
        inject_errors_(options.inject_errors),
        machine_(factory(streams_.config), options) {
    if (record) machine_.disk().record_operations(true);
  }

  void run() {
    const uint64_t lives = streams_.schedule.between(3, 8);
    for (uint64_t life = 0; life < lives && !machine_.violated(); ++life) {
      recover();
      work();
      crash();
    }
    machine_.open_and_check();
  }

  CrashMachine& machine() { return machine_; }

 private:
  // Opens, crashing in recovery up to four times on the way.
  void recover() {
    Random& schedule = streams_.schedule;
    for (uint64_t depth = 0; depth < 4 && schedule.one_in(2); ++depth) {
      // A store that is made takes more calls than one that is opened.
      FaultPlan plan = crash_plan(machine_.is_new() ? 16 : 8);
      if (inject_errors_ && schedule.one_in(4)) plan = error_plan(12);
      machine_.disk().set_faults(std::move(plan));
      if (machine_.open()) {
        machine_.check("after recovery");
        crash();
        continue;
      }
      if (machine_.violated()) return;
      crash();
    }
    if (!machine_.open_and_check() || !schedule.one_in(4)) return;
    // Recovery has made durable what it serves, so neither crash may change anything: check()
    // accepts nothing but the state that it saw.
    if (schedule.one_in(2))
      machine_.kill_if_possible();
    else
      machine_.cut_power(any_survivors());
    if (machine_.open_and_check() && schedule.one_in(4)) recover_beside_a_bad_sector();
  }

  // What recovery cannot read for a while is neither damaged nor absent: whatever it did, all is
  // there when the sector reads again.
  void recover_beside_a_bad_sector() {
    SimulatedFileSystem& disk = machine_.disk();
    const auto files = disk.raw_files();
    if (files.empty()) return;
    const auto& [directory, name] = files[streams_.faults.below(files.size())];
    const uint64_t size = disk.read_raw(directory, name).size();
    const uint64_t offset = streams_.faults.below(size / kSectorSizeBytes + 1) * kSectorSizeBytes;
    machine_.kill_if_possible();
    disk.make_unreadable(directory, name, offset, kSectorSizeBytes);
    machine_.note(concat("bad sector at ", offset, " of ", directory, "/", name));
    machine_.open();
    crash();
    if (disk.has_raw(directory, name)) disk.make_readable(directory, name);
    machine_.open_and_check();
  }

  void work() {
    Random& schedule = streams_.schedule;
    if (machine_.violated()) return;
    FaultPlan plan;
    const uint64_t mood = schedule.below(8);
    if (mood < 5)
      plan = crash_plan(schedule.one_in(2) ? 20 : 120);
    else if (mood < 7 && inject_errors_)
      plan = error_plan(40);
    machine_.disk().set_faults(std::move(plan));
    const uint64_t steps = schedule.between(1, schedule.one_in(4) ? 60 : 15);
    uint64_t failures = 0;
    for (uint64_t i = 0; i < steps && failures < 3; ++i) {
      if (!machine_.step(streams_.workload)) ++failures;
      if (machine_.violated() || machine_.disk().is_down()) break;
      if (failures > 0 && schedule.one_in(2))
        machine_.disk().drop_ghosts(SimulatedFileSystem::Ghosts::pages);
    }
  }

  void crash() {
    if (machine_.violated()) return;
    if (streams_.schedule.one_in(3))
      machine_.kill_if_possible();
    else
      machine_.cut_power(any_survivors());
    machine_.disk().clear_faults();
  }

  SurvivorPlan any_survivors() { return SurvivorPlan::random(streams_.faults.next()); }

  FaultPlan crash_plan(uint64_t range) {
    const uint64_t call = machine_.disk().call_count() + streams_.schedule.between(1, range);
    return {.crashes = {{.call = call}},
            .count_reads = streams_.schedule.one_in(4),
            .seed = streams_.faults.next()};
  }

  FaultPlan error_plan(uint64_t range) {
    Random& faults = streams_.faults;
    FaultPlan plan{.count_reads = faults.one_in(4), .seed = faults.next()};
    const Errc code = faults.one_in(2) ? Errc::io : Errc::no_space;
    switch (faults.below(4)) {
      case 0: plan.capacity_bytes = machine_.disk().used_bytes() + faults.below(4096); break;
      case 1: {
        constexpr std::array kKinds = {CallKind::write, CallKind::sync, CallKind::sync_directory,
                                       CallKind::open, CallKind::remove_file};
        plan.rates = {{.kind = kKinds[faults.below(kKinds.size())],
                       .per_thousand = static_cast<uint32_t>(faults.between(20, 300)),
                       .code = code}};
        break;
      }
      default:
        plan.failures = {{.call = machine_.disk().call_count() + faults.between(1, range),
                          .code = code,
                          .for_ever = faults.one_in(3)}};
    }
    return plan;
  }

  Streams streams_;
  bool inject_errors_;
  CrashMachine machine_;
};

// Runs a seed that violated something once more, now with the calls on record.
std::string report(const ScenarioFactory& factory, const HarnessOptions& options, uint64_t seed,
                   const std::string& what) {
  RandomRun again(factory, options, seed, true);
  again.run();
  const bool repeats = again.machine().violation() == what;
  return describe_violation(again.machine(),
                            repeats ? what : concat(what, " (another outcome when run again)"),
                            options, seed, "random");
}

}  // namespace

void HarnessResult::add(const HarnessResult& part) {
  runs += part.runs;
  cuts += part.cuts;
  faults += part.faults;
  for (size_t depth = 0; depth < recovery_cuts.size(); ++depth)
    recovery_cuts[depth] += part.recovery_cuts[depth];
  for (const auto& [what, count] : part.reached)
    reached[what] += count;
  trace_hash += part.trace_hash;
  if (!violation) violation = part.violation;
}

HarnessResult run_random(const ScenarioFactory& factory, const HarnessOptions& options) {
  HarnessResult result;
  for (uint64_t seed = options.seed; result.cuts < options.cuts; ++seed) {
    RandomRun run(factory, options, seed, false);
    run.run();
    result.add(run.machine().result());
    std::optional<std::string> problem = run.machine().violation();
    if (!problem && result.runs % 100 == 0) {
      RandomRun twin(factory, options, seed, false);
      twin.run();
      if (twin.machine().disk().trace_hash() != run.machine().disk().trace_hash())
        problem = "the same seed gives two different traces";
    }
    if (!problem) continue;
    result.violation = report(factory, options, seed, *problem);
    break;
  }
  return result;
}

}  // namespace firn::testkit
