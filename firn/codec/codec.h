// SPDX-License-Identifier: Apache-2.0
//
// Codec: how a typed facade turns keys and values into bytes and back. A codec is a struct without
// state; write one for your own type like those below. The bytes are stored, so a codec must never
// change once data exists.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/codec/reader.h"
#include "firn/codec/writer.h"

namespace firn {

template <class C>
concept Codec = requires(const typename C::Value& value, ByteWriter& writer, ByteReader& reader) {
  C::encode(value, writer);
  { C::decode(reader) } -> std::same_as<Result<typename C::Value>>;
};

// Eight big-endian bytes.
struct U64Codec {
  using Value = uint64_t;
  static void encode(uint64_t value, ByteWriter& writer) { writer.write_u64(value); }
  [[nodiscard]] static Result<uint64_t> decode(ByteReader& reader) { return reader.read_u64(); }
};

// Four big-endian bytes.
struct I32Codec {
  using Value = int32_t;
  static void encode(int32_t value, ByteWriter& writer) { writer.write_i32(value); }
  [[nodiscard]] static Result<int32_t> decode(ByteReader& reader) { return reader.read_i32(); }
};

// A varint of the length, then the bytes.
struct BytesCodec {
  using Value = Bytes;
  static void encode(const Bytes& value, ByteWriter& writer) { writer.write_sized_bytes(value); }
  [[nodiscard]] static Result<Bytes> decode(ByteReader& reader) {
    TRY_INTO(const ByteSpan bytes, reader.read_sized_bytes(kMaxSizedBytes));
    return to_bytes(bytes);
  }
};

// Just the bytes.
template <size_t kSizeBytes>
struct FixedBytesCodec {
  using Value = std::array<std::byte, kSizeBytes>;
  static void encode(const Value& value, ByteWriter& writer) { writer.write_bytes(value); }
  [[nodiscard]] static Result<Value> decode(ByteReader& reader) {
    TRY_INTO(const ByteSpan bytes, reader.read_bytes(kSizeBytes));
    Value value;
    std::ranges::copy(bytes, value.begin());
    return value;
  }
};

template <Codec C>
[[nodiscard]] Bytes encode_as(const typename C::Value& value) {
  Bytes bytes;
  ByteWriter writer(bytes);
  C::encode(value, writer);
  return bytes;
}

// Fails unless the value fills `bytes` exactly.
template <Codec C>
[[nodiscard]] Result<typename C::Value> decode_as(ByteSpan bytes, std::string_view what = "value") {
  ByteReader reader(bytes, what);
  TRY_INTO(auto value, C::decode(reader));
  TRY(reader.finish());
  return value;
}

}  // namespace firn
