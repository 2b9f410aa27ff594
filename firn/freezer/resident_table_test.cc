// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/resident_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace firn::freezer {
namespace {

constexpr Section kSection{3};
// More than two of the portions that are inserted beside a replay, and a part of one.
constexpr uint64_t kRecords = 600'000;
constexpr size_t kGroup = 4096;
constexpr uint64_t kValueBytes = 100;

// Keys of 8 bytes; every third one was put before.
uint64_t key_number(uint64_t record) {
  return record % 3 == 2 ? record - 1 : record;
}

ResidentTable::KeyHashes hashes_of(const ResidentTable& table, uint64_t record) {
  std::array<std::byte, 8> key;
  const uint64_t number = key_number(record);
  std::memcpy(key.data(), &number, key.size());
  return table.hash(key);
}

TEST(ResidentTable, GivenAReplayOfManyRecords_WhenItEnded_ThenEachIsAmongTheCandidatesOfItsKey) {
  ResidentTable table(ResidentTable::size_for(kRecords, 1), 7);
  std::vector<ResidentTable::Replayed> group;
  table.reserve(kRecords);
  for (uint64_t first = 0; first < kRecords; first += kGroup) {
    group.clear();
    for (uint64_t record = first; record < std::min(first + kGroup, kRecords); ++record)
      group.push_back({hashes_of(table, record), std::nullopt, record * kValueBytes});
    table.add_replayed({kSection, Position(first)}, group);
  }
  table.end_replay();

  EXPECT_EQ(table.count(), kRecords);
  uint64_t missed = 0;
  for (uint64_t record = 0; record < kRecords; ++record) {
    bool is_found = false;
    table.for_each_candidate(hashes_of(table, record).fingerprint,
                             [&](RecordPlace place, uint64_t value) {
                               if (place != RecordPlace{kSection, Position(record)}) return;
                               is_found = value == record * kValueBytes / 64 * 64;
                             });
    missed += is_found ? 0 : 1;
  }
  EXPECT_EQ(missed, 0u);
  EXPECT_EQ(table.shared_fingerprints().size(), kRecords / 3);
}

// Beyond 2^37 bytes the hint about the value is wrong, and nothing else.
TEST(ResidentTable,
     GivenValuesAtAnyOffset_WhenAdded_ThenThePlacesAreRightAndAKeyIsForgottenByThem) {
  ResidentTable table(1, 7);
  const auto hashes = hashes_of(table, 0);
  const uint64_t offsets[] = {0, uint64_t{1} << 36, (uint64_t{1} << 37) + 64, UINT64_MAX};
  const uint64_t hints[] = {0, uint64_t{1} << 36, 64, (uint64_t{1} << 37) - 64};
  for (uint64_t i = 0; i < 4; ++i)
    EXPECT_EQ(table.add({kSection, Position(i)}, hashes, offsets[i]), i > 0);

  std::array<int, 4> seen{};
  table.for_each_candidate(hashes.fingerprint, [&](RecordPlace place, uint64_t value) {
    const uint64_t i = place.position.value;
    ASSERT_LT(i, 4u);
    ++seen[i];
    EXPECT_EQ(value, hints[i]);
  });
  EXPECT_EQ(seen, (std::array<int, 4>{1, 1, 1, 1}));
  table.forget(hashes.fingerprint, {kSection, Position(3)});
  table.for_each_candidate(hashes.fingerprint, [&](RecordPlace place, uint64_t) {
    EXPECT_NE(place.position, Position(3));
  });
}

// A reader of the old heads waits for a step, however many records there are.
TEST(ResidentTable, GivenADoubling_WhenItIsFinished_ThenItGoesBySteps) {
  constexpr uint64_t kReplayed = 1 << 16;
  ResidentTable table(kReplayed / 2, 7);
  std::vector<ResidentTable::Replayed> group;
  table.reserve(kReplayed);
  for (uint64_t record = 0; record < kReplayed; ++record)
    group.push_back({hashes_of(table, record), std::nullopt, 0});
  table.add_replayed({kSection, Position(0)}, group);
  table.end_replay();
  EXPECT_TRUE(table.go_on_doubling());

  ASSERT_FALSE(table.add({kSection, Position(kReplayed)}, hashes_of(table, kReplayed), 0));

  ASSERT_TRUE(table.is_doubling());
  int steps = 1;
  while (!table.go_on_doubling()) {
    EXPECT_EQ(table.size(), kReplayed / 2);
    ++steps;
  }
  EXPECT_EQ(steps, 4);
  EXPECT_FALSE(table.is_doubling());
  EXPECT_EQ(table.size(), kReplayed);
  EXPECT_EQ(table.head(hashes_of(table, kReplayed).position_hash),
            (RecordPlace{kSection, Position(kReplayed)}));
}

TEST(ResidentTable, GivenAReplayThatFailed_WhenTheTableIsDestroyed_ThenItWaitsForItsThread) {
  ResidentTable table(1, 7);
  table.reserve(kRecords);
  std::vector<ResidentTable::Replayed> group;
  for (uint64_t record = 0; record < kRecords / 2; ++record)
    group.push_back({hashes_of(table, record), std::nullopt, 0});
  table.add_replayed({kSection, Position(0)}, group);
}

}  // namespace
}  // namespace firn::freezer
