// SPDX-License-Identifier: Apache-2.0
//
// CHECK: an assertion that stays on in every build. It separates bugs from failures: a false CHECK
// means that the caller broke a documented contract or that firn broke one of its own invariants.
// It must be unreachable from any byte on disk and from any documented argument.
//
// CHECK(condition, "what must hold")   always on
// DCHECK(condition, "what must hold")  same, where it is too slow for release builds
// UNREACHABLE("why")                   a branch that cannot be taken
#pragma once

namespace firn {

struct CheckFailure {
  const char* file;
  int line;
  const char* condition;
  const char* message;
};

// Called on a failed check. It must not return; if it does, the process aborts.
using CheckFailureHandler = void (*)(const CheckFailure&);

// Replaces the handler (the default prints to stderr and aborts) and returns the previous one.
// Thread-safe. A null handler restores the default.
CheckFailureHandler set_check_failure_handler(CheckFailureHandler handler);

[[noreturn]] void report_check_failure(const CheckFailure& failure);

}  // namespace firn

#define CHECK(condition, message)                                                \
  do {                                                                           \
    if (!(condition)) [[unlikely]]                                               \
      ::firn::report_check_failure({__FILE__, __LINE__, #condition, (message)}); \
  } while (false)

#define UNREACHABLE(message) \
  ::firn::report_check_failure({__FILE__, __LINE__, "unreachable", (message)})

#if defined(FIRN_DCHECKS)
#define DCHECK(condition, message) CHECK(condition, message)
#else
#define DCHECK(condition, message) \
  do {                             \
    (void)sizeof(condition);       \
  } while (false)
#endif
