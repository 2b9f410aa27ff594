// SPDX-License-Identifier: Apache-2.0
//
// Poison: remembers the first failed mutation of a handle. From then on its mutations fail with
// Errc::poisoned and that first error; reads of durable data go on; only reopening recovers.
// The reason is fsync: after it failed once, the kernel may report success for data it dropped.
// In a forked child they are refused, too: see OwnerProcess.
#pragma once

#include <atomic>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "firn/base/mutex.h"
#include "firn/base/owner_process.h"
#include "firn/base/result.h"
#include "firn/base/text.h"

namespace firn {

class Poison {
 public:
  // Errc::poisoned if a mutation failed before; Errc::invalid_argument in a forked child.
  [[nodiscard]] Status check() const {
    if (!owner_.is_this()) return owner_.check();
    if (!failed_.load()) return {};
    MutexLock lock(mutex_);
    return fail(Errc::poisoned,
                concat("an earlier write failed, reopen the store to recover: ", first_error_));
  }

  // Passes the outcome of a mutation through, remembering it if it failed. Errors that changed
  // nothing (a wrong argument) are not mutations: do not pass them here. A layer below that was
  // poisoned before, by another handle or a read, is a first failure here.
  template <class T>
  [[nodiscard]] Result<T> watch(Result<T> outcome) {
    if (!outcome) remember(outcome.error().message);
    return outcome;
  }

  // While it lives: a mutation that an exception leaves has failed half-way. The library throws
  // none but std::bad_alloc.
  class Guard {
   public:
    explicit Guard(Poison& poison) : poison_(poison) {}
    ~Guard() {
      if (std::uncaught_exceptions() == exceptions_) return;
      poison_.remember("an exception");  // so short that it takes no memory
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Poison& poison_;
    const int exceptions_ = std::uncaught_exceptions();
  };

 private:
  void remember(std::string_view error) {
    MutexLock lock(mutex_);
    if (failed_.exchange(true)) return;
    first_error_ = error;
  }

  const OwnerProcess owner_;
  std::atomic<bool> failed_ = false;  // every change asks: without a lock
  mutable Mutex mutex_;
  std::string first_error_ GUARDED_BY(mutex_);
};

}  // namespace firn
