// SPDX-License-Identifier: Apache-2.0
#include "firn/index/key_translator.h"

#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace firn {
namespace {

uint64_t token_of(const KeyTranslator& translator, std::string_view key) {
  return translator.token(as_bytes(key));
}

TEST(KeyTranslator, GivenOneCap_WhenTranslating_ThenOnlyTheFirstByteCounts) {
  const auto translator = KeyTranslator::one_cap();

  EXPECT_EQ(token_of(translator, ""), 0U);
  EXPECT_EQ(token_of(translator, "a"), uint64_t{'a'});
  EXPECT_EQ(token_of(translator, "ab"), uint64_t{'a'});
  EXPECT_EQ(token_of(translator, "abc"), uint64_t{'a'});
}

TEST(KeyTranslator, GivenTwoCap_WhenTranslating_ThenTwoBytesCountAndOrderIsKept) {
  const auto two = KeyTranslator::two_cap();

  EXPECT_EQ(token_of(two, ""), 0U);
  EXPECT_EQ(token_of(two, "ab"), 0x6162U);
  EXPECT_EQ(token_of(two, "a"), 0x6100U);
  EXPECT_EQ(token_of(two, "abc"), token_of(two, "ab"));
  EXPECT_LT(token_of(two, ""), token_of(two, "a"));
  EXPECT_LT(token_of(two, "a"), token_of(two, "b"));
  EXPECT_LT(token_of(two, "ab"), token_of(two, "ac"));
  EXPECT_LT(token_of(two, "z"), token_of(two, "zz"));
  EXPECT_EQ(token_of(two, "zz"), token_of(two, "zzabc"));
}

TEST(KeyTranslator, GivenFourCap_WhenTranslating_ThenFourBytesCountAndOrderIsKept) {
  const auto four = KeyTranslator::four_cap();

  EXPECT_EQ(token_of(four, ""), 0U);
  EXPECT_LT(token_of(four, ""), token_of(four, "a"));
  EXPECT_LT(token_of(four, "a"), token_of(four, "abcd"));
  EXPECT_EQ(token_of(four, "abcd"), token_of(four, "abcdef"));
  EXPECT_LT(token_of(four, "abcd"), token_of(four, "b"));
}

TEST(KeyTranslator, GivenEightCap_WhenTranslating_ThenEightBytesCountAndOrderIsKept) {
  const auto eight = KeyTranslator::eight_cap();

  EXPECT_EQ(token_of(eight, ""), 0U);
  EXPECT_LT(token_of(eight, ""), token_of(eight, "a"));
  EXPECT_LT(token_of(eight, "a"), token_of(eight, "abcdefgh"));
  EXPECT_EQ(token_of(eight, "abcdefgh"), 0x6162636465666768U);
  EXPECT_EQ(token_of(eight, "abcdefgh"), token_of(eight, "abcdefghijk"));
  EXPECT_LT(token_of(eight, "abcdefgh"), token_of(eight, "b"));
}

TEST(KeyTranslator, GivenCapOfThreeAndSix_WhenTranslating_ThenTokenIsPaddedPrefix) {
  const auto three = KeyTranslator::cap<3>();
  const auto six = KeyTranslator::cap<6>();

  EXPECT_EQ(token_of(three, ""), 0U);
  EXPECT_EQ(token_of(three, "abc"), 0x616263U);
  EXPECT_EQ(token_of(three, "abcdef"), 0x616263U);
  EXPECT_EQ(token_of(three, "ab"), 0x616200U);
  EXPECT_EQ(token_of(six, ""), 0U);
  EXPECT_EQ(token_of(six, "abcdef"), 0x616263646566U);
  EXPECT_EQ(token_of(six, "abcdefghi"), 0x616263646566U);
  EXPECT_EQ(token_of(six, "abcd"), 0x616263640000U);
}

template <size_t kWidthBytes>
concept HasCap = requires { KeyTranslator::cap<kWidthBytes>(); };

TEST(KeyTranslator, GivenWidthOutsideOneToEight_WhenChosen_ThenRefused) {
  EXPECT_TRUE(HasCap<1> && HasCap<8>);
  EXPECT_FALSE(HasCap<0>);
  EXPECT_FALSE(HasCap<9>);  // the original's token hasher aborts on more than 8 bytes

  EXPECT_EQ(KeyTranslator::cap(5), KeyTranslator::cap<5>());
  EXPECT_DEATH((void)KeyTranslator::cap(0), "a token has 1 to 8 bytes");
  EXPECT_DEATH((void)KeyTranslator::cap(9), "a token has 1 to 8 bytes");
}

TEST(KeyTranslator, GivenDifferentShortKeys_WhenTranslated_ThenTokensDifferInEveryWideEnoughWidth) {
  const auto three = KeyTranslator::cap<3>();

  EXPECT_NE(token_of(three, "abc"), token_of(three, "abd"));
  EXPECT_NE(token_of(three, "a"), token_of(three, "b"));
  EXPECT_NE(token_of(three, ""), token_of(three, "a"));
}

TEST(KeyTranslator, GivenZeroAndOne_WhenTranslatedInEachWidth_ThenTokensAreTheNumbers) {
  for (size_t width = 1; width <= KeyTranslator::kWidthBytesMax; ++width) {
    Bytes zero(width);
    Bytes one(width);
    one.back() = std::byte{1};
    Bytes seven(width);
    seven.back() = std::byte{7};

    const auto translator = KeyTranslator::cap(width);

    EXPECT_EQ(translator.token(zero), 0U) << width;
    EXPECT_EQ(translator.token(one), 1U) << width;
    EXPECT_EQ(translator.token(seven), 7U) << width;
  }
}

TEST(KeyTranslator, GivenHashedWithSeed_WhenAskedAgainOrTwice_ThenTokensAgree) {
  const auto first = KeyTranslator::hashed(KeyTranslator::two_cap(), 42);
  const auto second = KeyTranslator::hashed(KeyTranslator::two_cap(), 42);

  for (const std::string_view key : {"hello", "", "abcdef", "world"}) {
    EXPECT_EQ(token_of(first, key), token_of(first, key)) << key;
    EXPECT_EQ(token_of(first, key), token_of(second, key)) << key;
    EXPECT_LT(token_of(first, key), 1U << 16) << key;
  }
}

TEST(KeyTranslator, GivenHashedWithDifferentSeeds_WhenTranslating_ThenTokensDiffer) {
  const auto one = KeyTranslator::hashed(KeyTranslator::eight_cap(), 1);
  const auto two = KeyTranslator::hashed(KeyTranslator::eight_cap(), 2);

  EXPECT_NE(token_of(one, "hello"), token_of(two, "hello"));
  EXPECT_FALSE(one == two);
}

TEST(KeyTranslator, GivenHashedTwoCap_WhenKeysShareAPrefix_ThenTokensDiffer) {
  const auto translator = KeyTranslator::hashed(KeyTranslator::two_cap(), 99);

  EXPECT_NE(token_of(translator, "abXXX"), token_of(translator, "abYYY"));
  EXPECT_TRUE(translator.is_hashed());
  EXPECT_FALSE(translator.keeps_order());
}

TEST(KeyTranslator, GivenHashedOverEachWidth_WhenTranslating_ThenTokensFitAndSpread) {
  for (size_t width = 1; width <= KeyTranslator::kWidthBytesMax; ++width) {
    const auto translator = KeyTranslator::hashed(KeyTranslator::cap(width), 7);
    std::set<uint64_t> tokens;

    for (int i = 0; i < 1000; ++i) {
      const uint64_t token = token_of(translator, "prefix-" + std::to_string(i));
      if (width < 8) {
        ASSERT_EQ(token >> (8 * width), 0U);
      }
      tokens.insert(token);
    }

    EXPECT_GE(tokens.size(), width == 1 ? 240U : width == 2 ? 980U : 999U) << width;
  }
}

TEST(KeyTranslator, GivenHashedNarrowAndWide_WhenTranslating_ThenNarrowIsThePrefixOfWide) {
  const auto narrow = KeyTranslator::hashed(KeyTranslator::two_cap(), 7);
  const auto wide = KeyTranslator::hashed(KeyTranslator::eight_cap(), 7);

  EXPECT_EQ(token_of(narrow, "hello"), token_of(wide, "hello") >> 48);
}

// XXH3 of nothing with seed 0 is 2d06800538d394c2; its least significant byte comes first.
TEST(KeyTranslator, GivenKnownHash_WhenTranslating_ThenTokenIsItsFirstLittleEndianBytes) {
  const auto translator = KeyTranslator::hashed(KeyTranslator::two_cap(), 0);

  EXPECT_EQ(token_of(translator, ""), 0xc294U);
}

}  // namespace
}  // namespace firn
