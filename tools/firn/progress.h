// SPDX-License-Identifier: Apache-2.0
//
// Progress: one line on standard error with what is done, the rate and the time left. It appears
// when standard error is a terminal and the work has taken half a second; otherwise it is silent.
// One thread.
//
// ReadingProgress: the same for one call into the library that reads files and tells nobody how far
// it is: what the process has read meanwhile. It has a thread of its own, on a terminal only.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

namespace firn::command {

class Progress {
 public:
  // `total` 0: unknown, no time left is shown. `what` is "importing"; `unit` is what is counted,
  // in the plural; empty: bytes.
  Progress(std::string what, uint64_t total, std::string unit = {});
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(uint64_t amount);
  // Where the total turns up later.
  void expect(uint64_t total) { total_ = total; }
  // Where the work prints as it goes: silent if that goes to a terminal, and shows how far it is.
  void leave_room_for_output();
  // Removes the line. Called before anything else is printed.
  void finish();

  [[nodiscard]] double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  void show(Clock::time_point now);
  [[nodiscard]] std::string amount(uint64_t number) const;

  const std::string what_;
  const std::string unit_;
  uint64_t total_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_show_;
  uint64_t done_ = 0;
  bool on_terminal_ = false;
  bool with_escapes_ = false;
  bool shown_ = false;
};

class ReadingProgress {
 public:
  ReadingProgress(std::string what, uint64_t total_bytes);

 private:
  std::jthread thread_;  // ends with this object
};

}  // namespace firn::command
