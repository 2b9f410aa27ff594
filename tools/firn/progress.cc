// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/progress.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "firn/base/mutex.h"
#include "tools/firn/human.h"

namespace firn::command {
namespace {

constexpr auto kFirstAfter = std::chrono::milliseconds(500);
constexpr auto kEvery = std::chrono::milliseconds(100);

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

size_t terminal_width() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

// Bytes that this process has read from files; 0 if the system does not tell.
uint64_t bytes_read() {
  std::ifstream counters("/proc/self/io");
  std::string name;
  uint64_t number = 0;
  while (counters >> name >> number)
    if (name == "rchar:") return number;
  return 0;
}

void show_reading(const std::stop_token& end, std::string what, uint64_t total_bytes) {
  Mutex mutex;
  std::condition_variable_any ended;
  Progress progress(std::move(what), total_bytes);
  uint64_t seen = bytes_read();
  const MutexLock lock(mutex);
  while (!ended.wait_for(mutex, end, kEvery, [&] { return end.stop_requested(); })) {
    const uint64_t now = bytes_read();
    progress.add(now - seen);
    seen = now;
  }
}

}  // namespace

ReadingProgress::ReadingProgress(std::string what, uint64_t total_bytes) {
  if (::isatty(STDERR_FILENO) == 1)
    thread_ = std::jthread(show_reading, std::move(what), total_bytes);
}

Progress::Progress(std::string what, uint64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      next_show_(begin_ + kFirstAfter) {
  const std::string_view terminal = environment("TERM");
  on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  with_escapes_ = environment("NO_COLOR").empty() && !terminal.empty() && terminal != "dumb";
}

void Progress::leave_room_for_output() {
  on_terminal_ = on_terminal_ && ::isatty(STDOUT_FILENO) == 0;
}

void Progress::add(uint64_t amount) {
  done_ += amount;
  if (!on_terminal_) return;
  if (const auto now = Clock::now(); now >= next_show_) show(now);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begin_).count();
}

std::string Progress::amount(uint64_t number) const {
  return unit_.empty() ? human_bytes(static_cast<double>(number))
                       : human_count(number, unit_, unit_);
}

void Progress::show(Clock::time_point now) {
  next_show_ = now + kEvery;
  shown_ = true;
  const double elapsed = std::chrono::duration<double>(now - begin_).count();
  const auto done = static_cast<double>(done_);
  const auto total = static_cast<double>(total_);
  const double rate = done / elapsed;
  std::string line = fmt::format("{} {}", what_, amount(done_));
  if (total_ > 0)
    line += fmt::format(" of {} ({:.0f} %)", amount(total_), 100 * std::min(1.0, done / total));
  line += fmt::format(", {}/s", amount(static_cast<uint64_t>(rate)));
  if (total > done && rate > 0)
    line += fmt::format(", {} left", human_seconds((total - done) / rate));
  const size_t width = terminal_width() - 1;
  if (line.size() > width) line.resize(width);
  if (with_escapes_)
    fmt::print(stderr, "\r\x1b[2K\x1b[36m{}\x1b[0m", line);
  else
    fmt::print(stderr, "\r{:<{}}", line, width);
  std::fflush(stderr);
}

void Progress::finish() {
  if (!shown_) return;
  shown_ = false;
  if (with_escapes_)
    fmt::print(stderr, "\r\x1b[2K");
  else
    fmt::print(stderr, "\r{:<{}}\r", "", terminal_width() - 1);
  std::fflush(stderr);
}

}  // namespace firn::command
