// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of Freezer; see freezer_sim.h.
#include "firn/freezer/freezer_sim.h"

#include <memory>

#include "sim/scenarios.h"

namespace firn::sim {

testkit::ScenarioFactory freezer_scenario() {
  return [](Random& config) { return std::make_unique<freezer::FreezerScenario>(config); };
}

}  // namespace firn::sim
