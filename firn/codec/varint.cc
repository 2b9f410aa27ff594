// SPDX-License-Identifier: Apache-2.0
#include "firn/codec/varint.h"

namespace firn {

size_t store_varint(std::array<std::byte, kMaxVarintSize<uint64_t>>& target, uint64_t value) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7)
    target[size++] = static_cast<std::byte>(value | 0x80);
  target[size++] = static_cast<std::byte>(value);
  return size;
}

VarintRead read_varint_of(ByteSpan bytes, unsigned bits) {
  const VarintRead malformed{.outcome = VarintOutcome::malformed};
  uint64_t value = 0;
  size_t size = 0;
  for (unsigned shift = 0; size < bytes.size(); shift += 7) {
    const auto byte = std::to_integer<uint64_t>(bytes[size++]);
    if (byte == 0 && shift > 0) return malformed;
    // In the last byte that T can need, what does not fit includes the continuation bit.
    const unsigned room = bits - shift;
    if (room < 8 && (byte >> room) != 0) return malformed;
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return {.outcome = VarintOutcome::complete, .size = size, .value = value};
  }
  return {.outcome = VarintOutcome::truncated};
}

}  // namespace firn
