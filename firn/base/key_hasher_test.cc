// SPDX-License-Identifier: Apache-2.0
#include "firn/base/key_hasher.h"

#include <array>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace firn {
namespace {

KeyHasher::Seed seed_of(uint8_t first) {
  KeyHasher::Seed seed{};
  for (size_t i = 0; i < seed.size(); ++i)
    seed.at(i) = static_cast<std::byte>(first + i);
  return seed;
}

KeyHasher hasher(KeyHasher::Mode mode, uint8_t first) {
  auto created = KeyHasher::create(mode, seed_of(first));
  EXPECT_TRUE(created);
  return *created;
}

// Independent values: the hashes of bytes in CPython 3.11 are SipHash-1-3, with a key of zeros when
// PYTHONHASHSEED is 0; the reference vectors have the key 00 01 .. 0f and inputs 00 01 02 ...
TEST(SipHash, GivenKnownInputs_WhenHashed_ThenTheKnownValues) {
  const std::array<std::byte, 16> zeros{};
  EXPECT_EQ(siphash_1_3(as_bytes("a"), zeros), 0x407448d2b89b1813);
  EXPECT_EQ(siphash_1_3(as_bytes("abc"), zeros), 0xc03bc3a0042630f2);
  EXPECT_EQ(siphash_1_3(as_bytes("sixteen bytes!!!"), zeros), 0x56b4fad07034f6fc);
  const KeyHasher::Seed counting = seed_of(0);
  const ByteSpan key = ByteSpan(counting).first(16);
  EXPECT_EQ(siphash_1_3({}, key), 0xabac0158050fc4dc);
  EXPECT_EQ(siphash_1_3(ByteSpan(counting).first(1), key), 0xc9f49bf37d57ca93);
  EXPECT_EQ(siphash_1_3(ByteSpan(counting).first(7), key), 0xd3927d989bb11140);
}

TEST(KeyHasher, GivenASeedOfZeros_WhenCreated_ThenRefused) {
  const auto created = KeyHasher::create(KeyHasher::Mode::fast, {});
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, Errc::invalid_argument);
}

TEST(KeyHasher, GivenAnUnknownMode_WhenCreated_ThenRefused) {
  EXPECT_FALSE(KeyHasher::create(static_cast<KeyHasher::Mode>(0), seed_of(1)));
  EXPECT_FALSE(KeyHasher::create(static_cast<KeyHasher::Mode>(3), seed_of(1)));
}

TEST(KeyHasher, GivenTheSameSeed_WhenHashed_ThenTheSameHash) {
  for (const auto mode : {KeyHasher::Mode::fast, KeyHasher::Mode::hostile}) {
    const KeyHasher first = hasher(mode, 1);
    EXPECT_EQ(first.hash(as_bytes("key")), hasher(mode, 1).hash(as_bytes("key")));
    EXPECT_NE(first.hash(as_bytes("key")), hasher(mode, 2).hash(as_bytes("key")));
    EXPECT_NE(first.hash(as_bytes("key")), first.hash(as_bytes("kex")));
    EXPECT_NE(first.hash(as_bytes("key")), first.hash(as_bytes("key"), 7));
  }
}

// They are kept with data, so no version may change them.
TEST(KeyHasher, GivenAKnownSeed_WhenHashed_ThenTheHashesOfAllVersions) {
  const KeyHasher fast = hasher(KeyHasher::Mode::fast, 1);
  EXPECT_EQ(fast.hash(as_bytes("")).value, 0x42b07201dcc74e7b);
  EXPECT_EQ(fast.hash(as_bytes("alpha")).value, 0xf0c40d7d584eb80a);
  EXPECT_EQ(fast.hash(as_bytes("alpha"), 7).value, 0x9f12b573b26f64af);
  EXPECT_EQ(fast.hash(as_bytes(std::string(1000, 'x'))).value, 0x42fca84d4614a662);
  EXPECT_EQ(fast.fingerprint(), 0x833ffd784af2d8ae);
  const KeyHasher hostile = hasher(KeyHasher::Mode::hostile, 1);
  EXPECT_EQ(hostile.hash(as_bytes("alpha")).value, 0x17cefbdd87646a32);
}

TEST(KeyHasher, GivenHashersOfTwoModesOrSeeds_WhenCompared_ThenFingerprintsDiffer) {
  const std::set<uint64_t> prints{hasher(KeyHasher::Mode::fast, 1).fingerprint(),
                                  hasher(KeyHasher::Mode::hostile, 1).fingerprint(),
                                  hasher(KeyHasher::Mode::fast, 2).fingerprint(),
                                  KeyHasher::random().fingerprint(),
                                  KeyHasher::random().fingerprint()};
  EXPECT_EQ(prints.size(), 5u);
}

// Keys of this form collide by the thousand under multiplicative hashes.
TEST(KeyHasher, GivenCountingKeys_WhenHashed_ThenNoTwoCollideAndTheTopByteIsEven) {
  const KeyHasher fast = hasher(KeyHasher::Mode::fast, 3);
  std::set<KeyHash> hashes;
  std::array<int, 256> top{};
  constexpr int kKeys = 64'000;
  for (int i = 0; i < kKeys; ++i) {
    const std::string digits = std::to_string(i);
    const KeyHash hash =
        fast.hash(as_bytes("stress-key-" + std::string(8 - digits.size(), '0') + digits));
    hashes.insert(hash);
    ++top.at(hash.value >> 56);
  }
  EXPECT_EQ(hashes.size(), size_t{kKeys});
  for (const int count : top) {
    EXPECT_GT(count, 150);  // the average is 250
    EXPECT_LT(count, 350);
  }
}

}  // namespace
}  // namespace firn
