// SPDX-License-Identifier: Apache-2.0
//
// The list of all crash scenarios. A structure adds one: x_sim.cc beside x.cc, named under SIMS in
// its folder's CMakeLists.txt, defines a function that is declared here and called in scenarios.cc.
#pragma once

#include <vector>

#include "testkit/crash_harness.h"
#include "testkit/sim_main.h"

namespace firn::sim {

[[nodiscard]] testkit::ScenarioFactory archive_scenario();
[[nodiscard]] testkit::ScenarioFactory file_storage_scenario();
[[nodiscard]] testkit::ScenarioFactory fixed_journal_scenario();
[[nodiscard]] testkit::ScenarioFactory freezer_scenario();
[[nodiscard]] testkit::ScenarioFactory indexed_value_log_scenario();
[[nodiscard]] testkit::ScenarioFactory manifest_scenario();
[[nodiscard]] testkit::ScenarioFactory metadata_store_scenario();
[[nodiscard]] testkit::ScenarioFactory value_log_scenario();

[[nodiscard]] std::vector<testkit::SimScenario> all_scenarios();

}  // namespace firn::sim
