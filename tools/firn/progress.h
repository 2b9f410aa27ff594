// SPDX-License-Identifier: Apache-2.0
//
// Progress: one line on standard error with what is done, the rate and the time left. It appears
// when standard error is a terminal and the work has taken half a second; otherwise it is silent.
// One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace firn::command {

class Progress {
 public:
  // `total_bytes` 0: unknown, no time left is shown. `what` is "importing".
  Progress(std::string what, uint64_t total_bytes);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(uint64_t bytes);
  // Removes the line. Called before anything else is printed.
  void finish();

  [[nodiscard]] double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  void show(Clock::time_point now);

  const std::string what_;
  const uint64_t total_bytes_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_show_;
  uint64_t done_bytes_ = 0;
  bool on_terminal_ = false;
  bool with_escapes_ = false;
  bool shown_ = false;
};

}  // namespace firn::command
