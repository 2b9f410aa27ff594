// SPDX-License-Identifier: Apache-2.0
//
// How the verbs of 'firn freezer', and info and verify, open a freezer.
#pragma once

#include <memory>

#include "firn/base/result.h"
#include "firn/freezer/freezer.h"
#include "tools/firn/store_access.h"

namespace firn::command {

inline constexpr const char* kFreezerKind = "freezer";

struct OpenedFreezer {
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Freezer> freezer;
};

// Errors: not_found (no freezer there), invalid_argument (what the user said contradicts the
// store), locked, corrupt, io, no_space. `rebuild`: the table on disk is made anew.
[[nodiscard]] Result<OpenedFreezer> open_freezer(const StoreArguments& arguments, Access access,
                                                 bool rebuild = false);

}  // namespace firn::command
