// SPDX-License-Identifier: Apache-2.0
//
// prefetch: starts to load a line of memory, which need not be there. GCC takes a function that
// does nothing but __builtin_prefetch for one without an effect, and drops the calls of it; so an
// empty asm statement says that there is one. It costs no instruction.
#pragma once

namespace firn {

inline void prefetch(const void* address) {
  __builtin_prefetch(address);
  asm volatile("");
}

inline void prefetch_to_write(const void* address) {
  __builtin_prefetch(address, 1);
  asm volatile("");
}

}  // namespace firn
