// SPDX-License-Identifier: Apache-2.0
#include "firn/io/blob_header.h"

#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::FailsWith;

constexpr std::string_view kName = "left";

Result<uint16_t> check(std::string_view header_hex, BlobVersions versions) {
  const auto header = from_hex(header_hex);
  return check_blob_header(*header, versions, "parts", as_bytes(kName));
}

TEST(BlobHeader, GivenAVersion_WhenEncoded_ThenTheBytesAreTheFormats) {
  EXPECT_EQ(to_hex(encode_blob_header(0)), "4357494300000000");
  EXPECT_EQ(to_hex(encode_blob_header(0x0102)), "4357494300000102");
}

TEST(BlobHeader, GivenAnEncodedVersion_WhenChecked_ThenTheVersionComesBack) {
  for (const uint16_t version : {uint16_t{0}, uint16_t{1}, uint16_t{300}, uint16_t{UINT16_MAX}}) {
    ASSERT_OK_INTO(const uint16_t found,
                   check_blob_header(encode_blob_header(version), {0, UINT16_MAX}, "parts", {}));
    EXPECT_EQ(found, version);
  }
}

TEST(BlobHeader, GivenAnyFlippedBit_WhenChecked_ThenItIsRefused) {
  const auto good = encode_blob_header(5);
  for (size_t bit = 0; bit < 64; ++bit) {
    auto header = good;
    header[bit / 8] ^= std::byte{1} << (bit % 8);

    const auto checked = check_blob_header(header, {5, 5}, "parts", as_bytes(kName));

    EXPECT_THAT(checked, FailsWith(bit < 32 ? Errc::corrupt : Errc::unsupported_version));
  }
}

TEST(BlobHeader, GivenSeveralFaults_WhenChecked_ThenTheFirstFieldIsNamed) {
  EXPECT_THAT(check("0000000000010009", {0, 0}), FailsWith(Errc::corrupt, "invalid magic"));
  EXPECT_THAT(check("4357494300010009", {0, 0}),
              FailsWith(Errc::unsupported_version, "header version: expected 0, found 1"));
  EXPECT_THAT(check("4357494300000009", {2, 3}),
              FailsWith(Errc::unsupported_version, "blob version: expected 2 to 3, found 9"));
}

TEST(BlobHeader, GivenADamagedHeader_WhenChecked_ThenTheMessageNamesTheBlob) {
  EXPECT_THAT(check("0000000000000000", {0, 0}), FailsWith(Errc::corrupt, "'parts/6c656674'"));
}

TEST(BlobNames, GivenAnInvalidName_WhenRefused_ThenControlCharactersAreMasked) {
  EXPECT_THAT(check_partition_name("a\x1b[31m"), FailsWith(Errc::invalid_argument, "'a?[31m'"));
  EXPECT_THAT(check_partition_name(std::string(300, 'a')), FailsWith(Errc::invalid_argument));
  EXPECT_OK(check_partition_name(std::string(255, 'a')));
}

TEST(BlobNames, GivenAnInvertedRangeOfVersions_WhenChecked_ThenItIsRefused) {
  EXPECT_THAT(check_blob_versions({2, 1}), FailsWith(Errc::invalid_argument));
  EXPECT_OK(check_blob_versions({2, 2}));
}

}  // namespace
}  // namespace firn
