// SPDX-License-Identifier: Apache-2.0
#include "campaign/watchdog.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include <unistd.h>

namespace firn::campaign {
namespace {

constexpr unsigned kHangSeconds = 60;

// A handler may not allocate.
char now_running[256];

void on_crash(int signal_number) {
  constexpr std::string_view kText = "VIOLATION: a crash or a hang in ";
  (void)!::write(STDOUT_FILENO, kText.data(), kText.size());
  (void)!::write(STDOUT_FILENO, now_running, std::strlen(now_running));
  (void)!::write(STDOUT_FILENO, "\n", 1);
  std::signal(signal_number, SIG_DFL);
  (void)std::raise(signal_number);
}

}  // namespace

void install_watchdog() {
  for (const int signal_number : {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGABRT})
    std::signal(signal_number, on_crash);
}

void watch(std::string_view what) {
  const size_t size = std::min(what.size(), sizeof now_running - 1);
  std::memcpy(now_running, what.data(), size);
  now_running[size] = '\0';
  watch_on();
}

void watch_on() {
  ::alarm(kHangSeconds);
}

void watch_no_more() {
  ::alarm(0);
}

std::string_view watched() {
  return now_running;
}

}  // namespace firn::campaign
