// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: what open accepts. Options that contradict the store are refused before anything
// is written (crash rule 10), also for stores of the original, which have no manifest.
// "Pinned 15.3.N" numbers a behaviour of the original.
#include <array>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <zstd.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::get;
using archive::put;
using archive::shared_options;
using archive::visible_files;
using testkit::FailsWith;

enum class StoreState : uint8_t { closed, synced, torn };

struct StoreShape {
  std::string name;
  uint32_t key_size_bytes = 32;
  uint64_t items = 40;
  uint64_t first_index = 0;
  uint32_t value_size_max_bytes = 60;
  bool zero_keys = false;  // all but the number at the front
};

// A store of that shape, geometry 32-byte keys (unless told), 8 items a section, pages of 256.
void fill(MemoryStorage& storage, const StoreShape& shape, StoreState state,
          std::optional<int> compression_level = std::nullopt) {
  PrunableArchiveOptions options;
  options.key_size_bytes = shape.key_size_bytes;
  options.items_per_section = 8;
  options.page_size_bytes = 256;
  options.compression_level = compression_level;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  Random random(2026);
  for (uint64_t i = 0; i < shape.items; ++i) {
    Bytes key = random.bytes(shape.key_size_bytes);
    if (shape.zero_keys) key = archive::key_of(concat(i), shape.key_size_bytes);
    ASSERT_OK(archive->put(shape.first_index + i, key,
                           random.bytes(random.below(shape.value_size_max_bytes))));
  }
  ASSERT_OK(archive->sync());
  if (state == StoreState::closed) {
    ASSERT_OK(archive->close());
  }
  if (state == StoreState::torn) {
    Bytes key(shape.key_size_bytes);
    ASSERT_OK(archive->put(shape.first_index + 8 * shape.items, key, as_bytes("never synced")));
  }
}

PrunableArchiveOptions geometry_of_fill() {
  PrunableArchiveOptions options;
  options.key_size_bytes = 32;
  options.items_per_section = 8;
  options.page_size_bytes = 256;
  return options;
}

using Change = std::function<void(PrunableArchiveOptions&)>;

std::vector<std::pair<std::string, Change>> wrong_geometries() {
  std::vector<std::pair<std::string, Change>> changes;
  const auto add = [&](std::string name, const Change& change) {
    changes.emplace_back(std::move(name), change);
  };
  for (const uint32_t size :
       std::vector<uint32_t>{1, 8, 12, 16, 20, 24, 28, 30, 31, 33, 34, 36, 40, 44, 48, 64, 1024})
    add(concat("key size ", size), [size](auto& options) { options.key_size_bytes = size; });
  for (const uint64_t count : std::vector<uint64_t>{1, 2, 3, 5, 7, 9, 16, 1024})
    add(concat("items per section ", count),
        [count](auto& options) { options.items_per_section = count; });
  for (const uint32_t size :
       std::vector<uint32_t>{1, 16, 128, 244, 250, 255, 257, 262, 268, 512, 1024, 4084, 65535})
    add(concat("page size ", size), [size](auto& options) { options.page_size_bytes = size; });
  return changes;
}

class PrunableArchiveGeometry : public testing::TestWithParam<std::tuple<StoreShape, StoreState>> {
 protected:
  MemoryStorage storage_;
};

std::vector<StoreShape> shapes() {
  return {{.name = "Plain"},
          {.name = "ZeroKeys", .zero_keys = true},
          {.name = "LateIndices", .first_index = 1 << 20},
          {.name = "EmptyValues", .value_size_max_bytes = 1}};
}

std::string name_of(const testing::TestParamInfo<std::tuple<StoreShape, StoreState>>& tested) {
  const auto& [shape, state] = tested.param;
  constexpr std::array<std::string_view, 3> kStates = {"Closed", "Synced", "Torn"};
  return concat(shape.name, kStates[static_cast<size_t>(state)]);
}

INSTANTIATE_TEST_SUITE_P(Stores, PrunableArchiveGeometry,
                         testing::Combine(testing::ValuesIn(shapes()),
                                          testing::Values(StoreState::closed, StoreState::synced,
                                                          StoreState::torn)),
                         name_of);

TEST_P(PrunableArchiveGeometry, WhenOptionsContradictTheManifest_ThenNothingIsWritten) {
  const auto& [shape, state] = GetParam();
  fill(storage_, shape, state);
  const std::string before = visible_files(storage_);
  auto changes = wrong_geometries();
  changes.emplace_back("compression", [](auto& options) { options.compression_level = 3; });
  changes.emplace_back("index partition", [](auto& options) { options.index_partition = "other"; });
  changes.emplace_back("values partition",
                       [](auto& options) { options.values_partition = "other"; });

  for (const auto& [name, change] : changes) {
    PrunableArchiveOptions options = geometry_of_fill();
    change(options);

    EXPECT_THAT(PrunableArchive::open(storage_, options), FailsWith(Errc::invalid_argument))
        << name;

    ASSERT_EQ(visible_files(storage_), before) << name;
  }
}

TEST_P(PrunableArchiveGeometry,
       GivenNoManifest_WhenOptionsContradictTheFiles_ThenNothingIsWritten) {
  const auto& [shape, state] = GetParam();
  fill(storage_, shape, state);
  ASSERT_OK(storage_.remove_partition(kManifestPartition));
  const std::string before = visible_files(storage_);

  for (const auto& [name, change] : wrong_geometries()) {
    PrunableArchiveOptions options = geometry_of_fill();
    change(options);

    EXPECT_THAT(PrunableArchive::open(storage_, options),
                FailsWith(Errc::invalid_argument, "Nothing was changed"))
        << name;

    ASSERT_EQ(visible_files(storage_), before) << name;
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, geometry_of_fill()));
  EXPECT_EQ(archive->statistics().records, shape.items);
}

TEST_P(PrunableArchiveGeometry,
       GivenNoManifestAndOneItem_WhenOptionsAreWrong_ThenNothingIsWritten) {
  const auto& [shape, state] = GetParam();
  StoreShape small = shape;
  small.items = 1;
  fill(storage_, small, state);
  ASSERT_OK(storage_.remove_partition(kManifestPartition));
  const std::string before = visible_files(storage_);

  for (const auto& [name, change] : wrong_geometries()) {
    PrunableArchiveOptions options = geometry_of_fill();
    change(options);
    // One item at the start of its section says little about how long sections are.
    const uint64_t per_section = *options.items_per_section;
    if (small.first_index - small.first_index % per_section == small.first_index &&
        options.key_size_bytes == 32 && options.page_size_bytes == 256)
      continue;

    EXPECT_THAT(PrunableArchive::open(storage_, options), FailsWith(Errc::invalid_argument))
        << name;

    ASSERT_EQ(visible_files(storage_), before) << name;
  }
}

TEST_P(PrunableArchiveGeometry, WhenOptionsAreUnset_ThenTheManifestTells) {
  const auto& [shape, state] = GetParam();
  fill(storage_, shape, state);

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, PrunableArchiveOptions{}));

  EXPECT_EQ(archive->key_size_bytes(), 32);
  EXPECT_EQ(archive->items_per_section(), 8);
  EXPECT_EQ(archive->manifest()->number("page_size"), 256);
  EXPECT_EQ(archive->statistics().records, shape.items);
}

TEST_P(PrunableArchiveGeometry, WhenOpenedForReading_ThenItemsAreThereAndNothingIsWritten) {
  const auto& [shape, state] = GetParam();
  for (const bool with_manifest : {true, false}) {
    MemoryStorage storage;
    fill(storage, shape, state);
    if (!with_manifest) {
      ASSERT_OK(storage.remove_partition(kManifestPartition));
    }
    const std::string before = visible_files(storage);
    PrunableArchiveOptions options = geometry_of_fill();
    options.access = ArchiveAccess::read_only;

    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, options));

    EXPECT_EQ(archive->statistics().records, shape.items);
    for (uint64_t i = 0; i < shape.items; ++i) {
      ASSERT_OK_INTO(const auto item, archive->find(shape.first_index + i));
      ASSERT_TRUE(item);
      EXPECT_OK(archive->read_value(*item));
      ASSERT_OK_INTO(const auto by_key, archive->find(item->key));
      EXPECT_TRUE(by_key);
    }
    const Bytes key(32);
    EXPECT_THAT(archive->put(1 << 30, key, as_bytes("value")), FailsWith(Errc::invalid_argument));
    EXPECT_THAT(archive->prune(1 << 30), testing::Not(testkit::IsOk()));
    EXPECT_EQ(archive->statistics().records, shape.items);
    archive.reset();
    EXPECT_EQ(visible_files(storage), before);
  }
}

// A store of the original: nothing says how it was made.
void make_unrecorded(MemoryStorage& storage, const PrunableArchiveOptions& options, uint64_t items,
                     std::string_view value) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
  for (uint64_t i = 0; i < items; ++i)
    ASSERT_OK(put(archive, i * 300, concat("key ", i), value));
  ASSERT_OK(archive->close());
  ASSERT_OK(storage.remove_partition(kManifestPartition));
}

TEST(PrunableArchiveOptions, WhenOptionsAreImpossible_ThenNoStoreIsMade) {
  const std::vector<std::pair<std::string, Change>> changes = {
      {"key size 0", [](auto& options) { options.key_size_bytes = 0; }},
      {"key size 1025", [](auto& options) { options.key_size_bytes = 1025; }},
      {"items 0", [](auto& options) { options.items_per_section = 0; }},
      {"page size 0", [](auto& options) { options.page_size_bytes = 0; }},
      {"page size 65536", [](auto& options) { options.page_size_bytes = 65536; }},
      {"level", [](auto& options) { options.compression_level = 1000; }},
      {"slash", [](auto& options) { options.index_partition = "a/b"; }},
      {"parent", [](auto& options) { options.values_partition = ".."; }},
      {"empty", [](auto& options) { options.index_partition = ""; }},
      {"space", [](auto& options) { options.values_partition = "a b"; }},
      {"zero", [](auto& options) { options.values_partition = std::string("a\0b", 3); }},
      {"cache", [](auto& options) { options.page_cache_bytes = SIZE_MAX; }},
      {"buffer", [](auto& options) { options.write_buffer_bytes = SIZE_MAX; }},
      {"lock", [](auto& options) { options.values_partition = "LOCK"; }},
      {"manifest", [](auto& options) { options.values_partition = "manifest"; }},
      {"lost-found", [](auto& options) { options.index_partition = "lost-found"; }},
      {"one for both", [](auto& options) { options.index_partition = "values"; }},
  };
  for (const auto& [name, change] : changes) {
    MemoryStorage storage;
    PrunableArchiveOptions options;
    change(options);

    EXPECT_THAT(PrunableArchive::open(storage, options), FailsWith(Errc::invalid_argument)) << name;

    EXPECT_EQ(visible_files(storage), "") << name;
  }
}

TEST(PrunableArchiveOptions, GivenNoStore_WhenNoneIsToBeMade_ThenNothingIsWritten) {
  for (const ArchiveAccess access : {ArchiveAccess::write, ArchiveAccess::read_only}) {
    MemoryStorage storage;
    PrunableArchiveOptions options;
    options.access = access;

    EXPECT_THAT(PrunableArchive::open(storage, options), FailsWith(Errc::not_found));

    EXPECT_EQ(visible_files(storage), "");
  }
}

TEST(PrunableArchiveOptions, WhenOpenedTwice_ThenSecondWriterIsLockedOut) {
  MemoryStorage storage;
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));

  EXPECT_THAT(PrunableArchive::open(storage, shared_options()), FailsWith(Errc::locked));

  EXPECT_OK(put(archive, 1, "key", "value"));
}

// Pinned 15.3.13, but for crash rule 10: compression is recorded, so that opening without a level
// reads the values.
TEST(PrunableArchiveOptions, GivenCompressedStore_WhenOpenedWithoutALevel_ThenValuesAreRead) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options(3)));
    ASSERT_OK(put(archive, 1, "key", "value"));
    ASSERT_OK(archive->close());
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));

  EXPECT_EQ(get(archive, 1), "value");
  ASSERT_OK(put(archive, 2, "another", std::string(1000, 'v')));
  ASSERT_OK(archive->sync());
  EXPECT_EQ(get(archive, "another"), std::string(1000, 'v'));
  EXPECT_LT(storage.raw("values", Bytes(8))->size(), 200);
}

// Pinned 15.3.13, a store of the original: nothing records the compression. There the value of a
// get was an error of its codec, which firn does not have: it would be the compressed frame.
TEST(PrunableArchiveOptions, GivenNoManifestAndCompressedValues_WhenOpenedPlain_ThenItIsRefused) {
  for (const uint64_t items : {1u, 7u, 30u}) {
    MemoryStorage storage;
    make_unrecorded(storage, shared_options(3), items, "value");
    const std::string before = visible_files(storage);

    for (const ArchiveAccess access : {ArchiveAccess::read_only, ArchiveAccess::create}) {
      PrunableArchiveOptions options = shared_options();
      options.access = access;
      EXPECT_THAT(PrunableArchive::open(storage, options),
                  FailsWith(Errc::invalid_argument, "compress"));
    }

    EXPECT_EQ(visible_files(storage), before);
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options(3)));
    EXPECT_EQ(get(archive, 0), "value");
  }
}

TEST(PrunableArchiveOptions, GivenNoManifestAndFramesAsValues_WhenNoCompressionIsSaid_ThenRead) {
  MemoryStorage storage;
  make_unrecorded(storage, shared_options(3), 3, "value");

  ASSERT_OK_INTO(const auto archive,
                 PrunableArchive::open(storage, shared_options(kNoCompression)));

  ASSERT_OK_INTO(const auto frame, archive->get(300));
  ASSERT_TRUE(frame);
  std::string plain(100, '\0');
  plain.resize(ZSTD_decompress(plain.data(), plain.size(), frame->bytes().data(), frame->size()));
  EXPECT_EQ(plain, "value");
}

// Whoever stores files that happen to be zstd frames has others among them.
TEST(PrunableArchiveOptions, GivenNoManifestAndAFewFramesAmongValues_WhenOpenedPlain_ThenRead) {
  std::string frame(100, '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), "value", 5, 3));
  for (const uint64_t other : {0u, 1u, 5000u}) {
    MemoryStorage storage;
    {
      ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));
      for (const uint64_t index : {0u, 1u, 5000u, 5001u})
        ASSERT_OK(put(archive, index, "key", index == other ? "no frame" : frame));
      ASSERT_OK(archive->close());
    }
    ASSERT_OK(storage.remove_partition(kManifestPartition));

    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));

    EXPECT_EQ(get(archive, 5001), frame);
  }
}

TEST(PrunableArchiveOptions, WhenNoCompressionIsSaid_ThenItIsRecordedAndRequired) {
  MemoryStorage plain;
  MemoryStorage compressed;
  for (auto& [storage, level] : {std::pair(&plain, kNoCompression), std::pair(&compressed, 3)}) {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(*storage, shared_options(level)));
    ASSERT_OK(put(archive, 1, "key", "value"));
    ASSERT_OK(archive->close());
  }

  EXPECT_THAT(PrunableArchive::open(compressed, shared_options(kNoCompression)),
              FailsWith(Errc::invalid_argument, "compression"));
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(plain, shared_options(kNoCompression)));

  EXPECT_EQ(get(archive, 1), "value");
}

TEST(PrunableArchiveOptions, GivenNoManifestAndPlainValues_WhenOpenedCompressed_ThenItIsRefused) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));
    ASSERT_OK(put(archive, 1, "key", "value"));
    ASSERT_OK(archive->close());
  }
  ASSERT_OK(storage.remove_partition(kManifestPartition));
  const std::string before = visible_files(storage);

  EXPECT_THAT(PrunableArchive::open(storage, shared_options(3)), FailsWith(Errc::invalid_argument));

  EXPECT_EQ(visible_files(storage), before);
}

TEST(PrunableArchiveOptions, GivenNoManifest_WhenUsed_ThenItGoesOnWithoutOne) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));
    ASSERT_OK(put(archive, 1, "one", "1"));
    ASSERT_OK(archive->close());
  }
  ASSERT_OK(storage.remove_partition(kManifestPartition));
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));
    EXPECT_EQ(archive->manifest(), nullptr);
    ASSERT_OK(put(archive, 5000, "two", "2"));
    ASSERT_OK(archive->prune(1024));
    ASSERT_OK(archive->close());
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, shared_options()));

  EXPECT_EQ(get(archive, 1), "absent");
  EXPECT_EQ(get(archive, 5000), "2");
  EXPECT_EQ(storage.scan(kManifestPartition)->size(), 0);
}

}  // namespace
}  // namespace firn
