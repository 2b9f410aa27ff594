// SPDX-License-Identifier: Apache-2.0
//
// CommandLine: the arguments as a request. The only file that knows CLI11, which is slow to
// compile.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "tools/firn/verbs.h"

namespace firn::command {

struct CommandLine {
  // In the order of the alternatives' verbs in --help.
  using Request =
      std::variant<VersionRequest, ImportRequest, GetRequest, ListRequest, StatRequest, GapsRequest,
                   PruneRequest, ExportRequest, InfoRequest, VerifyRequest>;

  bool json = false;
  std::string verb;  // as messages name it: "import"
  Request request;
  std::string help;  // not empty: print this and do nothing
};

// Errc::invalid_argument, with the verb's usage in the message, for anything that is not
// understood. `json` and `verb` are set as far as they were understood even then.
[[nodiscard]] Status parse_command_line(int argument_count, char** arguments, CommandLine& parsed);

}  // namespace firn::command
