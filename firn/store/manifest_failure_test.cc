// SPDX-License-Identifier: Apache-2.0
//
// Manifest: every call to the storage fails once, reads too, and every field says what it cannot.
// The failure is what is told; what was recorded is there at the next open.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/io/memory_storage.h"
#include "firn/store/floor_hints.h"
#include "firn/store/manifest.h"
#include "firn/store/manifest_format.h"
#include "testkit/failing_calls.h"
#include "testkit/forwarding_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using store::ManifestTag;
using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;
using Handle = std::unique_ptr<Manifest>;

constexpr uint64_t kFloor = 500;

ManifestIdentity small_identity() {
  return {"archive",
          {{"page_size", uint64_t{4084}}, {"compression", std::string("zstd")}},
          {{StoreRole::index, "index"}},
          std::nullopt};
}

Result<Handle> open_manifest(Storage& storage, bool read_only = false) {
  RecoveryLog recovery(storage, read_only);
  return Manifest::open(storage, read_only, recovery);
}

Result<Handle> create_manifest(Storage& storage, const ManifestIdentity& identity) {
  RecoveryLog recovery(storage, false);
  return Manifest::create(storage, identity, recovery);
}

// A store with floors of two sections, one of them only as a hint.
void record_floors(MemoryStorage& memory, bool closed) {
  ASSERT_OK_INTO(const Handle manifest, create_manifest(memory, small_identity()));
  Floors& floors = manifest->floors(StoreRole::index);
  ASSERT_OK(floors.raise(Section(1), kFloor));
  ASSERT_OK(floors.raise(Section(2), kFloor));
  ASSERT_OK(manifest->checkpoint());
  ASSERT_OK(floors.raise(Section(2), kFloor + 1));
  if (!closed) return;
  ASSERT_OK(manifest->close());
}

struct ManifestScript {
  std::string name;
  std::function<Status(Storage&)> run;
  std::function<void(MemoryStorage&)> damage = [](MemoryStorage&) {};  // before it
};

void damage_hints(MemoryStorage& memory) {
  memory.set_raw(kManifestPartition, as_bytes("floors"), to_bytes(as_bytes("no blob of firn")));
}

template <class Change>
ManifestScript change_of(std::string name, const Change& change) {
  return {std::move(name), [change](Storage& storage) -> Status {
            TRY_INTO(const Handle manifest, open_manifest(storage));
            TRY(change(*manifest));
            return manifest->close();
          }};
}

void fail_each_call(const ManifestScript& script, bool closed, FailingCalls::Repeat repeat) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    record_floors(memory, closed);
    script.damage(memory);
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call, Errc::io, repeat);
    const Status outcome = script.run(storage);
    SCOPED_TRACE(concat(script.name, closed ? ", closed" : ", killed",
                        repeat == FailingCalls::Repeat::once ? "" : ", for ever", ", call ", call,
                        ": ", calls.failed().value_or("-")));
    if (!calls.failed()) {
      EXPECT_OK(outcome);
      EXPECT_GT(call, 0u) << "nothing was called";
      return;
    }
    EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    ASSERT_OK_INTO(const Handle manifest, open_manifest(memory));
    EXPECT_EQ(manifest->kind(), "archive");
    EXPECT_EQ(manifest->floors(StoreRole::index).floor(Section(1)), kFloor);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ManifestFailure, WhenAnyCallFails_ThenThatIsToldAndFloorsStay) {
  const auto floors = [](Manifest& manifest) -> Floors& {
    return manifest.floors(StoreRole::index);
  };
  for (const ManifestScript& script : std::vector<ManifestScript>{
           {"reading",
            [](Storage& storage) -> Status {
              TRY_INTO(const Handle manifest, open_manifest(storage, true));
              TRY(manifest->refresh());
              TRY(manifest->reload_boundaries());
              TRY(manifest->floors(StoreRole::index).reload_boundary());
              TRY(manifest->version_on_disk());
              return {};
            }},
           change_of("writing", [](Manifest& manifest) { return manifest.begin_writing(); }),
           ManifestScript{"writing beside damaged hints",
                          [](Storage& storage) -> Status {
                            TRY_INTO(const Handle manifest, open_manifest(storage));
                            return manifest->begin_writing();
                          },
                          damage_hints},
           change_of("a checkpoint", [](Manifest& manifest) { return manifest.checkpoint(); }),
           change_of("raising",
                     [=](Manifest& manifest) { return floors(manifest).raise(Section(2), 600); }),
           change_of("a new section",
                     [=](Manifest& manifest) { return floors(manifest).raise(Section(3), 1); }),
           change_of("lowering",
                     [=](Manifest& manifest) { return floors(manifest).lower(Section(2), 1); }),
           change_of("lowering to nothing",
                     [=](Manifest& manifest) { return floors(manifest).lower(Section(2), 0); }),
           change_of("a boundary",
                     [=](Manifest& manifest) { return floors(manifest).set_boundary(Section(1)); }),
           change_of("forgetting",
                     [=](Manifest& manifest) { return floors(manifest).forget({Section(2)}); }),
           change_of("a record",
                     [](Manifest& manifest) { return manifest.set_record(1, as_bytes("r")); }),
           change_of("the last recovery",
                     [](Manifest& manifest) { return manifest.set_last_recovery({}); }),
           change_of("excluding followers", [](Manifest& manifest) -> Status {
             TRY(manifest.exclude_followers());
             return {};
           })}) {
    for (const auto repeat : {FailingCalls::Repeat::once, FailingCalls::Repeat::for_ever}) {
      fail_each_call(script, false, repeat);
      fail_each_call(script, true, repeat);
    }
  }
}

TEST(ManifestFailure, WhenAnyCallOfACreationFails_ThenThatIsToldAndAStoreIsThereWholeOrNotAtAll) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call);
    const auto created = create_manifest(storage, small_identity());
    if (!calls.failed()) {
      EXPECT_OK(created);
      return;
    }
    SCOPED_TRACE(*calls.failed());
    EXPECT_THAT(created, FailsWith(Errc::io, "the test made this call fail"));
    ASSERT_OK_INTO(const Handle manifest, open_manifest(memory));
    EXPECT_TRUE(manifest == nullptr || manifest->number("page_size") == 4084u);
  }
}

// What is left of a manifest beside the data of its store.
void lose_manifest_files(MemoryStorage& memory) {
  for (const std::string_view blob : {"left", "right", "floors"}) {
    const Bytes name = to_bytes(as_bytes(blob));
    ASSERT_OK(memory.remove(kManifestPartition, std::span(&name, 1)));
  }
}

void lose_manifest_content(MemoryStorage& memory) {
  for (const std::string_view blob : {"left", "right"})
    memory.set_raw(kManifestPartition, as_bytes(blob), *from_hex("4357494300000000"));
}

TEST(ManifestFailure, GivenALostManifest_WhenAnyCallOfAnOpeningFails_ThenThatIsToldAndNotTheLoss) {
  for (const auto& lose : {lose_manifest_files, lose_manifest_content}) {
    for (const bool read_only : {false, true}) {
      MemoryStorage memory;
      record_floors(memory, true);
      ASSERT_OK(memory.open("index", as_bytes("x"), OpenMode::create));
      lose(memory);
      FailingCalls calls;
      FailingStorage storage(memory, calls);
      bool is_over = false;
      for (uint64_t call = 0; !is_over; ++call) {
        calls.fail(call);
        const auto opened = open_manifest(storage, read_only);
        is_over = !calls.failed();
        SCOPED_TRACE(calls.failed().value_or("none fails"));
        if (is_over) {
          EXPECT_GT(call, 2u);
          EXPECT_THAT(opened, FailsWith(Errc::corrupt, "there is a partition 'index'"));
        } else {
          EXPECT_THAT(opened, FailsWith(Errc::io, "the test made this call fail"));
        }
      }
    }
  }
}

// Lets another process do something at two moments of an opening.
class BesideAnother final : public testkit::ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;
  std::function<void()> before_hints = [] {};
  std::function<void()> after_listing = [] {};

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    if (as_text(name) == "floors") before_hints();
    return ForwardingStorage::open(partition, name, mode, versions);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    auto listing = ForwardingStorage::list(partition);
    after_listing();
    return listing;
  }
};

TEST(ManifestFailure, GivenAStoreThatIsJustBeingMade_WhenOpened_ThenThereIsNoneYet) {
  MemoryStorage memory;
  Handle creator;
  BesideAnother storage(memory);
  storage.after_listing = [&] {
    if (creator != nullptr) return;
    ASSERT_OK_INTO(creator, create_manifest(memory, small_identity()));
    ASSERT_OK(memory.open("index", as_bytes("x"), OpenMode::create));
  };

  ASSERT_OK_INTO(const Handle first, open_manifest(storage, true));
  ASSERT_OK_INTO(const Handle second, open_manifest(storage, true));

  EXPECT_EQ(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->id(), creator->id());
}

TEST(ManifestFailure, GivenAWriterThatIsAlwaysQuicker_WhenOpenedForReading_ThenLockedAndNoMixture) {
  MemoryStorage memory;
  ASSERT_OK_INTO(const Handle writer, create_manifest(memory, small_identity()));
  Floors& floors = writer->floors(StoreRole::index);
  ASSERT_OK(floors.raise(Section(1), kFloor));
  BesideAnother storage(memory);

  uint64_t count = kFloor;
  storage.before_hints = [&] {
    for (int i = 0; i < 2; ++i)  // of which one may be a checkpoint
      ASSERT_OK(floors.raise(Section(1), ++count));
  };
  EXPECT_THAT(open_manifest(storage, true), FailsWith(Errc::locked, "the floors of"));
  storage.before_hints = [] {};
  ASSERT_OK_INTO(const Handle reader, open_manifest(storage, true));
  EXPECT_EQ(reader->floors(StoreRole::index).floor(Section(1)), floors.floor(Section(1)));
}

// Each commit gives the hints' places to others: what they said stands in the commit.
TEST(ManifestFailure, GivenAWriterThatCommitsAllTheTime_WhenOpenedForReading_ThenNoFloorIsLost) {
  MemoryStorage memory;
  ASSERT_OK_INTO(const Handle writer, create_manifest(memory, small_identity()));
  Floors& floors = writer->floors(StoreRole::index);
  for (const uint64_t section : {1u, 2u})
    ASSERT_OK(floors.raise(Section(section), kFloor));
  ASSERT_OK(floors.raise(Section(1), 2 * kFloor));
  BesideAnother storage(memory);

  uint64_t commits = 0;
  storage.before_hints = [&] {
    ASSERT_OK(writer->set_record(1, store::encode_number(++commits)));
    if (commits > 1) return;
    for (uint64_t i = 1; i <= 2; ++i)  // in both records of the first slot
      ASSERT_OK(floors.raise(Section(2), kFloor + i));
  };
  ASSERT_OK_INTO(const Handle reader, open_manifest(storage, true));

  EXPECT_EQ(reader->floors(StoreRole::index).floor(Section(1)), 2 * kFloor);
  EXPECT_GE(reader->floors(StoreRole::index).floor(Section(2)), kFloor + 2);
  EXPECT_EQ(reader->record(1), to_bytes(store::encode_number(commits)));
}

TEST(ManifestFailure, GivenAHintOfNothing_WhenOpened_ThenItsSectionHasNoFloor) {
  MemoryStorage memory;
  record_floors(memory, true);
  ASSERT_OK_INTO(const Handle before, open_manifest(memory));
  RecoveryLog recovery(memory, false);
  ASSERT_OK_INTO(const auto hints, FloorHints::open(memory, false, recovery));
  ASSERT_OK(hints->make_ready_for_writing());
  ASSERT_OK(hints->write({StoreRole::index, Section(7), 0, before->generation()}));

  ASSERT_OK_INTO(const Handle manifest, open_manifest(memory));

  EXPECT_EQ(manifest->floors(StoreRole::index).sections(),
            (std::vector<Section>{Section(1), Section(2)}));
}

TEST(ManifestFailure, GivenAHintOfAGenerationThatNoStoreComesTo_WhenWritingBegins_ThenItIsNone) {
  MemoryStorage memory;
  record_floors(memory, true);
  RecoveryLog recovery(memory, false);
  ASSERT_OK_INTO(const auto hints, FloorHints::open(memory, false, recovery));
  ASSERT_OK(hints->make_ready_for_writing());
  ASSERT_OK(hints->write({StoreRole::index, Section(1), 1000, UINT64_MAX}));

  ASSERT_OK_INTO(const Handle manifest, open_manifest(memory));
  ASSERT_OK(manifest->begin_writing());

  EXPECT_LT(manifest->generation(), store::kGenerationMax);
}

TEST(ManifestFailure, GivenOnlyWhatWasSavedOfOtherStores_WhenCreated_ThenThereIsRoomForAStore) {
  MemoryStorage memory;
  ASSERT_OK(memory.open(kLostFoundPartition, as_bytes("x"), OpenMode::create));

  ASSERT_OK_INTO(const Handle manifest, create_manifest(memory, small_identity()));

  EXPECT_EQ(manifest->kind(), "archive");
}

TEST(ManifestFailure, GivenAnIdentityThatCannotBe_WhenCreated_ThenRefusedAndNothingIsMade) {
  MemoryStorage memory;
  ManifestIdentity kindless = small_identity();
  kindless.kind.clear();
  EXPECT_THAT(create_manifest(memory, kindless), FailsWith(Errc::invalid_argument, "needs a kind"));
  for (const size_t size : {size_t{0}, size_t{256}}) {
    ManifestIdentity odd = small_identity();
    odd.geometry[0].name.assign(size, 'n');
    EXPECT_THAT(create_manifest(memory, odd),
                FailsWith(Errc::invalid_argument, "names have 1 to 255 bytes"));
  }
  EXPECT_EQ(memory.partitions(), std::vector<std::string>{});
}

TEST(ManifestFailure, GivenTextsThatAreTooLong_WhenCreatedOrRecorded_ThenRefusedAndNothingIsThere) {
  const std::string longer(kMetadataValueSizeMaxBytes + 1, 'x');
  MemoryStorage memory;
  std::vector<ManifestIdentity> identities(3, small_identity());
  identities[0].kind = longer;
  identities[1].geometry[1].value = longer;
  identities[2].partitions[0].second = longer;
  for (const ManifestIdentity& identity : identities) {
    EXPECT_THAT(create_manifest(memory, identity), FailsWith(Errc::invalid_argument));
    ASSERT_OK_INTO(const Handle none, open_manifest(memory));
    EXPECT_EQ(none, nullptr);
  }
  ASSERT_OK_INTO(const Handle manifest, create_manifest(memory, small_identity()));

  EXPECT_THAT(manifest->set_record(1, as_bytes(longer)), FailsWith(Errc::invalid_argument));

  EXPECT_EQ(manifest->record(1), std::nullopt);
  EXPECT_OK(manifest->set_record(1, as_bytes("short")));
}

TEST(ManifestFailure, WhenAskedForGeometry_ThenEachFieldHasOneKind) {
  MemoryStorage memory;
  ASSERT_OK_INTO(const Handle manifest, create_manifest(memory, small_identity()));
  EXPECT_EQ(manifest->number("page_size"), 4084u);
  EXPECT_EQ(manifest->number("compression"), std::nullopt);
  EXPECT_EQ(manifest->number("none"), std::nullopt);
  EXPECT_EQ(manifest->text("compression"), "zstd");
  EXPECT_EQ(manifest->text("page_size"), std::nullopt);
  EXPECT_EQ(manifest->text("none"), std::nullopt);
  EXPECT_OK(manifest->require_partition(StoreRole::index, "index"));
  EXPECT_THAT(manifest->require_partition(StoreRole::index, "other"),
              FailsWith(Errc::invalid_argument, "keeps its index in partition 'index'; 'other'"));
}

TEST(ManifestFailure, WhenRolesAreNamed_ThenEachHasItsName) {
  const std::vector<std::string_view> names = {"journal", "index",    "values",
                                               "table",   "metadata", "ordinal"};
  for (uint32_t role = 1; role <= names.size(); ++role)
    EXPECT_EQ(store_role_name(static_cast<StoreRole>(role)), names[role - 1]);
  EXPECT_EQ(store_role_name(static_cast<StoreRole>(7)), "unknown role");
}

// The manifest with one field exchanged, or removed.
Result<Handle> open_with_field(const store::ManifestKey& key, std::optional<ByteSpan> value) {
  static MemoryStorage memory;
  const std::vector<std::string> partitions = memory.partitions().value();
  for (const std::string& partition : partitions)
    EXPECT_OK(memory.remove_partition(partition));
  record_floors(memory, true);
  {
    RecoveryLog recovery(memory, false);
    MetadataStoreOptions options;
    options.partition = kManifestPartition;
    options.key_size_bytes = store::kManifestKeySizeBytes;
    TRY_INTO(const auto metadata, MetadataStore::open(memory, options, recovery));
    const Bytes encoded = store::encode_key(key);
    TRY(value ? metadata->put(encoded, *value) : metadata->remove(encoded));
    TRY(metadata->sync_both());
  }
  return open_manifest(memory);
}

// Syncs settle nothing, and what was not settled is gone once it is opened for writing: as pages
// whose sync failed are served from the cache until then.
class StorageOfGhosts final : public testkit::ForwardingStorage {
 public:
  explicit StorageOfGhosts(MemoryStorage& memory) : ForwardingStorage(memory), memory_(memory) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    if (mode == OpenMode::read_write && has_ghosts) memory_.lose_unsynced();
    return ForwardingStorage::open(partition, name, mode, versions);
  }
  bool has_ghosts = false;

 protected:
  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    class Unsynced final : public testkit::ForwardingBlob {
     public:
      using ForwardingBlob::ForwardingBlob;
      Status sync() override { return {}; }
    };
    return std::make_unique<Unsynced>(std::move(blob));
  }

 private:
  MemoryStorage& memory_;
};

TEST(ManifestFailure, GivenAFirstCommitThatOnlyTheCacheHas_WhenOpenedForWriting_ThenNoStore) {
  MemoryStorage memory;
  StorageOfGhosts storage(memory);
  {
    ASSERT_OK(create_manifest(storage, small_identity()));
  }
  storage.has_ghosts = true;
  ASSERT_OK_INTO(const Handle seen, open_manifest(storage, true));
  EXPECT_NE(seen, nullptr);

  ASSERT_OK_INTO(const Handle manifest, open_manifest(storage));

  EXPECT_EQ(manifest, nullptr);
  EXPECT_OK(create_manifest(storage, small_identity()));
}

TEST(ManifestFailure, GivenAFieldThatIsMissing_WhenOpened_ThenCorrupt) {
  EXPECT_THAT(open_with_field({ManifestTag::format}, std::nullopt),
              FailsWith(Errc::corrupt, "records no format number"));
  for (const ManifestTag tag :
       {ManifestTag::kind, ManifestTag::id, ManifestTag::clean, ManifestTag::generation})
    EXPECT_THAT(open_with_field({tag}, std::nullopt),
                FailsWith(Errc::corrupt, "the manifest lacks field"));
  ASSERT_OK_INTO(const Handle anonymous,
                 open_with_field({ManifestTag::writer_version}, std::nullopt));
  EXPECT_EQ(anonymous->writer_version(), "");
}

TEST(ManifestFailure, GivenAFieldThatCannotBe_WhenOpened_ThenCorrupt) {
  const Bytes zero = store::encode_number(0);
  const Bytes two = store::encode_number(2);
  const ByteSpan text = as_bytes("text");
  const auto index = static_cast<uint32_t>(StoreRole::index);
  for (const auto& [key, value] :
       std::vector<std::pair<store::ManifestKey, ByteSpan>>{{{ManifestTag::id}, text},
                                                            {{ManifestTag::clean}, text},
                                                            {{ManifestTag::clean}, two},
                                                            {{ManifestTag::generation}, text},
                                                            {{ManifestTag::boundary, index}, text},
                                                            {{ManifestTag::floor, index, 1}, text},
                                                            {{ManifestTag::floor, index, 1}, zero}})
    EXPECT_THAT(open_with_field(key, value), FailsWith(Errc::corrupt, "has an impossible value"));
  // Type, size of the name, name, value.
  for (const std::string& malformed :
       {std::string(1, '\0'), std::string("\1\0x", 3), std::string("\1\5x", 3),
        std::string("\0\1xy", 4), std::string("\2\1x", 3)})
    EXPECT_THAT(open_with_field({ManifestTag::geometry, 0, 0}, as_bytes(malformed)),
                FailsWith(Errc::corrupt, "manifest geometry is malformed"));
}

// Refused at once: a recovery that found it out would take it for damage of a section.
TEST(ManifestFailure, GivenAGenerationThatNoStoreComesTo_WhenOpened_ThenCorrupt) {
  const ManifestTag tag = ManifestTag::generation;
  EXPECT_THAT(open_with_field({tag}, store::encode_number(UINT64_MAX)),
              FailsWith(Errc::corrupt, "has an impossible value"));
  EXPECT_THAT(open_with_field({tag}, store::encode_number(store::kGenerationMax + 1)),
              FailsWith(Errc::corrupt, "has an impossible value"));
  ASSERT_OK_INTO(const Handle last,
                 open_with_field({tag}, store::encode_number(store::kGenerationMax)));
  EXPECT_OK(last->begin_writing());
  EXPECT_EQ(last->generation(), store::kGenerationMax + 1);
}

TEST(ManifestFailure, GivenAClosedStoreOrAReader_WhenItIsToChange_ThenRefused) {
  MemoryStorage memory;
  record_floors(memory, true);
  for (const bool read_only : {true, false}) {
    ASSERT_OK_INTO(const Handle manifest, open_manifest(memory, read_only));
    EXPECT_OK(manifest->close());
    EXPECT_OK(manifest->close());
    const auto refused =
        FailsWith(Errc::invalid_argument, read_only ? "open read-only" : "the store is closed");
    Floors& floors = manifest->floors(StoreRole::index);
    EXPECT_THAT(manifest->begin_writing(), refused);
    EXPECT_THAT(manifest->checkpoint(), refused);
    EXPECT_THAT(manifest->set_record(1, {}), refused);
    EXPECT_THAT(manifest->set_last_recovery({}), refused);
    EXPECT_THAT(manifest->record_recovery({}), refused);
    EXPECT_THAT(floors.raise(Section(9), 1), refused);
    EXPECT_THAT(floors.lower(Section(1), 1), refused);
    EXPECT_THAT(floors.set_boundary(Section(9)), refused);
    EXPECT_THAT(floors.forget({Section(1)}), refused);
  }
}

TEST(ManifestFormat, WhenARecoveryIsDescribed_ThenEveryFindingIsListedTheWorstFirst) {
  RecoveryReport report;
  report.notes = {"a \"note\" with \\, a tab\t, \x7F and \xC3\xA4"};
  EXPECT_THAT(store::describe_recovery(report, 7),
              testing::HasSubstr(R"("findings":["a \"note\" with \\, a tab?, ? and ??"])"));
  report.cuts.push_back({{"index", "00", 8, 4, "torn"}, ""});
  EXPECT_THAT(
      store::describe_recovery(report, 7),
      testing::HasSubstr(
          R"("findings":["cut: index/00 at file offset 16, 4 bytes, not saved: torn","a )"));
  report.cuts[0].saved_as = "1";
  report.cuts[0].saved_size_bytes = 3;
  EXPECT_THAT(store::describe_recovery(report, 7),
              testing::HasSubstr("4 bytes, the first 3 of them saved as lost-found/1: torn"));
  report.damage.push_back({"values", "01", 0, 3, "rot"});
  EXPECT_THAT(
      store::describe_recovery(report, 7),
      testing::AllOf(
          testing::HasSubstr(R"("damage":1,"damage_bytes":3)"),
          testing::HasSubstr(R"("findings":["damaged: values/01 at file offset 8, 3 bytes: rot",)"
                             R"("cut: index/00)")));
  report.notes.resize(100, "another");
  const std::string many = store::describe_recovery(report, 7);
  EXPECT_THAT(many, testing::HasSubstr(R"("notes":100,)"));
  EXPECT_EQ(std::ranges::count(many, '['), 1);
  EXPECT_LT(many.size(), 600u);
}

}  // namespace
}  // namespace firn
