// SPDX-License-Identifier: Apache-2.0
//
// The small vocabulary headers: bytes, endian, result, strong_id, text, units.
#include <array>
#include <concepts>
#include <limits>
#include <unordered_set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/bytes.h"
#include "firn/base/endian.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::FailsWith;

TEST(Bytes, GivenAllByteValues_WhenWrittenAsHexAndReadBack_ThenTheyAreUnchanged) {
  Bytes all;
  for (unsigned value = 0; value < 256; ++value)
    all.push_back(static_cast<std::byte>(value));

  const std::string text = to_hex(all);

  EXPECT_EQ(text.substr(0, 6), "000102");
  EXPECT_EQ(text.substr(506), "fdfeff");
  EXPECT_EQ(from_hex(text), all);
}

TEST(Bytes, GivenUpperCaseHex_WhenRead_ThenItIsAcceptedAndWrittenBackInLowerCase) {
  const auto bytes = from_hex("00AbFf");

  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(to_hex(*bytes), "00abff");
}

TEST(Bytes, GivenTextThatIsNotHex_WhenRead_ThenThereIsNoValue) {
  for (const char* text : {"0", "0g", "g0", "0 ", "-1", "0x", "abc", "/0", ":0", "@0", "`0"})
    EXPECT_EQ(from_hex(text), std::nullopt) << text;
  EXPECT_EQ(from_hex(""), Bytes{});
}

TEST(Bytes, GivenText_WhenSeenAsBytesAndBack_ThenItIsTheSameMemory) {
  const std::string_view text("a\0b", 3);

  EXPECT_EQ(as_text(as_bytes(text)), text);
  EXPECT_EQ(as_text(as_bytes(text)).data(), text.data());
  EXPECT_TRUE(equal_bytes(to_bytes(as_bytes(text)), as_bytes(text)));
}

TEST(Bytes, GivenBytes_WhenCompared_ThenLengthAndContentsCount) {
  EXPECT_TRUE(equal_bytes({}, {}));
  EXPECT_TRUE(equal_bytes(as_bytes("ab"), as_bytes("ab")));
  EXPECT_FALSE(equal_bytes(as_bytes("ab"), as_bytes("abc")));
  EXPECT_FALSE(equal_bytes(as_bytes("ab"), as_bytes("ac")));
}

TEST(Bytes, GivenABuffer_WhenFilledAndMoved_ThenTheContentsMoveAlong) {
  Buffer buffer(3);
  copy_bytes(buffer.mutable_bytes(), as_bytes("xyz"));

  const Buffer moved = std::move(buffer);

  EXPECT_EQ(moved.size(), 3u);
  EXPECT_EQ(as_text(moved.bytes()), "xyz");
  EXPECT_EQ(Buffer().bytes().size(), 0u);
}

TEST(Bytes, GivenALargeBuffer_WhenMade_ThenItBeginsAtALineOfTheCache) {
  for (const size_t size : {size_t{4096}, size_t{256} << 10, size_t{4} << 20}) {
    Buffer buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.bytes().data()) % 64, 0u);
    Buffer moved;
    moved = std::move(buffer);
    EXPECT_EQ(moved.bytes().size(), size);
  }
}

template <class T>
void expect_byte_orders(T value, std::string_view big_endian_hex) {
  std::array<std::byte, sizeof(T) + 2> memory{};
  std::byte* unaligned = memory.data() + 1;

  store_big_endian(unaligned, value);
  Bytes stored(unaligned, unaligned + sizeof(T));

  EXPECT_EQ(to_hex(stored), big_endian_hex);
  EXPECT_EQ(load_big_endian<T>(unaligned), value);
  store_little_endian(unaligned, value);
  EXPECT_TRUE(std::equal(stored.rbegin(), stored.rend(), unaligned));
  EXPECT_EQ(load_little_endian<T>(unaligned), value);
  EXPECT_EQ(memory.front(), std::byte{0});
  EXPECT_EQ(memory.back(), std::byte{0});
}

TEST(Endian, GivenIntegersOfEveryWidth_WhenStored_ThenBytesAreInTheNamedOrder) {
  expect_byte_orders<uint8_t>(0xA1, "a1");
  expect_byte_orders<uint16_t>(0xA1B2, "a1b2");
  expect_byte_orders<uint32_t>(0xA1B2C3D4, "a1b2c3d4");
  expect_byte_orders<uint64_t>(0xA1B2C3D4E5F60718, "a1b2c3d4e5f60718");
}

TEST(StrongId, GivenIds_WhenCompared_ThenTheyOrderByNumberAndTypesDoNotMix) {
  EXPECT_LT(Section{1}, Section{2});
  EXPECT_EQ(Section{7}, Section{7});
  EXPECT_EQ(Section{}.value, 0u);
  static_assert(!std::convertible_to<uint64_t, Section>);
  static_assert(!std::equality_comparable_with<Section, Position>);
}

TEST(StrongId, GivenIdsAsKeysOfAHashSet_WhenLookedUp_ThenTheyAreFound) {
  std::unordered_set<Section> set;
  for (uint64_t i = 0; i < 1000; ++i)
    set.insert(Section{i});

  EXPECT_EQ(set.size(), 1000u);
  EXPECT_TRUE(set.contains(Section{999}));
  EXPECT_FALSE(set.contains(Section{1000}));
}

TEST(Text, GivenPiecesOfAllKinds_WhenConcatenated_ThenTheyAreJoinedWithoutSeparators) {
  const std::string name = "blob";

  EXPECT_EQ(concat("read of ", name, '/', "x at ", 42u, ", ", -7, " and ", Section{3}),
            "read of blob/x at 42, -7 and 3");
  EXPECT_EQ(concat(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(concat(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(concat(), "");
}

TEST(Units, GivenSizes_WhenRoundedUpOrAdded_ThenTheEdgesOfTheRangeAreExact) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  uint64_t sum = 0;

  EXPECT_EQ(divide_rounding_up(0, 8), 0u);
  EXPECT_EQ(divide_rounding_up(8, 8), 1u);
  EXPECT_EQ(divide_rounding_up(9, 8), 2u);
  EXPECT_EQ(divide_rounding_up(kMax, 1), kMax);
  EXPECT_EQ(divide_rounding_up(kMax, kMax - 1), 2u);
  EXPECT_TRUE(add_without_overflow(kMax - 1, 1, sum));
  EXPECT_EQ(sum, kMax);
  EXPECT_FALSE(add_without_overflow(kMax, 1, sum));
}

Result<int> half(int number) {
  if (number % 2 != 0) return fail(Errc::invalid_argument, concat(number, " is odd"));
  return number / 2;
}

Result<int> quarter(int number) {
  TRY_INTO(const int halved, half(number));
  TRY_INTO(const int result, half(halved));
  return result;
}

Status check_even(int number) {
  TRY(half(number));
  return {};
}

TEST(Result, GivenNestedCalls_WhenOneFails_ThenItsErrorIsHandedOn) {
  EXPECT_THAT(quarter(6), FailsWith(Errc::invalid_argument, "3 is odd"));
  EXPECT_THAT(check_even(5), FailsWith(Errc::invalid_argument, "5 is odd"));
  EXPECT_OK(check_even(4));
  ASSERT_OK_INTO(const int value, quarter(8));
  EXPECT_EQ(value, 2);
}

TEST(Result, GivenEveryCode_WhenNamed_ThenNamesAreDistinct) {
  std::unordered_set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Errc::poisoned); ++code)
    names.insert(errc_name(static_cast<Errc>(code)));

  EXPECT_EQ(names.size(), static_cast<size_t>(Errc::poisoned) + 1);
  EXPECT_EQ(errc_name(static_cast<Errc>(250)), "unknown error");
}

}  // namespace
}  // namespace firn
