// SPDX-License-Identifier: Apache-2.0
//
// What the command's exit codes mean, and the only place where an Errc becomes one.
#pragma once

#include "firn/base/result.h"

namespace firn::command {

enum class ExitCode : int {
  done = 0,
  wrong_usage = 1,
  not_found = 2,
  corrupt = 3,
  locked = 4,
  io = 5,  // the device, the operating system, or no space
};

[[nodiscard]] constexpr ExitCode exit_code_of(Errc code) {
  switch (code) {
    case Errc::invalid_argument: return ExitCode::wrong_usage;
    case Errc::out_of_range:
    case Errc::pruned:
    case Errc::not_found: return ExitCode::not_found;
    case Errc::corrupt:
    case Errc::unsupported_version: return ExitCode::corrupt;
    case Errc::locked: return ExitCode::locked;
    case Errc::no_space:
    case Errc::io:
    case Errc::poisoned: return ExitCode::io;
  }
  return ExitCode::io;
}

}  // namespace firn::command
