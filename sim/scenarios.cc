// SPDX-License-Identifier: Apache-2.0
#include "sim/scenarios.h"

namespace firn::sim {

std::vector<testkit::SimScenario> all_scenarios() {
  return {
      {"file_storage", file_storage_scenario()},
  };
}

}  // namespace firn::sim
