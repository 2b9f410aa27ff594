// SPDX-License-Identifier: Apache-2.0
#include "testkit/failing_allocations.h"

#include <cerrno>
#include <cstdlib>
#include <new>

#include <dlfcn.h>

namespace {

using firn::testkit::allocation_fails;

// Of the system, or of a sanitizer before it.
template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

void* allocate(size_t size) {
  static auto* const system = next<void*(size_t)>("malloc");
  return system(size);
}

int allocate_aligned(void** memory, size_t alignment, size_t size) {
  static auto* const system = next<int(void**, size_t, size_t)>("posix_memalign");
  return system(memory, alignment, size);
}

void* refuse() {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace

bool firn::testkit::allocation_fails() {
  if (allocations_left < 0) return false;
  if (allocations_left > 0) {
    --allocations_left;
    return false;
  }
  ++allocations_failed;
  if (!allocations_fail_for_ever) allocations_left = -1;
  return true;
}

extern "C" {

void* malloc(size_t size) noexcept {
  return allocation_fails() ? refuse() : allocate(size);
}

void* calloc(size_t count, size_t size) noexcept {
  static auto* const system = next<void*(size_t, size_t)>("calloc");
  return allocation_fails() ? refuse() : system(count, size);
}

void* realloc(void* memory, size_t size) noexcept {
  static auto* const system = next<void*(void*, size_t)>("realloc");
  return allocation_fails() ? refuse() : system(memory, size);
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
  static auto* const system = next<void*(size_t, size_t)>("aligned_alloc");
  return allocation_fails() ? refuse() : system(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) noexcept {
  return allocation_fails() ? ENOMEM : allocate_aligned(memory, alignment, size);
}

}  // extern "C"

// Those that are replaced would call malloc, but not where a sanitizer replaces them.
void* operator new(size_t size) {
  if (allocation_fails()) throw std::bad_alloc();
  if (void* const memory = allocate(size)) return memory;
  throw std::bad_alloc();
}

// Buffers of a page and more, and what has a cache line of its own.
void* operator new(size_t size, std::align_val_t alignment) {
  if (allocation_fails()) throw std::bad_alloc();
  void* memory = nullptr;
  if (allocate_aligned(&memory, static_cast<size_t>(alignment), size) == 0) return memory;
  throw std::bad_alloc();
}

void* operator new[](size_t size) {
  return ::operator new(size);
}

void* operator new[](size_t size, std::align_val_t alignment) {
  return ::operator new(size, alignment);
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

void operator delete[](void* memory) noexcept {
  std::free(memory);
}

void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}

void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
