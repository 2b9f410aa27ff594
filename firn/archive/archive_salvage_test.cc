// SPDX-License-Identifier: Apache-2.0
//
// salvage_archive: whatever happens to one file of a store, the source stays as it is, every item
// that the damage did not touch is in the new store, nothing else is, and what is missing is told.
#include "firn/archive/archive_salvage.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_record.h"
#include "firn/journal/section_name.h"
#include "testkit/forwarding_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/store_damage.h"

namespace firn {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testkit::DamagedStore;
using testkit::FailsWith;
using testkit::FileRange;
using testkit::StoreFiles;

constexpr uint32_t kSalvagedPageBytes = 40;  // records of 24 bytes lie in two pages now and then
constexpr uint32_t kSalvagedKeyBytes = 4;
constexpr uint64_t kPhysicalPageBytes = kSalvagedPageBytes + kPageRecordSize;

struct SalvagedItem {
  uint64_t index = 0;
  Bytes key;
  std::string value;
  std::vector<FileRange> places;
  bool is_synced = true;

  friend bool operator==(const SalvagedItem& a, const SalvagedItem& b) {
    return a.index == b.index && a.key == b.key && a.value == b.value;
  }
};

enum class Kind : uint8_t {
  closed,
  compressed,
  multi,     // several items of an index
  unsynced,  // killed after puts that no sync covered, but which are in the files
};

PrunableArchiveOptions options_of(Kind kind) {
  PrunableArchiveOptions options;
  options.key_size_bytes = kSalvagedKeyBytes;
  options.items_per_section = 8;
  options.page_size_bytes = kSalvagedPageBytes;
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 4096;
  if (kind == Kind::compressed) options.compression_level = 3;
  return options;
}

// Everything in an archive, in the order of `visit`.
std::vector<SalvagedItem> items_of(Storage& storage, Kind kind) {
  PrunableArchiveOptions options = options_of(kind);
  options.access = ArchiveAccess::read_only;
  std::vector<SalvagedItem> items;
  const auto archive = PrunableArchive::open(storage, options);
  EXPECT_OK(archive);
  if (!archive) return items;
  EXPECT_OK((*archive)->visit(0, UINT64_MAX, false, [&](const ArchiveItem& found) {
    const auto value = (*archive)->read_value(found);
    EXPECT_OK(value);
    const Bytes blob = journal::section_name(found.section);
    const uint64_t record = archive::record_size_bytes(kSalvagedKeyBytes);
    const uint64_t first = found.position.value * record / kSalvagedPageBytes;
    const uint64_t last = (found.position.value * record + record - 1) / kSalvagedPageBytes;
    const uint64_t value_begin = kBlobHeaderSizeBytes + found.location.offset;
    items.push_back({found.index,
                     found.key,
                     std::string(as_text(value->bytes())),
                     {{{"index", blob},
                       kBlobHeaderSizeBytes + first * kPhysicalPageBytes,
                       kBlobHeaderSizeBytes + (last + 1) * kPhysicalPageBytes},
                      {{"values", blob}, value_begin, value_begin + found.location.size_bytes}}});
    return true;
  }));
  return items;
}

class SalvageArchive : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    MemoryStorage storage;
    auto archive = std::move(*PrunableArchive::open(storage, options_of(GetParam())));
    const auto put = [&](uint64_t index) {
      Bytes key(kSalvagedKeyBytes);
      store_big_endian(key.data(), static_cast<uint32_t>(++puts_ * 0x9E3779B9));
      // Of different sizes, so that no value blob can stand for another one.
      const Bytes value = Random(puts_).bytes(puts_ == 3 ? 0 : 5 + puts_ * 3);
      ASSERT_OK(archive->put_multi(index, key, value));
    };
    put(1);
    ASSERT_OK(archive->sync());
    for (const uint64_t index : {10u, 8u, 12u})
      put(index);
    ASSERT_OK(archive->prune(8));
    for (const uint64_t index : {9u, 14u, 17u, 15u, 18u, 11u, 13u})
      put(index);
    if (GetParam() == Kind::multi)
      for (const uint64_t index : {9u, 9u, 14u, 17u, 9u})
        put(index);
    ASSERT_OK(archive->sync());
    if (GetParam() == Kind::unsynced) {
      for (const uint64_t index : {19u, 16u, 20u, 21u, 22u, 23u, 24u, 25u, 26u, 27u})
        put(index);
    } else {
      ASSERT_OK(archive->close());
    }
    archive.reset();
    files_ = testkit::files_of(storage);
    items_ = items_of(storage, GetParam());
    ASSERT_GE(items_.size(), 10u);
    if (GetParam() != Kind::unsynced) return;
    const std::set<uint64_t> synced = {8, 9, 10, 11, 12, 13, 14, 15, 17, 18};
    for (SalvagedItem& item : items_)
      item.is_synced = synced.contains(item.index);
  }

  // Empty, or how salvage broke its promise.
  std::string judge(const DamagedStore& damaged, const ArchiveSalvageOptions& options = {}) {
    MemoryStorage memory;
    testkit::load_files(memory, damaged.files);
    testkit::LoggedStorage source(memory);
    MemoryStorage target;
    std::vector<SalvageLoss> losses;
    SalvageObserver observer;
    observer.on_loss = [&](const SalvageLoss& loss) {
      losses.push_back(loss);
      return Status();
    };
    const auto summary = salvage_archive(source, options, target, observer);
    if (!summary) return concat("it failed: ", summary.error().message);
    if (!source.log().empty()) return concat("it changed its source: ", source.log().front());
    if (testkit::files_of(memory) != damaged.files) return "it changed its source";
    std::vector<SalvagedItem> found;
    if (summary->target_made) found = items_of(target, GetParam());
    if (found.size() != summary->items) return "it counted wrongly";
    // Nothing but what was put, in the same order.
    size_t at = 0;
    std::vector<SalvagedItem> missing;
    for (const SalvagedItem& item : items_) {
      if (at < found.size() && found[at] == item) {
        ++at;
        continue;
      }
      missing.push_back(item);
      const bool is_touched = std::ranges::any_of(
          item.places, [&](const FileRange& place) { return damaged.touches(place); });
      if (!is_touched)
        return concat("the undamaged item ", item.index, " is missing; first loss: ",
                      losses.empty() ? std::string() : losses.front().range.reason);
    }
    if (at != found.size()) return concat("it made up an item with index ", found[at].index);
    std::erase_if(missing, [](const SalvagedItem& item) { return !item.is_synced; });
    return tell_missing(missing, losses);
  }

  // A record in a wrong place may be told under a wrong name: then it counts as one without a name.
  static std::string tell_missing(const std::vector<SalvagedItem>& missing,
                                  const std::vector<SalvageLoss>& losses) {
    uint64_t named = 0;
    uint64_t room = 0;
    for (const SalvageLoss& loss : losses) {
      const bool is_missing = std::ranges::any_of(missing, [&](const SalvagedItem& item) {
        return loss.index == item.index && loss.key == item.key;
      });
      (is_missing ? named : room) += loss.items;
    }
    if (missing.size() <= named + room) return "";
    return concat(missing.size(), " items are missing, and only ", named + room, " were told");
  }

  void expect_kept(const DamagedStore& damaged) {
    const std::string problem = judge(damaged);
    if (!problem.empty()) ADD_FAILURE() << damaged.what << ": " << problem;
  }

  uint64_t puts_ = 0;
  StoreFiles files_;
  std::vector<SalvagedItem> items_;
};

std::string name_of(const testing::TestParamInfo<Kind>& tested) {
  switch (tested.param) {
    case Kind::closed: return "Closed";
    case Kind::compressed: return "Compressed";
    case Kind::multi: return "Multi";
    case Kind::unsynced: return "Unsynced";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Stores, SalvageArchive,
                         testing::Values(Kind::closed, Kind::compressed, Kind::multi,
                                         Kind::unsynced),
                         name_of);

TEST_P(SalvageArchive, GivenNoDamage_ThenEverythingIsKeptAndNothingIsTold) {
  MemoryStorage source;
  testkit::load_files(source, files_);
  MemoryStorage target;
  ASSERT_OK_INTO(const SalvageSummary summary, salvage_archive(source, {}, target, {}));

  EXPECT_EQ(summary.losses, 0u);
  EXPECT_TRUE(summary.target_made);
  EXPECT_EQ(items_of(target, GetParam()), items_);
  PrunableArchiveOptions options = options_of(GetParam());
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(target, options));
  EXPECT_EQ(archive->oldest_allowed(), 8u);
  EXPECT_TRUE(archive->recovery().was_clean);
}

TEST_P(SalvageArchive, GivenAnyDamageOfAnyFile_ThenTheRestIsKeptAndTheLossIsTold) {
  const uint64_t count =
      testkit::for_each_damage(files_, [&](const DamagedStore& damaged) { expect_kept(damaged); });
  RecordProperty("damaged_stores", std::to_string(count));
  EXPECT_GT(count, 2000u);
}

TEST_P(SalvageArchive, GivenPagesInWrongPlaces_ThenNothingWrongIsKept) {
  for (const uint64_t section : {8u, 16u}) {
    testkit::for_each_misplaced_page(files_, {"index", journal::section_name(Section(section))},
                                     kPhysicalPageBytes,
                                     [&](const DamagedStore& damaged) { expect_kept(damaged); });
  }
}

// The copy that is left does not know the newest section, although it was synced.
TEST(SalvageArchiveLoss, GivenTheOlderManifest_WhenTheNewestIndexLosesPages_ThenItsValuesTell) {
  MemoryStorage whole;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(whole, options_of(Kind::closed)));
    for (const uint64_t index : {0u, 1u, 8u, 9u, 10u, 11u}) {
      ASSERT_OK(archive::put(archive, index, "key", concat("value ", index)));
      if (index == 1 || index == 11) {
        ASSERT_OK(archive->sync());
      }
    }
  }
  for (const std::string_view copy : {"left", "right"}) {
    StoreFiles files = testkit::files_of(whole);
    files.at({"manifest", to_bytes(as_bytes(copy))}).resize(68);
    const std::pair<std::string, Bytes> index("index", journal::section_name(Section(8)));
    for (size_t pages = 3; pages-- > 0;) {
      SCOPED_TRACE(testing::Message() << copy << ", pages left: " << pages);
      files.at(index).resize(kBlobHeaderSizeBytes + pages * kPhysicalPageBytes);
      MemoryStorage source;
      testkit::load_files(source, files);
      MemoryStorage target;

      ASSERT_OK_INTO(const SalvageSummary summary, salvage_archive(source, {}, target, {}));

      EXPECT_EQ(summary.copies, 1u);
      EXPECT_LT(summary.items, 6u);
      EXPECT_GT(summary.losses, 0u);
    }
  }
}

TEST_P(SalvageArchive, GivenNoManifest_ThenTheOptionsSayWhatItIs) {
  DamagedStore damaged{"no manifest", files_, {}};
  std::erase_if(damaged.files, [](const auto& file) { return file.first.first == "manifest"; });
  ArchiveSalvageOptions options;
  options.key_size_bytes = kSalvagedKeyBytes;
  options.page_size_bytes = kSalvagedPageBytes;
  if (GetParam() == Kind::compressed) options.compression_level = 3;

  for (const bool is_given : {false, true}) {
    if (is_given) options.items_per_section = 8;
    EXPECT_EQ(judge(damaged, options), "");
  }
}

TEST(SalvageArchiveErrors, GivenNoManifestAndCompressedValues_WhenNothingIsSaid_ThenRefused) {
  MemoryStorage source;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(source, options_of(Kind::compressed)));
    ASSERT_OK(archive::put(archive, 1, "1", "value"));
    ASSERT_OK(archive->close());
  }
  ASSERT_OK(source.remove_partition(kManifestPartition));
  MemoryStorage target;
  ArchiveSalvageOptions options;
  options.key_size_bytes = kSalvagedKeyBytes;
  options.page_size_bytes = kSalvagedPageBytes;

  EXPECT_THAT(salvage_archive(source, options, target, {}),
              FailsWith(Errc::invalid_argument, "compress"));

  EXPECT_THAT(target.partitions().value(), IsEmpty());
  options.compression_level = kNoCompression;
  EXPECT_OK(salvage_archive(source, options, target, {}));
}

TEST_P(SalvageArchive, GivenOtherGeometry_ThenRefusedOrNothingIsTakenForAnItem) {
  MemoryStorage source;
  testkit::load_files(source, files_);
  MemoryStorage target;
  ArchiveSalvageOptions options;
  options.key_size_bytes = 5;
  EXPECT_THAT(salvage_archive(source, options, target, {}),
              FailsWith(Errc::invalid_argument, "key_size"));

  ASSERT_OK(source.remove_partition("manifest"));
  for (const uint32_t key_size : {1u, 3u, 5u, 32u}) {
    options.key_size_bytes = key_size;
    options.page_size_bytes = kSalvagedPageBytes;
    ASSERT_OK_INTO(const SalvageSummary summary, salvage_archive(source, options, target, {}));
    EXPECT_FALSE(summary.target_made);
    EXPECT_GT(summary.losses, 0u);
  }
  EXPECT_THAT(target.partitions().value(), IsEmpty());
}

TEST(SalvageArchiveErrors, GivenAWriter_ThenLocked) {
  MemoryStorage source;
  MemoryStorage target;
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(source, options_of(Kind::closed)));

  EXPECT_THAT(salvage_archive(source, {}, target, {}), FailsWith(Errc::locked));
}

TEST(SalvageArchiveErrors, GivenATargetThatIsNotEmpty_ThenRefused) {
  MemoryStorage source;
  MemoryStorage target;
  for (MemoryStorage* storage : {&source, &target}) {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(*storage, options_of(Kind::closed)));
    ASSERT_OK(archive->close());
  }

  EXPECT_THAT(salvage_archive(source, {}, target, {}),
              FailsWith(Errc::invalid_argument, "already"));
}

TEST(SalvageArchiveErrors, GivenAnyFailingWriteToTheTarget_ThenThatErrorAndTheSourceIsAsBefore) {
  MemoryStorage source;
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(source, options_of(Kind::closed)));
  for (uint64_t index = 0; index < 20; ++index)
    ASSERT_OK(archive::put(archive, index, concat(index % 10), "value"));
  ASSERT_OK(archive->close());
  archive.reset();
  const StoreFiles files = testkit::files_of(source);

  for (uint64_t change = 0;; ++change) {
    MemoryStorage memory;
    testkit::LoggedStorage target(memory);
    target.fail_change(change);
    const auto summary = salvage_archive(source, {}, target, {});
    if (summary) {
      EXPECT_GT(change, 10u);
      break;
    }
    EXPECT_THAT(summary, FailsWith(Errc::io));
  }
  EXPECT_EQ(testkit::files_of(source), files);
}

// The system gives no access to a partition, or to one blob of it.
class BlindStorage : public testkit::ForwardingStorage {
 public:
  BlindStorage(Storage& inner, std::string partition, std::optional<uint64_t> section)
      : ForwardingStorage(inner), partition_(std::move(partition)) {
    if (section) name_ = journal::section_name(Section(*section));
  }

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    if (partition == partition_ && (name_.empty() || equal_bytes(name, name_)))
      return fail(Errc::io, "no access");
    return ForwardingStorage::open(partition, name, mode, versions);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    if (partition == partition_ && name_.empty()) return fail(Errc::io, "no access");
    return ForwardingStorage::list(partition);
  }

 private:
  const std::string partition_;
  Bytes name_;  // empty: all of the partition
};

TEST(SalvageArchiveErrors, GivenNoAccess_ThenThatIsToldAndNothingIsCalledLost) {
  MemoryStorage source;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(source, options_of(Kind::closed)));
    for (const uint64_t index : {1u, 8u, 16u, 17u})
      ASSERT_OK(archive::put(archive, index, concat(index), "value"));
    ASSERT_OK(archive->close());
  }
  for (const std::string partition : {"index", "values"}) {
    for (const auto section : {std::optional<uint64_t>(), std::optional<uint64_t>(16)}) {
      SCOPED_TRACE(testing::Message() << partition << (section ? ", one blob" : ""));
      BlindStorage blind(source, partition, section);
      MemoryStorage target;
      uint64_t items = 0;
      SalvageObserver observer;
      observer.on_loss = [&](const SalvageLoss& loss) {
        EXPECT_TRUE(loss.unread);
        EXPECT_EQ(loss.range.reason, "no access");
        items += loss.items;
        return Status();
      };

      ASSERT_OK_INTO(const SalvageSummary summary, salvage_archive(blind, {}, target, observer));

      EXPECT_EQ(summary.losses, 0u);
      EXPECT_GT(summary.unread, 0u);
      EXPECT_EQ(summary.items, section ? 2u : 0u);
      EXPECT_EQ(summary.target_made, section.has_value());
      if (section) {
        EXPECT_EQ(items, 2u);
      }
    }
  }
}

TEST(SalvageArchiveErrors, GivenForeignFiles_ThenTheyAreTold) {
  MemoryStorage source;
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(source, options_of(Kind::closed)));
  ASSERT_OK(archive::put(archive, 1, "1", "value"));
  ASSERT_OK(archive->close());
  archive.reset();
  source.set_raw("index", as_bytes("odd"), Bytes(100));
  MemoryStorage target;
  std::string told;
  SalvageObserver observer;
  observer.on_loss = [&](const SalvageLoss& loss) {
    told += loss.range.reason;
    return Status();
  };

  ASSERT_OK_INTO(const SalvageSummary summary, salvage_archive(source, {}, target, observer));

  EXPECT_EQ(summary.items, 1u);
  EXPECT_THAT(told, HasSubstr("no section number"));
}

}  // namespace
}  // namespace firn
