// SPDX-License-Identifier: Apache-2.0
//
// salvage_freezer: whatever happens to one file of a store, the source stays as it is, every put
// that the damage did not touch is in the new store, nothing else is, and what is missing is told.
#include "firn/freezer/freezer_salvage.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/freezer_test_support.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_record.h"
#include "firn/journal/section_name.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/store_damage.h"

namespace firn {
namespace {

using freezer::test_key;
using testkit::DamagedStore;
using testkit::FailsWith;
using testkit::FileRange;
using testkit::StoreFiles;

constexpr uint32_t kPageSizeBytes = 50;  // records of 32 bytes lie in two pages now and then
constexpr uint32_t kKeySizeBytes = 4;
constexpr uint64_t kPhysicalPageBytes = kPageSizeBytes + kPageRecordSize;

struct Item {
  Bytes key;
  Bytes value;
  std::vector<FileRange> places;

  friend bool operator==(const Item& a, const Item& b) {
    return a.key == b.key && a.value == b.value;
  }
};

FreezerOptions test_options() {
  FreezerOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.page_size_bytes = kPageSizeBytes;
  options.section_target_bytes = 200;
  options.table.initial_size = 8;
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 4096;
  return options;
}

// Every put in a freezer, in order.
std::vector<Item> items_of(Storage& storage) {
  FreezerOptions options = test_options();
  options.access = FreezerAccess::read_only;
  std::vector<Item> items;
  const auto store = Freezer::open(storage, options);
  EXPECT_OK(store);
  if (!store) return items;
  EXPECT_OK((*store)->visit([&](const FreezerItem& found) {
    const auto value = (*store)->get(found.cursor());
    EXPECT_OK(value);
    const Bytes blob = journal::section_name(found.section);
    const uint64_t record = freezer::record_size_bytes(kKeySizeBytes);
    const uint64_t first = found.position.value * record / kPageSizeBytes;
    const uint64_t last = (found.position.value * record + record - 1) / kPageSizeBytes;
    const uint64_t value_begin = kBlobHeaderSizeBytes + found.location.offset;
    items.push_back({found.key,
                     to_bytes(value->bytes()),
                     {{{"index", blob},
                       kBlobHeaderSizeBytes + first * kPhysicalPageBytes,
                       kBlobHeaderSizeBytes + (last + 1) * kPhysicalPageBytes},
                      {{"values", blob}, value_begin, value_begin + found.location.size_bytes}}});
    return true;
  }));
  return items;
}

// Empty, or how salvage broke its promise.
std::string judge(const DamagedStore& damaged, const std::vector<Item>& items,
                  const FreezerOptions& options = {}) {
  MemoryStorage memory;
  testkit::load_files(memory, damaged.files);
  testkit::LoggedStorage source(memory);
  MemoryStorage target;
  uint64_t room = 0;
  SalvageObserver observer;
  observer.on_loss = [&](const SalvageLoss& loss) {
    room += loss.items;
    return Status();
  };
  const auto summary = salvage_freezer(source, options, target, observer);
  if (!summary) return concat("it failed: ", summary.error().message);
  if (!source.log().empty() || testkit::files_of(memory) != damaged.files)
    return "it changed its source";
  std::vector<Item> found;
  if (summary->target_made) found = items_of(target);
  if (found.size() != summary->items) return "it counted wrongly";
  size_t at = 0;
  for (const Item& item : items) {
    if (at < found.size() && found[at] == item) {
      ++at;
      continue;
    }
    const bool is_touched = std::ranges::any_of(
        item.places, [&](const FileRange& place) { return damaged.touches(place); });
    if (!is_touched) return concat("the undamaged item ", to_hex(item.key), " is missing");
  }
  if (at != found.size()) return "it made up an item";
  const uint64_t missing = items.size() - found.size();
  if (missing <= room) return "";
  return concat(missing, " items are missing, and only ", room, " were told");
}

class SalvageFreezer : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    MemoryStorage storage;
    ASSERT_OK_INTO(auto store, Freezer::open(storage, test_options()));
    const bool is_killed = GetParam();
    for (uint64_t i = 0; i < 24; ++i) {
      if (i == 18) {
        ASSERT_OK(store->sync());
      }
      // Keys come again; sizes do not, so that no value blob can stand for another one.
      ASSERT_OK(store->put(test_key(concat("k", i % 15), kKeySizeBytes),
                           Random(i).bytes(i == 4 ? 0 : 1 + i * 3)));
    }
    if (!is_killed) {
      ASSERT_OK(store->close());
    }
    store.reset();
    files_ = testkit::files_of(storage);
    items_ = items_of(storage);
    ASSERT_GE(items_.size(), 18u);
  }

  void expect_kept(const DamagedStore& damaged) {
    const std::string problem = judge(damaged, items_);
    if (!problem.empty()) ADD_FAILURE() << damaged.what << ": " << problem;
  }

  StoreFiles files_;
  std::vector<Item> items_;
};

INSTANTIATE_TEST_SUITE_P(Stores, SalvageFreezer, testing::Bool(), [](const auto& tested) {
  return std::string(tested.param ? "Killed" : "Closed");
});

TEST_P(SalvageFreezer, GivenNoDamage_ThenEverythingIsKeptAndNothingIsTold) {
  MemoryStorage source;
  testkit::load_files(source, files_);
  MemoryStorage target;
  ASSERT_OK_INTO(const SalvageSummary summary, salvage_freezer(source, {}, target, {}));

  EXPECT_EQ(summary.losses, 0u);
  EXPECT_EQ(items_of(target), items_);
  FreezerOptions options = test_options();
  ASSERT_OK_INTO(const auto store, Freezer::open(target, options));
  EXPECT_TRUE(store->recovery().was_clean);
  EXPECT_EQ(freezer::findings_of(store, target), "");
}

TEST_P(SalvageFreezer, GivenAnyDamageOfAnyFile_ThenTheRestIsKeptAndTheLossIsTold) {
  const uint64_t count =
      testkit::for_each_damage(files_, [&](const DamagedStore& damaged) { expect_kept(damaged); });
  RecordProperty("damaged_stores", std::to_string(count));
  EXPECT_GT(count, 2000u);
}

TEST_P(SalvageFreezer, GivenPagesInWrongPlaces_ThenNothingWrongIsKept) {
  for (const uint64_t section : {0u, 1u}) {
    testkit::for_each_misplaced_page(files_, {"index", journal::section_name(Section(section))},
                                     kPhysicalPageBytes,
                                     [&](const DamagedStore& damaged) { expect_kept(damaged); });
  }
}

TEST_P(SalvageFreezer, GivenNoManifestAndNoTable_ThenTheOptionsSayWhatItIs) {
  DamagedStore damaged{"no manifest", files_, {}};
  std::erase_if(damaged.files, [](const auto& file) {
    return file.first.first == "manifest" || file.first.first == "table";
  });
  FreezerOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.page_size_bytes = kPageSizeBytes;
  options.table.initial_size = 8;

  EXPECT_EQ(judge(damaged, items_, options), "");
}

TEST(SalvageFreezerLoss, GivenALostPutOfAKeyThatWasPutBefore_ThenTheLossSaysSo) {
  MemoryStorage source;
  ASSERT_OK_INTO(auto store, Freezer::open(source, test_options()));
  for (const std::string_view value : {"older", "newer"})
    ASSERT_OK(freezer::put(store, "key", value));
  ASSERT_OK(store->close());
  store.reset();
  const Bytes first = journal::section_name(Section(0));
  Bytes values = *source.raw("values", first);
  values[values.size() - 6] ^= std::byte{1};
  source.set_raw("values", first, values);
  MemoryStorage target;
  std::vector<SalvageLoss> losses;
  SalvageObserver observer;
  observer.on_loss = [&](const SalvageLoss& loss) {
    losses.push_back(loss);
    return Status();
  };

  ASSERT_OK_INTO(const SalvageSummary summary, salvage_freezer(source, {}, target, observer));

  EXPECT_EQ(summary.items, 1u);
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_EQ(losses[0].key, test_key("key", kKeySizeBytes));
  EXPECT_TRUE(losses[0].older_value_kept);
  ASSERT_OK_INTO(store, Freezer::open(target, test_options()));
  EXPECT_EQ(freezer::get(store, "key"), "older");
}

TEST(SalvageFreezerErrors, GivenNoManifestAndCompressedValues_WhenNothingIsSaid_ThenRefused) {
  MemoryStorage source;
  FreezerOptions options = test_options();
  options.compression_level = 3;
  {
    ASSERT_OK_INTO(const auto store, Freezer::open(source, options));
    ASSERT_OK(freezer::put(store, "key", "value"));
    ASSERT_OK(store->close());
  }
  ASSERT_OK(source.remove_partition(kManifestPartition));
  MemoryStorage target;

  EXPECT_THAT(salvage_freezer(source, test_options(), target, {}),
              FailsWith(Errc::invalid_argument, "compress"));

  EXPECT_TRUE(target.partitions()->empty());
  EXPECT_OK(salvage_freezer(source, options, target, {}));
}

TEST(SalvageFreezerErrors, GivenAWriterOrATargetInUse_ThenRefused) {
  MemoryStorage source;
  MemoryStorage target;
  ASSERT_OK_INTO(auto writer, Freezer::open(source, test_options()));
  EXPECT_THAT(salvage_freezer(source, {}, target, {}), FailsWith(Errc::locked));

  ASSERT_OK(writer->close());
  EXPECT_THAT(salvage_freezer(source, {}, source, {}),
              FailsWith(Errc::invalid_argument, "already"));
}

}  // namespace
}  // namespace firn
