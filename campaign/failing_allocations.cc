// SPDX-License-Identifier: Apache-2.0
#include "campaign/failing_allocations.h"

#include <cstdlib>
#include <new>

void* operator new(size_t size) {
  using namespace firn::campaign;
  if (allocations_left == 0) {
    ++allocations_failed;
    if (!allocations_fail_for_ever) allocations_left = -1;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
