// SPDX-License-Identifier: Apache-2.0
#include "firn/store/store.h"

#include <gtest/gtest.h>

#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

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

  StoreOptions options = archive_options();
  options.read_only = true;
  ASSERT_OK_INTO(const auto first_reader, Store::open(storage, options));
  EXPECT_OK(Store::open(storage, options));
  EXPECT_THAT(Store::open(storage, archive_options()), FailsWith(Errc::locked));
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

}  // namespace
}  // namespace firn
