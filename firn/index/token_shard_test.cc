// SPDX-License-Identifier: Apache-2.0
#include "firn/index/token_shard.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace firn::index {
namespace {

constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();

TEST(TokenShard, GivenLargestToken_WhenAbsent_ThenNotMistakenForAVacantSlot) {
  TokenShard shard;
  EXPECT_EQ(shard.find_or_insert(1, 10), TokenShard::kNoSlot);
  EXPECT_EQ(shard.find(kLargest), TokenShard::kNoSlot);

  EXPECT_EQ(shard.find_or_insert(kLargest, 20), TokenShard::kNoSlot);

  ASSERT_NE(shard.find(kLargest), TokenShard::kNoSlot);
  EXPECT_EQ(shard.word(shard.find(kLargest)), 20U);
  EXPECT_EQ(shard.word(shard.find(1)), 10U);
}

// Only someone who knows the seed could do this: all tokens want the last home slot.
TEST(TokenShard, GivenTokensOfOneHome_WhenInserted_ThenMemoryStaysProportionalAndAllAreFound) {
  constexpr uint64_t kEntries = 5000;
  TokenShard shard;

  for (uint64_t i = 0; i < kEntries; ++i)
    EXPECT_EQ(shard.find_or_insert(kLargest - i, i), TokenShard::kNoSlot);

  EXPECT_LE(shard.memory_bytes(), kEntries * 16 * 3);
  EXPECT_GE(shard.probe_lengths().max, kEntries / 2);
  for (uint64_t i = 0; i < kEntries; ++i) {
    const size_t slot = shard.find(kLargest - i);
    ASSERT_NE(slot, TokenShard::kNoSlot) << i;
    ASSERT_EQ(shard.word(slot), i);
  }
}

TEST(TokenShard, GivenEntries_WhenErasedUntilEmpty_ThenShrinkReleasesEverything) {
  TokenShard shard;
  constexpr uint64_t kStep = uint64_t{1} << 45;
  for (uint64_t i = 0; i < 2000; ++i)
    EXPECT_EQ(shard.find_or_insert(i * kStep, i), TokenShard::kNoSlot);
  const size_t memory_full = shard.memory_bytes();

  for (uint64_t i = 0; i < 1900; ++i)
    shard.erase(shard.find(i * kStep));
  shard.shrink_if_sparse();
  EXPECT_LE(shard.memory_bytes(), memory_full / 8);
  for (uint64_t i = 0; i < 2000; ++i)
    ASSERT_EQ(shard.find(i * kStep) != TokenShard::kNoSlot, i >= 1900) << i;

  for (uint64_t i = 1900; i < 2000; ++i)
    shard.erase(shard.find(i * kStep));
  shard.shrink_if_sparse();
  EXPECT_EQ(shard.memory_bytes(), 0U);
}

}  // namespace
}  // namespace firn::index
