// SPDX-License-Identifier: Apache-2.0
//
// TokenIndex against a model, and its promises about memory and hostile tokens.
#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/index/token_index.h"

namespace firn {
namespace {

using Values = std::vector<uint64_t>;
using Model = std::unordered_map<uint64_t, Values>;

Values values_of(const TokenIndex& index, uint64_t token) {
  Values out;
  index.for_each(token, [&](uint64_t value) { out.push_back(value); });
  return out;
}

void expect_equal(const TokenIndex& index, const Model& model, uint64_t pruned) {
  uint64_t items = 0;
  for (const auto& [token, values] : model) {
    ASSERT_EQ(values_of(index, token), values) << token;
    items += values.size();
  }
  EXPECT_EQ(index.statistics().keys, model.size());
  EXPECT_EQ(index.statistics().items, items);
  EXPECT_EQ(index.statistics().pruned, pruned);
  Model seen;
  index.for_each_entry([&](uint64_t token, uint64_t value) { seen[token].push_back(value); });
  EXPECT_EQ(seen, model);
}

size_t model_prune(Model& model, uint64_t token, auto predicate) {
  const auto found = model.find(token);
  if (found == model.end()) return 0;
  const size_t pruned = std::erase_if(found->second, predicate);
  if (found->second.empty()) model.erase(found);
  return pruned;
}

// One cursor session of random steps, on the index and on a vector.
uint64_t run_cursor(TokenIndex& index, Model& model, uint64_t token, std::mt19937_64& random) {
  auto cursor = index.cursor(token);
  const auto found = model.find(token);
  EXPECT_EQ(cursor.has_value(), found != model.end());
  if (!cursor) return 0;
  Values& values = found->second;
  uint64_t pruned = 0;
  size_t next = 0;  // what the model's cursor yields next
  const size_t steps = random() % 12;
  for (size_t i = 0; i < steps; ++i) {
    const auto value = cursor->next();
    const bool active = next < values.size();
    EXPECT_EQ(value.has_value(), active);
    if (value.has_value() != active) return pruned;
    if (active) {
      EXPECT_EQ(*value, values[next++]);
    }
    const uint64_t fresh = random() % 1000;
    switch (random() % 4) {
      case 0:
        if (!active) break;
        cursor->update(fresh);
        values[next - 1] = fresh;
        break;
      case 1:
        cursor->insert(fresh);
        values.insert(values.begin() + static_cast<std::ptrdiff_t>(next), fresh);
        ++next;
        break;
      case 2:
        if (!active) break;
        cursor->remove();
        values.erase(values.begin() + static_cast<std::ptrdiff_t>(--next));
        ++pruned;
        break;
      default: break;
    }
  }
  if (values.empty()) model.erase(found);
  return pruned;
}

TEST(TokenIndexModel, GivenRandomOperations_WhenComparedWithAMap_ThenOrderAndCountsAgree) {
  for (const uint64_t seed : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    TokenIndex index(seed);
    Model model;
    uint64_t pruned = 0;
    // Few tokens make chains, many make shards grow and shrink.
    const uint64_t token_count = seed % 2 == 0 ? 300 : 20'000;
    for (int step = 0; step < 60'000; ++step) {
      const uint64_t token = random() % token_count;
      const uint64_t value = random() % 1000;
      const auto matches = [&](uint64_t v) { return v % 7 == value % 7; };
      switch (random() % 10) {
        case 0:
        case 1:
        case 2:
        case 3: {
          index.insert(token, value);
          Values& values = model[token];
          values.insert(values.begin() + (values.empty() ? 0 : 1), value);
          break;
        }
        case 4:
        case 5: {
          const bool vacant = !model.contains(token);
          index.insert_and_prune(token, value, matches);
          pruned += model_prune(model, token, matches);
          if (vacant || !matches(value)) model[token].push_back(value);
          break;
        }
        case 6:
          index.prune(token, matches);
          pruned += model_prune(model, token, matches);
          break;
        case 7:
          index.remove(token);
          pruned += model_prune(model, token, [](uint64_t) { return true; });
          break;
        default: pruned += run_cursor(index, model, token, random);
      }
      ASSERT_EQ(index.contains(token), model.contains(token));
      if (step % 20'000 == 19'999) {
        expect_equal(index, model, pruned);
        const auto small = [](uint64_t v) { return v < 700; };
        index.prune_all(small);
        Values tokens;
        for (const auto& entry : model)
          tokens.push_back(entry.first);
        for (const uint64_t each : tokens)
          pruned += model_prune(model, each, small);
        expect_equal(index, model, pruned);
      }
    }
    index.prune_all([](uint64_t) { return true; });
    EXPECT_EQ(index.statistics().items, 0U);
    EXPECT_LT(index.memory_bytes(), 64U * 1024);
  }
}

TEST(TokenIndexModel, GivenExtremeTokens_WhenStored_ThenNoneIsMistakenForAVacantSlot) {
  TokenIndex index(0);
  Model model;
  for (uint64_t shift = 0; shift < 64; ++shift) {
    for (const uint64_t token : {uint64_t{1} << shift, ~(uint64_t{1} << shift)}) {
      index.insert(token, shift);
      model[token].insert(model[token].begin() + (model[token].empty() ? 0 : 1), shift);
    }
  }
  for (const uint64_t token : {uint64_t{0}, ~uint64_t{0}}) {
    EXPECT_FALSE(index.contains(token));
    index.insert(token, TokenIndex::kValueMax);
    model[token] = {TokenIndex::kValueMax};
  }

  expect_equal(index, model, 0);
}

TEST(TokenIndexModel, GivenManyTokens_WhenLookedUpTogether_ThenSameAsOneByOne) {
  TokenIndex index(5);
  std::vector<uint64_t> tokens;
  for (uint64_t i = 0; i < 5000; ++i) {
    if (i % 3 != 0) index.insert(i * i, i);
    if (i % 5 == 0) index.insert(i * i, i + 1);
    tokens.push_back(i * i);
  }

  for (const size_t count : {0U, 1U, 15U, 16U, 17U, 5000U}) {
    std::vector<Values> found(count);
    index.find_many(std::span(tokens).first(count),
                    [&](size_t i, uint64_t value) { found[i].push_back(value); });
    for (size_t i = 0; i < count; ++i)
      ASSERT_EQ(found[i], values_of(index, tokens[i])) << i;
  }
}

void expect_short_probes(const std::vector<uint64_t>& tokens) {
  TokenIndex index(0x5eed);
  for (size_t i = 0; i < tokens.size(); ++i)
    index.insert(tokens[i], i);

  const TokenProbeStatistics probes = index.probe_statistics();

  EXPECT_EQ(index.statistics().keys, tokens.size());
  EXPECT_LE(probes.average, 6.0);
  EXPECT_LE(probes.max, 160U);
}

TEST(TokenIndexFlood, GivenChosenTokens_WhenInserted_ThenProbesStayShort) {
  constexpr uint64_t kTokens = 100'000;
  const auto series = [](auto token) {
    std::vector<uint64_t> tokens(kTokens);
    for (uint64_t i = 0; i < kTokens; ++i)
      tokens[i] = token(i);
    return tokens;
  };

  expect_short_probes(series([](uint64_t i) { return i; }));
  expect_short_probes(series([](uint64_t i) { return i << 32; }));
  expect_short_probes(series([](uint64_t i) { return i << 47 | 0x1234; }));
  expect_short_probes(series([](uint64_t i) { return i * 0x1'0000'0001; }));
  expect_short_probes(series([](uint64_t i) { return __builtin_bswap64(i); }));
  expect_short_probes(series([](uint64_t i) { return i * 0x9E3779B97F4A7C15; }));
}

TEST(TokenIndexFlood, GivenTwoSeeds_WhenSameTokensInserted_ThenLayoutsDiffer) {
  TokenIndex first(1);
  TokenIndex second(2);
  std::vector<uint64_t> first_order;
  std::vector<uint64_t> second_order;
  for (uint64_t token = 0; token < 100; ++token) {
    first.insert(token, 0);
    second.insert(token, 0);
  }

  first.for_each_entry([&](uint64_t token, uint64_t) { first_order.push_back(token); });
  second.for_each_entry([&](uint64_t token, uint64_t) { second_order.push_back(token); });

  EXPECT_NE(first_order, second_order);
  EXPECT_THAT(first_order, ::testing::UnorderedElementsAreArray(second_order));
}

double bytes_per_entry(const TokenIndex& index) {
  return static_cast<double>(index.memory_bytes()) / static_cast<double>(index.statistics().keys);
}

TEST(TokenIndexMemory, GivenOneValueEach_WhenGrowing_ThenAtMost20BytesAnEntryAtEverySize) {
  TokenIndex index(11);
  uint64_t token = 0;
  for (uint64_t size = 100'000; size <= 1'000'000; size += size / 40) {
    for (; token < size; ++token)
      index.insert(token * 0x9E3779B97F4A7C15, token);
    ASSERT_LE(bytes_per_entry(index), 20.0) << size;
  }
}

TEST(TokenIndexMemory, GivenFourMillionEntries_WhenMeasured_ThenAtMost20BytesAnEntry) {
  constexpr uint64_t kEntries = 4'000'000;
  TokenIndex index(12);

  for (uint64_t i = 0; i < kEntries; ++i)
    index.insert(i << 20, i);

  EXPECT_EQ(index.statistics().keys, kEntries);
  EXPECT_LE(bytes_per_entry(index), 20.0);
  EXPECT_LE(index.probe_statistics().average, 6.0);
}

TEST(TokenIndexMemory, GivenSharedTokens_WhenMeasured_ThenTwelveBytesForEachFurtherValue) {
  TokenIndex index(13);

  for (uint64_t i = 0; i < 1'000'000; ++i)
    index.insert(i % 10, i);

  EXPECT_LE(static_cast<double>(index.memory_bytes()) / 1e6, 12.3);
}

TEST(TokenIndexMemory, GivenChainsPrunedToOneValue_WhenMeasured_ThenNoNodeIsLeft) {
  TokenIndex single(15);
  TokenIndex pruned(15);
  for (uint64_t token = 0; token < 10'000; ++token) {
    single.insert(token, token);
    pruned.insert(token, token);
    pruned.insert(token, 20'000);
  }
  EXPECT_GT(pruned.memory_bytes(), single.memory_bytes());

  for (uint64_t token = 0; token < 10'000; ++token)
    pruned.prune(token, [](uint64_t value) { return value == 20'000; });

  EXPECT_EQ(pruned.memory_bytes(), single.memory_bytes());
}

TEST(TokenIndexMemory, GivenMostEntriesRemoved_WhenMeasured_ThenMemoryIsGivenBack) {
  TokenIndex index(14);
  for (uint64_t i = 0; i < 300'000; ++i)
    index.insert(i, i);

  for (uint64_t i = 0; i < 290'000; ++i)
    index.remove(i);

  EXPECT_EQ(index.statistics().keys, 10'000U);
  EXPECT_LE(bytes_per_entry(index), 48.0);
  for (uint64_t i = 0; i < 300'000; ++i)
    ASSERT_EQ(index.contains(i), i >= 290'000) << i;
}

}  // namespace
}  // namespace firn
