// SPDX-License-Identifier: Apache-2.0
//
// What MetadataStore does after power cuts, failed writes and damage.
#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/metadata/metadata_store.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testing::HasSubstr;
using testkit::FailsWith;
using testkit::LoggedStorage;

using Map = std::map<std::string, std::string>;

constexpr std::string_view kSides[] = {"left", "right"};

Result<std::unique_ptr<MetadataStore>> open(Storage& storage, RecoveryLog& recovery) {
  return MetadataStore::open(storage, {}, recovery);
}

Map map_of(const MetadataStore& store) {
  Map map;
  store.for_each([&](ByteSpan key, ByteSpan value) {
    map.emplace(std::string(as_text(key)), std::string(as_text(value)));
  });
  return map;
}

// Commits {"same-key": value} for each value in turn.
void fill(Storage& storage, const std::vector<std::string>& values) {
  RecoveryLog recovery(storage, false);
  ASSERT_OK_INTO(const auto store, open(storage, recovery));
  for (const std::string& value : values) {
    ASSERT_OK(store->put(as_bytes("same-key"), as_bytes(value)));
    ASSERT_OK(store->sync());
  }
}

Bytes raw(const MemoryStorage& storage, std::string_view side) {
  return storage.raw("state", as_bytes(side)).value_or(Bytes());
}

void set_raw(MemoryStorage& storage, std::string_view side, Bytes content) {
  storage.set_raw("state", as_bytes(side), std::move(content));
}

// Replaces what follows the header.
void set_content(MemoryStorage& storage, std::string_view side, ByteSpan content) {
  Bytes bytes = raw(storage, side);
  bytes.resize(8);
  bytes.insert(bytes.end(), content.begin(), content.end());
  set_raw(storage, side, std::move(bytes));
}

struct Reopened {
  Map map;
  RecoveryReport report;
  bool from_one_copy = false;
};

Result<Reopened> reopen(Storage& storage) {
  RecoveryLog recovery(storage, false);
  TRY_INTO(const auto store, open(storage, recovery));
  return Reopened{map_of(*store), recovery.report(), store->opened_from_one_copy()};
}

TEST(MetadataDamage, GivenNewestCopyOverwritten_WhenReopened_ThenOlderIsUsedAndLossIsReported) {
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  set_content(storage, "right", as_bytes("corrupted"));
  const Bytes damaged = raw(storage, "right");

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

  EXPECT_EQ(reopened.map, (Map{{"same-key", "hello"}}));
  EXPECT_TRUE(reopened.from_one_copy);
  ASSERT_EQ(reopened.report.damage.size(), 1u);
  EXPECT_EQ(reopened.report.damage[0].blob, to_hex(as_bytes("right")));
  EXPECT_THAT(reopened.report.damage[0].reason, HasSubstr("may be missing"));
  EXPECT_EQ(raw(storage, "right"), damaged) << "evidence must stay";
}

TEST(MetadataDamage, GivenACloseOrNone_WhenTheNewestCopyIsDamaged_ThenTheReportTellsThemApart) {
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  set_content(storage, "right", as_bytes("corrupted"));
  for (const bool was_closed : {false, true}) {
    MetadataStoreOptions options;
    options.read_only = true;
    options.was_closed = was_closed;
    RecoveryLog recovery(storage, true);

    ASSERT_OK(MetadataStore::open(storage, options, recovery));

    ASSERT_EQ(recovery.report().damage.size(), 1u);
    EXPECT_EQ(recovery.report().damage[0].copy,
              was_closed ? BlobRange::Copy::damaged : BlobRange::Copy::maybe_unfinished);
  }
}

// Gives the copy another version, with a checksum that fits.
void forge_version(MemoryStorage& storage, std::string_view side, uint64_t version) {
  Bytes bytes = raw(storage, side);
  store_big_endian<uint64_t>(bytes.data() + 8, version);
  const ByteSpan image = ByteSpan(bytes).subspan(8, bytes.size() - 12);
  store_big_endian<uint32_t>(bytes.data() + bytes.size() - 4, crc32c(image));
  set_raw(storage, side, std::move(bytes));
}

TEST(MetadataDamage, GivenAForgedLastVersion_WhenSynced_ThenRefusedAndTheMapStays) {
  constexpr uint64_t kLast = UINT64_MAX - 1;
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  forge_version(storage, "right", kLast);
  {
    RecoveryLog recovery(storage, false);
    ASSERT_OK_INTO(const auto store, open(storage, recovery));
    EXPECT_EQ(store->version(), kLast);
    ASSERT_OK(store->put(as_bytes("same-key"), as_bytes("one more")));

    const Status synced = store->sync();

    ASSERT_FALSE(synced);
    EXPECT_EQ(synced.error().code, Errc::no_space);
    EXPECT_THAT(synced.error().message, HasSubstr("into a new store"));
  }
  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, (Map{{"same-key", "newest"}}));
}

TEST(MetadataDamage, GivenOlderCopyDamaged_WhenReopened_ThenNewestIsUsedAndNothingIsMissing) {
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  Bytes left = raw(storage, "left");
  left[20] ^= std::byte{1};
  set_raw(storage, "left", left);

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

  EXPECT_EQ(reopened.map, (Map{{"same-key", "newest"}}));
  ASSERT_EQ(reopened.report.damage.size(), 1u);
  EXPECT_THAT(reopened.report.damage[0].reason, HasSubstr("nothing is missing"));
}

TEST(MetadataDamage, GivenAStrictOpen_WhenACopyIsBad_ThenRefusedAndNothingChanges) {
  MetadataStoreOptions strict;
  strict.strict = true;
  const auto open_strictly = [&](Storage& storage) {
    RecoveryLog recovery(storage, false);
    return MetadataStore::open(storage, strict, recovery);
  };
  MemoryStorage storage;
  EXPECT_OK(open_strictly(storage));
  fill(storage, {"old", "hello", "newest"});
  EXPECT_OK(open_strictly(storage));
  for (const std::string_view side : kSides) {
    const Bytes good = raw(storage, side);
    for (const size_t offset : {size_t{0}, size_t{20}}) {
      Bytes bad = good;
      bad[offset] ^= std::byte{1};
      set_raw(storage, side, bad);

      EXPECT_THAT(open_strictly(storage), FailsWith(Errc::corrupt, "nothing was changed"));

      EXPECT_EQ(raw(storage, side), bad);
    }
    set_raw(storage, side, good);
  }
  EXPECT_OK(open_strictly(storage));
}

TEST(MetadataDamage, GivenNewestVersionFieldFlippedToLookOld_WhenReopened_ThenLossIsReported) {
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  Bytes right = raw(storage, "right");
  ASSERT_EQ(right[15], std::byte{3});
  right[15] = std::byte{1};
  set_raw(storage, "right", right);

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

  EXPECT_EQ(reopened.map, (Map{{"same-key", "hello"}}));
  ASSERT_EQ(reopened.report.damage.size(), 1u);
  EXPECT_THAT(reopened.report.damage[0].reason, HasSubstr("may be missing"));
}

TEST(MetadataDamage, GivenNewestCopyTruncated_WhenReopened_ThenOlderIsUsed) {
  for (size_t cut_bytes = 1; cut_bytes <= 26; ++cut_bytes) {
    MemoryStorage storage;
    fill(storage, {"hello", "newest"});
    Bytes left = raw(storage, "left");
    left.resize(left.size() - cut_bytes);
    set_raw(storage, "left", left);

    ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

    EXPECT_EQ(reopened.map, (Map{{"same-key", "hello"}})) << cut_bytes;
    EXPECT_TRUE(reopened.from_one_copy) << cut_bytes;
    EXPECT_FALSE(reopened.report.empty()) << cut_bytes;
  }
}

TEST(MetadataDamage, GivenBothCopiesDamaged_WhenReopened_ThenCorruptAndNothingChanges) {
  MemoryStorage storage;
  fill(storage, {"old", "hello"});
  set_content(storage, "left", as_bytes("corrupted"));
  set_content(storage, "right", as_bytes("corrupted"));
  LoggedStorage logged(storage);

  EXPECT_THAT(reopen(logged), FailsWith(Errc::corrupt, "no copy of the metadata is readable"));
  EXPECT_THAT(reopen(logged), FailsWith(Errc::corrupt, "restore"));

  EXPECT_THAT(logged.log(), testing::IsEmpty());
}

TEST(MetadataDamage, GivenOneCopyDamagedAndOtherMissing_WhenReopened_ThenCorrupt) {
  for (const std::string_view missing : kSides) {
    MemoryStorage storage;
    fill(storage, {"old", "hello"});
    const std::string_view other = missing == "left" ? "right" : "left";
    set_content(storage, other, as_bytes("corrupted"));
    const Bytes name = to_bytes(as_bytes(missing));
    ASSERT_OK(storage.remove("state", std::span(&name, 1)));

    EXPECT_THAT(reopen(storage), FailsWith(Errc::corrupt)) << missing;
  }
}

TEST(MetadataDamage, GivenCopyMissing_WhenReopened_ThenOtherIsUsedAndBothAreWrittenAgain) {
  MemoryStorage storage;
  fill(storage, {"old", "hello", "newest"});
  const Bytes name = to_bytes(as_bytes("right"));
  ASSERT_OK(storage.remove("state", std::span(&name, 1)));

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

  EXPECT_EQ(reopened.map, (Map{{"same-key", "hello"}}));
  EXPECT_TRUE(reopened.from_one_copy);
  ASSERT_EQ(reopened.report.damage.size(), 1u);
  EXPECT_EQ(reopened.report.damage[0].blob, to_hex(name));
  fill(storage, {"again", "again!"});
  ASSERT_OK_INTO(const Reopened healed, reopen(storage));
  EXPECT_TRUE(healed.report.empty());
  EXPECT_EQ(healed.map, (Map{{"same-key", "again!"}}));
}

// The whole promise in one test: for each single flipped bit and each inverted byte, header
// included, the newest map is read, or the one before together with a report, or an error; nothing
// else.
TEST(MetadataDamage, GivenAnyBitFlipped_WhenReopened_ThenRightMapOrReported) {
  for (size_t commits = 1; commits <= 4; ++commits) {
    std::vector<std::string> values = {"one", "two", "six", "longer"};
    values.resize(commits);
    MemoryStorage storage;
    fill(storage, values);
    for (const std::string_view side : kSides) {
      const Bytes good = raw(storage, side);
      for (size_t i = 0; i < good.size(); ++i) {
        for (const unsigned mask :
             {0x01u, 0x02u, 0x04u, 0x08u, 0x10u, 0x20u, 0x40u, 0x80u, 0xFFu}) {
          Bytes bad = good;
          bad[i] ^= static_cast<std::byte>(mask);
          set_raw(storage, side, bad);
          const auto reopened = reopen(storage);
          const bool is_only_copy = commits == 1 && side == "right";
          if (!is_only_copy) {
            ASSERT_OK(reopened) << side << " byte " << i;
            EXPECT_FALSE(reopened->report.empty()) << side << " byte " << i;
          }
          if (!reopened) {
            EXPECT_TRUE(reopened.error().code == Errc::corrupt ||
                        reopened.error().code == Errc::unsupported_version)
                << reopened.error().message;
          } else if (reopened->map != Map{{"same-key", values.back()}}) {
            ASSERT_GE(commits, 2u) << "an only commit was lost: " << side << " byte " << i;
            EXPECT_EQ(reopened->map, (Map{{"same-key", values[commits - 2]}}));
            EXPECT_THAT(reopened->report.damage.at(0).reason, HasSubstr("may be missing"));
          }
        }
      }
      set_raw(storage, side, good);
    }
  }
}

constexpr size_t kFirstVersionByte = 4;  // of the header: its own version, then the blob's
constexpr size_t kHeaderSizeBytes = 8;

void flip(MemoryStorage& storage, std::string_view side, size_t offset) {
  Bytes bytes = raw(storage, side);
  bytes[offset] ^= std::byte{0x40};
  set_raw(storage, side, bytes);
}

TEST(MetadataDamage, GivenUnsupportedVersionInOneCopy_WhenReopened_ThenOtherServesAndItIsMended) {
  for (const std::string_view side : kSides) {
    for (size_t offset = kFirstVersionByte; offset < kHeaderSizeBytes; ++offset) {
      MemoryStorage storage;
      fill(storage, {"old", "hello", "newest"});
      flip(storage, side, offset);
      const Bytes damaged = raw(storage, side);

      ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

      EXPECT_EQ(reopened.map, (Map{{"same-key", side == "right" ? "hello" : "newest"}}));
      EXPECT_TRUE(reopened.from_one_copy);
      ASSERT_EQ(reopened.report.damage.size(), 1u);
      EXPECT_THAT(reopened.report.damage[0].reason, HasSubstr("version"));
      EXPECT_EQ(raw(storage, side), damaged) << "evidence must stay until the next sync";
      fill(storage, {"mended"});
      ASSERT_OK_INTO(const Reopened mended, reopen(storage));
      EXPECT_EQ(mended.map, (Map{{"same-key", "mended"}}));
      EXPECT_TRUE(mended.report.empty());
    }
  }
}

TEST(MetadataDamage, GivenUnsupportedVersionInAllCopies_WhenReopened_ThenThatIsTheError) {
  for (const size_t commits : {1u, 2u}) {
    MemoryStorage storage;
    fill(storage,
         commits == 1 ? std::vector<std::string>{"only"} : std::vector<std::string>{"one", "two"});
    flip(storage, "right", kFirstVersionByte);
    if (commits == 2) flip(storage, "left", kFirstVersionByte);
    LoggedStorage logged(storage);

    EXPECT_THAT(reopen(logged), FailsWith(Errc::unsupported_version, "no copy")) << commits;

    EXPECT_THAT(logged.log(), testing::IsEmpty());
  }
}

// An emptied one cannot be told from one that was never written: see docs/testing.md.
TEST(MetadataDamage, GivenCopyOfSecondCommitMissing_WhenReopened_ThenLossIsReported) {
  MemoryStorage storage;
  fill(storage, {"one", "two"});
  const Bytes name = to_bytes(as_bytes("left"));
  ASSERT_OK(storage.remove("state", std::span(&name, 1)));

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

  EXPECT_EQ(reopened.map, (Map{{"same-key", "one"}}));
  EXPECT_TRUE(reopened.from_one_copy);
  ASSERT_EQ(reopened.report.damage.size(), 1u);
  EXPECT_THAT(reopened.report.damage[0].reason, HasSubstr("may be missing"));
}

TEST(MetadataDamage, GivenDamagedHeader_WhenSynced_ThenTheBlobIsMadeAnew) {
  MemoryStorage storage;
  fill(storage, {"one", "two"});
  Bytes left = raw(storage, "left");
  left[0] = std::byte{'X'};
  set_raw(storage, "left", left);
  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, (Map{{"same-key", "one"}}));
  EXPECT_EQ(raw(storage, "left"), left) << "evidence must stay until the next sync";

  fill(storage, {"three"});

  ASSERT_OK_INTO(const Reopened healed, reopen(storage));
  EXPECT_EQ(healed.map, (Map{{"same-key", "three"}}));
  EXPECT_TRUE(healed.report.empty());
}

TEST(MetadataDamage, GivenUndecodableContentUnderRightChecksum_WhenOpened_ThenCorrupt) {
  const auto open_with_body = [](const Bytes& body, uint64_t version = 1) {
    MemoryStorage storage;
    fill(storage, {});
    Bytes image(8);
    store_big_endian<uint64_t>(image.data(), version);
    image.insert(image.end(), body.begin(), body.end());
    const uint32_t crc = crc32c(image);
    image.resize(image.size() + 4);
    store_big_endian<uint32_t>(image.data() + image.size() - 4, crc);
    set_content(storage, "right", image);
    return reopen(storage);
  };
  const auto body = [](std::string_view hex) { return *from_hex(hex); };

  EXPECT_OK(open_with_body(body("000000000000000100")));
  EXPECT_THAT(open_with_body(body("0000000000")), FailsWith(Errc::corrupt, "key is cut off"));
  EXPECT_THAT(open_with_body(body("0000000000000001")), FailsWith(Errc::corrupt, "value"));
  EXPECT_THAT(open_with_body(body("00000000000000010241")),
              FailsWith(Errc::corrupt, "file offset 24"));
  EXPECT_THAT(open_with_body(body("0000000000000001ffffffff0f41")), FailsWith(Errc::corrupt));
  EXPECT_THAT(open_with_body(body("0000000000000001ffffffff1f41")), FailsWith(Errc::corrupt));
  EXPECT_THAT(open_with_body(body("00000000000000018000")), FailsWith(Errc::corrupt, "value"));
  EXPECT_THAT(open_with_body(body("000000000000000100000000000000000100")),
              FailsWith(Errc::corrupt, "ascend"));
  EXPECT_THAT(open_with_body(body("000000000000000200000000000000000100")),
              FailsWith(Errc::corrupt, "ascend"));
  EXPECT_THAT(open_with_body({}, 0), FailsWith(Errc::corrupt, "version 0"));
  EXPECT_THAT(open_with_body({}, UINT64_MAX), FailsWith(Errc::corrupt, "version"));
}

TEST(MetadataDamage, GivenPowerCutAtAnyPointOfFirstSync_WhenReopened_ThenEmptyOrCommitted) {
  for (uint64_t point = 0; point < 4; ++point) {
    for (const bool unsynced_survives : {false, true}) {
      MemoryStorage storage;
      LoggedStorage logged(storage);
      RecoveryLog recovery(logged, false);
      ASSERT_OK_INTO(const auto store, open(logged, recovery));
      ASSERT_OK(store->put(as_bytes("same-key"), as_bytes("value")));
      logged.fail_change(point, true);
      ASSERT_THAT(store->sync(), FailsWith(Errc::io));
      if (!unsynced_survives) storage.lose_unsynced();

      ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

      // From the flush of the body on, both outcomes are right, as the sync had not returned.
      if (point < 2 && !unsynced_survives) {
        EXPECT_TRUE(reopened.map.empty()) << point;
      }
      if (!reopened.map.empty()) {
        EXPECT_EQ(reopened.map, (Map{{"same-key", "value"}}));
      }
      storage.lose_unsynced();
      ASSERT_OK_INTO(const Reopened again, reopen(storage));
      EXPECT_EQ(again.map, reopened.map) << "what was served must be durable, point " << point;
    }
  }
}

TEST(MetadataDamage, GivenTornFirstSync_WhenReopened_ThenEmptyWithReportAndUsable) {
  MemoryStorage reference;
  fill(reference, {"value"});
  const Bytes whole = raw(reference, "right");
  // Before the version is durable, any subset of the rest may have arrived. Here: a prefix.
  for (size_t size = 9; size < whole.size(); ++size) {
    MemoryStorage storage;
    fill(storage, {});
    Bytes torn(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    std::fill_n(torn.begin() + 8, std::min<size_t>(8, size - 8), std::byte{0});
    set_raw(storage, "right", torn);

    ASSERT_OK_INTO(const Reopened reopened, reopen(storage));

    EXPECT_TRUE(reopened.map.empty());
    EXPECT_EQ(reopened.report.damage.size(), 1u) << size;
    fill(storage, {"next"});
    ASSERT_OK_INTO(const Reopened next, reopen(storage));
    EXPECT_EQ(next.map, (Map{{"same-key", "next"}}));
  }
}

// An only copy whose version is missing is completed first, or a torn second commit leaves nothing.
TEST(MetadataDamage, GivenFirstCommitWithoutVersion_WhenSecondIsTorn_ThenFirstIsThere) {
  MemoryStorage storage;
  fill(storage, {"value"});
  Bytes right = raw(storage, "right");
  right[15] = std::byte{0};
  set_raw(storage, "right", right);
  LoggedStorage logged(storage);

  ASSERT_OK_INTO(const Reopened completed, reopen(logged));
  set_content(storage, "left", as_bytes("torn while it was written"));

  EXPECT_EQ(completed.map, (Map{{"same-key", "value"}}));
  EXPECT_THAT(logged.log(),
              testing::ElementsAre("sync state/right", "write state/right 0+8", "sync state/right"))
      << "the version comes after what it vouches for";
  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, (Map{{"same-key", "value"}}));
}

// Parts of the next commit must not complete what a commit that was given up left behind.
TEST(MetadataDamage, GivenLeftoverOfFailedCommit_WhenNextOneIsWritten_ThenItIsDurablyGoneBefore) {
  MemoryStorage storage;
  fill(storage, {"one", "two"});
  const Bytes before = raw(storage, "right");
  fill(storage, {"bad"});
  Bytes leftover = raw(storage, "right");
  std::copy_n(before.begin() + 8, 8, leftover.begin() + 8);  // all but the version arrived
  set_raw(storage, "right", leftover);
  LoggedStorage logged(storage);

  fill(logged, {"six"});

  EXPECT_THAT(logged.log(),
              testing::ElementsAre("sync state/left", "resize state/right 0", "sync state/right",
                                   "write state/right 0+24", "sync state/right"));
  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, (Map{{"same-key", "six"}}));
}

TEST(MetadataDamage, GivenFailedSync_WhenRetried_ThenPoisonedAndOtherCopyStaysTheSource) {
  for (uint64_t commits = 1; commits <= 4; ++commits) {
    for (uint64_t point = 0;; ++point) {
      MemoryStorage storage;
      std::vector<std::string> values = {"one", "two", "six", "ten"};
      values.resize(commits);
      fill(storage, values);
      LoggedStorage logged(storage);
      RecoveryLog recovery(logged, false);
      ASSERT_OK_INTO(const auto store, open(logged, recovery));
      // One value of the same size and, at even counts, one of another: overwrite and rewrite.
      ASSERT_OK(store->put(as_bytes("same-key"), as_bytes(commits % 2 == 1 ? "new" : "longer")));
      const Map after = map_of(*store);
      const uint64_t version = store->version();
      logged.fail_change(point);
      const Status outcome = store->sync();
      if (outcome) break;

      EXPECT_THAT(outcome, FailsWith(Errc::io));
      EXPECT_THAT(store->sync(), FailsWith(Errc::poisoned));
      EXPECT_THAT(store->put(as_bytes("same-key"), as_bytes("x")), FailsWith(Errc::poisoned));
      EXPECT_EQ(map_of(*store), after) << "reads go on";
      EXPECT_EQ(store->version(), version) << "what is not durable was not committed";
      ASSERT_OK_INTO(const Reopened killed, reopen(storage));
      EXPECT_TRUE(killed.map == after || killed.map == (Map{{"same-key", values.back()}}));
      storage.lose_unsynced();
      ASSERT_OK_INTO(const Reopened power_cut, reopen(storage));
      EXPECT_EQ(power_cut.map, killed.map) << "what was served must be durable";
      ASSERT_LT(point, 20u);
    }
  }
}

TEST(MetadataDamage, GivenKilledBeforeFlush_WhenOpened_ThenServedStateSurvivesPowerCut) {
  MemoryStorage storage;
  fill(storage, {"one", "two"});
  LoggedStorage logged(storage);
  {
    RecoveryLog recovery(logged, false);
    ASSERT_OK_INTO(const auto store, open(logged, recovery));
    ASSERT_OK(store->put(as_bytes("same-key"), as_bytes("new")));
    logged.fail_change(3);  // three writes arrive, the flush does not
    ASSERT_THAT(store->sync(), FailsWith(Errc::io));
  }
  ASSERT_OK_INTO(const Reopened served, reopen(storage));
  ASSERT_EQ(served.map, (Map{{"same-key", "new"}}));

  storage.lose_unsynced();

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, served.map);
}

TEST(MetadataDamage, GivenGrownBlobOfFailedSync_WhenShorterImageFollows_ThenItIsWhole) {
  MemoryStorage storage;
  fill(storage, {"one", "two"});
  set_content(storage, "right", Bytes(5000, std::byte{7}));  // grown by a sync that failed

  fill(storage, {"three"});

  ASSERT_OK_INTO(const Reopened reopened, reopen(storage));
  EXPECT_EQ(reopened.map, (Map{{"same-key", "three"}}));
  EXPECT_TRUE(reopened.report.empty());
}

}  // namespace
}  // namespace firn
