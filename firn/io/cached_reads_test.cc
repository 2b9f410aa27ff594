// SPDX-License-Identifier: Apache-2.0
#include "firn/io/cached_reads.h"

#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/bytes.h"
#include "firn/base/read_section.h"

namespace firn {
namespace {

constexpr uint32_t kBytesAPage = 1024;

std::byte byte_at(uint64_t blob_id, uint64_t offset) {
  return static_cast<std::byte>(blob_id * 31 + offset * 7 + offset / kBytesAPage);
}

Bytes bytes_at(uint64_t blob_id, uint64_t offset, size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = byte_at(blob_id, offset + i);
  return bytes;
}

PageCache::Wanted range_of(uint64_t blob_id, uint64_t offset, uint32_t size) {
  return {blob_id, kBytesAPage, offset, size};
}

class CachedReadsTest : public testing::Test {
 protected:
  void insert(uint64_t blob_id, uint64_t page) {
    cache_.insert(blob_id, page, bytes_at(blob_id, page * kBytesAPage, kBytesAPage));
  }

  // What is found of it; empty if it is not cached.
  Bytes find(uint64_t blob_id, uint64_t offset, uint32_t size) const {
    Bytes memory(size);
    Bytes found;
    const ReadSection reading;
    CachedReads<int> reads(cache_);
    const auto visit = [&](int, const PageCache::Wanted& wanted) {
      found = to_bytes(cache_.find(wanted, memory));
    };
    reads.push(range_of(blob_id, offset, size), 0, visit);
    reads.finish(visit);
    return found;
  }

  PageCache cache_{1 << 20, 4};
};

TEST_F(CachedReadsTest, GivenAnyNumber_WhenPushedAndFinished_ThenEachIsVisitedOnceInOrder) {
  for (uint64_t page = 0; page < 60; page += 2)
    insert(page % 3, page);
  for (size_t count = 0; count <= 60; ++count) {
    SCOPED_TRACE(count);
    const ReadSection reading;
    CachedReads<size_t> reads(cache_);
    size_t visited = 0;
    const auto visit = [&](size_t number, const PageCache::Wanted& wanted) {
      EXPECT_EQ(number, visited++);
      const ByteSpan found = cache_.find(wanted, {});
      EXPECT_EQ(to_bytes(found),
                number % 2 == 0 ? bytes_at(number % 3, number * kBytesAPage + 7, 100) : Bytes());
    };
    for (size_t i = 0; i < count; ++i) {
      reads.push(range_of(i % 3, i * kBytesAPage + 7, 100), i, visit);
      size_t left = 0;
      reads.for_each_left(
          [&](const PageCache::Wanted& wanted) { EXPECT_EQ(wanted.page, visited + left++); });
      EXPECT_EQ(visited + left, i + 1);
    }
    reads.finish(visit);
    EXPECT_EQ(visited, count);
  }
}

TEST_F(CachedReadsTest, GivenARangeInOnePage_WhenFound_ThenItIsNotCopied) {
  insert(0, 0);
  Bytes memory(kBytesAPage);
  const ReadSection reading;
  PageCache::Wanted wanted = range_of(0, 0, kBytesAPage);
  cache_.fetch_entry(wanted);
  cache_.fetch(wanted);

  const ByteSpan found = cache_.find(wanted, memory);

  EXPECT_EQ(to_bytes(found), bytes_at(0, 0, kBytesAPage));
  EXPECT_NE(found.data(), memory.data());
}

TEST_F(CachedReadsTest, GivenARangeInSeveralPages_WhenAllOfThemAreCached_ThenItIsJoined) {
  for (uint64_t page = 0; page < 3; ++page)
    insert(0, page);

  EXPECT_EQ(find(0, kBytesAPage - 1, 1), bytes_at(0, kBytesAPage - 1, 1)) << "up to a page's end";
  EXPECT_EQ(find(0, kBytesAPage - 1, 2), bytes_at(0, kBytesAPage - 1, 2));
  EXPECT_EQ(find(0, kBytesAPage - 1, kBytesAPage + 2),
            bytes_at(0, kBytesAPage - 1, kBytesAPage + 2))
      << "three pages";
  EXPECT_EQ(find(0, 3 * kBytesAPage - 1, 2), Bytes()) << "the second one is not cached";
  EXPECT_EQ(find(0, 4 * kBytesAPage - 1, 2), Bytes()) << "neither is";
  EXPECT_EQ(find(uint64_t{1} << 32, 0, 2), Bytes()) << "such a blob is never cached";
}

// As when memory for pages runs out, or many are inserted: what was found stays all the same.
TEST_F(CachedReadsTest, GivenARangeThatWasFound_WhenItsPageIsEvicted_ThenItStaysWhileItIsRead) {
  insert(0, 0);
  const ReadSection reading;
  PageCache::Wanted wanted = range_of(0, 5, 100);
  cache_.fetch_entry(wanted);
  cache_.fetch(wanted);

  cache_.evict_from(0, 0);
  for (uint64_t page = 0; page < 2000; ++page)
    insert(1, page);

  EXPECT_EQ(to_bytes(cache_.find(wanted, {})), bytes_at(0, 5, 100));
  EXPECT_EQ(find(0, 5, 100), Bytes());
}

}  // namespace
}  // namespace firn
