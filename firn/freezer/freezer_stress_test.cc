// SPDX-License-Identifier: Apache-2.0
//
// Freezer: readers beside a writer that puts, syncs, doubles the table and leaves memory.
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/freezer/freezer_test_support.h"
#include "testkit/gated_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::put;
using freezer::Store;
using testkit::FailsWith;
using testkit::GatedStorage;

class FreezerStress : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerStress, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerStress, WhenMovedBetweenThreads_ThenItWorksOn) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options()));

  std::thread([&] { EXPECT_OK(put(freezer, "key", "1")); }).join();
  std::string found;
  std::thread([&, moved = std::move(freezer)] {
    found = get(moved, "key");
    EXPECT_OK(moved->destroy());
  }).join();

  EXPECT_EQ(found, "1");
}

// Every key that was put is found from then on, and no other.
void run_readers_beside_a_writer(Storage& storage, const FreezerOptions& options) {
  constexpr uint64_t kPuts = 6000;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  std::atomic<uint64_t> visible = 0;
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&, seed] {
      Random random(seed);
      while (visible < kPuts) {
        const uint64_t known = visible;
        if (known == 0) continue;
        const uint64_t i = random.below(known);
        ASSERT_EQ(get(freezer, concat("key", i)), concat(i));
        ASSERT_EQ(freezer::contains(freezer, concat("none", i)), "absent");
        if (!random.one_in(64)) continue;
        const Bytes first = freezer::test_key(concat("key", i));
        const Bytes second = freezer::test_key("none");
        const std::vector<ByteSpan> keys = {first, second};
        const auto answers = freezer->get_many(keys);
        ASSERT_EQ(freezer::answer(answers[0]), concat(i));
        ASSERT_EQ(freezer::answer(answers[1]), "absent");
        ASSERT_GE(freezer->statistics().items, known);
      }
    });
  }
  std::thread syncer([&] {
    while (visible < kPuts)
      ASSERT_OK(freezer->sync());
  });
  for (uint64_t i = 0; i < kPuts; ++i) {
    freezer::put_range(freezer, i, i + 1);
    visible = i + 1;
  }
  for (std::thread& reader : readers)
    reader.join();
  syncer.join();
  freezer::expect_range(freezer, 0, kPuts);
  EXPECT_OK(freezer->close());
}

TEST_P(FreezerStress, GivenReadersBesideAWriter_WhenTheTableDoubles_ThenEveryKeyIsFound) {
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 16;
  options.section_target_bytes = 4096;
  run_readers_beside_a_writer(storage_, options);
}

// Values of all sizes: most fit into a block of the cache, some span two, some are never cached.
std::string value_of(uint64_t number) {
  const size_t size = number % 50 == 0 ? 6000 : number * 37 % 400;
  return concat(number, ":", std::string(size, static_cast<char>('a' + number % 26)));
}

// Batches are longer than what they prepare at a time, and sections come and go beside them.
TEST_P(FreezerStress,
       GivenBatchesBesideAWriter_WhenSectionsAreClosedAsIdle_ThenAllAnswersAreRight) {
  constexpr uint64_t kPuts = 1500;
  FreezerOptions options = this->options();
  options.open_sections_max = 2;
  options.section_target_bytes = 16384;
  options.page_cache_bytes = 256 << 10;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  std::atomic<uint64_t> visible = 0;
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    readers.emplace_back([&, seed] {
      Random random(seed);
      while (visible < kPuts && !HasFailure()) {
        const uint64_t known = visible;
        if (known == 0) continue;
        std::vector<uint64_t> numbers(random.between(1, 150));
        std::vector<Bytes> names;
        for (uint64_t& number : numbers) {
          number = random.below(known + 5);
          names.push_back(freezer::test_key(concat("key", number)));
        }
        const auto answers = freezer->get_many(std::vector<ByteSpan>(names.begin(), names.end()));
        for (size_t i = 0; i < numbers.size(); ++i) {
          const std::string found = freezer::answer(answers[i]);
          if (numbers[i] >= known && found == "absent") continue;
          ASSERT_EQ(found, value_of(numbers[i]));
        }
      }
    });
  }
  for (uint64_t i = 0; i < kPuts && !HasFailure(); ++i) {
    EXPECT_OK(put(freezer, concat("key", i), value_of(i)));
    if (i % 16 == 15) {
      EXPECT_OK(freezer->sync());
    }
    visible = i + 1;
  }
  for (std::thread& reader : readers)
    reader.join();
}

void expect_all_readable(const Store& freezer, uint64_t keys) {
  std::vector<Bytes> names;
  for (uint64_t i = 0; i < keys; ++i) {
    EXPECT_EQ(get(freezer, concat("key", i)), concat(i));
    EXPECT_EQ(freezer::contains(freezer, concat("key", i)), "present");
    EXPECT_EQ(freezer::contains(freezer, concat("none", i)), "absent");
    names.push_back(freezer::test_key(concat("key", i)));
  }
  const auto answers = freezer->get_many(std::vector<ByteSpan>(names.begin(), names.end()));
  for (uint64_t i = 0; i < keys; ++i)
    EXPECT_EQ(freezer::answer(answers[i]), concat(i));
  uint64_t visited = 0;
  EXPECT_OK(freezer->visit([&](const FreezerItem&) { return ++visited > 0; }));
  EXPECT_GE(visited, keys);
  EXPECT_GE(freezer->statistics().items, keys);
}

TEST_P(FreezerStress, WhileAFlushIsWaiting_ReadsDoNotWaitForSyncsNorDoublingsNorRebuilds) {
  constexpr uint64_t kBefore = 20;
  GatedStorage storage(storage_);
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 4;
  options.section_target_bytes = 16;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  freezer::put_range(freezer, 0, kBefore);

  const auto read = [&] { expect_all_readable(freezer, kBefore); };
  const auto sync = [&] { return freezer->sync(); };
  EXPECT_GE(storage.read_during_flushes(sync, read), 2);

  const uint64_t doublings = freezer->statistics().resizes;
  const auto double_the_table = [&]() -> Status {
    for (uint64_t i = kBefore;
         freezer->statistics().resizes < doublings + 2 || freezer->statistics().resizing; ++i) {
      TRY(put(freezer, concat("key", i), concat(i)));
      if (i % 4 == 0) TRY(freezer->sync());
    }
    return {};
  };
  EXPECT_GE(storage.read_during_flushes(double_the_table, read), 8);

  const auto rebuild = [&] { return freezer->rebuild_table(); };
  EXPECT_GE(storage.read_during_flushes(rebuild, read), 2);
  ASSERT_OK(freezer->close());
}

TEST(FreezerMemoryStress, GivenReadersBesideAWriter_WhenTheStoreLeavesMemory_ThenEveryKeyIsFound) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::resident);
  options.memory_budget_bytes = 130'000;  // of about 2,000 records
  run_readers_beside_a_writer(storage, options);
}

// A follower is refreshed while its threads read, and others open and close beside it.
TEST_P(FreezerStress, WhileAWriterPutsAndSyncs_ReadersOfAFollowerSeeEveryKey) {
  constexpr uint64_t kPuts = 320;
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.section_target_bytes = 2048;
  ASSERT_OK_INTO(const Store writer, Freezer::open(storage_, options));
  FreezerOptions reading = freezer::with_engine(options, Engine::resident);
  reading.access = FreezerAccess::read_only;
  ASSERT_OK_INTO(const Store follower, Freezer::open(storage_, reading));
  std::atomic<uint64_t> synced = 0;
  std::atomic<uint64_t> visible = 0;

  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (visible < kPuts) {
      const uint64_t before = synced;
      EXPECT_OK(follower->refresh());
      EXPECT_GE(follower->item_count(), before);
      if (before > 0) visible = before;
    }
  });
  threads.emplace_back([&] {
    while (visible < kPuts) {
      const uint64_t before = synced;
      auto fresh = Freezer::open(storage_, reading);
      EXPECT_OK(fresh);
      if (before == 0) continue;
      EXPECT_EQ(get(*fresh, concat("key", before - 1)), concat(before - 1));
    }
  });
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      while (visible < kPuts) {
        const uint64_t count = visible;
        if (count == 0) continue;
        const uint64_t i = random.below(count);
        EXPECT_EQ(get(follower, concat("key", i)), concat(i));
        EXPECT_EQ(freezer::contains(follower, concat("none", i)), "absent");
      }
    });
  }
  for (uint64_t i = 0; i < kPuts; ++i) {
    EXPECT_OK(put(writer, concat("key", i), concat(i)));
    if (i % 16 != 15 && i + 1 < kPuts) continue;
    EXPECT_OK(writer->sync());
    synced = i + 1;
  }
  for (std::thread& thread : threads)
    thread.join();

  freezer::expect_range(follower, 0, kPuts);
}

// What a put that succeeded has put is durable once close has returned, whoever came first.
TEST_P(FreezerStress, WhenClosedWhileThreadsPutAndSync_ThenAllThatSucceededIsThere) {
  for (uint64_t round = 0; round < 4; ++round) {
    MemoryStorage storage;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options()));
    std::atomic<uint64_t> puts = 0;
    std::array<uint64_t, 3> done{};
    std::vector<std::thread> threads;
    for (uint64_t number = 0; number < done.size(); ++number) {
      threads.emplace_back([&, number] {
        while (done[number] < 200 && put(freezer, concat(number, "-", done[number]), "value")) {
          ++done[number];
          ++puts;
          if (done[number] % 7 == 0) (void)freezer->sync();
          EXPECT_EQ(get(freezer, concat(number, "-", 0)), "value");
        }
      });
    }

    while (puts < 60 * round)
      std::this_thread::yield();
    EXPECT_OK(freezer->close());
    for (std::thread& thread : threads)
      thread.join();
    storage.lose_unsynced();

    ASSERT_OK_INTO(const Store again, Freezer::open(storage, options()));
    EXPECT_TRUE(again->recovery().was_clean);
    for (uint64_t number = 0; number < done.size(); ++number)
      for (uint64_t i = 0; i < done[number]; ++i)
        EXPECT_EQ(get(again, concat(number, "-", i)), "value");
    EXPECT_EQ(again->item_count(), done[0] + done[1] + done[2]);
  }
}

// Writer and follower are closed while calls of every kind run; each succeeds or says so.
TEST_P(FreezerStress, WhenClosedWhileThreadsRebuildFollowAndRead_ThenEveryKeyIsThere) {
  constexpr uint64_t kPuts = 600;
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.section_target_bytes = 2048;
  FreezerOptions reading = freezer::with_engine(options, Engine::resident);
  reading.access = FreezerAccess::read_only;
  for (uint64_t round = 0; round < 4; ++round) {
    MemoryStorage storage;
    ASSERT_OK_INTO(const Store writer, Freezer::open(storage, options));
    ASSERT_OK_INTO(const Store follower, Freezer::open(storage, reading));
    std::atomic<uint64_t> puts = 0;
    std::atomic<bool> is_over = false;
    const auto is_open = [](const auto& outcome) {
      if (!outcome) {
        EXPECT_THAT(outcome, FailsWith(Errc::invalid_argument, "closed"));
      }
      return outcome.has_value();
    };

    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      while (puts < kPuts && is_open(put(writer, concat("key", puts.load()), concat(puts.load()))))
        ++puts;
    });
    threads.emplace_back([&] {
      while (!is_over && is_open(writer->rebuild_table()) && is_open(writer->sync())) {
      }
    });
    threads.emplace_back([&] {
      while (!is_over && is_open(follower->refresh())) {
      }
    });
    threads.emplace_back([&] {
      Random random(round);
      while (!is_over) {
        const uint64_t known = puts;
        if (known == 0) continue;
        const uint64_t i = random.below(known);
        EXPECT_EQ(get(writer, concat("key", i)), concat(i));
        const std::string followed = get(follower, concat("key", i));
        EXPECT_TRUE(followed == concat(i) || followed == "absent") << followed;
        EXPECT_OK(follower->visit([](const FreezerItem&) { return true; }));
      }
    });

    while (puts < 60 * round)
      std::this_thread::yield();
    const std::array closing = {writer.get(), follower.get()};
    EXPECT_OK(closing[round % 2]->close());
    EXPECT_OK(closing[(round + 1) % 2]->close());
    is_over = true;
    for (std::thread& thread : threads)
      thread.join();

    ASSERT_OK_INTO(const Store again, Freezer::open(storage, options));
    EXPECT_TRUE(again->recovery().was_clean);
    freezer::expect_range(again, 0, puts);
  }
}

}  // namespace
}  // namespace firn
