// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive with several threads: readers beside puts, flushes and prunes; shared flushes.
#include "firn/archive/prunable_archive.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/gated_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::answer;
using archive::Archive;
using archive::get;
using archive::key_of;
using archive::put;
using testkit::FailsWith;
using testkit::GatedStorage;

PrunableArchiveOptions options() {
  PrunableArchiveOptions options;
  options.key_size_bytes = 16;
  options.items_per_section = 64;
  options.page_size_bytes = 256;
  options.write_buffer_bytes = 1024;
  options.page_cache_bytes = 1 << 14;
  options.open_sections_max = 4;
  return options;
}

std::string value_at(uint64_t index) {
  return concat("value ", index, std::string(index % 97, '.'));
}

Status put_one(const Archive& archive, uint64_t index) {
  TRY(put(archive, index, concat("key", index), value_at(index)));
  return {};
}

void expect_all_readable(const Archive& archive, uint64_t first, uint64_t end) {
  for (uint64_t index = first; index < end; ++index) {
    EXPECT_EQ(get(archive, index), value_at(index));
    EXPECT_EQ(get(archive, concat("key", index)), value_at(index));
    EXPECT_EQ(answer(archive->contains(index)), "present");
    EXPECT_EQ(archive->next_gap(index).current_end, end - 1);
  }
  uint64_t visited = 0;
  EXPECT_OK(archive->visit(first, end, false, [&](const ArchiveItem&) { return ++visited > 0; }));
  EXPECT_EQ(visited, end - first);
  EXPECT_EQ(archive->statistics().items_tracked, archive->statistics().records);
}

TEST(PrunableArchiveStress, WhileAFlushIsWaiting_ReadsDoNotWait) {
  MemoryStorage memory;
  GatedStorage storage(memory);
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options()));
  for (uint64_t index = 0; index < 100; ++index)
    ASSERT_OK(put_one(archive, index));

  EXPECT_GE(storage.read_during_flushes([&] { return archive->sync(); },
                                        [&] { expect_all_readable(archive, 0, 100); }),
            2);
  EXPECT_GE(storage.read_during_flushes([&] { return archive->prune(64); },
                                        [&] { expect_all_readable(archive, 64, 100); }),
            1);
}

TEST(PrunableArchiveStress, WhenManyThreadsSyncTheSamePuts_ThenTheyAreFlushedOnce) {
  constexpr int kThreads = 4;
  uint64_t flushes_of_one = 0;
  for (const int threads : {1, kThreads}) {
    MemoryStorage memory;
    GatedStorage storage(memory);
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options()));
    ASSERT_OK(put_one(archive, 1));
    ASSERT_OK(put_one(archive, 1000));
    const uint64_t before = storage.flushes();

    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i)
      workers.emplace_back([&] { EXPECT_OK(archive->sync()); });
    for (std::thread& worker : workers)
      worker.join();

    const uint64_t flushes = storage.flushes() - before;
    if (threads == 1) flushes_of_one = flushes;
    EXPECT_EQ(flushes, flushes_of_one);
    EXPECT_EQ(archive->statistics().syncs, 2);
  }
  // Values and records of two sections; the manifest's two copies, as the sections are new.
  EXPECT_EQ(flushes_of_one, 6);
}

TEST(PrunableArchiveStress, WhileItemsArePutSyncedAndPruned_ReadersSeeThemWhole) {
  constexpr uint64_t kItems = 3000;
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options()));
  std::atomic<uint64_t> put_count = 0;
  std::atomic<uint64_t> prune_requested = 0;

  const auto check = [&](uint64_t index, const std::string& found) {
    if (found == value_at(index)) return;
    EXPECT_EQ(found, "absent") << index;
    EXPECT_LT(index, prune_requested.load());
  };
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&, seed] {
      Random random(seed);
      while (put_count < kItems) {
        const uint64_t count = put_count;
        if (count == 0) continue;
        const uint64_t index = count - 1 - random.below(std::min<uint64_t>(count, 300));
        check(index, get(archive, index));
        check(index, get(archive, concat("key", index)));
        check(index, answer(archive->get_many(std::span(&index, 1)).front()));
        const Bytes key = key_of(concat("key", index), 16);
        const ByteSpan span(key);
        check(index, answer(archive->get_many(std::span(&span, 1)).front()));
        uint64_t last = 0;
        EXPECT_OK(archive->visit(index, index + 20, false, [&](const ArchiveItem& item) {
          EXPECT_GE(item.index, std::max(index, last));
          last = item.index;
          return true;
        }));
        // What is missing was pruned between the two calls.
        for (const uint64_t missing : archive->missing_items(archive->oldest_allowed(), 1))
          EXPECT_LT(missing, archive->oldest_allowed());
      }
    });
  }
  std::thread syncer([&] {
    while (put_count < kItems)
      EXPECT_OK(archive->sync());
  });
  for (uint64_t index = 0; index < kItems; ++index) {
    ASSERT_OK(put_one(archive, index));
    put_count = index + 1;
    if (index % 256 == 255) {
      prune_requested = index - 128;
      ASSERT_OK(archive->prune(index - 128));
    }
  }
  for (std::thread& reader : readers)
    reader.join();
  syncer.join();

  ASSERT_OK(archive->close());
  for (uint64_t index = archive->oldest_allowed(); index < kItems; ++index)
    EXPECT_EQ(get(archive, index), value_at(index));
}

// A follower is refreshed while its threads read, and others open and close beside it.
TEST(PrunableArchiveStress, WhileAWriterPutsSyncsAndPrunes_ReadersOfAFollowerSeeItemsWhole) {
  constexpr uint64_t kItems = 600;
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(storage, options()));
  PrunableArchiveOptions reading = options();
  reading.access = ArchiveAccess::read_only;
  ASSERT_OK_INTO(const auto follower, PrunableArchive::open(storage, reading));
  std::atomic<uint64_t> synced = 0;
  std::atomic<uint64_t> visible = 0;
  std::atomic<uint64_t> prune_requested = 0;

  const auto check = [&](const Archive& archive, uint64_t index) {
    for (const std::string& found : {get(archive, index), get(archive, concat("key", index))}) {
      if (found == value_at(index)) continue;
      EXPECT_EQ(found, "absent") << index;
      EXPECT_LT(index, prune_requested.load());
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (visible < kItems) {
      const uint64_t before = synced;
      EXPECT_OK(follower->refresh());
      // What is not there was pruned since.
      EXPECT_GE(std::max(follower->last_index().value_or(0) + 1, follower->oldest_allowed()),
                before);
      if (before > 0) visible = before;
    }
  });
  threads.emplace_back([&] {
    while (visible < kItems) {
      const uint64_t before = synced;
      auto fresh = PrunableArchive::open(storage, reading);
      EXPECT_OK(fresh);
      if (before > 0) check(*fresh, before - 1);
    }
  });
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      while (visible < kItems) {
        const uint64_t count = visible;
        if (count == 0) continue;
        const uint64_t index = count - 1 - random.below(std::min<uint64_t>(count, 300));
        check(follower, index);
        EXPECT_OK(follower->visit(index, index + 20, random.one_in(2),
                                  [](const ArchiveItem&) { return true; }));
      }
    });
  }
  for (uint64_t index = 0; index < kItems; ++index) {
    EXPECT_OK(put_one(writer, index));
    if (index % 16 == 15) {
      EXPECT_OK(writer->sync());
      synced = index + 1;
    }
    if (index % 128 == 127) {
      prune_requested = index - 64;
      EXPECT_OK(writer->prune(index - 64));
    }
  }
  EXPECT_OK(writer->sync());
  synced = kItems;
  for (std::thread& thread : threads)
    thread.join();

  for (uint64_t index = writer->oldest_allowed(); index < kItems; ++index)
    EXPECT_EQ(get(follower, index), value_at(index));
}

// What a put that succeeded has put is durable once close has returned, whoever came first.
TEST(PrunableArchiveStress, WhenClosedWhileThreadsPutAndSync_ThenAllThatSucceededIsThere) {
  for (uint64_t round = 0; round < 5; ++round) {
    constexpr uint64_t kPerThread = 300;
    MemoryStorage storage;
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options()));
    std::atomic<uint64_t> puts = 0;
    std::array<uint64_t, 3> done{};
    std::vector<std::thread> threads;
    for (uint64_t number = 0; number < done.size(); ++number) {
      threads.emplace_back([&, number] {
        while (done[number] < kPerThread && put_one(archive, number * kPerThread + done[number])) {
          ++done[number];
          ++puts;
          if (done[number] % 7 == 0) (void)archive->sync();
          EXPECT_EQ(get(archive, number * kPerThread), value_at(number * kPerThread));
        }
      });
    }

    while (puts < 60 * round)
      std::this_thread::yield();
    EXPECT_OK(archive->close());
    for (std::thread& thread : threads)
      thread.join();
    storage.lose_unsynced();

    ASSERT_OK_INTO(const auto again, PrunableArchive::open(storage, options()));
    EXPECT_TRUE(again->recovery().was_clean);
    for (uint64_t number = 0; number < done.size(); ++number)
      for (uint64_t i = 0; i < done[number]; ++i)
        EXPECT_EQ(get(again, number * kPerThread + i), value_at(number * kPerThread + i));
    EXPECT_EQ(again->statistics().records, done[0] + done[1] + done[2]);
  }
}

// Writer and follower are closed while calls of every kind run; each succeeds or says so.
TEST(PrunableArchiveStress, WhenClosedWhileThreadsPruneFollowAndRead_ThenItemsStayWhole) {
  constexpr uint64_t kItems = 1200;
  for (uint64_t round = 0; round < 5; ++round) {
    MemoryStorage storage;
    ASSERT_OK_INTO(const auto writer, PrunableArchive::open(storage, options()));
    PrunableArchiveOptions reading = options();
    reading.access = ArchiveAccess::read_only;
    ASSERT_OK_INTO(const auto follower, PrunableArchive::open(storage, reading));
    std::atomic<uint64_t> put_count = 0;
    std::atomic<uint64_t> prune_requested = 0;
    std::atomic<bool> is_over = false;
    const auto is_open = [](const auto& outcome) {
      if (!outcome) {
        EXPECT_THAT(outcome, FailsWith(Errc::invalid_argument, "closed"));
      }
      return outcome.has_value();
    };
    const auto check = [&](const Archive& archive, uint64_t index, bool is_visible) {
      const std::string found = get(archive, index);
      if (found == value_at(index)) return;
      EXPECT_EQ(found, "absent") << index;
      EXPECT_TRUE(!is_visible || index < prune_requested) << index;
    };

    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      while (put_count < kItems && is_open(put_one(writer, put_count)))
        ++put_count;
    });
    threads.emplace_back([&] {
      do {
        prune_requested = put_count / 2;
      } while (!is_over && is_open(writer->prune(prune_requested)));
    });
    threads.emplace_back([&] {
      while (!is_over && is_open(follower->refresh())) {
      }
    });
    threads.emplace_back([&] {
      Random random(round);
      while (!is_over) {
        const uint64_t count = put_count;
        if (count == 0) continue;
        check(writer, random.below(count), true);
        check(follower, random.below(count), false);
        const auto ignore = [](const ArchiveItem&) { return true; };
        EXPECT_OK(writer->visit(count / 2, count, false, ignore));
        EXPECT_OK(follower->visit(count / 2, count, true, ignore));
      }
    });

    while (put_count < 150 * round)
      std::this_thread::yield();
    const std::array closing = {writer.get(), follower.get()};
    EXPECT_OK(closing[round % 2]->close());
    EXPECT_OK(closing[(round + 1) % 2]->close());
    is_over = true;
    for (std::thread& thread : threads)
      thread.join();

    ASSERT_OK_INTO(const auto again, PrunableArchive::open(storage, options()));
    EXPECT_TRUE(again->recovery().was_clean);
    for (uint64_t index = again->oldest_allowed(); index < put_count; ++index)
      EXPECT_EQ(get(again, index), value_at(index));
  }
}

}  // namespace
}  // namespace firn
