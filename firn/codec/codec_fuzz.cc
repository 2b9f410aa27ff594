// SPDX-License-Identifier: Apache-2.0
//
// Hostile bytes under ByteReader: whatever is read stays inside, and what is accepted is the one
// encoding of its value, byte for byte.
#include "firn/codec/codec.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "testkit/fuzz_input.h"

namespace {

using namespace firn;

// Reads one value of the drawn type and writes it again. False if it was refused.
bool copy_one(ByteReader& reader, ByteWriter& writer, uint64_t type, uint32_t max_size) {
  const auto copy = [](const auto& read, auto write) {
    if (read) write(*read);
    return read.has_value();
  };
  switch (type) {
    case 0: return copy(reader.read_u8(), [&](uint8_t v) { writer.write_u8(v); });
    case 1: return copy(reader.read_u16(), [&](uint16_t v) { writer.write_u16(v); });
    case 2: return copy(reader.read_i32(), [&](int32_t v) { writer.write_i32(v); });
    case 3: return copy(reader.read_i64(), [&](int64_t v) { writer.write_i64(v); });
    case 4:
      return copy(reader.read_varint<uint16_t>(), [&](uint16_t v) { writer.write_varint(v); });
    case 5:
      return copy(reader.read_varint<uint32_t>(), [&](uint32_t v) { writer.write_varint(v); });
    case 6:
      return copy(reader.read_varint<uint64_t>(), [&](uint64_t v) { writer.write_varint(v); });
    case 7:
      return copy(reader.read_signed_varint<int32_t>(),
                  [&](int32_t v) { writer.write_signed_varint(v); });
    case 8:
      return copy(reader.read_sized_bytes(max_size), [&](ByteSpan v) {
        CHECK(v.size() <= max_size, "no more bytes than allowed");
        writer.write_sized_bytes(v);
      });
    case 9: {
      bool value = false;
      const bool is_read = reader.read_bool(value).has_value();
      if (is_read) writer.write_bool(value);
      return is_read;
    }
    default:
      return copy(reader.read_option([&] { return reader.read_u32(); }),
                  [&](const std::optional<uint32_t>& v) {
                    writer.write_option(v, [&](uint32_t number) { writer.write_u32(number); });
                  });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t types = input.number(8);
  const auto max_size = static_cast<uint32_t>(input.number(2));
  const Bytes bytes = input.rest();
  ByteReader reader(bytes);
  Bytes written;
  ByteWriter writer(written);
  for (unsigned i = 0; i < 16; ++i) {
    const size_t before = reader.position();
    if (!copy_one(reader, writer, (types >> 4 * i & 15) % 11, max_size)) return 0;
    CHECK(reader.position() > before && reader.position() <= bytes.size(), "reading goes on");
    CHECK(equal_bytes(written, ByteSpan(bytes).first(reader.position())), "one encoding");
  }
  return 0;
}
