// SPDX-License-Identifier: Apache-2.0
#include "firn/base/per_thread.h"

#include <new>

#include <pthread.h>

namespace firn {

// The first of a thread's objects is the value of a key whose destructor destroys all of them.
struct PerThreadList {
  static void destroy(void* first) {
    auto* next = static_cast<PerThreadBase*>(first);
    while (next != nullptr) {
      PerThreadBase& object = *next;
      next = std::exchange(object.next_, nullptr);
      object.destroy_(object);
    }
  }

  static pthread_key_t make_key() {
    pthread_key_t key = 0;
    if (::pthread_key_create(&key, destroy) != 0) throw std::bad_alloc();
    return key;
  }
};

void PerThreadBase::destroy_with_thread() {
  static const pthread_key_t key = PerThreadList::make_key();
  auto* const first = static_cast<PerThreadBase*>(::pthread_getspecific(key));
  if (::pthread_setspecific(key, this) != 0) throw std::bad_alloc();
  next_ = first;
}

}  // namespace firn
