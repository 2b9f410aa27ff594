// SPDX-License-Identifier: Apache-2.0
//
// Lives of a structure on a simulated device, as the input wants them: operations, failing calls,
// full disks, kills, power cuts with the survivors that the input names, crashes inside recovery.
// The scenarios are those of the simulation, and so are their models: what was acknowledged is
// there, and nothing that was not put.
//
// Each operation is drawn by a generator that two bytes of the input seed. So a changed byte
// changes one operation, and leaves the others as they are.
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/random.h"
#include "sim/scenarios.h"
#include "testkit/crash_machine.h"
#include "testkit/fault_plan.h"
#include "testkit/fuzz_input.h"
#include "testkit/survivors.h"

namespace {

using namespace firn;
using testkit::CallKind;
using testkit::CrashMachine;
using testkit::FaultPlan;
using testkit::SimulatedFileSystem;
using testkit::SurvivorPlan;

constexpr uint64_t kActionsMax = 200;
constexpr uint64_t kFailuresMax = 3;  // of one life; what then follows are refusals

SurvivorPlan survivors(testkit::FuzzInput& input, uint64_t pending) {
  switch (input.below(10)) {
    case 0: return SurvivorPlan::none();
    case 1: return SurvivorPlan::all();
    case 2: return SurvivorPlan::only(input.below(pending));
    case 3: return SurvivorPlan::all_but(input.below(pending));
    case 4: return SurvivorPlan::first(input.below(pending));
    case 5: return SurvivorPlan::all_after(input.below(pending));
    case 6: return SurvivorPlan::metadata_only();
    case 7: return SurvivorPlan::data_only();
    default: return SurvivorPlan::random(input.number(2));
  }
}

FaultPlan faults(testkit::FuzzInput& input, const SimulatedFileSystem& disk) {
  const uint64_t kind = input.number(1);
  FaultPlan plan{.count_reads = kind / 4 % 2 == 1, .seed = kind / 16};
  const Errc code = kind / 8 % 2 == 1 ? Errc::io : Errc::no_space;
  const uint64_t call = disk.call_count() + 1 + input.number(1);
  switch (kind % 4) {
    case 0: plan.crashes = {{.call = call}}; break;
    case 1: plan.failures = {{.call = call, .code = code, .for_ever = kind / 16 % 2 == 1}}; break;
    case 2: plan.capacity_bytes = disk.used_bytes() + input.number(2) % 4096; break;
    default: {
      const auto kinds = std::to_array({CallKind::open, CallKind::write, CallKind::sync,
                                        CallKind::sync_directory, CallKind::remove_file});
      plan.rates = {{.kind = kinds[input.below(kinds.size())],
                     .per_thousand = static_cast<uint32_t>(20 + input.number(1)),
                     .code = code}};
    }
  }
  return plan;
}

class Lives {
 public:
  Lives(CrashMachine& machine, testkit::FuzzInput& input) : machine_(machine), input_(input) {}

  void run() {
    for (uint64_t i = 0; i < kActionsMax && !input_.empty() && !machine_.violated(); ++i)
      act();
    // Recovered twice, it is the same.
    for (int i = 0; i < 2; ++i) {
      crash();
      recover();
    }
  }

 private:
  void act() {
    const uint64_t action = input_.number(1);
    if (action >= 64) return step();
    if (action >= 32) return machine_.disk().set_faults(faults(input_, machine_.disk()));
    if (action >= 8) return crash();
    machine_.disk().drop_ghosts(SimulatedFileSystem::Ghosts::pages);
  }

  void step() {
    if (!is_open_) return recover();
    Random random(input_.number(2));
    if (!machine_.step(random)) ++failures_;
    if (machine_.disk().is_down() || failures_ == kFailuresMax) crash();
  }

  // With the faults that are planned, and then without.
  void recover() {
    failures_ = 0;
    is_open_ = machine_.open();
    if (is_open_) return machine_.check("after recovery");
    crash();
    is_open_ = machine_.open_and_check();
  }

  void crash() {
    if (input_.below(3) == 0)
      machine_.kill_if_possible();
    else
      machine_.cut_power(survivors(input_, machine_.disk().pending_items().size()));
    machine_.disk().clear_faults();
    is_open_ = false;
  }

  CrashMachine& machine_;
  testkit::FuzzInput& input_;
  bool is_open_ = false;
  uint64_t failures_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  static const std::vector<testkit::SimScenario> scenarios = sim::all_scenarios();
  const testkit::SimScenario& scenario = scenarios[input.below(scenarios.size())];
  Random config(input.number(2));
  CrashMachine machine(scenario.factory(config), {.scenario = scenario.name});
  Lives(machine, input).run();
  if (machine.violated())
    std::cerr << scenario.name << ": " << *machine.violation() << '\n' << machine.history();
  CHECK(!machine.violated(), "what was acknowledged is there, and nothing that was not put");
  return 0;
}
