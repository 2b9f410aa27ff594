// SPDX-License-Identifier: Apache-2.0
//
// Runs a program and interrupts it: after a time, or exactly at its n-th system call that changes
// something. What an interruption does is the caller's: it kills the program, or cuts the power
// under it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "firn/base/result.h"

namespace firn::campaign {

// The most that a program can be given on its standard input: it is in the pipe before it starts.
inline constexpr size_t kInputMaxBytes = size_t{960} * 1024;

struct Interruption {
  enum class When : uint8_t {
    never,
    after_time,   // `moment` microseconds after the start
    before_call,  // when the `moment`-th call that changes something is about to be made
    after_call,   // when it has been made
    before_sync,  // when the `moment`-th fsync or fdatasync is about to be made
  };
  When when = When::never;
  uint64_t moment = 0;
  // At calls the program is stopped meanwhile.
  std::function<void(pid_t)> act;
  // Ends the program when the call that `act` came before returns, so that it learns nothing.
  bool kills_afterwards = false;
  // Told the descriptor of the file that gets the output, before the program starts.
  std::function<void(int)> watch;
};

struct Outcome {
  std::optional<int> exit_code;  // none: ended by a signal
  bool interrupted = false;      // the interruption came before the end
  uint64_t calls = 0;            // that change something; counted only if a call interrupts
  std::string output;            // up to its last newline: what the program said before it ended
  std::string errors;
};

// Requires: `input` has at most kInputMaxBytes.
[[nodiscard]] Result<Outcome> run_program(const std::vector<std::string>& command,
                                          const std::string& input,
                                          const Interruption& interruption = {});

// Kills whatever it is given.
void kill_process(pid_t process);

}  // namespace firn::campaign
