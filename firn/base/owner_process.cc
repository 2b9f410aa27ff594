// SPDX-License-Identifier: Apache-2.0
#include "firn/base/owner_process.h"

#include <new>

#include <pthread.h>
#include <unistd.h>

#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn {

constinit std::atomic<uint64_t> OwnerProcess::forks_seen = 0;

OwnerProcess::OwnerProcess() : pid_(::getpid()) {
  static const bool registered = [] {
    const auto count = [] { forks_seen.fetch_add(1, std::memory_order_relaxed); };
    if (::pthread_atfork(nullptr, nullptr, count) != 0) throw std::bad_alloc();
    return true;
  }();
  CHECK(registered, "a failure throws");
  forks_ = forks_seen.load(std::memory_order_relaxed);
}

Status OwnerProcess::refuse() const {
  return fail(
      Errc::invalid_argument,
      concat("this handle belongs to process ", pid_, ", which opened it; process ", ::getpid(),
             " is a forked child of it and has only a copy, which must not be "
             "used: open the store after the fork, in one of them. Nothing was changed"));
}

}  // namespace firn
