// SPDX-License-Identifier: Apache-2.0
//
// firn salvage: what can be read of a damaged store, in a new one.
#pragma once

#include <string>

#include "firn/base/result.h"
#include "firn/io/salvage.h"
#include "tools/firn/output.h"
#include "tools/firn/store_access.h"

namespace firn::command {

struct SalvageRequest {
  StoreArguments store;  // the damaged one, which is only read
  std::string target;    // must not exist, or be empty
};
[[nodiscard]] Status run_salvage(const SalvageRequest& request, Output& output);

}  // namespace firn::command
