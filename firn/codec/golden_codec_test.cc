// SPDX-License-Identifier: Apache-2.0
//
// firn's encoders against the digests that the original project publishes for its codec.
#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/codec/codec.h"
#include "testkit/golden.h"

namespace firn {
namespace {

using testkit::CaseDigest;
using testkit::ChaChaRng;
using testkit::ChaChaRounds;
using testkit::FieldSource;

using EncodeCase = std::function<void(FieldSource&, ByteWriter&)>;

void expect_published_digest(std::string_view name, const EncodeCase& encode_case) {
  const testkit::GoldenDigest& golden = testkit::golden_digest("codec", name);
  CaseDigest digest;
  Bytes bytes;
  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    FieldSource fields(seed);
    bytes.clear();
    ByteWriter writer(bytes);
    encode_case(fields, writer);
    digest.add(bytes);
  }
  EXPECT_EQ(digest.hex(), golden.sha256) << name;
}

TEST(GoldenRandom, GivenPublishedSeeds_WhenFilling_ThenTheFirstBytesAreThePublishedOnes) {
  EXPECT_EQ(to_hex(ChaChaRng(0).bytes(32)),
            "7f6f2ccdb23f2abb7b69278e947c01c6160a31cf02c19d06d0f6e5ab1d768b95");
  EXPECT_EQ(to_hex(ChaChaRng(42).bytes(32)),
            "a22427226377cc867d51ad3f130af08ad13451de7160efa2b23076fd782de967");
}

TEST(GoldenRandom, GivenAFillThatEndsInsideAWord_WhenDrawingOn_ThenTheRestOfTheWordIsLost) {
  ChaChaRng odd(5);
  ChaChaRng whole(5);

  const Bytes first = odd.bytes(3);
  const Bytes words = whole.bytes(4);

  EXPECT_TRUE(equal_bytes(first, ByteSpan(words).first(3)));
  EXPECT_EQ(odd.next_u64(), whole.next_u64());
}

TEST(GoldenRandom, GivenWords_WhenTakenAsWiderNumbersOrFields_ThenTheOrderIsLittleEndian) {
  ChaChaRng words(9, ChaChaRounds::eight);
  ChaChaRng wide(9, ChaChaRounds::eight);
  FieldSource fields(9);
  const uint64_t low = words.next_u32();
  const uint64_t high = words.next_u32();

  EXPECT_EQ(wide.next_u64(), high << 32 | low);
  EXPECT_EQ(fields.next_u16(), low & 0xFFFF);
  EXPECT_EQ(fields.next_u32(), (low >> 16 | high << 16) & 0xFFFFFFFF);
}

TEST(GoldenRandom, GivenTheModel_WhenDrawingRanges_ThenNumbersAreTheModels) {
  ChaChaRng older(1);
  ChaChaRng newer(1);
  constexpr uint64_t kWide = (uint64_t{3} << 62) + 2;

  EXPECT_EQ(older.range_u32(100, 500), 489u);
  EXPECT_EQ(older.range_u64(0, 16384), 11325u);
  EXPECT_EQ(older.range_u32(5, 0x80000006), 421815538u);
  EXPECT_EQ(older.range_u32(5, 0xC0000006), 696982627u);
  EXPECT_EQ(older.range_u64(1, kWide), 10659482927948523475u);
  EXPECT_EQ(older.range_u64(1, kWide), 7165174146582690411u);
  EXPECT_EQ(older.range_u32(7, 8), 7u);
  EXPECT_EQ(older.next_u32(), 4283878343u);
  EXPECT_EQ(newer.range_u32_2026_7(100, 500), 429u);
  EXPECT_EQ(newer.range_u64_2026_7(0, 16384), 13059u);
  EXPECT_EQ(newer.range_u32_2026_7(5, 0x80000006), 1484417176u);
  EXPECT_EQ(newer.range_u32_2026_7(5, 0xC0000006), 632723305u);
  EXPECT_EQ(newer.range_u64_2026_7(1, kWide), 2429243198129511519u);
  EXPECT_EQ(newer.range_u64_2026_7(1, kWide), 13317665340255096814u);
  EXPECT_EQ(newer.range_u32_2026_7(7, 8), 7u);
  EXPECT_EQ(newer.next_u32(), 1669057960u);
}

TEST(Sha256, GivenThePublishedExample_WhenSummedInParts_ThenTheDigestIsThePublishedOne) {
  testkit::Sha256 sha256;
  sha256.add(as_bytes("a"));
  sha256.add(as_bytes("bc"));

  EXPECT_EQ(to_hex(sha256.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256.finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// The header of a blob file: magic, version 0 of the header, version of the blob, which alone
// varies.
TEST(GoldenCodec, GivenBlobHeaders_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("BlobHeader", [](FieldSource& fields, ByteWriter& writer) {
    writer.write_bytes(as_bytes("CWIC"));
    writer.write_u16(0);
    writer.write_u16(fields.next_u16());
  });
}

// The record of a page: two slots of a length and a checksum.
TEST(GoldenCodec, GivenPageRecords_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("PageChecksum", [](FieldSource& fields, ByteWriter& writer) {
    for (int slot = 0; slot < 2; ++slot) {
      writer.write_u16(fields.next_u16());
      writer.write_u32(fields.next_u32());
    }
  });
}

TEST(GoldenCodec, GivenVarintsOf32Bits_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("UIntU32", [](FieldSource& fields, ByteWriter& writer) {
    writer.write_varint(fields.next_u32());
  });
}

TEST(GoldenCodec, GivenVarintsOf64Bits_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("UIntU64", [](FieldSource& fields, ByteWriter& writer) {
    writer.write_varint(fields.next_u64());
  });
}

TEST(GoldenCodec, GivenSignedVarints_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("SIntI64", [](FieldSource& fields, ByteWriter& writer) {
    writer.write_signed_varint(static_cast<int64_t>(fields.next_u64()));
  });
}

TEST(GoldenCodec, GivenOptions_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("OptionU64", [](FieldSource& fields, ByteWriter& writer) {
    std::optional<uint64_t> value;
    if (fields.next_bool()) value = fields.next_u64();
    writer.write_option(value, [&](uint64_t number) { writer.write_u64(number); });
  });
}

// An index record of the prunable archive: index, key, offset and size of the value.
TEST(GoldenCodec, GivenPrunableArchiveRecords_WhenEncoded_ThenTheDigestIsThePublishedOne) {
  expect_published_digest("PrunableRecordU64", [](FieldSource& fields, ByteWriter& writer) {
    writer.write_u64(fields.next_u64());
    writer.write_bytes(fields.next_bytes(8));
    writer.write_u64(fields.next_u64());
    writer.write_u32(fields.next_u32());
  });
}

}  // namespace
}  // namespace firn
