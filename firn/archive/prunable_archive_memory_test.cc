// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: what an item costs in memory.
#include <array>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/io/memory_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

// The goal of at most 24 bytes an item, at a million; the benchmark shows ten million.
TEST(PrunableArchiveMemory, GivenAMillionItemsInOrder_WhenCounted_ThenEachTakesAtMost24Bytes) {
  constexpr uint64_t kItems = 1'000'000;
  MemoryStorage storage;
  PrunableArchiveOptions options;
  options.key_size_bytes = 8;
  options.translator = KeyTranslator::hashed(KeyTranslator::eight_cap(), 24);
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));
    for (uint64_t index = 0; index < kItems; ++index) {
      std::array<std::byte, 8> key;
      store_big_endian(key.data(), index);
      ASSERT_OK(archive->put(index, key, ByteSpan()));
    }
    EXPECT_LE(archive->statistics().memory_bytes, 24 * kItems);
    ASSERT_OK(archive->sync());
  }

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options));

  EXPECT_EQ(archive->statistics().records, kItems);
  EXPECT_LE(archive->statistics().memory_bytes, 24 * kItems);
  EXPECT_GE(archive->statistics().memory_bytes, 12 * kItems);  // the tokens are counted, too
}

}  // namespace
}  // namespace firn
