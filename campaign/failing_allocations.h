// SPDX-License-Identifier: Apache-2.0
//
// A program that links this can make one of its allocations fail.
#pragma once

#include <cstdint>

namespace firn::campaign {

// Of this thread: how many allocations succeed before one throws std::bad_alloc; -1: none does, and
// so it is again afterwards.
inline thread_local int64_t allocations_left = -1;

}  // namespace firn::campaign
