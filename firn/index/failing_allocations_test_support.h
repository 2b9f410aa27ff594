// SPDX-License-Identifier: Apache-2.0
//
// For tests of LocationIndex without memory: allocations that fail, those of operator new and those
// of the arena alike. They are a program of their own, as they replace operator new.
#pragma once

#include <cstdint>

#include "firn/base/check.h"
#include "firn/index/location_index_internals.h"

namespace firn {

struct Failing {
  int64_t succeed = -1;  // so many do before one fails; -1: all do
  bool for_good = false;
  uint64_t failed = 0;
};
inline Failing failing;

// Whether this allocation fails.
inline bool fails_now() {
  if (failing.succeed == 0) {
    ++failing.failed;
    if (!failing.for_good) failing.succeed = -1;
    return true;
  }
  if (failing.succeed > 0) --failing.succeed;
  return false;
}

// One thread waits for nobody, except for itself if it has left a lock behind.
struct LonelyPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static void pause(unsigned turn) { CHECK(turn < 10'000, "a lock stays held for ever"); }
  static bool may_allocate(size_t /*bytes*/) { return !fails_now(); }
};

struct CountingSink : SnapshotSink {
  Status write(ByteSpan bytes) override {
    size += bytes.size();
    return {};
  }
  uint64_t log_end() override { return 0; }
  uint64_t size = 0;
};

}  // namespace firn
