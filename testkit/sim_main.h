// SPDX-License-Identifier: Apache-2.0
//
// The command line of a simulation program: runs crash scenarios, prints a table, and exits with 1
// if any was violated. The program's main() is the list of its scenarios:
//
//   int main(int argc, char** argv) {
//     return firn::testkit::sim_main(argc, argv, {{"journal", make_journal_scenario}});
//   }
#pragma once

#include <string>
#include <vector>

#include "testkit/crash_harness.h"

namespace firn::testkit {

struct SimScenario {
  std::string name;
  ScenarioFactory factory;
  // Operations of the exhaustive script: its cost grows with the square of their I/O calls.
  uint64_t steps = 12;
};

// Flags: --help lists them.
[[nodiscard]] int sim_main(int argc, char** argv, const std::vector<SimScenario>& scenarios);

}  // namespace firn::testkit
