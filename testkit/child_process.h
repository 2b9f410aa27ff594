// SPDX-License-Identifier: Apache-2.0
//
// ChildProcess: a fork of the test that does something and says how far it is, until it is killed.
//
//   ChildProcess child([&](const auto& acknowledge) { put(1); sync(); acknowledge(1); });
//   child.wait_for(1);   // false: it ended before
//   child.kill();        // SIGKILL
//
// Only in tests without threads: the child is a copy of the thread that forks.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firn/base/check.h"

namespace firn::testkit {

class ChildProcess {
 public:
  using Acknowledge = std::function<void(uint64_t)>;

  explicit ChildProcess(const std::function<void(const Acknowledge&)>& work) {
    int ends[2];
    CHECK(::pipe(ends) == 0, "a pipe can be made");
    pid_ = ::fork();
    CHECK(pid_ >= 0, "a process can be forked");
    if (pid_ == 0) {
      ::close(ends[0]);
      work([&](uint64_t number) {
        if (::write(ends[1], &number, sizeof number) != sizeof number) ::_exit(1);
      });
      ::_exit(0);
    }
    ::close(ends[1]);
    read_end_ = ends[0];
  }
  ~ChildProcess() {
    kill();
    ::close(read_end_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The highest number that was acknowledged until now.
  [[nodiscard]] uint64_t acknowledged() {
    pollfd waiting{.fd = read_end_, .events = POLLIN, .revents = 0};
    while (::poll(&waiting, 1, 0) == 1 && read_one()) {
    }
    return acknowledged_;
  }
  // Returns when `number` was acknowledged; false if the child ended before.
  [[nodiscard]] bool wait_for(uint64_t number) {
    while (acknowledged_ < number)
      if (!read_one()) return false;
    return true;
  }
  // Nothing of its memory survives, all that it has written does.
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  bool read_one() {
    uint64_t number = 0;
    if (::read(read_end_, &number, sizeof number) != sizeof number) return false;
    acknowledged_ = number;
    return true;
  }

  pid_t pid_ = 0;
  int read_end_ = -1;
  uint64_t acknowledged_ = 0;
};

}  // namespace firn::testkit
