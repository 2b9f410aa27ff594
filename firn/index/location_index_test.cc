// SPDX-License-Identifier: Apache-2.0
//
// What callers may rely on: the operations, one thread, keys with ordinary hashes.
#include "firn/index/location_index.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/units.h"
#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr LocationOutcome kNothing{};

KeyHash hash_number(uint64_t number) {
  return KeyHash(mixed(number));
}

KeyMatch never(Location) {
  ADD_FAILURE() << "no predicate is needed";
  return KeyMatch::failed;
}

TEST(LocationIndex, GivenAnEmptyIndex_WhenPut_ThenNothingWasThereAndItIsFound) {
  IndexUnderTest index;
  EXPECT_EQ(index.put("alpha"), kNothing);
  EXPECT_EQ(index.find("alpha"), 1u);
  EXPECT_EQ(index.find("beta"), 0u);
  EXPECT_EQ(index->size(), 1u);
}

TEST(LocationIndex, GivenAKey_WhenPutAgain_ThenThePreviousLocationIsReturned) {
  IndexUnderTest index;
  (void)index.put("alpha");
  EXPECT_EQ(index.put("alpha").location, Location(1));
  EXPECT_EQ(index.find("alpha"), 2u);
  EXPECT_EQ(index->size(), 1u);
}

TEST(LocationIndex, GivenAKey_WhenRemoved_ThenItsLocationIsReturnedAndItIsGone) {
  IndexUnderTest index;
  (void)index.put("alpha");
  EXPECT_EQ(index.remove("alpha").location, Location(1));
  EXPECT_EQ(index.find("alpha"), 0u);
  EXPECT_EQ(index.remove("alpha"), kNothing);
  EXPECT_EQ(index->size(), 0u);
}

TEST(LocationIndex, GivenARemovedKey_WhenPutAgain_ThenNothingWasThere) {
  IndexUnderTest index;
  (void)index.put("alpha");
  (void)index.remove("alpha");
  EXPECT_EQ(index.put("alpha"), kNothing);
  EXPECT_EQ(index.find("alpha"), 2u);
}

TEST(LocationIndex, GivenManyKeys_WhenCounted_ThenSizeIsTheirNumber) {
  IndexUnderTest index;
  for (int i = 0; i < 200; ++i)
    (void)index.put("k" + std::to_string(i));
  EXPECT_EQ(index->size(), 200u);
  EXPECT_EQ(index.entries().size(), 200u);
}

TEST(LocationIndex, GivenKeys_WhenCleared_ThenEmptyAndUsable) {
  IndexUnderTest index;
  for (int i = 0; i < 5000; ++i)
    (void)index.put("k" + std::to_string(i));
  EXPECT_EQ(index->clear(index.session()), LocationStatus::done);
  EXPECT_EQ(index->size(), 0u);
  EXPECT_THAT(index.entries(), IsEmpty());
  EXPECT_EQ(index.find("k1"), 0u);
  EXPECT_EQ(index.put("k1"), kNothing);
  EXPECT_EQ(index->size(), 1u);
}

TEST(LocationIndex, GivenEqualAndDifferentBytes_WhenHashed_ThenHashesSaySo) {
  IndexUnderTest index;
  EXPECT_EQ(index->hash(as_bytes("deterministic")), index->hash(as_bytes("deterministic")));
  EXPECT_NE(index->hash(as_bytes("deterministic")), index->hash(as_bytes("different")));
  EXPECT_NE(index->hash(as_bytes("key"), 1), index->hash(as_bytes("key"), 2));
}

TEST(LocationIndex, GivenKeysOfNoBytesAndOfAMebibyte_WhenPut_ThenFound) {
  IndexUnderTest index;
  const std::string large(kMiB, 'x');
  (void)index.put("");
  (void)index.put(large);
  EXPECT_EQ(index.find(""), 1u);
  EXPECT_EQ(index.find(large), 2u);
}

TEST(LocationIndex, GivenLocationsZeroAndPastTheLimit_WhenPut_ThenRefused) {
  IndexUnderTest index;
  auto& session = index.session();
  constexpr LocationOutcome kBad{.status = LocationStatus::bad_location};
  for (const uint64_t bad : {uint64_t{0}, kLocationMax + 1, UINT64_MAX}) {
    EXPECT_EQ(index->put(session, hash_number(7), Location(bad), never), kBad);
    EXPECT_EQ(index->put_if_newer(session, hash_number(7), Location(bad), never,
                                  [](Location) { return true; }),
              kBad);
    EXPECT_EQ(index->compare_and_replace(session, hash_number(7), Location(1), Location(bad)),
              kBad);
    EXPECT_EQ(index->compare_and_replace(session, hash_number(7), Location(bad), Location(1)),
              kBad);
    const LocationEntry entry{.hash = hash_number(7), .location = Location(bad)};
    EXPECT_EQ(index->put_many(session, {&entry, 1}, {}, AnyKey{}),
              (LocationBatchOutcome{.status = LocationStatus::bad_location, .completed = 0}));
  }
  EXPECT_EQ(index->size(), 0u);
}

TEST(LocationIndex, GivenTheLargestLocation_WhenPutAndMoved_ThenItIsKept) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index->put(session, KeyHash(UINT64_MAX), Location(kLocationMax), never);
  EXPECT_EQ(index->reserve(session, 100'000), LocationStatus::done);
  EXPECT_EQ(index->find(session, KeyHash(UINT64_MAX), AnyKey{}).location, Location(kLocationMax));
}

TEST(LocationIndex, GivenTooManyShards_WhenOpened_ThenInvalidArgument) {
  EpochDomain domain;
  const auto opened = LocationIndex::open(domain, {.shard_bits = 13});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::invalid_argument);
}

TEST(LocationIndex, GivenTooLittleMemory_WhenOpened_ThenNoSpace) {
  EpochDomain domain;
  const auto opened =
      LocationIndex::open(domain, {.expected_entries = 10'000'000, .memory_bytes_max = kMiB});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::no_space);
}

TEST(LocationIndex, GivenAnOlderAndANewerRecord_WhenPutIfNewer_ThenTheNewerOneStays) {
  IndexUnderTest index;
  auto& session = index.session();
  const KeyHash hash = hash_number(42);
  const auto put = [&](uint64_t at) {
    return index->put_if_newer(session, hash, Location(at), AnyKey{},
                               [&](Location existing) { return at > existing.value; });
  };
  EXPECT_EQ(put(200), kNothing);
  EXPECT_EQ(put(100), (LocationOutcome{.status = LocationStatus::kept, .location = Location(200)}));
  EXPECT_EQ(put(300), (LocationOutcome{.location = Location(200)}));
  EXPECT_EQ(index->find(session, hash, AnyKey{}).location, Location(300));
  EXPECT_EQ(index->size(), 1u);
}

TEST(LocationIndex, GivenALocation_WhenComparedAndReplaced_ThenOnlyThatOneChanges) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index.put("alpha", hash_number(42));
  constexpr LocationOutcome kKept{.status = LocationStatus::kept};
  EXPECT_EQ(index->compare_and_replace(session, hash_number(42), Location(9), Location(10)), kKept);
  EXPECT_EQ(index->compare_and_replace(session, hash_number(43), Location(1), Location(10)), kKept);
  EXPECT_EQ(index->compare_and_replace(session, hash_number(42), Location(1), Location(10)),
            (LocationOutcome{.location = Location(1)}));
  EXPECT_EQ(index->find(session, hash_number(42), AnyKey{}).location, Location(10));
}

TEST(LocationIndex, GivenALocationInThePredicate_WhenRemoved_ThenOnlyIfItIsStillThere) {
  IndexUnderTest index;
  auto& session = index.session();
  const auto remove_if_at = [&](uint64_t at) {
    return index->remove(session, hash_number(42), [&](Location location) {
      return location.value == at ? KeyMatch::same : KeyMatch::different;
    });
  };
  (void)index.put("alpha", hash_number(42));
  EXPECT_EQ(remove_if_at(2), kNothing);
  EXPECT_EQ(remove_if_at(1).location, Location(1));
}

class LocationBatches : public ::testing::TestWithParam<size_t> {};

TEST_P(LocationBatches, WhenManyArePutAndFound_ThenAsOneByOne) {
  const size_t count = GetParam();
  IndexUnderTest index;
  auto& session = index.session();
  std::vector<LocationEntry> entries;
  std::vector<KeyHash> hashes;
  for (uint64_t i = 0; i < count; ++i) {
    entries.push_back({.hash = KeyHash(mixed(i)), .location = Location(i + 1)});
    hashes.emplace_back(mixed(i));
  }
  std::vector<Location> previous(count, Location(77));
  EXPECT_EQ(index->put_many(session, entries, previous, AnyKey{}),
            (LocationBatchOutcome{.completed = count}));
  EXPECT_EQ(previous, std::vector<Location>(count));
  for (LocationEntry& entry : entries)
    entry.location.value += count;
  EXPECT_EQ(index->put_many(session, entries, previous, AnyKey{}).completed, count);
  for (uint64_t i = 0; i < count; ++i)
    EXPECT_EQ(previous[i], Location(i + 1));

  hashes.emplace_back(mixed(count));  // absent
  std::vector<Location> found(hashes.size(), Location(77));
  EXPECT_EQ(index->find_many(session, hashes, found, AnyKey{}).completed, count + 1);
  for (uint64_t i = 0; i < count; ++i)
    EXPECT_EQ(found[i], Location(count + i + 1));
  EXPECT_EQ(found[count], Location(0));
}

INSTANTIATE_TEST_SUITE_P(Sizes, LocationBatches,
                         ::testing::Values(0, 1, 63, 64, 65, 127, 128, 129, 1000, 20'000));

TEST(LocationIndex, GivenACandidateOfAnotherKey_WhenManyAreFound_ThenThePredicateDecidesByItem) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index.put("first", hash_number(42));
  (void)index.put("second", hash_number(42));
  const std::array hashes{hash_number(42), hash_number(42), hash_number(42)};
  const std::array<std::string, 3> keys{"second", "third", "first"};
  std::array<Location, 3> found;
  const auto same_key = [&](size_t i, Location at) { return index.is(keys.at(i))(at); };
  EXPECT_EQ(index->find_many(session, hashes, found, same_key).status, LocationStatus::done);
  EXPECT_THAT(found, ElementsAre(Location(2), Location(0), Location(1)));
}

TEST(LocationIndex, GivenABatchWhoseMiddleFails_WhenPut_ThenTheItemsBeforeItAreDone) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index.put("there", hash_number(2));
  const std::array<LocationEntry, 3> entries{{{hash_number(1), Location(11)},
                                              {hash_number(2), Location(12)},
                                              {hash_number(3), Location(13)}}};
  const auto failing = [](size_t, Location) { return KeyMatch::failed; };
  EXPECT_EQ(index->put_many(session, entries, {}, failing),
            (LocationBatchOutcome{.status = LocationStatus::predicate_failed, .completed = 1}));
  EXPECT_EQ(index->size(), 2u);
  const std::array hashes{hash_number(1), hash_number(3), hash_number(2)};
  std::array<Location, 3> found;
  EXPECT_EQ(index->find_many(
                session, hashes, found,
                [](size_t i, Location) { return i == 0 ? KeyMatch::same : KeyMatch::failed; }),
            (LocationBatchOutcome{.status = LocationStatus::predicate_failed, .completed = 2}));
}

TEST(LocationIndex, GivenAnEntryBeyondItsFullHome_WhenALaterItemFails_ThenItIsFoundAllTheSame) {
  IndexUnderTest index;
  auto& session = index.session();
  constexpr uint64_t kBeyondABucket = 10;
  for (uint64_t i = 1; i <= kBeyondABucket; ++i)
    (void)index.put("k" + std::to_string(i), hash_number(42));
  (void)index.put("fails", hash_number(7));
  const std::array hashes{hash_number(42), hash_number(7), hash_number(42)};
  std::array<Location, 3> found;
  const auto same_key = [&](size_t i, Location at) {
    return i == 1 ? KeyMatch::failed : index.is("k10")(at);
  };
  EXPECT_EQ(index->find_many(session, hashes, found, same_key),
            (LocationBatchOutcome{.status = LocationStatus::predicate_failed, .completed = 1}));
  EXPECT_EQ(found.front(), Location(kBeyondABucket));
}

TEST(LocationIndex, GivenAPredicateThatFails_WhenAsked_ThenItIsReportedAndNothingChanged) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index.put("first", hash_number(42));
  const auto failing = [](Location) { return KeyMatch::failed; };
  constexpr LocationOutcome kFailed{.status = LocationStatus::predicate_failed};
  EXPECT_EQ(index->find(session, hash_number(42), failing), kFailed);
  EXPECT_EQ(index->put(session, hash_number(42), Location(9), failing), kFailed);
  EXPECT_EQ(index->remove(session, hash_number(42), failing), kFailed);
  EXPECT_EQ(index->size(), 1u);
  EXPECT_EQ(index.find("first", hash_number(42)), 1u);
}

TEST(LocationIndex, GivenAPredicateThatUsesTheIndex_WhenAsked_ThenReadsWorkAndChangesAreRefused) {
  IndexUnderTest index;
  auto& session = index.session();
  (void)index.put("first", hash_number(42));
  EpochSession another(index.domain());
  constexpr LocationOutcome kReentered{.status = LocationStatus::reentered};
  const auto entering = [&](Location at) {
    EXPECT_EQ(index->find(session, hash_number(42), AnyKey{}).location, at);
    EXPECT_EQ(index->put(session, hash_number(42), Location(5), AnyKey{}), kReentered);
    EXPECT_EQ(index->remove(session, hash_number(42), AnyKey{}), kReentered);
    EXPECT_EQ(index->compare_and_replace(session, hash_number(42), at, Location(5)), kReentered);
    EXPECT_EQ(index->clear(session), LocationStatus::reentered);
    EXPECT_EQ(index->reserve(session, 1'000'000), LocationStatus::reentered);
    EXPECT_EQ(index->shrink(session), LocationStatus::reentered);
    EXPECT_EQ(index->put(another, hash_number(43), Location(8), AnyKey{}).status,
              LocationStatus::done);
    return KeyMatch::different;
  };
  EXPECT_EQ(index->find(session, hash_number(42), entering), kNothing);
  EXPECT_EQ(index->put(session, hash_number(42), Location(7), entering), kNothing);
  EXPECT_EQ(index->size(), 3u);
}

TEST(LocationIndex, GivenRandomOperations_WhenComparedWithAMultimap_ThenTheyAgree) {
  const uint64_t seed = 20'261'121;
  Random random(seed);
  IndexUnderTest index({.shard_bits = 2});
  auto& session = index.session();
  // Hashes of few bits: many keys share one.
  std::unordered_multimap<uint64_t, std::pair<std::string, uint64_t>> model;
  const auto in_model = [&](uint64_t hash, const std::string& key) {
    const auto range = model.equal_range(hash);
    return std::find_if(range.first, range.second,
                        [&](const auto& item) { return item.second.first == key; });
  };
  for (int step = 0; step < 200'000; ++step) {
    const uint64_t number = random.below(step < 100'000 ? 20'000 : 500);
    const std::string key = "key" + std::to_string(number);
    const uint64_t hash = mixed(number % 8'000) >> 33 << 33;  // all that is kept with 4 shards
    const auto range = model.equal_range(hash);
    auto expected = in_model(hash, key);
    const bool present = expected != range.second;
    const uint64_t at = present ? expected->second.second : 0;
    switch (random.below(4)) {
      case 0:
      case 1: {
        const LocationOutcome outcome = index.put(key, KeyHash(hash));
        ASSERT_EQ(outcome.location.value, at) << "seed " << seed << " step " << step;
        if (present) model.erase(expected);
        model.emplace(hash, std::pair(key, index.find(key, KeyHash(hash))));
        break;
      }
      case 2:
        ASSERT_EQ(index.remove(key, KeyHash(hash)).location.value, at) << seed << " " << step;
        if (present) model.erase(expected);
        break;
      default: ASSERT_EQ(index.find(key, KeyHash(hash)), at) << seed << " " << step;
    }
    ASSERT_EQ(index->size(), model.size());
  }
  std::array<Location, 16> candidates;
  std::map<uint64_t, uint64_t> all;
  for (const auto& [hash, item] : model) {
    EXPECT_EQ(index->candidates(session, KeyHash(hash), candidates), model.count(hash));
    all.emplace(item.second, hash);
  }
  std::map<uint64_t, uint64_t> visited;
  for (const auto& [at, hash] : index.entries())
    visited.emplace(at, hash.value);
  EXPECT_EQ(visited, all);
}

TEST(LocationIndex, GivenAPredicateThatThrows_WhenAsked_ThenTheSessionCanChangeTheIndexAfterwards) {
  IndexUnderTest index;
  const KeyHash hash = index->hash(as_bytes("key"));
  ASSERT_TRUE(index.put("key").ok());
  struct Thrown {};
  const auto throws = [](Location) -> KeyMatch { throw Thrown(); };
  const auto throws_in_batch = [](size_t, Location) -> KeyMatch { throw Thrown(); };
  auto& session = index.session();
  std::array<Location, 1> locations;
  const std::array entries = {LocationEntry{.hash = hash, .location = Location(9)}};
  EXPECT_THROW((void)index->find(session, hash, throws), Thrown);
  EXPECT_THROW((void)index->find_many(session, std::array{hash}, locations, throws_in_batch),
               Thrown);
  EXPECT_THROW((void)index->put(session, hash, Location(9), throws), Thrown);
  EXPECT_THROW((void)index->put_many(session, entries, {}, throws_in_batch), Thrown);
  EXPECT_THROW((void)index->put_if_newer(session, hash, Location(9), AnyKey{},
                                         [](Location) -> bool { throw Thrown(); }),
               Thrown);
  EXPECT_THROW((void)index->remove(session, hash, throws), Thrown);
  EXPECT_FALSE(session.pinned());
  EXPECT_EQ(index.remove("key"), (LocationOutcome{.location = Location(1)}));
  EXPECT_EQ(index->size(), 0U);
}

}  // namespace
}  // namespace firn
