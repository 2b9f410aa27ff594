// SPDX-License-Identifier: Apache-2.0
//
// What Relacy or the simulation of threads as one would get wrong. A file of its own, as Relacy
// redefines these names.
#include <cstdlib>
#include <new>

#include <pthread.h>

void hold_processor(bool hold);

// In the place of the mutexes of the C library: who holds one, goes on.
extern "C" int pthread_mutex_lock(pthread_mutex_t* /*mutex*/) {
  hold_processor(true);
  return 0;
}
extern "C" int pthread_mutex_unlock(pthread_mutex_t* /*mutex*/) {
  hold_processor(false);
  return 0;
}

// In the place of Relacy's inline ones, which cannot free what was allocated before a simulation.
void* operator new(size_t size) {
  return std::malloc(size);
}
void* operator new[](size_t size) {
  return std::malloc(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
