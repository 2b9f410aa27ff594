// SPDX-License-Identifier: Apache-2.0
//
// LockCounts: who holds the lock of a storage, for backends that live in one process.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "firn/io/storage.h"

namespace firn::io {

class LockCounts {
 public:
  // False if a lock that is held excludes this one; then nothing was taken.
  [[nodiscard]] bool take(LockMode mode) {
    if (excludes(mode)) return false;
    ++counts_[static_cast<size_t>(mode)];
    if (mode == LockMode::exclusive) is_settled_ = false;
    return true;
  }
  void release(LockMode mode) { --counts_[static_cast<size_t>(mode)]; }
  void settle() { is_settled_ = true; }
  [[nodiscard]] std::optional<StorageWriter> find_writer() const {
    if (!has(LockMode::exclusive)) return std::nullopt;
    return StorageWriter{"another user of this process", is_settled_};
  }

 private:
  [[nodiscard]] bool has(LockMode mode) const { return counts_[static_cast<size_t>(mode)] > 0; }
  [[nodiscard]] bool excludes(LockMode mode) const {
    switch (mode) {
      case LockMode::exclusive:
        return has(LockMode::exclusive) || has(LockMode::shared);
      case LockMode::shared: return has(LockMode::exclusive);
      case LockMode::follower: return has(LockMode::no_followers);
      case LockMode::no_followers: return has(LockMode::no_followers) || has(LockMode::follower);
    }
    return true;
  }

  std::array<size_t, 4> counts_{};
  bool is_settled_ = false;
};

}  // namespace firn::io
