// SPDX-License-Identifier: Apache-2.0
//
// CommandLine: what the arguments ask for.
#pragma once

#include <string>

#include "tools/firn/verbs.h"

namespace firn::command {

struct CommandLine {
  bool json = false;
  std::string verb;  // as messages name it: "import"
  Verb run;
  std::string help;  // not empty: print this and do nothing
};

// Errc::invalid_argument, with the verb's usage in the message, for anything that is not
// understood. `json` and `verb` are set as far as they were understood even then.
[[nodiscard]] Status parse_command_line(int argument_count, char** arguments, CommandLine& parsed);

}  // namespace firn::command
