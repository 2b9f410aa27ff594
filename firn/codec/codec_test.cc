// SPDX-License-Identifier: Apache-2.0
//
// ByteReader and ByteWriter together, and the codecs built on them.
#include "firn/codec/codec.h"

#include <limits>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/base/text.h"
#include "firn/codec/codec_test_support.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using codec::bytes_of_hex;
using testkit::FailsWith;

constexpr std::string_view kOneOfEachKind =
    "01"
    "0203"
    "04050607"
    "08090a0b0c0d0e0f"
    "fffffffe"
    "fffffffffffffffd"
    "01"
    "00"
    "ac02"
    "05"
    "7879"
    "03616263";

TEST(ByteWriter, GivenOneValueOfEachKind_WhenWritten_ThenTheBytesAreThoseOfTheFormat) {
  Bytes bytes = bytes_of_hex("ee");
  ByteWriter writer(bytes);

  writer.write_u8(0x01);
  writer.write_u16(0x0203);
  writer.write_u32(0x04050607);
  writer.write_u64(0x08090A0B0C0D0E0F);
  writer.write_i32(-2);
  writer.write_i64(-3);
  writer.write_bool(true);
  writer.write_bool(false);
  writer.write_varint(300);
  writer.write_signed_varint(-3);
  writer.write_bytes(as_bytes("xy"));
  writer.write_sized_bytes(as_bytes("abc"));

  EXPECT_EQ(to_hex(bytes), concat("ee", kOneOfEachKind));
}

TEST(ByteReader, GivenWrittenValues_WhenReadInOrder_ThenTheyAreUnchangedAndNothingIsLeft) {
  const Bytes bytes = bytes_of_hex(kOneOfEachKind);
  ByteReader reader(bytes);

  EXPECT_EQ(reader.read_u8(), 0x01);
  EXPECT_EQ(reader.read_u16(), 0x0203);
  EXPECT_EQ(reader.read_u32(), 0x04050607u);
  EXPECT_EQ(reader.read_u64(), 0x08090A0B0C0D0E0Fu);
  EXPECT_EQ(reader.read_i32(), -2);
  EXPECT_EQ(reader.read_i64(), -3);
  bool flag = false;
  EXPECT_OK(reader.read_bool(flag));
  EXPECT_TRUE(flag);
  EXPECT_OK(reader.read_bool(flag));
  EXPECT_FALSE(flag);
  EXPECT_EQ(reader.read_varint<uint16_t>(), 300);
  EXPECT_EQ(reader.read_signed_varint<int16_t>(), -3);
  ASSERT_OK_INTO(const ByteSpan raw, reader.read_bytes(2));
  EXPECT_EQ(as_text(raw), "xy");
  EXPECT_EQ(reader.remaining(), 4u);
  ASSERT_OK_INTO(const ByteSpan sized, reader.read_sized_bytes(3));
  EXPECT_EQ(as_text(sized), "abc");
  EXPECT_EQ(reader.position(), bytes.size());
  EXPECT_OK(reader.finish());
}

TEST(ByteReader, GivenTooFewBytes_WhenRead_ThenEveryKindOfValueIsCorrupt) {
  const Bytes bytes = bytes_of_hex("ffffffffffffff");
  const ByteSpan all(bytes);
  bool flag = false;

  EXPECT_THAT(ByteReader({}).read_u8(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(1)).read_u16(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(3)).read_u32(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(7)).read_u64(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(3)).read_i32(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(7)).read_i64(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader({}).read_bool(flag), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all.first(4)).read_varint<uint32_t>(),
              FailsWith(Errc::corrupt, "end inside a varint"));
  EXPECT_THAT(ByteReader({}).read_signed_varint<int64_t>(), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all).read_bytes(8), FailsWith(Errc::corrupt));
  EXPECT_THAT(ByteReader(all).read_bytes(std::numeric_limits<uint64_t>::max()),
              FailsWith(Errc::corrupt));
}

TEST(ByteReader, GivenDamage_WhenRead_ThenTheMessageNamesTheRecordTheOffsetAndWhatWasFound) {
  const Bytes bytes = bytes_of_hex("000002");
  ByteReader reader(bytes, "freezer checkpoint");
  EXPECT_OK(reader.read_u16());
  bool flag = true;

  EXPECT_THAT(
      reader.read_bool(flag),
      FailsWith(Errc::corrupt, "freezer checkpoint, byte 2: expected a flag of 0 or 1, found 2"));
  EXPECT_TRUE(flag);
  EXPECT_THAT(ByteReader(bytes, "page").read_u32(),
              FailsWith(Errc::corrupt, "page, byte 0: expected 4 more bytes, found 3"));
  EXPECT_EQ(reader.corrupt("no such kind").error().message,
            "freezer checkpoint, byte 3: no such kind");
}

TEST(ByteReader, GivenANumberThatTheTypeCannotHold_WhenReadAsAVarint_ThenItIsCorrupt) {
  const Bytes beyond_u32 = bytes_of_hex("8080808010");
  const Bytes longer_than_needed = bytes_of_hex("8000");

  EXPECT_THAT(ByteReader(beyond_u32).read_varint<uint32_t>(),
              FailsWith(Errc::corrupt, "varint of 32 bits"));
  EXPECT_EQ(ByteReader(beyond_u32).read_varint<uint64_t>(), uint64_t{1} << 32);
  EXPECT_THAT(ByteReader(longer_than_needed).read_signed_varint<int32_t>(),
              FailsWith(Errc::corrupt, "shortest form"));
}

TEST(ByteReader, GivenSizedBytes_WhenTheLengthIsBeyondTheLimitOrTheEnd_ThenTheyAreCorrupt) {
  const Bytes four = bytes_of_hex("0461626364");
  const Bytes huge = bytes_of_hex("ffffffff0f61");
  const Bytes endless = bytes_of_hex("80");

  EXPECT_OK(ByteReader(four).read_sized_bytes(4));
  EXPECT_THAT(ByteReader(four).read_sized_bytes(3),
              FailsWith(Errc::corrupt, "byte 0: expected a length of at most 3, found 4"));
  EXPECT_THAT(ByteReader(huge).read_sized_bytes(kMaxSizedBytes),
              FailsWith(Errc::corrupt, "expected 4294967295 more bytes, found 1"));
  EXPECT_THAT(ByteReader(endless).read_sized_bytes(4),
              FailsWith(Errc::corrupt, "byte 0: the bytes end inside a varint"));
}

TEST(ByteReader, GivenOptions_WhenWrittenAndRead_ThenPresenceAndValueAreUnchanged) {
  Bytes bytes;
  ByteWriter writer(bytes);
  const auto write_number = [&](uint16_t number) { writer.write_u16(number); };
  writer.write_option(std::optional<uint16_t>(0x0102), write_number);
  writer.write_option(std::optional<uint16_t>(), write_number);
  ByteReader reader(bytes);
  const auto read_number = [&] { return reader.read_u16(); };

  EXPECT_EQ(to_hex(bytes), "01010200");
  ASSERT_OK_INTO(const std::optional<uint16_t> present, reader.read_option(read_number));
  ASSERT_OK_INTO(const std::optional<uint16_t> absent, reader.read_option(read_number));
  EXPECT_EQ(present, 0x0102);
  EXPECT_EQ(absent, std::nullopt);
  EXPECT_OK(reader.finish());
}

TEST(ByteReader, GivenADamagedOption_WhenRead_ThenItIsCorrupt) {
  for (const char* hex : {"", "02", "01", "0101"}) {
    const Bytes bytes = bytes_of_hex(hex);
    ByteReader reader(bytes);
    EXPECT_THAT(reader.read_option([&] { return reader.read_u16(); }), FailsWith(Errc::corrupt))
        << hex;
  }
}

TEST(ByteReader, GivenBytesLeftOver_WhenFinished_ThenTheRecordIsCorrupt) {
  const Bytes bytes = bytes_of_hex("000000");
  ByteReader reader(bytes, "slot");
  EXPECT_OK(reader.read_u8());

  EXPECT_THAT(reader.finish(),
              FailsWith(Errc::corrupt, "slot, byte 1: expected the end, found 2 more bytes"));
}

TEST(ByteWriter, GivenSizes_WhenAskedForTheEncodedSize_ThenItIsWhatIsWritten) {
  for (const uint32_t size : {0u, 1u, 127u, 128u, 16383u, 16384u}) {
    EXPECT_EQ(encode_as<BytesCodec>(Bytes(size)).size(), encoded_size_of_sized_bytes(size));
  }
  EXPECT_EQ(encoded_size_of_sized_bytes(kMaxSizedBytes), uint64_t{kMaxSizedBytes} + 5);
}

static_assert(Codec<U64Codec> && Codec<I32Codec> && Codec<BytesCodec> && Codec<FixedBytesCodec<4>>);
static_assert(!Codec<int>);

TEST(Codec, GivenValues_WhenEncodedAndDecoded_ThenTheyAreUnchanged) {
  const FixedBytesCodec<2>::Value pair = {std::byte{0xAB}, std::byte{0xCD}};

  EXPECT_EQ(to_hex(encode_as<U64Codec>(258)), "0000000000000102");
  EXPECT_EQ(to_hex(encode_as<I32Codec>(-1)), "ffffffff");
  EXPECT_EQ(to_hex(encode_as<BytesCodec>(bytes_of_hex("0a0b"))), "020a0b");
  EXPECT_EQ(to_hex(encode_as<FixedBytesCodec<2>>(pair)), "abcd");
  EXPECT_EQ(decode_as<U64Codec>(bytes_of_hex("0000000000000102")), 258u);
  EXPECT_EQ(decode_as<I32Codec>(bytes_of_hex("ffffffff")), -1);
  EXPECT_EQ(decode_as<BytesCodec>(bytes_of_hex("020a0b")), bytes_of_hex("0a0b"));
  EXPECT_EQ(decode_as<FixedBytesCodec<2>>(bytes_of_hex("abcd")), pair);
}

TEST(Codec, GivenTooFewOrTooManyBytes_WhenDecoded_ThenTheyAreCorrupt) {
  EXPECT_THAT(decode_as<U64Codec>(bytes_of_hex("00")), FailsWith(Errc::corrupt));
  EXPECT_THAT(decode_as<I32Codec>(bytes_of_hex("0000000000"), "key"),
              FailsWith(Errc::corrupt, "key, byte 4: expected the end"));
  EXPECT_THAT(decode_as<BytesCodec>(bytes_of_hex("0200")), FailsWith(Errc::corrupt));
  EXPECT_THAT(decode_as<FixedBytesCodec<2>>(bytes_of_hex("00")), FailsWith(Errc::corrupt));
}

}  // namespace
}  // namespace firn
