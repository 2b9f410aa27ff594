// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex with hashes that crowd one place: equal in all bits, in the shard, in the home, in
// the tag, or in the fingerprint only.
#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

enum class Equal : uint8_t { everything, shard, home, tag, fingerprint };

std::string_view name_of(Equal equal) {
  switch (equal) {
    case Equal::everything: return "everything";
    case Equal::shard: return "shard";
    case Equal::home: return "home";
    case Equal::tag: return "tag";
    case Equal::fingerprint: return "fingerprint";
  }
  return "";
}

KeyHash hash_of(Equal equal, uint64_t key) {
  const uint64_t random = mixed(key);
  const uint64_t fingerprint = random & 0x1FFFFF;
  const uint64_t tag = random >> 32 & 0xFF;
  switch (equal) {
    case Equal::everything: return KeyHash(0x123456789ABCDEF0);
    case Equal::shard: return HashParts{.shard = 7, .fingerprint = fingerprint, .tag = tag}.hash();
    // 17 bits are equal: tables of up to 2^17 buckets have one home for all.
    case Equal::home:
      return HashParts{.shard = 7, .fingerprint = 0x55550 | (random & 0xF), .tag = tag}.hash();
    case Equal::tag: return HashParts{.shard = 7, .fingerprint = fingerprint, .tag = 33}.hash();
    case Equal::fingerprint:
      return HashParts{.shard = 7, .fingerprint = 0x55555, .tag = key & 0xFF}.hash();
  }
  return {};
}

class LocationCollisions : public ::testing::TestWithParam<std::tuple<Equal, uint64_t>> {
 protected:
  [[nodiscard]] uint64_t count() const { return std::get<1>(GetParam()); }
  [[nodiscard]] KeyHash hash(uint64_t key) const { return hash_of(std::get<0>(GetParam()), key); }

  // Version v of key k is at k + 1 + v * count.
  [[nodiscard]] Location at(uint64_t key, uint64_t version) const {
    return Location(key + 1 + version * (count() + 1));
  }
  auto is(uint64_t key) const {
    return [this, key](Location location) {
      return (location.value - 1) % (count() + 1) == key ? KeyMatch::same : KeyMatch::different;
    };
  }
  uint64_t find(uint64_t key) { return index_->find(session_, hash(key), is(key)).location.value; }

  // Keys 0 to count - 1 are there with the version of their rank in `versions`; -1 is absent.
  void expect_contents(const std::vector<int>& versions) {
    uint64_t present = 0;
    for (uint64_t key = 0; key < count(); ++key) {
      const int version = versions.at(key);
      const uint64_t expected = version < 0 ? 0 : at(key, static_cast<uint64_t>(version)).value;
      ASSERT_EQ(find(key), expected) << "key " << key;
      if (version >= 0) ++present;
    }
    EXPECT_EQ(find(count()), 0u) << "a key that was never there";
    EXPECT_EQ(index_->size(), present);
    EXPECT_EQ(index_.entries().size(), present);
  }

  IndexUnderTest index_;
  EpochSession& session_ = index_.session();
};

TEST_P(LocationCollisions, WhenPutReplacedAndRemoved_ThenEachKeyIsByItself) {
  std::vector<int> versions(count(), -1);
  for (uint64_t key = 0; key < count(); ++key)
    ASSERT_EQ(index_->put(session_, hash(key), at(key, 0), is(key)), LocationOutcome{});
  std::ranges::fill(versions, 0);
  expect_contents(versions);

  for (uint64_t key = 0; key < count(); key += 3) {
    ASSERT_EQ(index_->put(session_, hash(key), at(key, 1), is(key)).location, at(key, 0));
    versions.at(key) = 1;
  }
  for (uint64_t key = 1; key < count(); key += 3) {
    ASSERT_EQ(index_->compare_and_replace(session_, hash(key), at(key, 0), at(key, 2)).location,
              at(key, 0));
    versions.at(key) = 2;
  }
  // Every other one from the back, then the rest from the front.
  for (uint64_t key = count(); key-- > 0;) {
    if (key % 2 != 0) continue;
    const auto version = static_cast<uint64_t>(versions.at(key));
    ASSERT_EQ(index_->remove(session_, hash(key), is(key)).location, at(key, version));
    versions.at(key) = -1;
  }
  expect_contents(versions);
  EXPECT_EQ(index_->remove(session_, hash(count()), is(count())), LocationOutcome{});
  for (uint64_t key = 0; key < count(); key += 2)
    ASSERT_EQ(index_->put(session_, hash(key), at(key, 3), is(key)), LocationOutcome{});
  for (uint64_t key = 0; key < count(); ++key)
    ASSERT_TRUE(index_->remove(session_, hash(key), is(key)).found());
  expect_contents(std::vector<int>(count(), -1));
}

TEST_P(LocationCollisions, WhenReservedShrunkRebuiltAndCleared_ThenNothingIsLost) {
  for (uint64_t key = 0; key < count(); ++key)
    (void)index_->put(session_, hash(key), at(key, 0), is(key));
  const std::vector<int> versions(count(), 0);
  EXPECT_EQ(index_->reserve(session_, 400'000), LocationStatus::done);
  expect_contents(versions);
  EXPECT_EQ(index_->shrink(session_), LocationStatus::done);
  expect_contents(versions);
  EXPECT_EQ(index_->maintain(session_), LocationStatus::done);
  EXPECT_EQ(index_->clear(session_), LocationStatus::done);
  expect_contents(std::vector<int>(count(), -1));
}

INSTANTIATE_TEST_SUITE_P(All, LocationCollisions,
                         ::testing::Combine(::testing::Values(Equal::everything, Equal::shard,
                                                              Equal::home, Equal::tag,
                                                              Equal::fingerprint),
                                            ::testing::Values(1, 2, 7, 8, 14, 224, 225, 2000)),
                         [](const auto& parameter) {
                           return std::string(name_of(std::get<0>(parameter.param))) + "_" +
                                  std::to_string(std::get<1>(parameter.param));
                         });

TEST(LocationIndexHashes, GivenEqualHashes_WhenCandidatesAreAsked_ThenAllAreCounted) {
  IndexUnderTest index;
  for (int i = 0; i < 20; ++i)
    (void)index.put("key" + std::to_string(i), KeyHash(42));
  std::array<Location, 8> first;
  EXPECT_EQ(index->candidates(index.session(), KeyHash(42), first), 20u);
  EXPECT_EQ(index->candidates(index.session(), KeyHash(uint64_t{42} << 30), first), 0u);
  for (const Location at : first)
    EXPECT_NE(at, Location(0));
}

// The entries of an attacker's hash are reported, and do not make the table grow for ever.
TEST(LocationIndexHashes,
     GivenThousandsOfEqualHashes_WhenPut_ThenTheyAreStashedAndTheTableIsSmall) {
  IndexUnderTest index;
  for (uint64_t i = 1; i <= 5000; ++i)
    (void)index->put(index.session(), KeyHash(42), Location(i),
                     [](Location) { return KeyMatch::different; });
  const LocationIndexStatistics statistics = index->statistics(index.session());
  EXPECT_GT(statistics.stashed_entries, 4500u);
  EXPECT_LT(statistics.slots, 256u * 4 * 7 + 256 * 7);
}

// Counting keys: under a weak hash they fall into one shard and one home.
class LocationKeyPatterns : public ::testing::TestWithParam<std::string> {};

TEST_P(LocationKeyPatterns, WhenManyArePut_ThenLookupsReadFewLinesAndShardsAreEven) {
  IndexUnderTest index;
  const std::string& pattern = GetParam();
  constexpr uint64_t kKeys = 64'000;
  for (uint64_t i = 0; i < kKeys; ++i) {
    std::string digits = std::to_string(i);
    digits.insert(0, 13 - digits.size(), '0');
    if (pattern == "big-endian") {
      digits.resize(8);
      for (size_t byte = 0; byte < 8; ++byte)
        digits[byte] = static_cast<char>(i >> (8 * (7 - byte)));
    }
    (void)index->put(index.session(), index->hash(as_bytes(pattern + digits)), Location(i + 1),
                     [](Location) { return KeyMatch::different; });
  }
  EXPECT_LT(index->probe_statistics(index.session()).average_lines, 1.3);
  for (size_t shard = 0; shard < index->shard_count(); ++shard) {
    uint64_t entries = 0;
    index->for_each_in_shard(index.session(), shard, [&](KeyHash, Location) { ++entries; });
    EXPECT_GT(entries, 150u);  // 250 on average
    EXPECT_LT(entries, 350u);
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, LocationKeyPatterns,
                         ::testing::Values("user:", "key:", "session/", "key-", "k", "stress-key-",
                                           "big-endian"),
                         [](const auto& parameter) {
                           return "number" + std::to_string(parameter.index);
                         });

TEST(LocationIndexHashes, GivenOneShard_WhenFilled_ThenItGrowsAtTheDeclaredLoad) {
  IndexUnderTest index({.shard_bits = 0});
  auto& session = index.session();
  uint64_t slots = index->statistics(session).slots;
  for (uint64_t i = 0; i < 20'000; ++i) {
    (void)index->put(session, KeyHash(mixed(i)), Location(i + 1), AnyKey{});
    EXPECT_EQ(index->maintain(session), LocationStatus::done);
    const LocationIndexStatistics now = index->statistics(session);
    if (now.slots != slots) {
      // The entry that crosses 79 % of the slots makes it grow.
      EXPECT_EQ(now.entries, slots * 79 / 100 + 1) << slots;
      slots = now.slots;
    }
    ASSERT_LE(now.entries * 100, now.slots * 79 + 100);
  }
  EXPECT_GT(slots, 20'000u);
  EXPECT_LT(index->probe_statistics(session).average_lines, 1.3);
}

// Shards that grow at the same time hold two tables each: what is free later, but was needed then.
TEST(LocationIndexHashes, GivenRandomKeys_WhenTheIndexGrows_ThenMemoryAnEntryIsFlat) {
  IndexUnderTest index;
  auto& session = index.session();
  double sum = 0;
  double most = 0;
  int samples = 0;
  uint64_t entries = 0;
  for (uint64_t next = 1'000'000; next <= 2'100'000; next += next / 64) {
    for (; entries < next; ++entries)
      (void)index->put(session, KeyHash(mixed(entries)), Location(entries + 1), AnyKey{});
    const double each = static_cast<double>(index->statistics(session).bytes_resident) /
                        static_cast<double>(entries);
    sum += each;
    most = std::max(most, each);
    ++samples;
  }
  EXPECT_LT(sum / samples, 15.4);
  EXPECT_LT(most, 16.6);
}

// The lanes with the tag, one by one.
uint32_t lanes_with(uint64_t header, uint8_t tag) {
  uint32_t lanes = 0;
  for (unsigned lane = 0; lane < index::kSlots; ++lane)
    lanes |= static_cast<uint32_t>((header >> 8 * lane & 0xFF) == tag) << lane;
  return lanes;
}

void expect_lanes(uint64_t header, uint8_t tag) {
  const uint32_t expected = lanes_with(header, tag);
  ASSERT_EQ(index::match_lanes(header, tag), expected) << header << " " << int{tag};
  ASSERT_EQ(index::match_lanes_portably(header, tag), expected) << header << " " << int{tag};
}

TEST(LocationLanes, GivenAnyHeader_WhenMatchedInEitherWay_ThenTheLanesWithTheTag) {
  // Every byte alone among equal others, against tags that differ in one bit and in all.
  for (unsigned byte = 0; byte < 8; ++byte)
    for (unsigned value = 0; value < 256; ++value)
      for (const uint64_t others : {uint64_t{0}, ~uint64_t{0}, uint64_t{0x8080808080808080}})
        for (const unsigned tag : {value, value ^ 1, value ^ 0x80, ~value & 0xFF, 0U, 0xFFU}) {
          const uint64_t mask = uint64_t{0xFF} << 8 * byte;
          expect_lanes((others & ~mask) | uint64_t{value} << 8 * byte, static_cast<uint8_t>(tag));
        }
  constexpr uint64_t kSeed = 49;
  Random random(kSeed);
  for (int i = 0; i < 100'000; ++i) {
    // Few different bytes, so that many lanes match.
    const uint64_t header = random.next() & (i % 2 == 0 ? ~uint64_t{0} : 0x8101010101010181);
    expect_lanes(header, static_cast<uint8_t>(header >> 8 * random.below(8)));
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace firn
