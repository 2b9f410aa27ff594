// SPDX-License-Identifier: Apache-2.0
#include "campaign/failing_allocations.h"

#include <cstdlib>
#include <new>

void* operator new(size_t size) {
  int64_t& left = firn::campaign::allocations_left;
  if (left >= 0 && left-- == 0) throw std::bad_alloc();
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
