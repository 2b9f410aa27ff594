// SPDX-License-Identifier: Apache-2.0
#include "firn/store/manifest.h"

#include <functional>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/store/manifest_format.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testkit::FailsWith;
using testkit::LoggedStorage;

constexpr std::string_view kBlobs[] = {"left", "right", "floors"};

StoreId id_of(uint64_t number) {
  StoreId id{};
  store_big_endian<uint64_t>(id.data() + 8, number);
  return id;
}

ManifestIdentity archive_identity() {
  return {"archive",
          {{"page_size", uint64_t{4084}}, {"compression", std::string("zstd")}},
          {{StoreRole::index, "index"}, {StoreRole::values, "values"}},
          id_of(7)};
}

class ManifestTest : public testing::Test {
 protected:
  void create() {
    recovery_.emplace(storage_, false);
    auto created = Manifest::create(storage_, archive_identity(), *recovery_);
    ASSERT_OK(created);
    manifest_ = std::move(*created);
  }
  // As after a kill: what was written is seen, flushed or not.
  void reopen(bool read_only = false) {
    manifest_.reset();
    recovery_.emplace(storage_, read_only);
    auto opened = Manifest::open(storage_, read_only, *recovery_);
    ASSERT_OK(opened);
    manifest_ = std::move(*opened);
    ASSERT_NE(manifest_, nullptr);
  }
  void reopen_after_power_cut() {
    memory_.lose_unsynced();
    reopen();
  }
  void close_and_reopen() {
    ASSERT_OK(manifest_->close());
    reopen();
  }
  [[nodiscard]] Floors& index() { return manifest_->floors(StoreRole::index); }
  [[nodiscard]] std::vector<uint64_t> sections() {
    std::vector<uint64_t> numbers;
    for (const Section section : index().sections())
      numbers.push_back(section.value);
    return numbers;
  }
  [[nodiscard]] Bytes raw(std::string_view blob) const {
    return memory_.raw(kManifestPartition, as_bytes(blob)).value_or(Bytes());
  }
  void set_raw(std::string_view blob, Bytes bytes) {
    memory_.set_raw(kManifestPartition, as_bytes(blob), std::move(bytes));
  }
  void put_raw_field(store::ManifestKey key, ByteSpan value) {
    manifest_.reset();
    MetadataStoreOptions options;
    options.partition = kManifestPartition;
    options.key_size_bytes = 16;
    RecoveryLog recovery(memory_, false);
    ASSERT_OK_INTO(const auto metadata, MetadataStore::open(memory_, options, recovery));
    ASSERT_OK(metadata->put(store::encode_key(key), value));
    ASSERT_OK(metadata->sync_both());
  }

  MemoryStorage memory_;
  LoggedStorage storage_{memory_};
  std::optional<RecoveryLog> recovery_;
  std::unique_ptr<Manifest> manifest_;
};

TEST_F(ManifestTest, GivenEmptyStorage_WhenOpened_ThenThereIsNoManifestAndNothingIsWritten) {
  RecoveryLog recovery(storage_, false);

  ASSERT_OK_INTO(const auto manifest, Manifest::open(storage_, false, recovery));

  EXPECT_EQ(manifest, nullptr);
  EXPECT_THAT(storage_.log(), IsEmpty());
}

TEST_F(ManifestTest, GivenNewStore_WhenEitherCopyIsDamaged_ThenTheOtherOneServes) {
  for (const std::string_view damaged : {"left", "right"}) {
    SCOPED_TRACE(damaged);
    MemoryStorage fresh;
    RecoveryLog recovery(fresh, false);
    ASSERT_OK(Manifest::create(fresh, archive_identity(), recovery));
    Bytes bytes = fresh.raw(kManifestPartition, as_bytes(damaged)).value();
    bytes.back() ^= std::byte{1};

    fresh.set_raw(kManifestPartition, as_bytes(damaged), std::move(bytes));
    ASSERT_OK_INTO(const auto manifest, Manifest::open(fresh, false, recovery));

    ASSERT_NE(manifest, nullptr);
    EXPECT_EQ(manifest->id(), id_of(7));
    EXPECT_FALSE(manifest->was_clean());
  }
}

TEST_F(ManifestTest, GivenCreatedManifest_WhenPowerIsCut_ThenIdentityIsThere) {
  create();
  EXPECT_TRUE(manifest_->was_clean());

  reopen_after_power_cut();

  EXPECT_EQ(manifest_->kind(), "archive");
  EXPECT_EQ(manifest_->id(), id_of(7));
  EXPECT_EQ(manifest_->writer_version().substr(0, 5), "firn ");
  EXPECT_EQ(manifest_->generation(), 1u);
  EXPECT_EQ(manifest_->partition(StoreRole::values), "values");
  EXPECT_EQ(manifest_->partition(StoreRole::table), std::nullopt);
  EXPECT_OK(manifest_->require("page_size", 4084));
  EXPECT_OK(manifest_->require("compression", "zstd"));
  EXPECT_FALSE(manifest_->was_clean());
}

TEST_F(ManifestTest, GivenOtherGeometry_WhenRequired_ThenRefusedNamingFieldAndBothValues) {
  create();

  EXPECT_THAT(manifest_->require("page_size", 1024),
              FailsWith(Errc::invalid_argument, "page_size = 4084; 1024 was given"));
  EXPECT_THAT(manifest_->require("compression", "none"),
              FailsWith(Errc::invalid_argument, "compression = zstd; none was given"));
  EXPECT_THAT(manifest_->require("page_size", "4084"), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(manifest_->require("key_size", 32),
              FailsWith(Errc::invalid_argument, "does not record key_size"));
  EXPECT_THAT(manifest_->require_kind("freezer"),
              FailsWith(Errc::invalid_argument, "of kind archive; freezer"));
  EXPECT_THAT(manifest_->require_partition(StoreRole::index, "keys"),
              FailsWith(Errc::invalid_argument, "'index'; 'keys' was given"));
}

TEST_F(ManifestTest, GivenStoreOrData_WhenCreatedAgain_ThenRefused) {
  create();
  RecoveryLog recovery(memory_, false);
  EXPECT_THAT(Manifest::create(memory_, archive_identity(), recovery),
              FailsWith(Errc::invalid_argument, "has one already"));

  MemoryStorage other;
  ASSERT_OK(other.open("values", as_bytes("x"), OpenMode::create));
  EXPECT_THAT(Manifest::create(other, archive_identity(), recovery),
              FailsWith(Errc::invalid_argument, "partition 'values'"));
}

TEST_F(ManifestTest, GivenTwoStores_WhenCreatedWithoutId_ThenIdsDiffer) {
  MemoryStorage first;
  MemoryStorage second;
  RecoveryLog recovery(first, false);
  ManifestIdentity identity = archive_identity();
  identity.id.reset();

  ASSERT_OK_INTO(const auto one, Manifest::create(first, identity, recovery));
  ASSERT_OK_INTO(const auto two, Manifest::create(second, identity, recovery));

  EXPECT_NE(one->id(), two->id());
}

TEST_F(ManifestTest, GivenCleanClose_WhenReopened_ThenCleanUntilWritingBegins) {
  create();
  close_and_reopen();
  EXPECT_TRUE(manifest_->was_clean());
  reopen();
  EXPECT_TRUE(manifest_->was_clean()) << "looking at a store does not make it unclean";

  ASSERT_OK(index().begin_writing());
  reopen_after_power_cut();

  EXPECT_FALSE(manifest_->was_clean());
}

// Every change of the manifest begins writing: each may be the first one of this writer.
TEST_F(ManifestTest, GivenCleanClose_WhenARecordOrABoundaryIsSet_ThenNoLongerClean) {
  create();
  close_and_reopen();
  ASSERT_OK(manifest_->set_record(1, as_bytes("state")));
  reopen_after_power_cut();
  EXPECT_FALSE(manifest_->was_clean());
  ASSERT_OK(index().begin_writing());
  close_and_reopen();
  ASSERT_TRUE(manifest_->was_clean());

  ASSERT_OK(index().set_boundary(Section(3)));
  reopen_after_power_cut();

  EXPECT_FALSE(manifest_->was_clean());
}

TEST_F(ManifestTest, GivenWritingBegun_WhenBegunAgain_ThenFree) {
  create();
  close_and_reopen();
  ASSERT_OK(index().begin_writing());
  storage_.clear_log();

  ASSERT_OK(index().begin_writing());
  ASSERT_OK(manifest_->floors(StoreRole::values).begin_writing());

  EXPECT_THAT(storage_.log(), IsEmpty());
}

TEST_F(ManifestTest, GivenNothingWritten_WhenClosed_ThenNoIoAndMarkStays) {
  create();
  reopen();  // killed right after its creation
  storage_.clear_log();
  ASSERT_OK(manifest_->close());
  EXPECT_EQ(storage_.count("write"), 0u);
  reopen();
  EXPECT_FALSE(manifest_->was_clean());

  ASSERT_OK(index().raise(Section(1), 10));
  close_and_reopen();
  storage_.clear_log();
  ASSERT_OK(manifest_->close());

  EXPECT_THAT(storage_.log(), IsEmpty());
  reopen();
  EXPECT_TRUE(manifest_->was_clean());
}

TEST_F(ManifestTest, GivenClosedManifest_WhenChanged_ThenRefused) {
  create();
  ASSERT_OK(manifest_->close());

  EXPECT_THAT(index().raise(Section(0), 1), FailsWith(Errc::invalid_argument, "closed"));
  EXPECT_OK(manifest_->close());
}

TEST_F(ManifestTest, GivenRaisedFloor_WhenKilled_ThenKeptAndCostIsOneSmallWrite) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));  // new section: checkpoint
  storage_.clear_log();

  ASSERT_OK(index().raise(Section(5), 200));
  ASSERT_OK(index().raise(Section(5), 300));
  ASSERT_OK(index().raise(Section(5), 250));
  ASSERT_OK(index().raise(Section(5), 400));

  EXPECT_THAT(storage_.log(),
              ElementsAre("write manifest/floors 0+32", "write manifest/floors 32+32",
                          "write manifest/floors 0+32"));
  EXPECT_EQ(index().floor(Section(5)), 400u);
  EXPECT_EQ(index().floor(Section(6)), 0u);
  reopen();
  EXPECT_EQ(index().floor(Section(5)), 400u);
  EXPECT_EQ(manifest_->floors(StoreRole::values).floor(Section(5)), 0u);
}

TEST_F(ManifestTest, GivenRaisedFloor_WhenWritten_ThenHintHasTheFormatsBytes) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));

  ASSERT_OK(index().raise(Section(5), 200));

  const Bytes floors = raw("floors");
  EXPECT_EQ(to_hex(ByteSpan(floors).subspan(8)),
            "00000002000000000000000500000000000000c80000000000000001b389c673");
}

TEST_F(ManifestTest, GivenRaisedFloor_WhenPowerIsCut_ThenOlderFloorCounts) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));

  reopen_after_power_cut();

  EXPECT_EQ(index().floor(Section(5)), 100u);
}

TEST_F(ManifestTest, GivenCheckpoint_WhenPowerIsCut_ThenFloorsAreKept) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));
  ASSERT_OK(manifest_->checkpoint());

  reopen_after_power_cut();

  EXPECT_EQ(index().floor(Section(5)), 200u);
}

TEST_F(ManifestTest, GivenAFloorOfAKilledWriter_WhenTheNextOneCommits_ThenAPowerCutKeepsIt) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));  // a hint, which the next generation does not count
  reopen();

  ASSERT_OK(index().raise(Section(6), 10));
  reopen_after_power_cut();

  EXPECT_EQ(index().floor(Section(5)), 200u);
}

TEST_F(ManifestTest, GivenManyRaises_WhenPowerIsCut_ThenAtMost256AreLost) {
  create();
  for (uint64_t size = 1; size <= 1000; ++size)
    ASSERT_OK(index().raise(Section(5), size));
  EXPECT_EQ(raw("floors").size(), 8u + 2 * 32u) << "slots are used again";

  reopen_after_power_cut();

  EXPECT_GT(index().floor(Section(5)), 1000u - 256u);
}

TEST_F(ManifestTest, GivenManySections_WhenRaisedOnce_ThenCheckpointsStayFew) {
  create();
  storage_.clear_log();
  for (uint64_t section = 0; section < 2000; ++section)
    ASSERT_OK(index().raise(Section(section), 1));

  EXPECT_LT(storage_.count("sync"), 120u);
  reopen();
  EXPECT_EQ(sections().size(), 2000u);
}

TEST_F(ManifestTest, GivenTornHint_WhenReopened_ThenOnlyTheNewestRaiseIsLost) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));
  ASSERT_OK(index().raise(Section(5), 300));
  const Bytes good = raw("floors");
  for (size_t i = 8 + 32; i < good.size(); ++i) {
    Bytes torn = good;
    torn[i] ^= std::byte{0x10};
    set_raw("floors", torn);

    reopen();

    EXPECT_EQ(index().floor(Section(5)), 200u) << i;
    set_raw("floors", good);
  }
}

TEST_F(ManifestTest, GivenLoweredFloor_WhenKilledOrCut_ThenOldHintsNeverComeBack) {
  for (const bool power_cut : {false, true}) {
    ASSERT_OK(memory_.remove_partition(kManifestPartition));
    create();
    ASSERT_OK(index().raise(Section(5), 100));
    ASSERT_OK(index().raise(Section(5), 200));
    ASSERT_OK(index().raise(Section(5), 300));

    ASSERT_OK(index().lower(Section(5), 150));

    EXPECT_EQ(index().floor(Section(5)), 150u);
    if (power_cut) memory_.lose_unsynced();
    reopen();
    EXPECT_EQ(index().floor(Section(5)), 150u);
    ASSERT_OK(index().lower(Section(5), 0));
    reopen();
    EXPECT_EQ(index().floor(Section(5)), 0u);
    EXPECT_TRUE(sections().empty());
  }
}

TEST_F(ManifestTest, GivenLoweredFloorOrBoundary_WhenEitherCopyRots_ThenItStays) {
  using Change = std::function<Status(Floors&)>;
  const Change changes[] = {
      [](Floors& floors) { return floors.lower(Section(5), 150); },
      [](Floors& floors) { return floors.set_boundary(Section(5)); },
      [](Floors& floors) { return floors.forget({Section(4)}); },
  };
  const std::string expected[] = {"0: 4=300 5=150", "5: 5=300", "0: 5=300"};
  for (size_t i = 0; i < std::size(changes); ++i) {
    for (const std::string_view lost : {"left", "right"}) {
      ASSERT_OK(memory_.remove_partition(kManifestPartition));
      create();
      ASSERT_OK(index().raise(Section(4), 300));
      ASSERT_OK(index().raise(Section(5), 300));
      ASSERT_OK(changes[i](index()));

      set_raw(lost, Bytes(30));
      reopen();

      std::string found = concat(index().boundary(), ":");
      for (const Section section : index().sections())
        found += concat(" ", section, "=", index().floor(section));
      EXPECT_EQ(found, expected[i]) << lost;
    }
  }
}

TEST_F(ManifestTest, GivenLowerAboveFloor_WhenCalled_ThenNothingIsWritten) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  storage_.clear_log();

  ASSERT_OK(index().lower(Section(5), 100));
  ASSERT_OK(index().lower(Section(9), 0));
  ASSERT_OK(index().forget({Section(9)}));

  EXPECT_THAT(storage_.log(), IsEmpty());
  EXPECT_EQ(index().floor(Section(5)), 100u);
}

TEST_F(ManifestTest, GivenBoundary_WhenSet_ThenDurableDropsFloorsAndNeverGoesBack) {
  create();
  for (uint64_t section = 1; section <= 5; ++section)
    ASSERT_OK(index().raise(Section(section), 10));
  ASSERT_OK(manifest_->floors(StoreRole::values).raise(Section(1), 10));

  ASSERT_OK(index().set_boundary(Section(4)));
  ASSERT_OK(index().set_boundary(Section(2)));
  ASSERT_OK(index().raise(Section(3), 500));
  reopen_after_power_cut();

  EXPECT_EQ(index().boundary(), Section(4));
  EXPECT_EQ(sections(), (std::vector<uint64_t>{4, 5}));
  EXPECT_EQ(manifest_->floors(StoreRole::values).boundary(), Section(0));
  EXPECT_EQ(manifest_->floors(StoreRole::values).floor(Section(1)), 10u);
}

TEST_F(ManifestTest, GivenABoundary_WhenKilled_ThenHintsOfPrunedSectionsDoNotCount) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));

  ASSERT_OK(index().set_boundary(Section(6)));
  reopen();

  EXPECT_THAT(sections(), IsEmpty());
}

TEST_F(ManifestTest, GivenForgottenSection_WhenReusedAndKilled_ThenOnlyNewFloorCounts) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 900));
  ASSERT_OK(index().forget({Section(5)}));
  ASSERT_OK(index().raise(Section(5), 10));

  reopen();

  EXPECT_EQ(index().floor(Section(5)), 10u);
}

// The manifest falls back to its older copy, forgets a generation, and must not use it again.
TEST_F(ManifestTest, GivenLostGeneration_WhenWritingBegins_ThenItsHintsDoNotCount) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  close_and_reopen();
  const Bytes left = raw("left");
  const Bytes right = raw("right");
  ASSERT_OK(index().raise(Section(5), 800));
  ASSERT_OK(index().raise(Section(5), 900));
  set_raw(left == raw("left") ? "right" : "left", Bytes(30));
  reopen();
  ASSERT_FALSE(manifest_->was_clean());
  ASSERT_EQ(index().floor(Section(5)), 100u);

  ASSERT_OK(index().begin_writing());
  reopen();

  EXPECT_EQ(index().floor(Section(5)), 100u);
}

TEST_F(ManifestTest, GivenCleanMark_WhenNewestCopyRots_ThenNotClean) {
  create();
  ASSERT_OK(manifest_->close());
  for (const std::string_view lost : {"left", "right"}) {
    const Bytes good = raw(lost);
    set_raw(lost, Bytes(30));

    reopen();

    EXPECT_FALSE(manifest_->was_clean()) << lost;
    EXPECT_FALSE(recovery_->report().empty());
    manifest_.reset();
    set_raw(lost, good);
  }
}

// Whichever copy it is and whatever became of it, the others of the store never learn of it.
TEST_F(ManifestTest, GivenCleanCloseAndBadCopy_WhenOpenedForWriting_ThenReportedAndMended) {
  const std::vector<std::function<void(Bytes&)>> damages = {
      [](Bytes& bytes) { bytes.back() ^= std::byte{1}; },  // checksum
      [](Bytes& bytes) { bytes[0] ^= std::byte{1}; },      // magic
      [](Bytes& bytes) { bytes[5] ^= std::byte{1}; },      // version of the header
      [](Bytes& bytes) { bytes[7] ^= std::byte{2}; },      // version of the blob
      [](Bytes& bytes) { bytes.resize(20); },
      [](Bytes& bytes) { bytes.resize(8); },  // emptied
  };
  for (const std::string_view side : {"left", "right"}) {
    for (const auto& damage : damages) {
      for (const char* blob : {"left", "right", "floors"}) {
        const Bytes name = to_bytes(as_bytes(blob));
        manifest_.reset();
        (void)memory_.remove(std::string(kManifestPartition), std::span(&name, 1));
      }
      create();
      ASSERT_OK(index().raise(Section(1), 100));
      ASSERT_OK(manifest_->close());
      Bytes bytes = raw(side);
      damage(bytes);
      set_raw(side, bytes);

      reopen();

      EXPECT_FALSE(recovery_->report().empty());
      EXPECT_FALSE(manifest_->was_clean()) << "a newer commit may have said so";
      EXPECT_EQ(index().floor(Section(1)), 100u);
      reopen();
      EXPECT_TRUE(recovery_->report().empty()) << "mended by the first opening";
      EXPECT_EQ(index().floor(Section(1)), 100u);
      close_and_reopen();
      EXPECT_TRUE(recovery_->report().empty());
      set_raw(side == "left" ? "right" : "left", {});
      reopen();
      EXPECT_EQ(index().floor(Section(1)), 100u) << "the mended copy serves alone";
    }
  }
}

TEST_F(ManifestTest, GivenDamagedOrMissingHints_WhenOpened_ThenCheckpointedFloorsCount) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));
  set_raw("floors", to_bytes(as_bytes("not a blob of firn")));

  reopen();

  EXPECT_EQ(index().floor(Section(5)), 100u);
  EXPECT_EQ(recovery_->report().damage.size(), 1u);
  ASSERT_OK(index().raise(Section(5), 300));
  ASSERT_OK(index().raise(Section(5), 400));
  reopen();
  EXPECT_EQ(index().floor(Section(5)), 400u);
  const Bytes name = to_bytes(as_bytes("floors"));
  ASSERT_OK(memory_.remove(kManifestPartition, std::span(&name, 1)));
  reopen();
  EXPECT_EQ(index().floor(Section(5)), 100u);
}

TEST_F(ManifestTest, GivenReadOnly_WhenOpened_ThenReadsAndChangesNothing) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().raise(Section(5), 200));
  storage_.clear_log();

  reopen(true);

  EXPECT_EQ(index().floor(Section(5)), 200u);
  EXPECT_THAT(index().begin_writing(), FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(index().raise(Section(5), 300), FailsWith(Errc::invalid_argument));
  EXPECT_OK(manifest_->close());
  EXPECT_THAT(storage_.log(), IsEmpty());
}

TEST_F(ManifestTest, GivenCleanClose_WhenEitherCopyAndTheHintsAreLost_ThenFloorsAreKept) {
  for (const std::string_view lost : {"left", "right"}) {
    ASSERT_OK(memory_.remove_partition(kManifestPartition));
    create();
    ASSERT_OK(index().raise(Section(5), 100));
    ASSERT_OK(index().raise(Section(5), 200));
    ASSERT_OK(manifest_->close());

    set_raw(lost, Bytes(30));
    set_raw("floors", to_bytes(as_bytes("not a blob of firn")));
    reopen();

    EXPECT_EQ(index().floor(Section(5)), 200u) << lost;
  }
}

TEST_F(ManifestTest, GivenADamagedSection_WhenClosed_ThenTheStoreIsNotClean) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));

  index().keep_unclean();
  close_and_reopen();

  EXPECT_FALSE(manifest_->was_clean());
}

TEST_F(ManifestTest, GivenNewerFormat_WhenOpened_ThenUnsupportedNamingTheWriter) {
  create();
  put_raw_field({store::ManifestTag::writer_version}, as_bytes("firn 9.1.0"));
  put_raw_field({store::ManifestTag::format}, store::encode_number(2));
  RecoveryLog recovery(memory_, false);

  EXPECT_THAT(Manifest::open(memory_, false, recovery),
              FailsWith(Errc::unsupported_version, "firn 9.1.0"));
}

TEST_F(ManifestTest, GivenUnknownField_WhenStoreIsWritten_ThenItIsKept) {
  create();
  const store::ManifestKey key{static_cast<store::ManifestTag>(4711), 1, 2};
  put_raw_field(key, as_bytes("from the future"));

  reopen();
  ASSERT_OK(index().raise(Section(1), 1));
  close_and_reopen();

  EXPECT_THAT(std::string(as_text(raw("left"))), HasSubstr("from the future"));
  EXPECT_THAT(std::string(as_text(raw("right"))), HasSubstr("from the future"));
}

TEST_F(ManifestTest, GivenImpossibleFields_WhenOpened_ThenCorrupt) {
  using store::ManifestTag;
  const std::pair<store::ManifestKey, Bytes> fields[] = {
      {{ManifestTag::format}, Bytes(7)},
      {{ManifestTag::id}, Bytes(15)},
      {{ManifestTag::clean}, store::encode_number(2)},
      {{ManifestTag::generation}, Bytes(9)},
      {{ManifestTag::geometry, 0, 0}, Bytes(1)},
      {{ManifestTag::geometry, 0, 0}, *from_hex("00ff61")},
      {{ManifestTag::geometry, 0, 0}, *from_hex("02016100")},
      {{ManifestTag::geometry, 0, 0}, *from_hex("00016100")},
      {{ManifestTag::boundary, 1}, Bytes(0)},
      {{ManifestTag::floor, 1, 2}, Bytes(8)},
  };
  for (const auto& [key, value] : fields) {
    ASSERT_OK(memory_.remove_partition(kManifestPartition));
    create();
    put_raw_field(key, value);
    RecoveryLog recovery(memory_, false);

    EXPECT_THAT(Manifest::open(memory_, false, recovery), FailsWith(Errc::corrupt))
        << to_hex(store::encode_key(key));
  }
}

TEST_F(ManifestTest, GivenRecords_WhenSet_ThenDurable) {
  create();
  EXPECT_EQ(manifest_->record(1), std::nullopt);

  ASSERT_OK(manifest_->set_record(1, as_bytes("checkpoint")));
  reopen_after_power_cut();

  EXPECT_EQ(manifest_->record(1), to_bytes(as_bytes("checkpoint")));
}

TEST_F(ManifestTest, GivenARecordThatFailed_WhenAFloorIsRaised_ThenPoisoned) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  storage_.fail_change(0);

  EXPECT_THAT(manifest_->set_record(1, as_bytes("checkpoint")), FailsWith(Errc::io));

  EXPECT_THAT(index().raise(Section(5), 200), FailsWith(Errc::poisoned));
}

TEST_F(ManifestTest, GivenRecoveryWithCuts_WhenRecorded_ThenToldUntilTheNextOne) {
  create();
  RecoveryReport report;
  report.cuts.push_back({{"index", "00", 4096, 17, "torn \"page\""}, "abcd", 17});
  report.notes.emplace_back("a note");

  ASSERT_OK(manifest_->set_last_recovery(report));
  close_and_reopen();
  ASSERT_OK(manifest_->set_last_recovery(RecoveryReport()));

  EXPECT_EQ(manifest_->last_recovery(),
            R"({"generation":1,"was_clean":false,"cuts":1,"cut_bytes":17,"damage":0,)"
            R"("damage_bytes":0,"notes":1,"findings":["cut: index/00 at file offset 4104, )"
            R"(17 bytes, saved as lost-found/abcd: torn \"page\"","a note"]})");
}

TEST_F(ManifestTest, GivenInterruptedCreation_WhenOpened_ThenNoneOrWhole) {
  for (uint64_t point = 0;; ++point) {
    for (const bool power_cut : {false, true}) {
      MemoryStorage memory;
      LoggedStorage storage(memory);
      storage.fail_change(point, true);
      RecoveryLog recovery(storage, false);
      const auto created = Manifest::create(storage, archive_identity(), recovery);
      if (created) return;
      if (power_cut) memory.lose_unsynced();

      ASSERT_OK_INTO(const auto opened, Manifest::open(memory, false, recovery));

      if (opened != nullptr) {
        EXPECT_OK(opened->require("page_size", 4084)) << point;
      } else {
        EXPECT_OK(Manifest::create(memory, archive_identity(), recovery)) << point;
      }
    }
    ASSERT_LT(point, 30u);
  }
}

TEST_F(ManifestTest, GivenEmptiedManifestBesideData_WhenOpened_ThenCorruptAndUnchanged) {
  create();
  manifest_.reset();
  ASSERT_OK(memory_.open("values", as_bytes("x"), OpenMode::create));
  const Bytes header = *from_hex("4357494300000000");
  const auto open_it = [&] {
    RecoveryLog recovery(memory_, false);
    return Manifest::open(storage_, false, recovery);
  };
  set_raw("left", header);
  set_raw("right", header);
  storage_.clear_log();

  EXPECT_THAT(open_it(), FailsWith(Errc::corrupt, "partition 'values'"));

  EXPECT_THAT(storage_.log(), IsEmpty());
  for (const std::string_view blob : {"left", "right"}) {
    const Bytes name = to_bytes(as_bytes(blob));
    ASSERT_OK(memory_.remove(kManifestPartition, std::span(&name, 1)));
  }
  EXPECT_THAT(open_it(), FailsWith(Errc::corrupt, "restore"));
}

// Every byte of every file of a small manifest, one at a time: what was acknowledged is read, or
// the report tells, or opening fails; floors may only be lower, and never of another section.
TEST_F(ManifestTest, GivenAnyByteFlipped_WhenOpened_ThenRightOrReported) {
  create();
  ASSERT_OK(index().raise(Section(5), 100));
  ASSERT_OK(index().set_boundary(Section(3)));
  ASSERT_OK(manifest_->close());
  manifest_.reset();
  for (const std::string_view blob : kBlobs) {
    const Bytes good = raw(blob);
    for (size_t i = 0; i < good.size(); ++i) {
      for (const unsigned mask : {0x01u, 0x80u, 0xFFu}) {
        Bytes bad = good;
        bad[i] ^= static_cast<std::byte>(mask);
        set_raw(blob, bad);
        RecoveryLog recovery(memory_, true);
        const auto opened = Manifest::open(memory_, true, recovery);
        if (!opened) {
          EXPECT_TRUE(opened.error().code == Errc::corrupt ||
                      opened.error().code == Errc::unsupported_version);
          continue;
        }
        ASSERT_NE(*opened, nullptr) << blob << " byte " << i;
        Floors& floors = (*opened)->floors(StoreRole::index);
        EXPECT_EQ(floors.floor(Section(5)), 100u);
        EXPECT_EQ(floors.sections().size(), 1u);
        EXPECT_EQ(floors.boundary(), Section(3));
        EXPECT_OK((*opened)->require("page_size", 4084));
        if (blob != "floors") {
          EXPECT_FALSE(recovery.report().empty()) << blob << " byte " << i;
          EXPECT_FALSE((*opened)->was_clean());
        }
      }
    }
    set_raw(blob, good);
  }
}

// Each change of a small workload fails once. What had been acknowledged before is there after a
// kill and after a power cut, and the handle refuses further changes.
TEST_F(ManifestTest, GivenAnyFailedChange_WhenReopened_ThenAcknowledgedFactsAreThere) {
  for (uint64_t point = 0;; ++point) {
    MemoryStorage memory;
    LoggedStorage storage(memory);
    RecoveryLog recovery(storage, false);
    ASSERT_OK_INTO(auto manifest, Manifest::create(storage, archive_identity(), recovery));
    Floors& floors = manifest->floors(StoreRole::index);
    ASSERT_OK(floors.raise(Section(5), 100));
    storage.fail_change(point);
    uint64_t floor_max = 200;  // that may be true on disk
    Section boundary;
    Status outcome = floors.raise(Section(5), 200);
    if (outcome) outcome = floors.raise(Section(6), 10);
    if (outcome) outcome = floors.lower(Section(5), 50);
    if (outcome) {
      floor_max = 50;
      outcome = floors.set_boundary(Section(2));
    }
    if (outcome) {
      boundary = Section(2);
      outcome = floors.forget({Section(6)});
    }
    const bool forgotten = outcome.has_value();
    if (outcome) outcome = manifest->close();
    if (outcome) return;
    EXPECT_THAT(outcome, FailsWith(Errc::io));
    EXPECT_THAT(floors.raise(Section(5), 1000), FailsWith(Errc::poisoned));
    EXPECT_THAT(manifest->close(), FailsWith(Errc::poisoned));

    for (const bool power_cut : {false, true}) {
      if (power_cut) memory.lose_unsynced();
      RecoveryLog again(memory, false);
      ASSERT_OK_INTO(const auto reopened, Manifest::open(memory, false, again));
      Floors& recovered = reopened->floors(StoreRole::index);
      EXPECT_LE(recovered.floor(Section(5)), floor_max) << "point " << point;
      EXPECT_GE(recovered.floor(Section(5)), 50u) << "point " << point;
      EXPECT_GE(recovered.boundary(), boundary) << "point " << point;
      if (forgotten) {
        EXPECT_EQ(recovered.floor(Section(6)), 0u) << "point " << point;
      } else {
        EXPECT_FALSE(reopened->was_clean()) << "point " << point;
      }
    }
    ASSERT_LT(point, 100u);
  }
}

}  // namespace
}  // namespace firn
