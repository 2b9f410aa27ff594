// SPDX-License-Identifier: Apache-2.0
//
// SharedMemory: an object that several processes see, because a fork does not copy it.
#pragma once

#include <new>

#include <sys/mman.h>

#include "firn/base/check.h"

namespace firn::processes {

template <class Object>
class SharedMemory {
 public:
  SharedMemory()
      : memory_(::mmap(nullptr, sizeof(Object), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    CHECK(memory_ != MAP_FAILED, "memory can be shared");
    new (memory_) Object();
  }
  ~SharedMemory() { ::munmap(memory_, sizeof(Object)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  Object* operator->() const { return static_cast<Object*>(memory_); }

 private:
  void* const memory_;
};

}  // namespace firn::processes
