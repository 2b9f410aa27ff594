// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex under keys that somebody has made to collide: XXH3 multiplies the key with its
// secret, so that who knows the secret can make a factor 0, and the rest of that part of the key
// without any effect. Without the secret that does not work; with it, the index gets slow, no more.
#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/index/location_index_test_support.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace firn {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr uint64_t kAttackKeys = 400;  // more than the longest chain has room for

// Keys of equal XXH3 under a secret: their first eight bytes cancel it, so the next eight are free.
std::vector<Bytes> colliding_keys(ByteSpan secret) {
  std::vector<Bytes> keys;
  for (uint64_t number = 0; number < kAttackKeys; ++number) {
    Bytes key(kKeyBytes);
    copy_bytes(key, secret.first(sizeof number));
    store_little_endian(key.data() + sizeof number, number);
    keys.push_back(std::move(key));
  }
  return keys;
}

KeyHasher::Seed leaked_seed() {
  KeyHasher::Seed seed;
  for (size_t i = 0; i < seed.size(); ++i)
    seed[i] = static_cast<std::byte>(i * 7 + 1);
  return seed;
}

// As KeyHasher makes it of the seed.
std::vector<std::byte> secret_of(const KeyHasher::Seed& seed) {
  std::vector<std::byte> secret(192);
  XXH3_generateSecret(secret.data(), secret.size(), seed.data(), seed.size());
  return secret;
}

size_t different_hashes(const KeyHasher& hasher, const std::vector<Bytes>& keys) {
  std::set<uint64_t> hashes;
  for (const Bytes& key : keys)
    hashes.insert(hasher.hash(key).value);
  return hashes.size();
}

TEST(LocationAttack, GivenKeysThatCollideInPublicXxh3_WhenHashed_ThenTheSecretSpreadsThem) {
  const std::vector<Bytes> keys = colliding_keys(std::as_bytes(std::span(XXH3_kSecret)));
  for (const Bytes& key : keys)
    ASSERT_EQ(XXH3_64bits(key.data(), key.size()), XXH3_64bits(keys[0].data(), kKeyBytes));
  EXPECT_EQ(different_hashes(KeyHasher::random(), keys), kAttackKeys);
  EXPECT_EQ(different_hashes(KeyHasher::random(KeyHasher::Mode::hostile), keys), kAttackKeys);
}

TEST(LocationAttack, GivenASeedThatLeaked_WhenKeysCollide_ThenEachIsByItselfAndSipHashSpreadsThem) {
  const KeyHasher::Seed seed = leaked_seed();
  const std::vector<Bytes> keys = colliding_keys(secret_of(seed));
  const auto fast = *KeyHasher::create(KeyHasher::Mode::fast, seed);
  const auto hostile = *KeyHasher::create(KeyHasher::Mode::hostile, seed);
  ASSERT_EQ(different_hashes(fast, keys), 1U) << "the attack works";
  EXPECT_EQ(different_hashes(hostile, keys), kAttackKeys);

  for (const KeyHasher& hasher : {fast, hostile}) {
    EpochDomain domain;
    EpochSession session(domain);
    const auto index = std::move(*LocationIndex::open(domain, {.hasher = hasher}));
    const auto is = [](uint64_t key) {
      return [key](Location at) {
        return at.value % kAttackKeys == key ? KeyMatch::same : KeyMatch::different;
      };
    };
    const auto find = [&](uint64_t key) {
      return index->find(session, index->hash(keys[key]), is(key)).location;
    };
    const auto at = [](uint64_t key) { return Location(kAttackKeys + key); };
    for (uint64_t key = 0; key < kAttackKeys; ++key)
      ASSERT_EQ(index->put(session, index->hash(keys[key]), at(key), is(key)), LocationOutcome{});
    EXPECT_EQ(index->statistics(session).stashed_entries != 0, hasher.mode() == fast.mode());
    for (uint64_t key = 0; key < kAttackKeys; key += 2)
      ASSERT_EQ(index->remove(session, index->hash(keys[key]), is(key)).location, at(key));
    for (uint64_t key = 0; key < kAttackKeys; ++key)
      ASSERT_EQ(find(key), key % 2 == 0 ? Location() : at(key)) << key;
    EXPECT_EQ(index->size(), kAttackKeys / 2);
  }
}

}  // namespace
}  // namespace firn
