// SPDX-License-Identifier: Apache-2.0
//
// Crash scenario of PrunableArchive; see archive_sim.h.
#include "firn/archive/archive_sim.h"

#include <memory>

#include "sim/scenarios.h"

namespace firn::sim {

testkit::ScenarioFactory archive_scenario() {
  return [](Random& config) { return std::make_unique<archive::ArchiveScenario>(config); };
}

}  // namespace firn::sim
