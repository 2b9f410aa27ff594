// SPDX-License-Identifier: Apache-2.0
//
// Many threads on a LocationIndex, checked by what must be there afterwards: against a reference,
// against a replay of the log, and against snapshots that were taken meanwhile.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/mutex.h"
#include "firn/index/location_index_internals.h"
#include "firn/index/location_index_test_support.h"
#include "testkit/epochs.h"

namespace firn {
namespace {

template <class Work>
void run_threads(size_t count, Work&& work) {
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < count; ++thread)
    threads.emplace_back([&work, thread] { work(thread); });
  for (std::thread& thread : threads)
    thread.join();
}

std::string stress_key(uint64_t number) {
  std::array<char, 32> text{};
  (void)std::snprintf(text.data(), text.size(), "stress-key-%08u", static_cast<unsigned>(number));
  return text.data();
}

// A location tells its key, by its low bits.
constexpr unsigned kStressKeyBits = 18;
constexpr uint64_t kStressKeys = 200'000;

auto is_stress_key(uint64_t key) {
  return [key](Location at) {
    return (at.value & ((1U << kStressKeyBits) - 1)) == key ? KeyMatch::same : KeyMatch::different;
  };
}

TEST(LocationIndexThread, GivenEightThreadsOnSharedKeys_WhenDone_ThenEveryKeyIsAsTheReferenceSays) {
  constexpr size_t kThreads = 8;
  constexpr int kOperations = 8000;
  constexpr size_t kStripes = 64;
  EpochDomain domain;
  const auto index = std::move(*LocationIndex::open(domain, {}));
  std::vector<uint64_t> reference(kStressKeys);
  std::array<Mutex, kStripes> stripes;  // writers of a key one after another, those of others not
  std::atomic<uint64_t> versions = 0;
  const auto hash = [&](uint64_t key) { return index->hash(as_bytes(stress_key(key))); };
  run_threads(kThreads, [&](size_t thread) {
    Random random(thread);
    EpochSession session(domain);
    for (int i = 0; i < kOperations; ++i) {
      // Half of them on few keys, so that threads meet.
      const uint64_t key = random.below(random.one_in(2) ? 100 : kStressKeys);
      const uint64_t draw = random.below(100);
      if (draw >= 60 && draw < 85) {
        const LocationOutcome found = index->find(session, hash(key), is_stress_key(key));
        ASSERT_TRUE(!found.found() || is_stress_key(key)(found.location) == KeyMatch::same);
        continue;
      }
      const MutexLock lock(stripes[key % kStripes]);
      const Location location(++versions << kStressKeyBits | key);
      const LocationOutcome outcome =
          draw < 60 ? index->put(session, hash(key), location, is_stress_key(key))
                    : index->remove(session, hash(key), is_stress_key(key));
      ASSERT_EQ(outcome, LocationOutcome{.location = Location(reference[key])});
      reference[key] = draw < 60 ? location.value : 0;
    }
  });
  EpochSession session(domain);
  uint64_t present = 0;
  for (uint64_t key = 0; key < kStressKeys; ++key) {
    const LocationOutcome found = index->find(session, hash(key), is_stress_key(key));
    ASSERT_EQ(found, LocationOutcome{.location = Location(reference[key])}) << key;
    if (found.found()) ++present;
  }
  EXPECT_EQ(index->size(), present);
}

TEST(LocationIndexThread, GivenEightThreadsWithKeysOfTheirOwn_WhenPut_ThenEachIsReadBack) {
  constexpr size_t kThreads = 8;
  constexpr uint64_t kOwn = 8000;
  EpochDomain domain;
  const auto index = std::move(*LocationIndex::open(domain, {}));
  const auto hash = [&](uint64_t key) { return index->hash(as_bytes(stress_key(key))); };
  run_threads(kThreads, [&](size_t thread) {
    EpochSession session(domain);
    for (uint64_t key = thread * kOwn; key < (thread + 1) * kOwn; ++key) {
      const Location location((key + 1) << kStressKeyBits | key);
      ASSERT_EQ(index->put(session, hash(key), location, is_stress_key(key)), LocationOutcome{});
    }
  });
  EpochSession session(domain);
  EXPECT_EQ(index->size(), kThreads * kOwn);
  for (uint64_t key = 0; key < kThreads * kOwn; ++key) {
    const LocationOutcome found = index->find(session, hash(key), is_stress_key(key));
    ASSERT_EQ(found.location, Location((key + 1) << kStressKeyBits | key)) << key;
  }
}

// A log that threads append to, and then put what they appended into an index, each in its own
// time. A record is at its position + 1. Removals are records, too.
class RacedLog {
 public:
  using Entries = std::map<uint64_t, KeyHash>;
  static constexpr size_t kThreads = 4;
  static constexpr uint64_t kSharedKeys = 500;

  RacedLog(LocationIndex& index, EpochDomain& domain, size_t records)
      : index_(index), domain_(domain), records_(records) {
    for (auto& position : running_)
      position = kNone;
  }

  // Appends until the log is full.
  void write(size_t thread) {
    Random random(thread + 1);
    EpochSession session(domain_);
    for (;;) {
      running_[thread] = end_.load();
      const uint64_t position = end_++;
      if (position >= records_.size()) break;
      records_[position] = {.key = random.below(kSharedKeys), .removes = random.one_in(3)};
      if (random.one_in(8)) std::this_thread::yield();
      EXPECT_TRUE(apply(index_, session, position).ok());
      running_[thread] = kNone;
      if (random.one_in(4)) forget(index_, session, position);
    }
    running_[thread] = kNone;
  }

  // Everything before it is in the index.
  [[nodiscard]] uint64_t applied() const {
    uint64_t least = end();
    for (const auto& position : running_)
      least = std::min(least, position.load());
    return least;
  }
  [[nodiscard]] uint64_t end() const { return std::min<uint64_t>(end_, records_.size()); }

  void replay(LocationIndex& index, EpochSession& session, uint64_t begin) const {
    for (uint64_t position = begin; position < records_.size(); ++position)
      EXPECT_TRUE(apply(index, session, position).ok());
  }

  // What the log leaves, each record after the one before it.
  [[nodiscard]] Entries expected() const {
    std::map<uint64_t, uint64_t> last;
    for (uint64_t position = 0; position < records_.size(); ++position)
      last[records_[position].key] = position;
    Entries entries;
    for (const auto& [key, position] : last)
      if (!records_[position].removes) entries.emplace(position + 1, prefix(key));
    return entries;
  }

  // What is in the index, without removals that are still kept in mind.
  [[nodiscard]] Entries entries(const LocationIndex& index, EpochSession& session) const {
    Entries entries;
    std::vector<int> listed(kSharedKeys);
    index.for_each(session, [&](KeyHash found, Location at) {
      const Record& record = records_[at.value - 1];
      EXPECT_EQ(++listed[record.key], 1) << "key " << record.key;
      if (!record.removes) entries.emplace(at.value, found);
    });
    return entries;
  }

 private:
  static constexpr uint64_t kNone = UINT64_MAX;
  struct Record {
    uint64_t key = 0;
    bool removes = false;
  };

  static KeyHash hash(uint64_t key) { return KeyHash(mixed(key)); }
  // What a walk shows of it, with one shard.
  static KeyHash prefix(uint64_t key) { return KeyHash(mixed(key) >> 35 << 35); }

  LocationOutcome apply(LocationIndex& index, EpochSession& session, uint64_t position) const {
    const uint64_t key = records_[position].key;
    const Location location(position + 1);
    const auto same = [&](Location at) {
      return records_[at.value - 1].key == key ? KeyMatch::same : KeyMatch::different;
    };
    return index.put_if_newer(session, hash(key), location, same,
                              [&](Location old) { return old < location; });
  }

  // Takes a removal out of the index if nothing older can arrive any more.
  void forget(LocationIndex& index, EpochSession& session, uint64_t position) const {
    if (!records_[position].removes || applied() <= position) return;
    const auto same = [&](Location at) {
      return at.value == position + 1 ? KeyMatch::same : KeyMatch::different;
    };
    EXPECT_TRUE(index.remove(session, hash(records_[position].key), same).ok());
  }

  LocationIndex& index_;
  EpochDomain& domain_;
  std::vector<Record> records_;
  std::atomic<uint64_t> end_ = 0;
  // Of each thread, a position that is not beyond the one it is working at.
  std::array<std::atomic<uint64_t>, kThreads> running_;
};

TEST(LocationIndexThread, GivenRacingPutsAndRemovals_WhenTheLogIsReplayed_ThenTheSameEntries) {
  EpochDomain domain;
  const LocationIndexOptions options{.shard_bits = 0};
  const auto index = std::move(*LocationIndex::open(domain, options));
  RacedLog log(*index, domain, 40'000);
  run_threads(RacedLog::kThreads, [&](size_t thread) { log.write(thread); });
  EpochSession session(domain);
  const auto replayed = std::move(*LocationIndex::open(domain, options));
  log.replay(*replayed, session, 0);
  EXPECT_EQ(log.entries(*index, session), log.expected());
  EXPECT_EQ(log.entries(*replayed, session), log.expected());
}

TEST(LocationIndexThread, GivenSnapshotsUnderWriters_WhenLoadedAndReplayed_ThenTheSameEntries) {
  EpochDomain domain;
  const LocationIndexOptions options{.hasher = KeyHasher::random(), .shard_bits = 0};
  const auto index = std::move(*LocationIndex::open(domain, options));
  RacedLog log(*index, domain, 60'000);
  std::atomic<bool> written = false;
  std::vector<Bytes> snapshots;
  std::thread copier([&] {
    EpochSession session(domain);
    while (!written) {
      BytesSink sink;
      const uint64_t log_begin = log.applied();
      EXPECT_TRUE(index->snapshot(session, sink, log_begin));
      if (log_begin != 0) snapshots.push_back(std::move(sink.bytes));
    }
  });
  run_threads(RacedLog::kThreads, [&](size_t thread) { log.write(thread); });
  written = true;
  copier.join();
  EpochSession session(domain);
  ASSERT_EQ(log.entries(*index, session), log.expected());
  // Some of them, from the first to the last.
  const size_t step = snapshots.size() / 10 + 1;
  for (size_t i = 0; i < snapshots.size(); i += step) {
    const auto loaded = std::move(*LocationIndex::open(domain, options));
    BytesSource source(snapshots[i]);
    const Result<SnapshotRange> range = loaded->load(source);
    ASSERT_TRUE(range) << range.error().message;
    log.replay(*loaded, session, range->log_begin);
    EXPECT_EQ(log.entries(*loaded, session), log.expected()) << "from " << range->log_begin;
  }
}

template <class Policy>
class LocationIndexReclaim : public testing::Test {};
using PinPolicies = testing::Types<LocationPolicy, testkit::PinsInOrder<LocationPolicy>>;
TYPED_TEST_SUITE(LocationIndexReclaim, PinPolicies);

// The tables of an index are poisoned when they are reclaimed, and zeroed when they are used again.
TYPED_TEST(LocationIndexReclaim,
           GivenReadersOfAnIndex_WhenItsTablesAreReplaced_ThenTheyFindWhatIsThere) {
  constexpr uint64_t kLiveKeys = 40;
  constexpr int kReplacements = 1000;
  const auto hash = [](uint64_t key) { return KeyHash(key * 0x9E3779B97F4A7C15); };
  BasicEpochDomain<TypeParam> domain;
  const auto index = std::move(*BasicLocationIndex<TypeParam>::open(domain, {.shard_bits = 0}));
  BasicEpochSession<TypeParam> session(domain);
  for (uint64_t key = 1; key <= kLiveKeys; ++key)
    ASSERT_TRUE(index->put(session, hash(key), Location(key), AnyKey{}).ok());
  std::atomic<bool> done{false};
  std::atomic<uint64_t> reads{0};
  const auto read = [&] {
    BasicEpochSession<TypeParam> own(domain);
    for (uint64_t key = 1; !done.load(std::memory_order_relaxed);
         key = key % kLiveKeys + 1, ++reads)
      ASSERT_EQ(index->find(own, hash(key), AnyKey{}).location, Location(key));
  };
  std::thread first(read);
  std::thread second(read);
  for (int round = 0; round < kReplacements || reads < 1000; ++round) {
    EXPECT_EQ(index->reserve(session, 400), LocationStatus::done);
    EXPECT_EQ(index->shrink(session), LocationStatus::done);
  }
  done.store(true);
  first.join();
  second.join();
  EXPECT_EQ(index->maintain(session), LocationStatus::done);
  EXPECT_EQ(index->statistics(session).bytes_retired, 0u);
  EXPECT_GE(index->statistics(session).rebuilds, uint64_t{kReplacements});
}

}  // namespace
}  // namespace firn
