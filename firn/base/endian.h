// SPDX-License-Identifier: Apache-2.0
//
// Fixed-width integers in memory and on disk. The byte order is part of every function's name;
// firn's formats are big-endian.
#pragma once

#include <bit>
#include <concepts>
#include <cstring>

#include "firn/base/bytes.h"

namespace firn {

// Requires: at least sizeof(T) readable bytes at `source`.
template <std::unsigned_integral T>
[[nodiscard]] T load_big_endian(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  return value;
}

// Requires: at least sizeof(T) writable bytes at `target`.
template <std::unsigned_integral T>
void store_big_endian(std::byte* target, T value) {
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  std::memcpy(target, &value, sizeof value);
}

template <std::unsigned_integral T>
[[nodiscard]] T load_little_endian(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1)
    value = std::byteswap(value);
  return value;
}

template <std::unsigned_integral T>
void store_little_endian(std::byte* target, T value) {
  if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1)
    value = std::byteswap(value);
  std::memcpy(target, &value, sizeof value);
}

}  // namespace firn
