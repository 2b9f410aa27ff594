// SPDX-License-Identifier: Apache-2.0
//
// A program that links this can make its allocations fail, one or all from one on.
#pragma once

#include <cstdint>

namespace firn::campaign {

// Of this thread: how many allocations succeed before one throws std::bad_alloc; -1: none does, and
// so it is again afterwards, unless `allocations_fail_for_ever`.
inline thread_local int64_t allocations_left = -1;
inline thread_local bool allocations_fail_for_ever = false;
inline thread_local uint64_t allocations_failed = 0;

}  // namespace firn::campaign
