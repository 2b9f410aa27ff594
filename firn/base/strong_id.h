// SPDX-License-Identifier: Apache-2.0
//
// StrongId: integers that count different things get different types, so that a section never
// lands where a position is expected.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace firn {

template <class Tag>
struct StrongId {
  uint64_t value = 0;

  constexpr StrongId() = default;
  constexpr explicit StrongId(uint64_t number) : value(number) {}

  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

// One blob of a segmented structure; also the blob's name, as eight big-endian bytes.
using Section = StrongId<struct SectionTag>;
// The number of a fixed-size record inside its section, from 0.
using Position = StrongId<struct PositionTag>;

}  // namespace firn

template <class Tag>
struct std::hash<firn::StrongId<Tag>> {
  size_t operator()(firn::StrongId<Tag> id) const noexcept {
    return static_cast<size_t>(id.value * 0x9E3779B97F4A7C15u);
  }
};
