// SPDX-License-Identifier: Apache-2.0
#include "sim/scenarios.h"

namespace firn::sim {

std::vector<testkit::SimScenario> all_scenarios() {
  return {
      {"archive", archive_scenario()},
      {"file_storage", file_storage_scenario()},
      {"fixed_journal", fixed_journal_scenario()},
      {"freezer", freezer_scenario(), 2},
      {"indexed_value_log", indexed_value_log_scenario()},
      {"manifest", manifest_scenario()},
      {"metadata_store", metadata_store_scenario()},
      {"value_log", value_log_scenario()},
  };
}

}  // namespace firn::sim
