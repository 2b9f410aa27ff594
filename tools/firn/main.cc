// SPDX-License-Identifier: Apache-2.0
//
// The command `firn`: parses, runs one verb, and turns its outcome into an exit code.
#include <csignal>
#include <exception>
#include <new>

#include "tools/firn/command_line.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/output.h"

namespace firn::command {
namespace {

Status run(const CommandLine& line, Output& output) {
  if (!line.help.empty()) {
    TRY(output.write(line.help));
    return output.flush();
  }
  return line.run(output);
}

Status run_guarded(const CommandLine& line, Output& output) {
  try {
    return run(line, output);
  } catch (const std::bad_alloc&) {
    return fail(Errc::io, "there is not enough memory; what was synced is there");
  } catch (const std::exception& exception) {
    // The libraries of this command throw, the library does not.
    return fail(Errc::io, exception.what());
  }
}

int run_command(int argument_count, char** arguments) {
  // A closed pipe and a file at its size limit are errors of a write, not the end of the process.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  CommandLine line;
  line.verb = "usage";
  Status outcome = parse_command_line(argument_count, arguments, line);
  Output output(line.json);
  if (outcome) outcome = run_guarded(line, output);
  if (outcome) return static_cast<int>(ExitCode::done);
  if (!output.has_reader()) {
    // The store is closed by now. Whoever stopped reading, as head does, wants no complaint.
    (void)std::signal(SIGPIPE, SIG_DFL);
    (void)std::raise(SIGPIPE);
  }
  output.failure(line.verb, outcome.error());
  return static_cast<int>(exit_code_of(outcome.error().code));
}

}  // namespace
}  // namespace firn::command

int main(int argument_count, char** arguments) {
  return firn::command::run_command(argument_count, arguments);
}
