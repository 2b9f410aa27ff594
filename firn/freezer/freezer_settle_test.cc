// SPDX-License-Identifier: Apache-2.0
//
// Freezer: what becomes of the long chains of a table that has doubled on disk.
#include <string>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::Store;

FreezerOptions settling_options(Engine engine = Engine::on_disk) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.section_target_bytes = 1000;
  options.write_buffer_bytes = 512;
  options.table.initial_size = 8;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 8;
  return freezer::with_engine(options, engine);
}

void put_synced(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i) {
    freezer::put_range(freezer, i, i + 1);
    ASSERT_OK(freezer->sync());
  }
}

std::string notes_of(const Store& freezer) {
  std::string text;
  for (const std::string& note : freezer->recovery().notes)
    text += concat(note, "\n");
  return text;
}

// A store whose table has doubled as the original's does, some positions in the sync of their put:
// their other slot has another head. Returns how many keys it has.
uint64_t make_unsettled(MemoryStorage& storage) {
  const auto freezer = Freezer::open(storage, settling_options(Engine::immediate));
  EXPECT_OK(freezer);
  uint64_t keys = 0;
  while ((*freezer)->statistics().resizes < 4) {
    freezer::put_range(*freezer, keys, keys + 12);
    keys += 12;
    EXPECT_OK((*freezer)->sync());
  }
  EXPECT_OK((*freezer)->close());
  return keys;
}

// Memory writes the positions that changed; the others keep the chains that they have on disk.
TEST(FreezerSettling, GivenAnUnsettledTable_WhenMemoryWritesAPartOfIt_ThenTheRestIsTakenOver) {
  MemoryStorage storage;
  uint64_t keys = make_unsettled(storage);
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options(Engine::resident)));
    put_synced(freezer, keys, keys + 1);
    ++keys;
    ASSERT_OK(freezer->close());
  }

  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage, settling_options()));
  EXPECT_EQ(notes_of(freezer), "");
  freezer::expect_range(freezer, 0, keys);
}

}  // namespace
}  // namespace firn
