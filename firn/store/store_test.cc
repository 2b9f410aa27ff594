// SPDX-License-Identifier: Apache-2.0
#include "firn/store/store.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/observed_storage.h"
#include "testkit/turns.h"

namespace firn {
namespace {

using testing::IsEmpty;
using testkit::FailsWith;
using testkit::LoggedStorage;

StoreOptions archive_options() {
  StoreOptions options;
  options.identity = {
      "archive", {{"page_size", uint64_t{4084}}}, {{StoreRole::index, "index"}}, {}};
  return options;
}

StoreOptions reader_options() {
  StoreOptions options = archive_options();
  options.read_only = true;
  return options;
}

TEST(Store, GivenEmptyStorage_WhenOpened_ThenCreatedWithItsManifestFirst) {
  MemoryStorage storage;

  ASSERT_OK_INTO(const auto store, Store::open(storage, archive_options()));

  ASSERT_NE(store->manifest(), nullptr);
  EXPECT_OK(store->manifest()->require("page_size", 4084));
  EXPECT_NE(store->floors(StoreRole::index), nullptr);
  EXPECT_OK(store->close());
}

TEST(Store, GivenEmptyStorage_WhenOpenedWithoutCreating_ThenNotFoundAndNothingWritten) {
  MemoryStorage memory;
  LoggedStorage storage(memory);
  StoreOptions options = archive_options();
  options.create = false;
  EXPECT_THAT(Store::open(storage, options), FailsWith(Errc::not_found));
  options.create = true;
  options.read_only = true;

  EXPECT_THAT(Store::open(storage, options), FailsWith(Errc::not_found));

  EXPECT_THAT(storage.log(), IsEmpty());
}

TEST(Store, GivenOpenStore_WhenOpenedAgain_ThenLockedUntilClosed) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto store, Store::open(storage, archive_options()));
  EXPECT_THAT(Store::open(storage, archive_options()), FailsWith(Errc::locked));

  ASSERT_OK(store->close());

  EXPECT_OK(Store::open(storage, archive_options()));
}

TEST(Store, GivenReaders_WhenAWriterOpens_ThenNeitherExcludesTheOther) {
  MemoryStorage memory;
  LoggedStorage storage(memory);
  ASSERT_OK_INTO(auto writer, Store::open(memory, archive_options()));
  ASSERT_OK_INTO(const auto first_reader, Store::open(storage, reader_options()));

  ASSERT_OK(writer->close());
  ASSERT_OK_INTO(const auto second_reader, Store::open(storage, reader_options()));
  ASSERT_OK_INTO(writer, Store::open(memory, archive_options()));
  ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));

  EXPECT_EQ(second_reader->floors(StoreRole::index)->floor(Section(0)), 0u);
  EXPECT_OK(second_reader->refresh());
  EXPECT_EQ(second_reader->floors(StoreRole::index)->floor(Section(0)), 10u);
  EXPECT_THAT(writer->refresh(), FailsWith(Errc::invalid_argument));
  EXPECT_EQ(storage.changes(), 0u);
}

TEST(Store, GivenAReader_WhenSomethingBelowAFloorIsToGo_ThenOnlyOnceTheReaderIsGone) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto writer, Store::open(storage, archive_options()));
  ASSERT_OK_INTO(auto reader, Store::open(storage, reader_options()));
  EXPECT_THAT(writer->exclude_followers(), FailsWith(Errc::locked));

  reader.reset();

  {
    ASSERT_OK_INTO(const auto alone, writer->exclude_followers());
    EXPECT_OK(writer->exclude_followers());
    EXPECT_THAT(Store::open(storage, reader_options()), FailsWith(Errc::locked));
  }
  EXPECT_OK(Store::open(storage, reader_options()));
}

TEST(Store, GivenAReaderThatNeedsQuiet_WhenAWriterOpens_ThenItIsRefused) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  ASSERT_OK_INTO(auto reader, Store::open(storage, reader_options()));
  EXPECT_THAT(reader->exclude_writers(), FailsWith(Errc::locked));
  writer.reset();
  EXPECT_OK(reader->exclude_writers());

  EXPECT_THAT(Store::open(storage, archive_options()), FailsWith(Errc::locked));
}

TEST(Store, GivenAReaderOfAnOldState_WhenItAsksForQuiet_ThenItIsToldToLookAgain) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  ASSERT_OK_INTO(auto reader, Store::open(storage, reader_options()));
  ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 1));
  writer.reset();

  EXPECT_THAT(reader->exclude_writers(), FailsWith(Errc::locked, "try again"));

  EXPECT_EQ(reader->judge_view(fail(Errc::locked, ""), 1).value(), Store::View::outdated);
}

TEST(Store, GivenADeadWriter_WhenAnotherComesWhileAReaderOpens_ThenTheReaderMustLookAgain) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  writer.reset();
  ASSERT_OK_INTO(const auto reader, Store::open(storage, reader_options()));
  EXPECT_FALSE(reader->manifest()->pinned());
  EXPECT_EQ(reader->judge_view({}, 1).value(), Store::View::current);

  ASSERT_OK_INTO(writer, Store::open(storage, archive_options()));

  EXPECT_EQ(reader->judge_view({}, 1).value(), Store::View::outdated);
  EXPECT_THAT(reader->judge_view({}, 8), FailsWith(Errc::locked, "try again"));
  ASSERT_OK(writer->settle());
  ASSERT_OK_INTO(const auto second, Store::open(storage, reader_options()));
  EXPECT_TRUE(second->manifest()->pinned());
  EXPECT_EQ(second->judge_view({}, 1).value(), Store::View::current);
}

// The floor that a power cut took is only known again once the writer has adopted what is there.
TEST(Store, GivenAPowerCut_WhenAWriterRecovers_ThenAReaderIsToldToTryAgain) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
  writer.reset();
  storage.lose_unsynced();
  ASSERT_OK_INTO(writer, Store::open(storage, archive_options()));
  EXPECT_THAT(Store::open(storage, reader_options()), FailsWith(Errc::locked, "being recovered"));

  ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
  ASSERT_OK(writer->settle());

  ASSERT_OK_INTO(const auto reader, Store::open(storage, reader_options()));
  EXPECT_EQ(reader->floors(StoreRole::index)->floor(Section(0)), 10u);
}

TEST(Store, GivenACleanClose_WhenTheNextWriterLocksWhileAReaderOpens_ThenTheReaderNeedNotWait) {
  for (int moment = 1, calls = 1; calls >= moment; ++moment) {
    SCOPED_TRACE(concat("moment ", moment));
    MemoryStorage memory;
    ASSERT_OK_INTO(auto writer, Store::open(memory, archive_options()));
    ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
    ASSERT_OK(writer->settle());
    std::unique_ptr<StorageLock> next;
    calls = 0;
    testkit::ObservedStorage observed(memory, [&] {
      if (++calls != moment) return;
      ASSERT_OK(writer->close());
      ASSERT_OK_INTO(next, memory.lock(LockMode::exclusive));
    });

    ASSERT_OK_INTO(const auto reader, Store::open(observed, reader_options()));

    EXPECT_EQ(reader->floors(StoreRole::index)->floor(Section(0)), 10u);
  }
}

TEST(Store, GivenAReader_WhenARecoveryLowersAFloor_ThenItKeepsWhatItHadAndIsToldToTryAgain) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
  ASSERT_OK_INTO(const auto reader, Store::open(storage, reader_options()));
  writer.reset();
  ASSERT_OK_INTO(writer, Store::open(storage, archive_options()));
  ASSERT_OK(writer->floors(StoreRole::index)->lower(Section(0), 9));

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::locked, "being recovered"));

  EXPECT_EQ(reader->floors(StoreRole::index)->floor(Section(0)), 10u);
  ASSERT_OK(writer->settle());
  EXPECT_OK(reader->refresh());
}

// One writer recovers at one moment of the open, the next one begins to at another.
TEST(Store, GivenWritersThatRecoverWhileAReaderOpens_WhenItSucceeds_ThenNoFloorIsLower) {
  for (int first = 1, calls = 1; calls >= first; ++first) {
    for (int second = first + 1; second < first + 30; ++second) {
      SCOPED_TRACE(concat("moments ", first, " and ", second));
      MemoryStorage memory;
      std::unique_ptr<Store> writer;
      const auto recover = [&] {
        ASSERT_OK_INTO(writer, Store::open(memory, archive_options()));
        ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
        ASSERT_OK(writer->floors(StoreRole::index)->lower(Section(0), 9));
      };
      recover();
      writer.reset();
      recover();
      calls = 0;
      testkit::ObservedStorage observed(memory, [&] {
        ++calls;
        if (calls == first) {
          ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(0), 10));
          ASSERT_OK(writer->settle());
        } else if (calls == second) {
          writer.reset();
          recover();
        }
      });

      const auto reader = Store::open(observed, reader_options());

      if (reader)
        EXPECT_EQ((*reader)->floors(StoreRole::index)->floor(Section(0)), 10u);
      else
        EXPECT_EQ(reader.error().code, Errc::locked) << reader.error().message;
    }
  }
}

TEST(Store, GivenFilesOfTheOriginal_WhenReadAndWritten_ThenTheyExcludeEachOther) {
  MemoryStorage storage;
  ASSERT_OK(storage.open("index", as_bytes("x"), OpenMode::create));
  ASSERT_OK_INTO(auto reader, Store::open(storage, reader_options()));
  EXPECT_OK(Store::open(storage, reader_options()));
  EXPECT_THAT(Store::open(storage, archive_options()), FailsWith(Errc::locked));
  EXPECT_OK(reader->refresh());

  reader.reset();

  ASSERT_OK_INTO(const auto writer, Store::open(storage, archive_options()));
  EXPECT_THAT(Store::open(storage, reader_options()), FailsWith(Errc::locked));
}

TEST(Store, GivenAnotherStoreInItsPlace_WhenRefreshed_ThenNotFound) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto writer, Store::open(storage, archive_options()));
  ASSERT_OK_INTO(const auto reader, Store::open(storage, reader_options()));
  writer.reset();
  ASSERT_OK(storage.remove_partition(kManifestPartition));

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::not_found, "was removed"));
  ASSERT_OK_INTO(writer, Store::open(storage, archive_options()));
  EXPECT_THAT(reader->refresh(), FailsWith(Errc::not_found, "another store"));
}

// Sections grow one after another: whoever sees one of them sees all of those before it whole. A
// reader that mixed floors of two moments would see a hole. (From 32 sections on, a commit follows
// several new ones.)
TEST(Store, GivenWriterAndReaderInTurns_WhenFloorsAreRead_ThenTheyAreOfOneMoment) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    MemoryStorage memory;
    testkit::Turns turns(seed);
    testkit::ObservedStorage read_storage(memory, [&] { turns.pass(); });
    testkit::ObservedStorage write_storage(memory, [&] { turns.pass(); });
    uint64_t raised = 0;
    constexpr uint64_t kRaises = 5;

    const auto write = [&] {
      ASSERT_OK_INTO(const auto writer, Store::open(write_storage, archive_options()));
      for (uint64_t n = 0; n < 100 * kRaises; ++n) {
        ASSERT_OK(writer->floors(StoreRole::index)->raise(Section(n / kRaises), n % kRaises + 1));
        raised = n + 1;
      }
    };
    const auto read = [&] {
      std::unique_ptr<Store> reader;
      uint64_t seen = 0;
      for (int round = 0; round < 120; ++round) {
        const uint64_t before = raised;
        if (!reader) {
          auto opened = Store::open(read_storage, reader_options());
          if (!opened) continue;
          reader = std::move(*opened);
        } else {
          ASSERT_OK(reader->refresh());
        }
        uint64_t total = 0;
        const auto sections = reader->floors(StoreRole::index)->sections();
        for (const Section section : sections)
          total += reader->floors(StoreRole::index)->floor(section);
        ASSERT_EQ(sections.size(), (total + kRaises - 1) / kRaises) << "a hole";
        ASSERT_GE(total, std::max(before, seen));
        seen = total;
      }
    };
    turns.run(write, read);
  }
}

TEST(Store, GivenOtherGeometry_WhenOpened_ThenRefusedBeforeAnythingIsWritten) {
  MemoryStorage memory;
  LoggedStorage storage(memory);
  ASSERT_OK_INTO(auto store, Store::open(storage, archive_options()));
  ASSERT_OK(store->close());
  store.reset();
  storage.clear_log();
  StoreOptions other_size = archive_options();
  other_size.required_geometry = {{"page_size", uint64_t{1024}}};
  StoreOptions other_kind = archive_options();
  other_kind.identity.kind = "freezer";
  StoreOptions other_name = archive_options();
  other_name.required_partitions = {{StoreRole::index, "keys"}};

  EXPECT_THAT(Store::open(storage, other_size), FailsWith(Errc::invalid_argument, "page_size"));
  EXPECT_THAT(Store::open(storage, other_kind), FailsWith(Errc::invalid_argument, "freezer"));
  EXPECT_THAT(Store::open(storage, other_name), FailsWith(Errc::invalid_argument, "keys"));

  EXPECT_EQ(storage.count("write"), 0u);
  EXPECT_EQ(storage.count("create"), 0u);
}

TEST(Store, GivenFilesOfTheOriginal_WhenOpened_ThenUsedWithoutManifestAndNoted) {
  MemoryStorage storage;
  ASSERT_OK(storage.open("index", as_bytes("x"), OpenMode::create));

  ASSERT_OK_INTO(const auto store, Store::open(storage, archive_options()));

  EXPECT_EQ(store->manifest(), nullptr);
  EXPECT_EQ(store->floors(StoreRole::index), nullptr);
  EXPECT_EQ(store->recovery().report().notes.size(), 1u);
  EXPECT_OK(store->close());
  EXPECT_THAT(storage.scan(kManifestPartition).value(), IsEmpty());
}

// Perhaps firn made it, and its manifest is lost: then a guess would change good data.
TEST(Store, GivenNoManifest_WhenGeometryIsNotSaid_ThenOnlyReadingGoesOn) {
  MemoryStorage memory;
  ASSERT_OK(memory.open("index", as_bytes("x"), OpenMode::create));
  LoggedStorage storage(memory);
  StoreOptions options = archive_options();
  options.needed_without_manifest = {"key_size", "page_size"};
  options.required_geometry = {{"key_size", uint64_t{32}}};

  EXPECT_THAT(Store::open(storage, options),
              FailsWith(Errc::invalid_argument, "made with: page_size. Nothing was changed"));
  EXPECT_EQ(storage.count("write") + storage.count("create"), 0u);

  options.read_only = true;
  EXPECT_OK(Store::open(storage, options));
  options.read_only = false;
  options.required_geometry.push_back({"page_size", uint64_t{4084}});
  EXPECT_OK(Store::open(storage, options));
}

// The partition alone tells that firn made the store: it is filled before any other is made.
TEST(Store, GivenAManifestWithoutFiles_WhenThereIsData_ThenCorruptForReadersAndWriters) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto store, Store::open(storage, archive_options()));
    ASSERT_OK(store->close());
  }
  ASSERT_OK_INTO(const auto names, storage.scan(kManifestPartition));
  for (const bool with_data : {false, true}) {
    if (with_data) {
      ASSERT_OK(storage.open("index", as_bytes("x"), OpenMode::create));
    }
    for (const bool read_only : {true, false}) {
      SCOPED_TRACE(concat(with_data ? "with data, " : "", read_only ? "reading" : "writing"));
      ASSERT_OK(storage.remove(kManifestPartition, names));
      StoreOptions options = archive_options();
      options.read_only = read_only;
      const auto opened = Store::open(storage, options);
      if (!with_data) {
        EXPECT_EQ(opened.has_value(), !read_only);
        continue;
      }
      EXPECT_THAT(opened, FailsWith(Errc::corrupt, "firn salvage SRC DST"));
    }
  }
}

TEST(Store, GivenRecoveryThatCut_WhenClosed_ThenTheManifestTellsAndIsClean) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto store, Store::open(storage, archive_options()));
  store->recovery().report().cuts.push_back({{"index", "00", 0, 5, "torn"}, "", 0});

  ASSERT_OK(store->close());

  store.reset();
  ASSERT_OK_INTO(store, Store::open(storage, archive_options()));
  EXPECT_TRUE(store->recovery().report().was_clean);
  EXPECT_THAT(store->manifest()->last_recovery(), testing::HasSubstr(R"("cut_bytes":5)"));
}

TEST(Store, GivenRecoveryThatCut_WhenKilledBeforeAClose_ThenTheManifestTells) {
  MemoryStorage storage;
  ASSERT_OK_INTO(auto store, Store::open(storage, archive_options()));
  store->recovery().report().cuts.push_back({{"index", "00", 0, 5, "torn"}, "", 0});
  ASSERT_OK(store->settle());

  store.reset();

  ASSERT_OK_INTO(store, Store::open(storage, archive_options()));
  EXPECT_FALSE(store->recovery().report().was_clean);
  EXPECT_THAT(store->manifest()->last_recovery(), testing::HasSubstr(R"("cut_bytes":5)"));
}

// A commit takes over the floor of the first section from its hint, and the second one gets its
// place: commit and hints that are read around that have the old floor of the first one and the new
// one of the second, which never were at the same time.
TEST(Store, GivenACommitWhileAReaderOpens_WhenHintsTakeThePlaceOfOthers_ThenFloorsAreOfOneMoment) {
  for (int moment = 1, calls = 1; calls >= moment; ++moment) {
    SCOPED_TRACE(concat("moment ", moment));
    MemoryStorage memory;
    ASSERT_OK_INTO(const auto writer, Store::open(memory, archive_options()));
    Floors& floors = *writer->floors(StoreRole::index);
    ASSERT_OK(floors.raise(Section(0), 100));
    ASSERT_OK(floors.raise(Section(1), 10));
    ASSERT_OK(writer->manifest()->checkpoint());
    ASSERT_OK(floors.raise(Section(0), 200));
    calls = 0;
    testkit::ObservedStorage observed(memory, [&] {
      if (++calls != moment) return;
      EXPECT_OK(writer->manifest()->checkpoint());
      EXPECT_OK(floors.raise(Section(1), 50));
    });

    RecoveryLog recovery(observed, true);
    ASSERT_OK_INTO(const auto manifest, Manifest::open(observed, true, recovery));

    EXPECT_EQ(manifest->floors(StoreRole::index).floor(Section(0)), 200u);
  }
}

}  // namespace
}  // namespace firn
