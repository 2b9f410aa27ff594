// SPDX-License-Identifier: Apache-2.0
//
// Threads on one MetadataStore: writers take turns, readers see whole batches, syncs are shared.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "firn/metadata/metadata_test_support.h"

namespace firn {
namespace {

using MetadataThreadsTest = MetadataStoreTest;

uint64_t number_of(const std::optional<Bytes>& value) {
  return value ? load_big_endian<uint64_t>(value->data()) : 0;
}

TEST_F(MetadataThreadsTest, GivenConcurrentCounters_WhenComparedAndSet_ThenNoIncrementIsLost) {
  constexpr uint64_t kIncrements = 2000;
  reopen();
  const auto count = [&] {
    for (uint64_t done = 0; done < kIncrements;) {
      const std::optional<Bytes> held = store_->get(key_of(1));
      const Bytes next = key_of(number_of(held) + 1);
      const auto expected = held ? std::optional<ByteSpan>(*held) : std::nullopt;
      const auto compared = store_->compare_and_set(key_of(1), expected, ByteSpan(next));
      ASSERT_OK(compared);
      if (*compared == MetadataStore::Comparison::equal) ++done;
    }
  };

  std::thread first(count);
  std::thread second(count);
  for (int i = 0; i < 100; ++i)
    EXPECT_OK(store_->sync());
  first.join();
  second.join();

  EXPECT_EQ(number_of(store_->get(key_of(1))), 2 * kIncrements);
}

TEST_F(MetadataThreadsTest, GivenReadersBesideBatches_WhenVisited_ThenEveryBatchIsWhole) {
  reopen();
  std::atomic<bool> done = false;
  std::thread reader([&] {
    while (!done) {
      std::vector<uint64_t> seen;
      store_->for_each([&](ByteSpan, ByteSpan value) {
        seen.push_back(load_big_endian<uint64_t>(value.data()));
      });
      ASSERT_TRUE(seen.empty() || (seen.size() == 3 && seen[0] == seen[1] && seen[1] == seen[2]));
      (void)store_->statistics();
      (void)store_->version();
    }
  });

  for (uint64_t round = 0; round < 2000; ++round) {
    MetadataBatch batch;
    for (const uint64_t key : {1u, 2u, 3u}) {
      if (round % 10 == 9)
        batch.remove(key_of(key));
      else
        batch.put(key_of(key), key_of(round));
    }
    EXPECT_OK(store_->apply(batch));
    if (round % 7 == 0) {
      EXPECT_OK(store_->sync());
    }
  }
  done = true;
  reader.join();
}

TEST_F(MetadataThreadsTest, GivenConcurrentSyncs_WhenTheyReturn_ThenEveryPutIsDurable) {
  constexpr uint64_t kPuts = 300;
  reopen();
  const auto write = [&](uint64_t first_key) {
    for (uint64_t key = first_key; key < first_key + kPuts; ++key) {
      ASSERT_OK(store_->put(key_of(key), key_of(key)));
      ASSERT_OK(store_->sync());
    }
  };
  std::thread first(write, 0);
  std::thread second(write, kPuts);
  first.join();
  second.join();

  memory_.lose_unsynced();
  reopen();

  EXPECT_EQ(store_->statistics().keys, 2 * kPuts);
}

// Threads that are stopped anywhere, and a store that is dropped then: nobody syncs once more.
TEST_F(MetadataThreadsTest, WhenShutDownWhileThreadsPutAndSync_ThenAllThatASyncFoundIsThere) {
  for (uint64_t round = 0; round < 5; ++round) {
    ASSERT_OK(memory_.remove_partition("state"));
    reopen();
    std::atomic<bool> is_over = false;
    std::array<std::atomic<uint64_t>, 3> synced{};
    std::vector<std::thread> threads;
    for (uint64_t number = 0; number < synced.size(); ++number) {
      threads.emplace_back([&, number] {
        for (uint64_t value = 1; !is_over; ++value) {
          EXPECT_OK(store_->put(key_of(number), key_of(value)));
          EXPECT_GE(number_of(store_->get(key_of(number))), value);
          if (value % 7 != 0) continue;
          EXPECT_OK(value % 2 == 0 ? store_->sync() : store_->sync_both());
          synced[number] = value;
        }
      });
    }

    while (synced[round % synced.size()] < 50 * (round + 1))
      std::this_thread::yield();
    EXPECT_OK(store_->sync_both());
    is_over = true;
    for (std::thread& thread : threads)
      thread.join();
    memory_.lose_unsynced();
    reopen();

    for (uint64_t number = 0; number < synced.size(); ++number)
      EXPECT_GE(number_of(store_->get(key_of(number))), synced[number]);
  }
}

}  // namespace
}  // namespace firn
