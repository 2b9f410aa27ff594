// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex: what its operations write that other threads see, counted. Readers write nothing
// but their own session's word, a replace or a remove is one compare-and-swap.
#include <algorithm>
#include <array>
#include <ostream>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

// Writes of one operation. Its pin and the end of it are not among them.
struct Writes {
  uint64_t swaps = 0;   // compare-and-swap, taken locks included
  uint64_t adds = 0;    // to counts
  uint64_t stores = 0;  // of tags, words and released locks
  friend bool operator==(const Writes&, const Writes&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Writes& writes) {
    return out << writes.swaps << " swaps, " << writes.adds << " adds, " << writes.stores
               << " stores";
  }
};

struct CountingPolicy : LocationPolicy {
  struct Counts {
    Writes writes;
    uint64_t pins = 0;
    const Word* session = nullptr;
    std::vector<LocationPoint> reads;  // of tables and headers
  };
  static Counts& counts() {
    static Counts counts;
    return counts;
  }

  static void store(Word& word, uint64_t value, std::memory_order order) {
    if (&word != counts().session) ++counts().writes.stores;
    LocationPolicy::store(word, value, order);
  }
  static bool compare_exchange(Word& word, uint64_t& expected, uint64_t desired) {
    ++counts().writes.swaps;
    return LocationPolicy::compare_exchange(word, expected, desired);
  }
  static uint64_t exchange(Word& word, uint64_t value) {
    ++counts().writes.swaps;
    return LocationPolicy::exchange(word, value);
  }
  static uint64_t fetch_add(Word& word, uint64_t value) {
    ++counts().writes.adds;
    return LocationPolicy::fetch_add(word, value);
  }
  static void announce(Word& word, uint64_t value) {
    counts().session = &word;
    ++counts().pins;
    LocationPolicy::announce(word, value);
  }
  static void reach(LocationPoint point) {
    if (point == LocationPoint::table_read || point == LocationPoint::header_read)
      counts().reads.push_back(point);
  }
};

class LocationAccesses : public ::testing::Test {
 protected:
  static constexpr uint64_t kKeys = 1000;

  // The tables are nearly empty: each key is in its home.
  static KeyHash hash(uint64_t key) { return KeyHash(mixed(key)); }

  LocationAccesses() {
    EXPECT_EQ(index_->reserve(session_, 100 * kKeys), LocationStatus::done);
    for (uint64_t key = 0; key < kKeys; ++key)
      EXPECT_TRUE(index_->put(session_, hash(key), Location(key + 1), AnyKey{}).ok());
  }

  template <class Operation>
  static Writes writes_of(Operation&& operation) {
    CountingPolicy::counts() = {};
    operation();
    EXPECT_EQ(CountingPolicy::counts().pins, 1u);
    return CountingPolicy::counts().writes;
  }

  BasicIndexUnderTest<CountingPolicy> index_;
  BasicEpochSession<CountingPolicy>& session_ = index_.session();
};

TEST_F(LocationAccesses, WhenRead_ThenNothingSharedIsWritten) {
  std::vector<KeyHash> hashes;
  for (uint64_t key = 0; key < 2 * kKeys; ++key)
    hashes.push_back(hash(key));
  const auto batch = std::span(hashes).last(128);
  std::vector<Location> found(batch.size());
  for (const KeyHash one : hashes) {
    EXPECT_EQ(writes_of([&] { (void)index_->find(session_, one, AnyKey{}); }), Writes{});
    EXPECT_EQ(writes_of([&] { (void)index_->candidates(session_, one, found); }), Writes{});
  }
  EXPECT_EQ(writes_of([&] { (void)index_->find_many(session_, batch, found, AnyKey{}); }),
            Writes{});
}

TEST_F(LocationAccesses, WhenTheTablesMove_ThenReadersWriteNothingEither) {
  BasicIndexUnderTest<CountingPolicy> index({.shard_bits = 0});
  auto& session = index.session();
  uint64_t keys = 0;
  for (; keys < kKeys || index->statistics(session).shards_growing == 0; ++keys)
    ASSERT_TRUE(index->put(session, hash(keys), Location(keys + 1), AnyKey{}).ok());
  std::vector<KeyHash> hashes;
  std::vector<Location> locations;
  for (uint64_t key = 0; key < keys; ++key) {
    hashes.push_back(hash(key));
    locations.emplace_back(key + 1);
  }
  const auto find = [&](uint64_t key) {
    EXPECT_EQ(index->find(session, hashes[key], AnyKey{}).location, locations[key]);
  };
  for (uint64_t key = 0; key < keys; ++key)
    EXPECT_EQ(writes_of([&] { find(key); }), Writes{});
  std::vector<Location> found(keys);
  EXPECT_EQ(writes_of([&] { (void)index->find_many(session, hashes, found, AnyKey{}); }), Writes{});
  EXPECT_EQ(found, locations);
}

// Each home that is known is being loaded meanwhile.
TEST_F(LocationAccesses, WhenManyAreFound_ThenTheHomesOfTheNextOnesAreKnownWhenOneIsRead) {
  std::vector<KeyHash> hashes;
  for (uint64_t key = 0; key < 128; ++key)
    hashes.push_back(hash(key));
  std::vector<Location> found(hashes.size());
  (void)writes_of([&] { (void)index_->find_many(session_, hashes, found, AnyKey{}); });
  size_t known = 0;
  size_t read = 0;
  for (const LocationPoint point : CountingPolicy::counts().reads) {
    ++(point == LocationPoint::table_read ? known : read);
    if (point == LocationPoint::table_read) continue;
    EXPECT_GE(known, std::min<size_t>(hashes.size(), read + 16)) << "at item " << read;
  }
  EXPECT_EQ(known, hashes.size());
  EXPECT_EQ(read, hashes.size());
}

TEST_F(LocationAccesses, WhenAPresentKeyChanges_ThenOneCompareAndSwap) {
  for (uint64_t key = 0; key < kKeys; ++key) {
    const Location next(key + 1 + kKeys);
    const Location last(key + 1 + 2 * kKeys);
    EXPECT_EQ(writes_of([&] { (void)index_->put(session_, hash(key), next, AnyKey{}); }),
              (Writes{.swaps = 1}));
    EXPECT_EQ(
        writes_of([&] { (void)index_->compare_and_replace(session_, hash(key), next, last); }),
        (Writes{.swaps = 1}));
    EXPECT_EQ(writes_of([&] { (void)index_->remove(session_, hash(key), AnyKey{}); }),
              (Writes{.swaps = 1, .adds = 1}));
  }
  EXPECT_EQ(index_->size(), 0u);
}

TEST_F(LocationAccesses, WhenAKeyIsNew_ThenOneLockOneCountAndThreeStores) {
  for (uint64_t key = kKeys; key < 2 * kKeys; ++key)
    EXPECT_EQ(
        writes_of([&] { (void)index_->put(session_, hash(key), Location(key + 1), AnyKey{}); }),
        (Writes{.swaps = 1, .adds = 1, .stores = 3}));
}

TEST_F(LocationAccesses, WhenNothingIsToBeChanged_ThenNothingIsWritten) {
  const KeyHash there = hash(1);
  const KeyHash absent = hash(kKeys);
  const auto failing = [](Location) { return KeyMatch::failed; };
  const auto older = [](Location) { return false; };
  const std::array<Writes, 5> all = {
      writes_of([&] { (void)index_->remove(session_, absent, AnyKey{}); }),
      writes_of(
          [&] { (void)index_->compare_and_replace(session_, there, Location(1), Location(9)); }),
      writes_of([&] { (void)index_->put(session_, there, Location(9), failing); }),
      writes_of([&] { (void)index_->remove(session_, there, failing); }),
      writes_of([&] { (void)index_->put_if_newer(session_, there, Location(9), AnyKey{}, older); }),
  };
  for (const Writes& writes : all)
    EXPECT_EQ(writes, Writes{});
}

}  // namespace
}  // namespace firn
