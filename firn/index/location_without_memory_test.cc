// SPDX-License-Identifier: Apache-2.0
//
// Every allocation of every operation of LocationIndex fails, one after another: once, and from
// then on. Whatever the operation was doing, it says so or throws std::bad_alloc, has changed
// nothing or everything that it should, leaves no lock behind, and the index goes on.
#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/index/failing_allocations_test_support.h"
#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

constexpr size_t kKeyCount = 1000;
constexpr size_t kAlike = 260;  // keys with one hash; 224 places are in the longest chain

// A location tells its key.
auto is_key(size_t key) {
  return [key](Location at) {
    return at.value % kKeyCount == key ? KeyMatch::same : KeyMatch::different;
  };
}
KeyHash hash_of_key(size_t key) {
  return KeyHash(mixed(key < kAlike ? 7 : 1000 + key));
}

enum class Situation : uint8_t {
  nearly_full,  // the next insert makes it grow
  growing,      // half of its homes have moved
  crowded,      // by one hash, beyond all chains, so that moving and comparing needs memory
  drifted,      // the next insert beside its home makes it be rebuilt
  rebuilding,
  sparse,
};
constexpr Situation kSituations[] = {Situation::nearly_full, Situation::growing,
                                     Situation::crowded,     Situation::drifted,
                                     Situation::rebuilding,  Situation::sparse};

struct Put {
  size_t key;
  Location location;  // 0: removed
};

// An index in a situation, what it holds, and the allocation that fails in the next attempt.
class ShortOfMemory {
 public:
  using Index = BasicLocationIndex<LonelyPolicy>;
  using Contents = std::vector<Location>;

  ShortOfMemory(Situation situation, int64_t succeed, bool for_good)
      : fails_{.succeed = succeed, .for_good = for_good}, session_(domain_) {
    index_ = std::move(*Index::open(domain_, {.hasher = hasher(), .shard_bits = 0}));
    prepare(situation);
  }

  static KeyHasher hasher() {
    KeyHasher::Seed seed{};
    seed[0] = std::byte{1};
    return std::move(*KeyHasher::create(KeyHasher::Mode::fast, seed));
  }

  Index& index() { return *index_; }
  BasicEpochDomain<LonelyPolicy>& domain() { return domain_; }
  BasicEpochSession<LonelyPolicy>& session() { return session_; }
  Contents& contents() { return contents_; }
  Location new_location(size_t key) { return Location(++version_ * kKeyCount + key); }
  [[nodiscard]] bool failed() const { return failed_; }

  // Runs it with the allocation that fails. False if it threw.
  bool attempt(const std::function<void()>& call) {
    failing = fails_;
    bool ran = true;
    try {
      call();
    } catch (const std::bad_alloc&) {
      ran = false;
    }
    failed_ = failing.failed != 0;
    failing = {};
    return ran;
  }

  // An operation with an outcome in short memory: it is done, or nothing has happened.
  void change(const std::function<LocationStatus()>& call, const Contents& after) {
    LocationStatus status = LocationStatus::no_memory;
    const bool ran = attempt([&] { status = call(); });
    EXPECT_TRUE(!ran || status == LocationStatus::done || status == LocationStatus::no_memory);
    if (ran && status == LocationStatus::done) contents_ = after;
    EXPECT_TRUE(failed_ || status == LocationStatus::done);
  }
  [[nodiscard]] Contents with(const Put& put) const {
    Contents after = contents_;
    after[put.key] = put.location;
    return after;
  }

  void put(size_t key) {
    const Location location = new_location(key);
    const auto outcome = index_->put(session_, hash_of_key(key), location, is_key(key));
    ASSERT_EQ(outcome, LocationOutcome{.location = contents_[key]});
    contents_[key] = location;
  }
  void remove(size_t key) {
    const auto outcome = index_->remove(session_, hash_of_key(key), is_key(key));
    ASSERT_EQ(outcome, LocationOutcome{.location = contents_[key]});
    contents_[key] = {};
  }

  // What is found, listed and counted is what it should hold.
  void expect_contents() { expect_contents_of(*index_); }
  void expect_contents_of(Index& index) {
    Contents listed(kKeyCount);
    index.for_each(session_, [&](KeyHash, Location at) {
      EXPECT_EQ(listed[at.value % kKeyCount], Location()) << "listed twice";
      listed[at.value % kKeyCount] = at;
    });
    EXPECT_EQ(listed, contents_);
    EXPECT_EQ(index.size(),
              kKeyCount - static_cast<size_t>(std::ranges::count(contents_, Location())));
    for (size_t key = 0; key < kKeyCount; key += key < kAlike ? 13 : 1)
      EXPECT_EQ(index.find(session_, hash_of_key(key), is_key(key)).location, contents_[key])
          << key;
  }
  // The index is of use, and nothing is left behind.
  void go_on() {
    expect_contents();
    for (const size_t key : {kAlike - 1, kKeyCount - 1}) {
      put(key);
      put(key);
      remove(key);
    }
    EXPECT_EQ(index_->maintain(session_), LocationStatus::done);
    expect_contents();
    EXPECT_EQ(index_->clear(session_), LocationStatus::done);
    EXPECT_EQ(index_->maintain(session_), LocationStatus::done);
    EXPECT_EQ(index_->size(), 0U);
    EXPECT_EQ(statistics().bytes_retired, 0U);
  }

 private:
  LocationIndexStatistics statistics() { return index_->statistics(session_); }

  void prepare(Situation situation) {
    constexpr uint64_t kOf64Buckets = 353;  // so many entries are within its limit
    switch (situation) {
      case Situation::nearly_full:
      case Situation::growing:
        while (index_->size() < kOf64Buckets)
          put(kAlike + index_->size());
        EXPECT_EQ(statistics().slots, 64 * 7);
        EXPECT_EQ(statistics().shards_growing, 0U);
        if (situation == Situation::nearly_full) break;
        put(kAlike + kOf64Buckets);
        put(kAlike + kOf64Buckets + 1);
        EXPECT_EQ(statistics().shards_growing, 1U);
        break;
      case Situation::crowded:
        for (size_t key = 0; key < kAlike - 10; ++key)
          put(key);
        EXPECT_GT(statistics().stashed_entries, 0U);
        break;
      case Situation::drifted:
      case Situation::rebuilding:
        EXPECT_EQ(index_->reserve(session_, kOf64Buckets), LocationStatus::done);
        for (size_t key = 0; key < 20; ++key)
          put(key);
        while (statistics().displaced_entries < 64 * 7 / 8 - 1) {
          remove(19);
          put(19);
        }
        if (situation == Situation::rebuilding) put(20);
        EXPECT_EQ(statistics().shards_growing, situation == Situation::rebuilding ? 1U : 0U);
        break;
      case Situation::sparse:
        EXPECT_EQ(index_->reserve(session_, 3000), LocationStatus::done);
        for (size_t key = 5; key < kKeyCount; key += 20)
          put(key);
        break;
    }
  }

  const Failing fails_;
  bool failed_ = false;
  BasicEpochDomain<LonelyPolicy> domain_;
  BasicEpochSession<LonelyPolicy> session_;
  std::unique_ptr<Index> index_;
  Contents contents_ = Contents(kKeyCount);
  uint64_t version_ = 0;
};

void put_one(ShortOfMemory& index, size_t key) {
  const Location location = index.new_location(key);
  index.change(
      [&] {
        return index.index().put(index.session(), hash_of_key(key), location, is_key(key)).status;
      },
      index.with({.key = key, .location = location}));
}

// The items before the one that fails are done, and none behind it.
void put_batch(ShortOfMemory& index) {
  std::vector<LocationEntry> entries;
  std::vector<size_t> keys;
  for (size_t key = kAlike - 4; key < kAlike + 430; key += key < kAlike + 4 ? 1 : 20)
    keys.push_back(key);
  for (const size_t key : keys)
    entries.push_back({.hash = hash_of_key(key), .location = index.new_location(key)});
  std::vector<Location> previous(entries.size());
  LocationBatchOutcome outcome;
  const bool ran = index.attempt([&] {
    outcome = index.index().put_many(index.session(), entries, previous,
                                     [&](size_t i, Location at) { return is_key(keys[i])(at); });
  });
  size_t done = 0;
  while (done < entries.size() &&
         index.index().find(index.session(), entries[done].hash, is_key(keys[done])).location ==
             entries[done].location) {
    EXPECT_EQ(previous[done], index.contents()[keys[done]]);
    index.contents()[keys[done]] = entries[done].location;
    ++done;
  }
  if (ran) {
    EXPECT_EQ(outcome.completed, done);
    EXPECT_EQ(outcome.status,
              done == entries.size() ? LocationStatus::done : LocationStatus::no_memory);
  }
  EXPECT_TRUE(index.failed() || done == entries.size());
}

// Reads need no memory at all.
void read_everything(ShortOfMemory& index) {
  const size_t key = kAlike + 5;
  std::vector<KeyHash> hashes(200, hash_of_key(key));
  std::vector<Location> found(hashes.size());
  EXPECT_TRUE(index.attempt([&] {
    const auto& contents = index.contents();
    for (const size_t each : {size_t{19}, key})
      CHECK(index.index().find(index.session(), hash_of_key(each), is_key(each)).location ==
                contents[each],
            "found");
    const auto batch = index.index().find_many(
        index.session(), hashes, found, [&](size_t, Location at) { return is_key(key)(at); });
    CHECK(batch.completed == hashes.size() && found.back() == contents[key], "found in a batch");
    (void)index.index().candidates(index.session(), hash_of_key(19), found);
    (void)index.index().statistics(index.session());
    (void)index.index().probe_statistics(index.session());
    (void)index.index().size();
  }));
  EXPECT_FALSE(index.failed());
}

void walk(ShortOfMemory& index) {
  ShortOfMemory::Contents listed(kKeyCount);
  const bool ran = index.attempt([&] {
    index.index().for_each(index.session(),
                           [&](KeyHash, Location at) { listed[at.value % kKeyCount] = at; });
  });
  EXPECT_TRUE(index.failed() || ran);
  EXPECT_TRUE(!ran || listed == index.contents());
}

void write_snapshot(ShortOfMemory& index) {
  CountingSink sink;
  bool written = false;
  index.attempt([&] {
    const auto range = index.index().snapshot(index.session(), sink, 0);
    CHECK(range || range.error().code == Errc::no_space, "it says what is missing");
    written = range.has_value();
  });
  EXPECT_TRUE(index.failed() || written);
}

// What could not be loaded is empty, and can be loaded again or used.
void load_snapshot(ShortOfMemory& index, bool in_place) {
  BytesSink sink;
  ASSERT_TRUE(index.index().snapshot(index.session(), sink, 0));
  constexpr size_t kPage = 4096;
  std::vector<std::byte> memory(sink.bytes.size() + kPage);
  const auto begin = reinterpret_cast<uintptr_t>(memory.data());
  const auto image = std::span(memory).subspan((kPage - begin % kPage) % kPage, sink.bytes.size());
  copy_bytes(image, sink.bytes);
  BytesSource source(sink.bytes);
  const auto loaded = std::move(*ShortOfMemory::Index::open(
      index.domain(), {.hasher = ShortOfMemory::hasher(), .shard_bits = 0}));
  bool done = false;
  index.attempt([&] {
    const auto range = in_place ? loaded->load_in_place(image) : loaded->load(source);
    CHECK(range || range.error().code == Errc::no_space, "it says what is missing");
    done = range.has_value();
  });
  EXPECT_TRUE(index.failed() || done);
  if (!done) {
    EXPECT_EQ(loaded->size(), 0U);
    EXPECT_TRUE(loaded->load(source));
  }
  index.expect_contents_of(*loaded);
}

void open_another(ShortOfMemory& index) {
  bool opened = false;
  index.attempt([&] {
    const auto another = ShortOfMemory::Index::open(
        index.domain(),
        {.hasher = ShortOfMemory::hasher(), .shard_bits = 2, .expected_entries = 10'000});
    CHECK(another || another.error().code == Errc::no_space, "it says what is missing");
    opened = another.has_value();
  });
  EXPECT_TRUE(index.failed() || opened);
}

void begin_session(ShortOfMemory& index) {
  bool begun = false;
  index.attempt([&] {
    const BasicEpochSession<LonelyPolicy> session(index.domain());
    begun = true;
  });
  EXPECT_NE(index.failed(), begun);
  const BasicEpochSession<LonelyPolicy> session(index.domain());
  EXPECT_EQ(index.index().statistics(index.session()).sessions, 2U);
}

struct Operation {
  const char* name;
  std::function<void(ShortOfMemory&)> run;
};

std::vector<Operation> operations() {
  const auto of_all =
      [](LocationStatus (ShortOfMemory::Index::*call)(BasicEpochSession<LonelyPolicy>&)) {
        return [call](ShortOfMemory& index) {
          index.change([&] { return (index.index().*call)(index.session()); }, index.contents());
        };
      };
  const size_t present = 5;          // in every situation but those that fill up evenly, as is ...
  const size_t spread = kAlike + 5;  // ... this one in those
  std::vector<Operation> all = {
      {"put of a new key", [](ShortOfMemory& index) { put_one(index, kKeyCount - 1); }},
      {"put beside others", [](ShortOfMemory& index) { put_one(index, kAlike - 1); }},
      {"put_many", put_batch},
      {"reads", read_everything},
      {"walk", walk},
      {"snapshot", write_snapshot},
      {"load", [](ShortOfMemory& index) { load_snapshot(index, false); }},
      {"load in place", [](ShortOfMemory& index) { load_snapshot(index, true); }},
      {"shrink", of_all(&ShortOfMemory::Index::shrink)},
      {"maintain", of_all(&ShortOfMemory::Index::maintain)},
      {"clear",
       [](ShortOfMemory& index) {
         index.change([&] { return index.index().clear(index.session()); },
                      ShortOfMemory::Contents(kKeyCount));
       }},
      {"reserve",
       [](ShortOfMemory& index) {
         index.change([&] { return index.index().reserve(index.session(), 2000); },
                      index.contents());
       }},
  };
  for (const size_t key : {present, spread}) {
    all.push_back({"put again", [key](ShortOfMemory& index) { put_one(index, key); }});
    all.push_back(
        {"remove", [key](ShortOfMemory& index) {
           index.change(
               [&] {
                 return index.index().remove(index.session(), hash_of_key(key), is_key(key)).status;
               },
               index.with({.key = key, .location = {}}));
         }});
    all.push_back({"put_if_newer", [key](ShortOfMemory& index) {
                     const Location location = index.new_location(key);
                     index.change(
                         [&] {
                           return index.index()
                               .put_if_newer(index.session(), hash_of_key(key), location,
                                             is_key(key),
                                             [&](Location old) { return old < location; })
                               .status;
                         },
                         index.with({.key = key, .location = location}));
                   }});
    all.push_back({"compare_and_replace", [key](ShortOfMemory& index) {
                     const Location old = index.contents()[key];
                     if (old == Location()) return;
                     const Location location = index.new_location(key);
                     index.change(
                         [&] {
                           return index.index()
                               .compare_and_replace(index.session(), hash_of_key(key), old,
                                                    location)
                               .status;
                         },
                         index.with({.key = key, .location = location}));
                   }});
  }
  return all;
}

class LocationWithoutMemory : public testing::TestWithParam<Situation> {};

TEST_P(LocationWithoutMemory, GivenAnyAllocationThatFails_ThenNothingOrAllIsChangedAndItGoesOn) {
  uint64_t failures = 0;
  for (const Operation& operation : operations()) {
    for (const bool for_good : {false, true}) {
      bool failed = true;
      for (int64_t succeed = 0; failed; ++succeed) {
        ShortOfMemory index(GetParam(), succeed, for_good);
        operation.run(index);
        failed = index.failed();
        if (failed) ++failures;
        index.go_on();
        ASSERT_FALSE(HasFailure()) << operation.name << ": allocation " << succeed << " fails"
                                   << (for_good ? ", and all behind it" : "");
      }
    }
  }
  EXPECT_GT(failures, 60U);
}

std::string situation_name(const testing::TestParamInfo<Situation>& info) {
  constexpr const char* kNames[] = {"NearlyFull", "Growing",    "Crowded",
                                    "Drifted",    "Rebuilding", "Sparse"};
  return kNames[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Every, LocationWithoutMemory, testing::ValuesIn(kSituations),
                         situation_name);

TEST(LocationWithoutMemoryTest,
     GivenAnyAllocationThatFails_WhenOpenedOrASessionBegun_ThenItSaysSo) {
  for (const auto& run : {open_another, begin_session}) {
    for (const bool for_good : {false, true}) {
      bool failed = true;
      int64_t succeed = 0;
      for (; failed; ++succeed) {
        ShortOfMemory index(Situation::sparse, succeed, for_good);
        run(index);
        failed = index.failed();
        index.go_on();
        ASSERT_FALSE(HasFailure()) << "allocation " << succeed;
      }
      EXPECT_GT(succeed, 1);
    }
  }
}

// Shards are cleared one after another, each as a whole.
TEST(LocationWithoutMemoryTest, GivenFourShards_WhenAClearIsRefused_ThenEachIsEmptyOrUnchanged) {
  bool failed = true;
  uint64_t partly = 0;
  for (int64_t succeed = 0; failed; ++succeed) {
    BasicEpochDomain<LonelyPolicy> domain;
    BasicEpochSession<LonelyPolicy> session(domain);
    const auto index =
        std::move(*BasicLocationIndex<LonelyPolicy>::open(domain, {.shard_bits = 2}));
    for (uint64_t at = 1; at <= 400; ++at)
      ASSERT_TRUE(index->put(session, KeyHash(mixed(at)), Location(at), AnyKey{}).ok());
    const auto counts = [&] {
      std::vector<uint64_t> result(index->shard_count());
      for (size_t shard = 0; shard < result.size(); ++shard)
        index->for_each_in_shard(session, shard, [&](KeyHash, Location) { ++result[shard]; });
      return result;
    };
    const std::vector<uint64_t> before = counts();
    failing = {.succeed = succeed, .for_good = true};
    const LocationStatus status = index->clear(session);
    failed = failing.failed != 0;
    failing = {};
    const std::vector<uint64_t> after = counts();
    uint64_t left = 0;
    for (size_t shard = 0; shard < after.size(); ++shard) {
      EXPECT_TRUE(after[shard] == 0 || after[shard] == before[shard]) << "shard " << shard;
      left += after[shard];
    }
    EXPECT_EQ(index->size(), left);
    EXPECT_EQ(status == LocationStatus::done, left == 0);
    if (left != 0 && left != 400) ++partly;
    EXPECT_EQ(index->clear(session), LocationStatus::done);
    EXPECT_EQ(index->size(), 0U);
  }
  EXPECT_GT(partly, 0U);
}

}  // namespace
}  // namespace firn
