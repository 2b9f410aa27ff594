// SPDX-License-Identifier: Apache-2.0
#include "firn/archive/prunable_archive.h"

#include <gtest/gtest.h>

#include <string>

#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

Bytes key_of(std::string_view text) {
  Bytes key(64);
  copy_bytes(key, as_bytes(text));
  return key;
}

TEST(PrunableArchive, GivenSyncedItems_WhenReopenedWithoutClose_ThenAllAreFound) {
  MemoryStorage storage;
  PrunableArchiveOptions options;
  options.key_size_bytes = 64;
  {
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, options));
    for (uint64_t i = 1; i <= 3; ++i) {
      const std::string text = "key" + std::to_string(i);
      ASSERT_OK(archive->put(i, key_of(text), as_bytes("value" + std::to_string(i))));
    }
    ASSERT_OK(archive->sync());
  }

  storage.lose_unsynced();
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, PrunableArchiveOptions{}));

  for (uint64_t i = 1; i <= 3; ++i) {
    ASSERT_OK_INTO(const auto by_index, archive->get(i));
    ASSERT_OK_INTO(const auto by_key, archive->get(key_of("key" + std::to_string(i))));
    ASSERT_TRUE(by_index && by_key);
    EXPECT_EQ(as_text(by_index->bytes()), "value" + std::to_string(i));
    EXPECT_EQ(as_text(by_key->bytes()), "value" + std::to_string(i));
  }
  EXPECT_OK(archive->close());
}

}  // namespace
}  // namespace firn
