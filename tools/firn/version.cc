// SPDX-License-Identifier: Apache-2.0
//
// firn version: what this program is, for bug reports.
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "tools/firn/verbs.h"

namespace firn::command {

Status run_version(const VersionRequest&, Output& output) {
  nlohmann::ordered_json object = {{"version", FIRN_VERSION}};
  return output.result(std::move(object), fmt::format("firn {}\n", FIRN_VERSION), {});
}

}  // namespace firn::command
