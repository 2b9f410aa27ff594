// SPDX-License-Identifier: Apache-2.0
//
// Freezer: how a store ends: what the close of a damaged one leaves, and a destroy that fails.
#include <string>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::Store;

constexpr uint64_t kPutKeys = 40;

FreezerOptions ended_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.table.initial_size = 16;
  return freezer::with_engine(options, engine);
}

class FreezerEnd : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerEnd, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

// In memory a damaged page hides its keys; a table that is made without them would be trusted when
// the page is back.
TEST_P(FreezerEnd, GivenADamagedKeyPage_WhenClosedInMemory_ThenTheTableForgetsNoKey) {
  MemoryStorage storage;
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, ended_options(GetParam())));
  freezer::put_range(freezer, 0, kPutKeys);
  ASSERT_OK(freezer->close());
  freezer.reset();
  const Bytes name = storage.scan("index")->front();
  const Bytes whole = *storage.raw("index", name);
  Bytes damaged = whole;
  damaged[8 + 10 * 140 + 5] ^= std::byte{1};  // of the newest keys: no chain leads to them
  storage.set_raw("index", name, damaged);
  ASSERT_OK_INTO(freezer, Freezer::open(storage, ended_options(Engine::resident)));
  ASSERT_THAT(freezer::contains(freezer, "none"), "error: corrupt");
  ASSERT_OK(freezer->close());
  freezer.reset();

  storage.set_raw("index", name, whole);
  ASSERT_OK_INTO(freezer, Freezer::open(storage, ended_options(Engine::on_disk)));

  freezer::expect_range(freezer, 0, kPutKeys);
}

// In memory a doubling is never left in the middle.
TEST(FreezerDoubling, GivenADoublingUnderWay_WhenClosed_ThenItIsFinished) {
  for (const Engine engine : {Engine::immediate, Engine::on_disk}) {
    SCOPED_TRACE(freezer::engine_name(engine));
    MemoryStorage storage;
    FreezerOptions options = ended_options(engine);
    options.table.resize_frequency = 1;
    options.table.resize_chunk = 1;
    ASSERT_OK_INTO(Store freezer, Freezer::open(storage, options));
    uint64_t keys = 0;
    while (keys < kPutKeys && !freezer->statistics().resizing) {
      freezer::put_range(freezer, keys, keys + 1);
      ++keys;
      ASSERT_OK(freezer->sync());
    }
    ASSERT_TRUE(freezer->statistics().resizing);
    ASSERT_OK(freezer->close());
    freezer.reset();

    ASSERT_OK_INTO(freezer, Freezer::open(storage, options));

    EXPECT_FALSE(freezer->statistics().resizing);
    EXPECT_EQ(freezer->statistics().table_size, 2 * *options.table.initial_size);
    freezer::expect_range(freezer, 0, keys);
    EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  }
}

TEST_P(FreezerEnd, WhenAnyChangeOfDestroyFails_ThenWhatIsLeftCanBeDestroyed) {
  bool has_failed = true;
  for (uint64_t change = 0; has_failed; ++change) {
    SCOPED_TRACE(change);
    MemoryStorage memory;
    testkit::LoggedStorage storage(memory);
    ASSERT_OK_INTO(Store freezer, Freezer::open(storage, ended_options(GetParam())));
    freezer::put_range(freezer, 0, kPutKeys);
    ASSERT_OK(freezer->sync());

    storage.fail_change(change);
    has_failed = !freezer->destroy();
    freezer.reset();

    if (has_failed) {
      FreezerOptions by_manifest;
      by_manifest.access = FreezerAccess::rebuild;
      ASSERT_OK_INTO(freezer, Freezer::open(memory, by_manifest));
      ASSERT_OK(freezer->destroy());
    }
    EXPECT_TRUE(memory.partitions()->empty());
    ASSERT_LT(change, 100);
  }
}

}  // namespace
}  // namespace firn
