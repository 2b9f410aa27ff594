// SPDX-License-Identifier: Apache-2.0
//
// OwnerProcess: remembers the process that opened a handle, so that a forked child, which gets a
// copy of every handle and of every buffer in it, is refused: both would write the same bytes.
//
// fork() is noticed by a handler of pthread_atfork. A raw clone() and _Fork() run no handlers, and
// are not noticed. Threads: check() concurrently. Cost: one load.
#pragma once

#include <atomic>
#include <cstdint>

#include "firn/base/result.h"

namespace firn {

class OwnerProcess {
 public:
  OwnerProcess();  // this one

  [[nodiscard]] bool is_this() const {
    return forks_ == forks_seen.load(std::memory_order_relaxed);
  }
  // Errc::invalid_argument in a forked child; nothing was changed.
  [[nodiscard]] Status check() const { return is_this() ? Status() : refuse(); }

 private:
  [[nodiscard]] Status refuse() const;

  // The forks that lie between the first process and this one: no two of a line of processes have
  // the same number.
  static std::atomic<uint64_t> forks_seen;

  uint64_t forks_;
  int pid_;
};

}  // namespace firn
