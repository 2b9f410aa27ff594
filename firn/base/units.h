// SPDX-License-Identifier: Apache-2.0
//
// Sizes and rounding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace firn {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr size_t kGiB = 1024 * kMiB;

[[nodiscard]] constexpr uint64_t divide_rounding_up(uint64_t dividend, uint64_t divisor) {
  return dividend / divisor + (dividend % divisor != 0 ? 1 : 0);
}

// The least multiple of `unit` that is not below `value`.
[[nodiscard]] constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return divide_rounding_up(value, unit) * unit;
}

// True, and the sum in `sum`, unless a + b overflows.
[[nodiscard]] constexpr bool add_without_overflow(uint64_t a, uint64_t b, uint64_t& sum) {
  return !__builtin_add_overflow(a, b, &sum);
}

}  // namespace firn
