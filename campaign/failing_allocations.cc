// SPDX-License-Identifier: Apache-2.0
#include "campaign/failing_allocations.h"

#include <cstdlib>
#include <new>

namespace {

void fail_if_it_is_the_one() {
  using namespace firn::campaign;
  if (allocations_left == 0) {
    ++allocations_failed;
    if (!allocations_fail_for_ever) allocations_left = -1;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
}

}  // namespace

void* operator new(size_t size) {
  fail_if_it_is_the_one();
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

// Buffers of a page and more, and what has a cache line of its own.
void* operator new(size_t size, std::align_val_t alignment) {
  fail_if_it_is_the_one();
  void* memory = nullptr;
  if (::posix_memalign(&memory, static_cast<size_t>(alignment), size) == 0) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
