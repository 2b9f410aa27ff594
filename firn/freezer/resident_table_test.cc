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
      group.push_back({hashes_of(table, record), std::nullopt});
    table.add_replayed({kSection, Position(first)}, group);
  }
  table.end_replay();

  EXPECT_EQ(table.count(), kRecords);
  uint64_t missed = 0;
  for (uint64_t record = 0; record < kRecords; ++record) {
    bool is_found = false;
    table.for_each_candidate(hashes_of(table, record).fingerprint, [&](RecordPlace place) {
      is_found |= place == RecordPlace{kSection, Position(record)};
    });
    missed += is_found ? 0 : 1;
  }
  EXPECT_EQ(missed, 0u);
  EXPECT_EQ(table.shared_fingerprints().size(), kRecords / 3);
}

TEST(ResidentTable, GivenAReplayThatFailed_WhenTheTableIsDestroyed_ThenItWaitsForItsThread) {
  ResidentTable table(1, 7);
  table.reserve(kRecords);
  std::vector<ResidentTable::Replayed> group;
  for (uint64_t record = 0; record < kRecords / 2; ++record)
    group.push_back({hashes_of(table, record), std::nullopt});
  table.add_replayed({kSection, Position(0)}, group);
}

}  // namespace
}  // namespace firn::freezer
