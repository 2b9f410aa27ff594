// SPDX-License-Identifier: Apache-2.0
//
// Varints: unsigned integers in groups of seven bits, low group first, bit 7 set on all bytes but
// the last (LEB128). Signed integers are zig-zagged first. The reader is strict: every number has
// exactly one accepted form, so a re-encoded record has the bytes that were read.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>

#include "firn/base/bytes.h"

namespace firn {

template <class T>
concept VarintInteger =
    std::same_as<T, uint16_t> || std::same_as<T, uint32_t> || std::same_as<T, uint64_t>;

// The longest form of a T: 3, 5 or 10 bytes.
template <VarintInteger T>
inline constexpr size_t kMaxVarintSize = (std::numeric_limits<T>::digits + 6) / 7;

// The number of bytes of the form of `value`.
[[nodiscard]] constexpr size_t varint_size(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7)
    ++size;
  return size;
}

// Writes the form of `value` and returns its size.
size_t store_varint(std::array<std::byte, kMaxVarintSize<uint64_t>>& target, uint64_t value);

enum class VarintOutcome : uint8_t {
  complete,
  truncated,  // the bytes end before the varint does
  malformed,  // not the shortest form, or a number that T cannot hold
};

// `size` and `value` count only if the varint is complete.
struct VarintRead {
  VarintOutcome outcome = VarintOutcome::truncated;
  size_t size = 0;
  uint64_t value = 0;
};

// Reads the varint at the front of `bytes` as an integer of `bits` bits (16, 32 or 64).
[[nodiscard]] VarintRead read_varint_of(ByteSpan bytes, unsigned bits);

template <VarintInteger T>
[[nodiscard]] VarintRead read_varint(ByteSpan bytes) {
  return read_varint_of(bytes, std::numeric_limits<T>::digits);
}

// 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
template <std::signed_integral T>
[[nodiscard]] constexpr std::make_unsigned_t<T> zig_zag(T value) {
  using Unsigned = std::make_unsigned_t<T>;
  const auto doubled = static_cast<Unsigned>(static_cast<Unsigned>(value) << 1);
  return static_cast<Unsigned>(value < 0 ? ~doubled : doubled);
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::make_signed_t<T> undo_zig_zag(T value) {
  const auto halved = static_cast<T>(value >> 1);
  return static_cast<std::make_signed_t<T>>((value & 1) != 0 ? static_cast<T>(~halved) : halved);
}

}  // namespace firn
