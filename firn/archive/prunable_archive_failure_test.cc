// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: writes and flushes that fail. The first failure ends all changes; what was
// synced is still served, and opening the store anew recovers.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/io/file_storage.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/simulated_file_system.h"

namespace firn {
namespace {

using archive::Archive;
using archive::get;
using archive::put;
using archive::put_multi;
using archive::small_options;
using testkit::FailsWith;
using testkit::LoggedStorage;

Status synced_part(const Archive& archive) {
  for (uint64_t index = 4; index < 10; ++index)
    TRY(put(archive, index, concat("key", index), concat("value", index)));
  return archive->sync();
}

// What the failure comes in the middle of.
Status failing_part(const Archive& archive) {
  TRY(put(archive, 10, "key10", "value10"));
  TRY(put_multi(archive, 5, "key5b", "value5b"));
  TRY(archive->sync());
  TRY(put(archive, 20, "key20", std::string(300, 'v')));
  TRY(archive->sync());
  TRY(archive->prune(4));
  TRY(put(archive, 21, "key21", "value21"));
  return archive->sync();
}

void expect_synced_part(const Archive& archive) {
  for (uint64_t index = 4; index < 10; ++index) {
    EXPECT_EQ(get(archive, index), concat("value", index));
    EXPECT_EQ(get(archive, concat("key", index)), concat("value", index));
  }
}

void expect_poisoned(const Archive& archive) {
  EXPECT_THAT(put(archive, 30, "key30", "value"), FailsWith(Errc::poisoned));
  EXPECT_THAT(put_multi(archive, 5, "key5c", "value"), FailsWith(Errc::poisoned));
  EXPECT_THAT(archive->sync(), FailsWith(Errc::poisoned));
  EXPECT_THAT(archive->prune(8), FailsWith(Errc::poisoned));
  EXPECT_THAT(archive->close(), FailsWith(Errc::poisoned));
}

TEST(PrunableArchiveFailure, WhenAnyChangeFails_ThenChangesEndReadsGoOnAndReopenRecovers) {
  for (const bool power_cut : {false, true}) {
    bool failed = true;
    for (uint64_t change = 0; failed; ++change) {
      ASSERT_LT(change, 200);
      SCOPED_TRACE(concat("change ", change, power_cut ? ", power cut" : ", killed"));
      MemoryStorage memory;
      LoggedStorage storage(memory);
      ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, small_options()));
      ASSERT_OK(synced_part(archive));

      storage.fail_change(change);
      const Status outcome = failing_part(archive);

      failed = !outcome;
      if (failed) {
        EXPECT_EQ(outcome.error().code, Errc::io);
        expect_synced_part(archive);
        expect_poisoned(archive);
        expect_synced_part(archive);
      }
      archive.reset();
      if (power_cut) memory.lose_unsynced();
      ASSERT_OK_INTO(archive, PrunableArchive::open(memory, small_options()));
      expect_synced_part(archive);
      EXPECT_OK(put(archive, 30, "key30", "value30"));
      EXPECT_OK(archive->close());
    }
  }
}

TEST(PrunableArchiveFailure, WhenAnyChangeOfDestroyFails_ThenWhatIsLeftCanBeDestroyed) {
  bool has_failed = true;
  for (uint64_t change = 0; has_failed; ++change) {
    SCOPED_TRACE(change);
    ASSERT_LT(change, 100);
    MemoryStorage memory;
    LoggedStorage storage(memory);
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, small_options()));
    ASSERT_OK(synced_part(archive));

    storage.fail_change(change);
    has_failed = !archive->destroy();
    archive.reset();

    if (has_failed) {
      PrunableArchiveOptions by_manifest;
      by_manifest.access = ArchiveAccess::write;
      ASSERT_OK_INTO(archive, PrunableArchive::open(memory, by_manifest));
      ASSERT_OK(archive->destroy());
    }
    EXPECT_TRUE(memory.partitions()->empty());
  }
}

TEST(PrunableArchiveFailure, WhenReadFails_ThenTheAnswerIsTheErrorAndLaterReadsSucceed) {
  testkit::SimulatedFileSystem disk;
  FileStorage storage(disk);
  PrunableArchiveOptions uncached = small_options();
  uncached.page_cache_bytes = 0;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, uncached));
  ASSERT_OK(synced_part(archive));

  disk.set_faults(
      {.failures = {{.call = disk.call_count() + 1, .code = Errc::io, .for_ever = true}}});
  EXPECT_EQ(get(archive, 4), "error: I/O error");
  EXPECT_EQ(get(archive, "key4"), "error: I/O error");
  EXPECT_EQ(archive::get_all(archive, 4), "error: I/O error");
  EXPECT_EQ(get(archive, 99), "absent");
  disk.clear_faults();

  expect_synced_part(archive);
  EXPECT_OK(put(archive, 30, "key30", "value30"));
}

// A full disk, for every number of bytes that are left.
TEST(PrunableArchiveFailure, GivenFullDisk_WhenThereIsSpaceAgain_ThenTheStoreIsIntact) {
  bool failed = true;
  for (uint64_t left = 0; failed; left += 7) {
    ASSERT_LT(left, 20'000);
    SCOPED_TRACE(concat(left, " bytes left"));
    testkit::SimulatedFileSystem disk;
    std::optional<FileStorage> storage(disk);
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(*storage, small_options()));
    ASSERT_OK(synced_part(archive));
    uint64_t used = 0;
    for (const auto& [directory, name] : disk.raw_files())
      used += disk.read_raw(directory, name).size();

    disk.set_faults({.capacity_bytes = used + left});
    const Status outcome = failing_part(archive);

    failed = !outcome;
    if (failed) {
      EXPECT_THAT(outcome, FailsWith(Errc::no_space));
      expect_synced_part(archive);
    }
    archive.reset();
    disk.clear_faults();
    disk.kill();
    storage.emplace(disk);
    ASSERT_OK_INTO(archive, PrunableArchive::open(*storage, small_options()));
    expect_synced_part(archive);
    EXPECT_OK(failing_part(archive));
    EXPECT_EQ(get(archive, "key21"), "value21");
    EXPECT_OK(archive->close());
    storage.reset();
  }
}

TEST(PrunableArchiveFailure, WhenValueIsTooLarge_ThenItIsRefusedAndNothingHappens) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));
  // As many parts as it takes, all of the same memory.
  const Bytes part(1 << 20);
  const std::vector<ByteSpan> parts(4096, ByteSpan(part));

  EXPECT_THAT(archive->put(1, archive::key_of("key", 8), parts),
              FailsWith(Errc::invalid_argument, "larger"));

  EXPECT_EQ(get(archive, 1), "absent");
  EXPECT_OK(put(archive, 1, "key", "value"));
  EXPECT_OK(archive->sync());
}

}  // namespace
}  // namespace firn
