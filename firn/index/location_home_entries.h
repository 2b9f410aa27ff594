// SPDX-License-Identifier: Apache-2.0
//
// LocationHomeEntries: the entries of one home, copied under its lock. Nothing is allocated
// meanwhile: what does not fit is only counted, and the copy is made again when there is room.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "firn/index/location_bucket.h"

namespace firn::index {

struct LocationHomeEntry {
  InShardHash hash;
  uint64_t word;  // never with FROZEN
};

class LocationHomeEntries {
 public:
  void clear() {
    count_ = 0;
    found_frozen = false;
  }
  void add(LocationHomeEntry entry) {
    if (count_ < room().size()) room()[count_] = entry;
    ++count_;
  }
  // Whether all that were added are here. If not, make room without a lock, and copy them again.
  [[nodiscard]] bool complete() const {
    return counts_only || count_ <= std::max(more_.size(), kInline);
  }
  void make_room() { more_ = std::vector<LocationHomeEntry>(std::bit_ceil(count_)); }
  [[nodiscard]] bool try_make_room() noexcept {
    try {
      make_room();
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  [[nodiscard]] size_t count() const { return count_; }
  // Requires: complete, and not counts_only.
  [[nodiscard]] std::span<const LocationHomeEntry> all() const {
    return (more_.empty() ? std::span<const LocationHomeEntry>(inline_) : more_).first(count_);
  }

  bool counts_only = false;   // they are dropped, which needs no memory
  bool found_frozen = false;  // somebody has tried to move this home before

 private:
  // A home has seven entries or fewer, except under hostile hashes.
  static constexpr size_t kInline = 16;
  [[nodiscard]] std::span<LocationHomeEntry> room() {
    return more_.empty() ? std::span<LocationHomeEntry>(inline_) : more_;
  }

  std::array<LocationHomeEntry, kInline> inline_;
  std::vector<LocationHomeEntry> more_;  // used instead as soon as it has room
  size_t count_ = 0;
};

}  // namespace firn::index
