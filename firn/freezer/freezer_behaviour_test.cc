// SPDX-License-Identifier: Apache-2.0
//
// The behaviours of the original's freezer, one after another, in every way that ours works. Where
// the original only asks that nothing fails, the value must be there, too.
#include <array>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "firn/base/crc32c.h"
#include "firn/base/random.h"
#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::kPairSizeBytes;
using freezer::put;
using freezer::Store;
using freezer::test_key;

class FreezerBehaviour : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerBehaviour, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

constexpr std::array<Engine, 2> kOnDisk = {Engine::immediate, Engine::on_disk};
class FreezerTableBehaviour : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerTableBehaviour, testing::ValuesIn(kOnDisk),
                         freezer::engine_of);

TEST_P(FreezerBehaviour, GivenOneKey_WhenPutAndGet_ThenFoundAndCounted) {
  for (const std::optional<int> compression : {std::optional<int>(), std::optional<int>(3)}) {
    MemoryStorage storage;
    FreezerOptions options = this->options();
    options.compression_level = compression;
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

    EXPECT_EQ(get(freezer, "testkey"), "absent");
    ASSERT_OK(put(freezer, "testkey", "42"));
    EXPECT_EQ(get(freezer, "testkey"), "42");

    const FreezerStatistics statistics = freezer->statistics();
    EXPECT_EQ(statistics.gets, 2);
    EXPECT_EQ(statistics.puts, 1);
    EXPECT_EQ(statistics.unnecessary_reads, 0);
    EXPECT_OK(freezer->sync());
  }
}

TEST_P(FreezerBehaviour, GivenFiveKeys_WhenNotSynced_ThenAllAreFound) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options()));

  freezer::put_range(freezer, 1, 6);

  freezer::expect_range(freezer, 1, 6);
}

TEST_P(FreezerBehaviour, GivenATableOfFour_WhenEightKeysCollide_ThenAllAreFound) {
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));

  freezer::put_range(freezer, 1, 9);
  ASSERT_OK(freezer->sync());

  freezer::expect_range(freezer, 1, 9);
  const FreezerStatistics statistics = freezer->statistics();
  EXPECT_EQ(statistics.gets, 8);
  EXPECT_EQ(statistics.unnecessary_reads, GetParam() == Engine::resident ? 0 : 5);
}

TEST_P(FreezerBehaviour, WhenClosedAndReopenedWithTheCheckpoint_ThenAllArePresent) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options()));
  ASSERT_OK(put(freezer, "persist1", "100"));
  ASSERT_OK(put(freezer, "persist2", "200"));
  ASSERT_OK(put(freezer, "persist3", "300"));
  ASSERT_OK_INTO(const auto checkpoint, freezer->close());
  freezer.reset();

  FreezerOptions options = this->options();
  options.checkpoint = checkpoint;
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options));

  EXPECT_EQ(get(freezer, "persist1"), "100");
  EXPECT_EQ(get(freezer, "persist2"), "200");
  EXPECT_EQ(get(freezer, "persist3"), "300");
}

TEST_P(FreezerBehaviour, WhenReopenedAtTheFirstOfTwoSyncs_ThenOnlyItsKeysArePresent) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options()));
  ASSERT_OK(put(freezer, "committed1", "1"));
  ASSERT_OK(put(freezer, "committed2", "2"));
  ASSERT_OK_INTO(const auto first, freezer->sync());
  ASSERT_OK(put(freezer, "uncommitted1", "3"));
  ASSERT_OK(put(freezer, "uncommitted2", "4"));
  ASSERT_OK_INTO(const auto last, freezer->close());
  freezer.reset();

  FreezerOptions options = this->options();
  options.checkpoint = last;
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options));
  EXPECT_EQ(get(freezer, "uncommitted1"), "3");
  freezer.reset();
  options.checkpoint = first;
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options));

  EXPECT_EQ(get(freezer, "committed1"), "1");
  EXPECT_EQ(get(freezer, "committed2"), "2");
  EXPECT_EQ(get(freezer, "uncommitted1"), "absent");
  EXPECT_EQ(get(freezer, "uncommitted2"), "absent");
}

TEST_P(FreezerBehaviour, WhenDestroyedAndReopened_ThenNothingIsThere) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options()));
  freezer::put_range(freezer, 0, 2);
  ASSERT_OK(freezer->destroy());
  freezer.reset();
  EXPECT_TRUE(storage_.partitions()->empty());

  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options()));

  EXPECT_EQ(get(freezer, "key0"), "absent");
  EXPECT_EQ(get(freezer, "key1"), "absent");
}

// Damages the table of a closed store with one key, and opens it with its checkpoint.
void expect_repaired(const FreezerOptions& options, const std::function<void(Bytes&)>& damage) {
  MemoryStorage storage;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
  ASSERT_OK(put(freezer, "key1", "42"));
  ASSERT_OK(freezer->sync());
  ASSERT_OK_INTO(const auto checkpoint, freezer->close());
  freezer.reset();
  Bytes table = freezer::table_bytes(storage);
  damage(table);
  freezer::set_table_bytes(storage, table);

  FreezerOptions with_checkpoint = options;
  with_checkpoint.checkpoint = checkpoint;
  ASSERT_OK_INTO(freezer, Freezer::open(storage, with_checkpoint));

  EXPECT_EQ(get(freezer, "key1"), "42");
  ASSERT_OK(put(freezer, "key2", "43"));
  EXPECT_EQ(get(freezer, "key2"), "43");
  EXPECT_OK(freezer->close());
  freezer.reset();
  ASSERT_OK_INTO(freezer, Freezer::open(storage, options));
  EXPECT_EQ(get(freezer, "key1"), "42");
  EXPECT_EQ(get(freezer, "key2"), "43");
}

size_t offset_of_key1() {
  const size_t position = crc32c(test_key("key1")) & 255;
  EXPECT_EQ(position, 78);
  return position * kPairSizeBytes;
}

TEST_P(FreezerBehaviour, GivenTableBytesAreOverwritten_WhenReopened_ThenTheKeyIsFound) {
  for (const size_t offset : {size_t{0}, offset_of_key1()}) {
    expect_repaired(options(), [&](Bytes& table) {
      std::fill_n(table.begin() + static_cast<ptrdiff_t>(offset), 10, std::byte{0xFF});
    });
  }
}

TEST_P(FreezerBehaviour, GivenABitOfTheTableFlips_WhenReopened_ThenTheKeyIsFound) {
  for (const size_t offset : {size_t{20}, offset_of_key1() + 20})
    expect_repaired(options(), [&](Bytes& table) { table[offset] ^= std::byte{1}; });
}

TEST_P(FreezerBehaviour, GivenGarbageBehindTheTable_WhenReopened_ThenTheKeyIsFound) {
  expect_repaired(options(), [&](Bytes& table) { table.insert(table.end(), 4, std::byte{0xAB}); });
}

TEST_P(FreezerBehaviour, GivenATableOfTwo_WhenAThousandKeysAreSynced_ThenEachResizeKeepsThemAll) {
  FreezerOptions options = this->options();
  options.table.initial_size = 2;
  options.table.resize_frequency = 2;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options));
  for (uint64_t i = 0; i < 1000; ++i) {
    freezer::put_range(freezer, i, i + 1);
    ASSERT_OK(freezer->sync());
  }

  freezer::expect_range(freezer, 0, 1000);
  const FreezerStatistics statistics = freezer->statistics();
  EXPECT_EQ(statistics.resizes, 8);
  EXPECT_EQ(statistics.table_size, 512);
  ASSERT_OK_INTO(const auto checkpoint, freezer->close());
  freezer.reset();
  options.checkpoint = checkpoint;
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options));
  freezer::expect_range(freezer, 0, 1000);
}

TEST_P(FreezerTableBehaviour, WhenPutsComeDuringAResize_ThenBothHalvesGetThem) {
  FreezerOptions options = this->options();
  options.table.initial_size = 2;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 1;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, options));
  const auto put_keys = [&](std::initializer_list<int> keys) {
    for (const int key : keys)
      ASSERT_OK(put(freezer, concat("key", key), concat(key)));
  };
  put_keys({0, 2});
  ASSERT_OK(freezer->sync());
  EXPECT_TRUE(freezer->statistics().resizing);

  put_keys({6});
  EXPECT_EQ(freezer->statistics().unnecessary_writes, 1);
  EXPECT_EQ(freezer->statistics().resizable, 3);
  put_keys({3});
  EXPECT_EQ(freezer->statistics().unnecessary_writes, 1);
  EXPECT_EQ(freezer->statistics().resizable, 3);
  ASSERT_OK(freezer->sync());
  EXPECT_FALSE(freezer->statistics().resizing);
  EXPECT_EQ(freezer->statistics().resizable, 2);

  put_keys({4, 7});
  ASSERT_OK(freezer->sync());
  EXPECT_TRUE(freezer->statistics().resizing);
  for (const int key : {0, 2, 6, 3, 4, 7})
    EXPECT_EQ(get(freezer, concat("key", key)), concat(key));
  int syncs = 0;
  for (; freezer->statistics().resizing; ++syncs) {
    put_keys({100 + syncs});
    ASSERT_OK(freezer->sync());
    ASSERT_LT(syncs, 10);
  }
  EXPECT_EQ(syncs, 3);
}

TEST(FreezerImmediateBehaviour, WhenAResizeRunsOutWithoutPuts_ThenNothingIsDueAnyMore) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.table.initial_size = 2;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 1;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  for (const int key : {0, 2})
    ASSERT_OK(put(freezer, concat("key", key), concat(key)));
  ASSERT_OK(freezer->sync());
  for (const int key : {6, 3})
    ASSERT_OK(put(freezer, concat("key", key), concat(key)));
  ASSERT_OK(freezer->sync());
  for (const int key : {4, 7})
    ASSERT_OK(put(freezer, concat("key", key), concat(key)));
  ASSERT_OK(freezer->sync());

  int syncs = 0;
  for (; freezer->statistics().resizing; ++syncs)
    ASSERT_OK(freezer->sync());

  EXPECT_EQ(syncs, 3);
  EXPECT_EQ(freezer->statistics().resizable, 0);
}

TEST(FreezerImmediateBehaviour, GivenAResizeWasRunning_WhenReopened_ThenItBeginsAnew) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.table.initial_size = 2;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 1;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
  ASSERT_OK(put(freezer, "key0", "0"));
  ASSERT_OK(put(freezer, "key2", "2"));
  ASSERT_OK_INTO(const auto checkpoint, freezer->sync());
  EXPECT_TRUE(freezer->statistics().resizing);
  freezer.reset();

  for (const bool with_checkpoint : {true, false}) {
    options.checkpoint.reset();
    if (with_checkpoint) options.checkpoint = checkpoint;
    ASSERT_OK_INTO(freezer, Freezer::open(storage, options));
    EXPECT_EQ(freezer->statistics().resizable, 1);
    EXPECT_FALSE(freezer->statistics().resizing);
    freezer.reset();
  }
  ASSERT_OK_INTO(freezer, Freezer::open(storage, options));
  ASSERT_OK(freezer->sync());
  EXPECT_TRUE(freezer->statistics().resizing);
  while (freezer->statistics().resizing)
    ASSERT_OK(freezer->sync());
  EXPECT_EQ(freezer->statistics().resizable, 0);
  EXPECT_EQ(get(freezer, "key0"), "0");
  EXPECT_EQ(get(freezer, "key2"), "2");
}

// A thousand random puts with random syncs and restarts; everything that happens, as text.
std::string run_random_life(const FreezerOptions& options, uint64_t seed) {
  std::string trace;
  MemoryStorage storage;
  Random random(seed);
  std::map<Bytes, Bytes> model;
  auto opened = Freezer::open(storage, options);
  EXPECT_OK(opened);
  Store freezer = std::move(*opened);
  const auto put_random = [&] {
    const Bytes key = random.bytes(96);
    const Bytes value = random.bytes(256);
    const auto cursor = freezer->put(key, value);
    EXPECT_OK(cursor);
    model[key] = value;
    trace += to_hex(freezer::encode_cursor(*cursor)) + "\n";
  };
  const auto sync = [&] {
    const auto checkpoint = freezer->sync();
    EXPECT_OK(checkpoint);
    trace += to_hex(freezer::encode_checkpoint(*checkpoint)) + "\n";
  };
  const auto check_all = [&] {
    for (const auto& [key, value] : model)
      EXPECT_EQ(freezer::answer(freezer->get(key)), as_text(value));
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(freezer::answer(freezer->get(random.bytes(96))), "absent");
  };
  for (int i = 0; i < 1000; ++i) {
    put_random();
    if (random.one_in(10)) sync();
  }
  check_all();
  FreezerOptions reopened = options;
  reopened.checkpoint = *freezer->close();
  freezer.reset();
  auto again = Freezer::open(storage, reopened);
  EXPECT_OK(again);
  freezer = std::move(*again);
  check_all();
  for (int i = 0; i < 20; ++i)
    put_random();
  for (int i = 0; i < 3; ++i) {
    sync();
    for (int k = 0; k < 5; ++k)
      put_random();
  }
  sync();
  check_all();
  return trace;
}

TEST_P(FreezerBehaviour, WhenARandomLifeIsRunTwice_ThenTracesAreEqualAndEveryKeyIsFound) {
  FreezerOptions options = this->options();
  options.key_size_bytes = 96;
  options.section_target_bytes = 128;
  options.table.initial_size = 8;
  options.table.resize_frequency = 2;

  const std::string trace = run_random_life(options, 13);

  EXPECT_EQ(run_random_life(options, 13), trace);
}

TEST_P(FreezerBehaviour, GivenAKeyIsPutTwice_WhenGet_ThenTheNewestValueIsFound) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options()));
  ASSERT_OK_INTO(const auto first, put(freezer, "key", "1"));
  ASSERT_OK(put(freezer, "key", "2"));
  ASSERT_OK(freezer->sync());
  EXPECT_EQ(get(freezer, "key"), "2");
  EXPECT_EQ(get(freezer, first), "1");
  ASSERT_OK(freezer->close());
  freezer.reset();

  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options()));

  EXPECT_EQ(get(freezer, "key"), "2");
  EXPECT_EQ(get(freezer, first), "1");
}

TEST(FreezerImmediateBehaviour, GivenAResizeAtClose_ThenEmptyPositionsStayEmptyInBothHalves) {
  MemoryStorage storage;
  FreezerOptions options = freezer::shared_options(Engine::immediate);
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 4;
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  ASSERT_OK(put(freezer, "key0", "0"));
  ASSERT_OK(put(freezer, "key2", "1"));

  ASSERT_OK(freezer->close());

  const Bytes table = freezer::table_bytes(storage);
  ASSERT_EQ(table.size(), 8 * kPairSizeBytes);
  int empty = 0;
  for (size_t position = 0; position < 8; ++position) {
    const ByteSpan pair = ByteSpan(table).subspan(position * kPairSizeBytes, kPairSizeBytes);
    if (equal_bytes(pair, Bytes(kPairSizeBytes))) ++empty;
  }
  EXPECT_EQ(empty, 4);
}

TEST_P(FreezerBehaviour, GivenBothChecksumsOfAPairAreWrong_WhenReopened_ThenTheKeyIsFound) {
  FreezerOptions options = this->options();
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage_, options));
  ASSERT_OK(put(freezer, "key0", "42"));
  ASSERT_OK(freezer->sync());
  ASSERT_OK_INTO(const auto checkpoint, freezer->close());
  freezer.reset();
  Bytes table = freezer::table_bytes(storage_);
  for (const size_t slot : {size_t{0}, size_t{29}})
    for (size_t i = slot + 25; i < slot + 29; ++i)
      table[i] ^= std::byte{0xFF};
  freezer::set_table_bytes(storage_, table);

  options.checkpoint = checkpoint;
  ASSERT_OK_INTO(freezer, Freezer::open(storage_, options));

  EXPECT_EQ(get(freezer, "key0"), "42");
}

// Of blobs that have room for 5 positions.
class SmallStorage final : public MemoryStorage {
 public:
  [[nodiscard]] StorageLimits limits() const override {
    return {.blob_size_max_bytes = uint64_t{5} * kPairSizeBytes, .durable = false};
  }
};

TEST_P(FreezerTableBehaviour, GivenATableThatCannotGrow_WhenItIsFull_ThenPutsFailAndAllIsKept) {
  SmallStorage storage;
  FreezerOptions options = this->options();
  options.table.initial_size = 2;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 1;
  uint64_t stored = 0;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
    auto outcome = put(freezer, "key0", "0");
    while (outcome && stored < 100) {
      ++stored;
      ASSERT_OK(freezer->sync());
      outcome = put(freezer, concat("key", stored), concat(stored));
    }

    EXPECT_THAT(outcome, testkit::FailsWith(Errc::no_space, "begin another store"));
    EXPECT_EQ(freezer->statistics().table_size, 4);
    EXPECT_OK(freezer->check_writable());
    EXPECT_OK(freezer->sync());
    freezer::expect_range(freezer, 0, stored);
    EXPECT_EQ(get(freezer, concat("key", stored)), "absent");
    ASSERT_OK(freezer->close());
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
  EXPECT_TRUE(freezer->recovery().notes.empty());
  freezer::expect_range(freezer, 0, stored);
  EXPECT_THAT(put(freezer, "other", "1"), testkit::FailsWith(Errc::no_space));
}

TEST_P(FreezerBehaviour, WhenAskedWhetherKeysAreThere_ThenThatIsNoGet) {
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, shared_options(GetParam())));
  ASSERT_OK(put(freezer, "here", "value"));

  for (const std::string_view key : {"here", "absent", "here"})
    EXPECT_OK(freezer->contains(test_key(key)));

  EXPECT_EQ(freezer->statistics().has, 3u);
  EXPECT_EQ(freezer->statistics().gets, 0u);
}

// Beyond the budget, with a filter in memory: 1 of 100 absent keys walks a chain, or fewer.
TEST(FreezerFilter, GivenATableOnDisk_WhenAbsentKeysAreAskedFor_ThenHardlyOneReadsARecord) {
  for (const bool has_filter : {true, false}) {
    MemoryStorage storage;
    FreezerOptions options = shared_options(Engine::on_disk);
    options.table.initial_size = 16;
    options.table.resize_frequency = 254;
    options.memory_budget_bytes = has_filter ? 2048 : 0;
    {
      ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));
      for (uint64_t i = 0; i < 500; ++i)
        ASSERT_OK(put(freezer, concat("key", i), "value"));
      ASSERT_OK(freezer->close());
    }
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, options));

    for (uint64_t i = 0; i < 500; ++i)
      EXPECT_EQ(get(freezer, concat("absent", i)), "absent");

    const uint64_t reads = freezer->statistics().unnecessary_reads;
    EXPECT_EQ(reads < 500u * 31 / 20, has_filter) << reads;  // a chain has 31 records
    EXPECT_GE(reads, has_filter ? 0u : 500u * 20);
  }
}

}  // namespace
}  // namespace firn
