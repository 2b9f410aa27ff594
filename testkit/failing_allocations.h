// SPDX-License-Identifier: Apache-2.0
//
// A program that links firn_failing_allocations can make its allocations fail, one or all from one
// on: those of operator new, and those of malloc and its relatives, whoever calls them: the
// library, zstd, the system's own library. Mappings of memory are for a SystemCallHook.
#pragma once

#include <cstdint>
#include <utility>

namespace firn::testkit {

// Of this thread: how many allocations succeed before one fails; -1: none does, and so it is again
// afterwards, unless `allocations_fail_for_ever`.
inline constinit thread_local int64_t allocations_left = -1;
inline constinit thread_local bool allocations_fail_for_ever = false;
inline constinit thread_local uint64_t allocations_failed = 0;

// While one of these lives, none fails.
class UnfailingAllocations {
 public:
  UnfailingAllocations() : left_(std::exchange(allocations_left, -1)) {}
  ~UnfailingAllocations() { allocations_left = left_; }
  UnfailingAllocations(const UnfailingAllocations&) = delete;
  UnfailingAllocations& operator=(const UnfailingAllocations&) = delete;

 private:
  const int64_t left_;
};

// Counts an allocation. True: it must fail.
[[nodiscard]] bool allocation_fails();

}  // namespace firn::testkit
