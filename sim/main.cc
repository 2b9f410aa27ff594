// SPDX-License-Identifier: Apache-2.0
#include "sim/scenarios.h"

int main(int argc, char** argv) {
  return firn::testkit::sim_main(argc, argv, firn::sim::all_scenarios());
}
