// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer of another process.
#include <gtest/gtest.h>

#include "firn/metadata/metadata_test_support.h"
#include "testkit/follow_race.h"
#include "testkit/observed_storage.h"

namespace firn {
namespace {

using testkit::FailsWith;
using testkit::FollowRace;
using testkit::LoggedStorage;
using testkit::ObservedStorage;

MetadataStoreOptions reading() {
  MetadataStoreOptions options;
  options.read_only = true;
  return options;
}

Result<std::unique_ptr<MetadataStore>> open(Storage& storage, const MetadataStoreOptions& options) {
  RecoveryLog recovery(storage, options.read_only);
  auto store = MetadataStore::open(storage, options, recovery);
  EXPECT_EQ(recovery.report().damage.size(), 0u);
  return store;
}

// Commit n sets all keys to n, in values whose size changes now and then, so that images are both
// overwritten and rewritten.
Status commit(MetadataStore& store, uint64_t n) {
  for (uint64_t key = 0; key < 3; ++key)
    TRY(store.put(key_of(key), as_bytes(concat(n, std::string(n / 3 % 5 * 20, ' ')))));
  return store.sync();
}

// The commit that the store shows; nullopt if it is a mix of several.
std::optional<uint64_t> commit_of(const MetadataStore& store) {
  uint64_t keys = 0;
  std::optional<uint64_t> commit;
  bool is_mixed = false;
  store.for_each([&](ByteSpan, ByteSpan value) {
    const uint64_t n = std::stoull(std::string(as_text(value)));
    is_mixed = is_mixed || (commit && *commit != n);
    commit = n;
    ++keys;
  });
  if (keys == 0) return 0;
  return is_mixed || keys != 3 ? std::nullopt : commit;
}

TEST(MetadataFollow, GivenACommit_WhenRefreshed_ThenItIsThereWholeAndNothingIsWritten) {
  MemoryStorage memory;
  LoggedStorage read_storage(memory);
  ASSERT_OK_INTO(const auto writer, open(memory, {}));
  ASSERT_OK(commit(*writer, 1));
  ASSERT_OK_INTO(const auto reader, open(read_storage, reading()));
  EXPECT_EQ(commit_of(*reader), 1u);
  ASSERT_OK(writer->put(key_of(0), as_bytes("2")));

  EXPECT_EQ(reader->refresh().value(), 1u);
  EXPECT_EQ(commit_of(*reader), 1u);
  ASSERT_OK(commit(*writer, 2));
  EXPECT_EQ(reader->refresh().value(), 2u);

  EXPECT_EQ(commit_of(*reader), 2u);
  EXPECT_EQ(read_storage.changes(), 0u);
  EXPECT_THAT(writer->refresh(), FailsWith(Errc::invalid_argument));
}

TEST(MetadataFollow, GivenAnOlderCopyOnly_WhenRefreshed_ThenTheReaderNeverGoesBack) {
  MemoryStorage memory;
  ASSERT_OK_INTO(const auto writer, open(memory, {}));
  ASSERT_OK(commit(*writer, 1));
  const Bytes older = *memory.raw("state", as_bytes("right"));
  ASSERT_OK(commit(*writer, 2));
  ASSERT_OK(commit(*writer, 3));
  ASSERT_OK_INTO(const auto reader, open(memory, reading()));
  memory.set_raw("state", as_bytes("left"), older);
  memory.set_raw("state", as_bytes("right"), older);

  EXPECT_THAT(reader->refresh(), FailsWith(Errc::locked, "older version"));

  EXPECT_EQ(commit_of(*reader), 3u);
}

TEST(MetadataFollow, GivenAReaderAtEveryCallOfTheWriter_WhenItLooks_ThenItSeesOneWholeCommit) {
  MemoryStorage memory;
  LoggedStorage read_storage(memory);
  uint64_t synced = 0;
  uint64_t issued = 0;
  uint64_t seen = 0;
  std::unique_ptr<MetadataStore> follower;
  const auto look = [&] {
    RecoveryLog recovery(read_storage, true);
    auto fresh = MetadataStore::open(read_storage, reading(), recovery);
    if (!fresh) {
      EXPECT_THAT(fresh, FailsWith(Errc::not_found));
      return;
    }
    if (!follower) follower = std::move(*fresh);
    ASSERT_OK(follower->refresh());
    const auto shown = commit_of(*follower);
    ASSERT_TRUE(shown) << "a mix of commits";
    EXPECT_GE(*shown, std::max(synced, seen));
    EXPECT_LE(*shown, issued);
    seen = *shown;
  };
  ObservedStorage storage(memory, look);
  ASSERT_OK_INTO(auto writer, open(storage, {}));

  for (uint64_t n = 1; n <= 60; ++n) {
    issued = n;
    ASSERT_OK(commit(*writer, n));
    synced = n;
    if (n % 7 == 0) {
      writer.reset();
      ASSERT_OK_INTO(writer, open(storage, {}));
    }
  }

  EXPECT_EQ(seen, 60u);
  EXPECT_EQ(read_storage.changes(), 0u);
}

TEST(MetadataFollow, GivenWriterAndReaderInTurns_WhenTheReaderFollows_ThenItSeesOneWholeCommit) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    FollowRace race(seed);
    uint64_t synced = 0;
    uint64_t issued = 0;

    const auto write = [&] {
      ASSERT_OK_INTO(const auto writer, open(race.of_writer(), {}));
      for (uint64_t n = 1; n <= 80; ++n) {
        issued = n;
        ASSERT_OK(commit(*writer, n));
        synced = n;
      }
    };
    const auto read = [&] {
      std::unique_ptr<MetadataStore> follower;
      uint64_t seen = 0;
      for (int round = 0; round < 60; ++round) {
        const uint64_t before = synced;
        if (!follower) {
          RecoveryLog recovery(race.of_reader(), true);
          auto opened = MetadataStore::open(race.of_reader(), reading(), recovery);
          if (!opened) {
            EXPECT_THAT(opened, FailsWith(Errc::not_found));
            continue;
          }
          follower = std::move(*opened);
        } else {
          ASSERT_OK(follower->refresh());
        }
        const auto shown = commit_of(*follower);
        ASSERT_TRUE(shown) << "a mix of commits";
        EXPECT_GE(*shown, std::max(before, seen));
        EXPECT_LE(*shown, issued);
        seen = *shown;
      }
    };
    race.run(write, read);

    EXPECT_EQ(race.reader_changes(), 0u);
  }
}

}  // namespace
}  // namespace firn
