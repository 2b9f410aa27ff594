// SPDX-License-Identifier: Apache-2.0
//
// PerThread: an object of each thread, made at its first use and destroyed when the thread ends.
//
//   thread_local constinit PerThread<std::vector<int>> scratch;
//   scratch.get().clear();
//
// thread_local alone does the same but where memory runs out: glibc then cannot note that there is
// something to destroy, and ends the process. This throws std::bad_alloc, and nothing was made.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace firn {

// What a thread destroys when it ends.
class PerThreadBase {
 protected:
  using Destroy = void(PerThreadBase& self);
  constexpr explicit PerThreadBase(Destroy* destroy) : destroy_(destroy) {}
  // Throws std::bad_alloc if it cannot be.
  void destroy_with_thread();

 private:
  friend struct PerThreadList;

  Destroy* destroy_;
  PerThreadBase* next_ = nullptr;
};

template <class T>
class PerThread : private PerThreadBase {
 public:
  constexpr PerThread() : PerThreadBase(destroy) {}

  [[nodiscard]] T& get() {
    if (object_ == nullptr) {
      static_assert(std::is_trivially_destructible_v<PerThread>, "there is nothing to note");
      auto made = std::make_unique<T>();
      destroy_with_thread();
      object_ = made.release();
    }
    return *object_;
  }

  // Null before its first use.
  [[nodiscard]] T* get_if_made() { return object_; }

 private:
  static void destroy(PerThreadBase& self) {
    delete std::exchange(static_cast<PerThread&>(self).object_, nullptr);
  }

  T* object_ = nullptr;
};

}  // namespace firn
