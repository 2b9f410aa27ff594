// SPDX-License-Identifier: Apache-2.0
//
// ByteWriter: appends values to bytes, in the one encoding that ByteReader accepts. Integers of a
// fixed width are big-endian. Nothing here fails; arguments that have no encoding are bugs.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/codec/varint.h"

namespace firn {

// The most bytes that write_sized_bytes takes, its length being a 32-bit varint.
inline constexpr uint32_t kMaxSizedBytes = std::numeric_limits<uint32_t>::max();

class ByteWriter {
 public:
  // Appends to `target`, which must outlive the writer.
  explicit ByteWriter(Bytes& target) : target_(target) {}

  void write_u8(uint8_t value) { target_.push_back(std::byte{value}); }
  void write_u16(uint16_t value) { write_fixed(value); }
  void write_u32(uint32_t value) { write_fixed(value); }
  void write_u64(uint64_t value) { write_fixed(value); }
  void write_i32(int32_t value) { write_fixed(static_cast<uint32_t>(value)); }
  void write_i64(int64_t value) { write_fixed(static_cast<uint64_t>(value)); }

  void write_bool(bool value) { write_u8(value ? 1 : 0); }

  // The bytes themselves; the reader has to know how many.
  void write_bytes(ByteSpan bytes) { target_.insert(target_.end(), bytes.begin(), bytes.end()); }

  void write_varint(uint64_t value) {
    std::array<std::byte, kMaxVarintSize<uint64_t>> form;
    write_bytes(ByteSpan(form).first(store_varint(form, value)));
  }

  void write_signed_varint(int64_t value) { write_varint(zig_zag(value)); }

  // A varint of the length, then the bytes. Requires: at most kMaxSizedBytes of them.
  void write_sized_bytes(ByteSpan bytes) {
    CHECK(bytes.size() <= kMaxSizedBytes, "a length-prefixed value is shorter than 4 GiB");
    write_varint(bytes.size());
    write_bytes(bytes);
  }

  // One byte, 1 or 0, then what `write` writes for the value, if there is one.
  template <class T, std::invocable<const T&> Write>
  void write_option(const std::optional<T>& value, Write write) {
    write_bool(value.has_value());
    if (value) std::invoke(write, *value);
  }

 private:
  template <std::unsigned_integral T>
  void write_fixed(T value) {
    std::array<std::byte, sizeof(T)> encoded;
    store_big_endian(encoded.data(), value);
    write_bytes(encoded);
  }

  Bytes& target_;
};

// The size of what write_sized_bytes writes for that many bytes.
[[nodiscard]] constexpr uint64_t encoded_size_of_sized_bytes(uint32_t size) {
  return varint_size(size) + uint64_t{size};
}

}  // namespace firn
