// SPDX-License-Identifier: Apache-2.0
#include "campaign/watchdog.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include <sys/time.h>
#include <unistd.h>

namespace firn::campaign {
namespace {

constexpr time_t kSpinSeconds = 60;         // of a processor: a loop without an end
constexpr unsigned kWaitSeconds = 60 * 60;  // on the wall: threads that wait for each other

void count_processor_time(time_t seconds) {
  const itimerval timer = {.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
  (void)::setitimer(ITIMER_PROF, &timer, nullptr);
}

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
  for (const int signal_number : {SIGALRM, SIGPROF, SIGSEGV, SIGBUS, SIGFPE, SIGABRT})
    std::signal(signal_number, on_crash);
}

void watch(std::string_view what) {
  const size_t size = std::min(what.size(), sizeof now_running - 1);
  std::memcpy(now_running, what.data(), size);
  now_running[size] = '\0';
  watch_on();
}

void watch_on() {
  ::alarm(kWaitSeconds);
  count_processor_time(kSpinSeconds);
}

void watch_no_more() {
  ::alarm(0);
  count_processor_time(0);
}

std::string_view watched() {
  return now_running;
}

}  // namespace firn::campaign
