// SPDX-License-Identifier: Apache-2.0
//
// Poison: remembers the first failed mutation of a handle. From then on its mutations fail with
// Errc::poisoned and that first error; reads of durable data go on; only reopening recovers.
// The reason is fsync: after it failed once, the kernel may report success for data it dropped.
#pragma once

#include <string>
#include <utility>

#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/base/text.h"

namespace firn {

class Poison {
 public:
  // Errc::poisoned if a mutation failed before.
  [[nodiscard]] Status check() const {
    MutexLock lock(mutex_);
    if (first_error_.empty()) return {};
    return fail(Errc::poisoned,
                concat("an earlier write failed, reopen the store to recover: ", first_error_));
  }

  // Passes the outcome of a mutation through, remembering it if it failed. Errors that changed
  // nothing (a wrong argument) are not mutations: do not pass them here. A layer below that was
  // poisoned before, by another handle or a read, is a first failure here.
  template <class T>
  [[nodiscard]] Result<T> watch(Result<T> outcome) {
    if (!outcome) {
      MutexLock lock(mutex_);
      if (first_error_.empty()) first_error_ = outcome.error().message;
    }
    return outcome;
  }

 private:
  mutable Mutex mutex_;
  std::string first_error_ GUARDED_BY(mutex_);
};

}  // namespace firn
