// SPDX-License-Identifier: Apache-2.0
//
// PageCache (replacement, bound, eviction) and the page record it rests on.
#include "firn/io/page_cache.h"

#include <fstream>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "firn/io/page_record.h"

namespace firn {
namespace {

constexpr size_t kPageSize = 1024;

Bytes page_of(uint64_t blob_id, uint64_t page, size_t size = kPageSize) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(blob_id * 31 + page * 7 + i);
  return bytes;
}

// Room for exactly `pages` pages in one shard with a table for up to 12 pages, and for two misses.
size_t capacity_for(size_t pages) {
  return pages * PageCache::cost_bytes(kPageSize) + size_t{16} * 16 + size_t{2} * 4;
}

bool is_cached(PageCache& cache, uint64_t blob_id, uint64_t page, size_t size = kPageSize) {
  Bytes out(size);
  if (!cache.read(blob_id, page, 0, out)) return false;
  EXPECT_EQ(out, page_of(blob_id, page, size));
  return true;
}

TEST(PageRecord, GivenBytes_WhenDecoded_ThenBigEndianAndSlot1WinsTies) {
  const Bytes bytes = *from_hex("0102030405060708090a0b0c");

  PageRecord record = decode_page_record(bytes.data());

  EXPECT_EQ(record.slots[0], (PageSlot{0x0102, 0x03040506}));
  EXPECT_EQ(record.slots[1], (PageSlot{0x0708, 0x090a0b0c}));
  EXPECT_EQ(record.authoritative(), 1u);
  record.slots[1].size_bytes = 0x0102;
  EXPECT_EQ(record.authoritative(), 0u);
  Bytes encoded(kPageRecordSize);
  encode_page_record(encoded.data(), decode_page_record(bytes.data()));
  EXPECT_EQ(encoded, bytes);
}

TEST(PageRecord, GivenBadPrimary_WhenValidated_ThenTheOtherSlotCountsAndTheBadOneIsZero) {
  Bytes page = page_of(1, 1, 16 + kPageRecordSize);
  const ByteSpan payload = ByteSpan(page).first(16);
  PageRecord record;
  record.slots = {PageSlot{9, crc32c(payload.first(9)) ^ 1}, PageSlot{4, crc32c(payload.first(4))}};
  encode_page_record(&page[16], record);

  const auto valid = validate_page(page);

  ASSERT_TRUE(valid.has_value());
  EXPECT_TRUE(valid->fell_back);
  EXPECT_EQ(valid->size_bytes(), 4u);
  EXPECT_EQ(valid->slot, 1u);
  EXPECT_EQ(valid->record.slots[0], PageSlot{});
  EXPECT_FALSE(validate_page(Bytes(28)).has_value());
  EXPECT_FALSE(validate_page(Bytes(5)).has_value());
}

TEST(PageCache, GivenPages0To10_WhenInsertedIntoTenPlaces_ThenPage0IsEvicted) {
  PageCache cache(capacity_for(10), 1);

  for (uint64_t page = 0; page <= 10; ++page)
    cache.insert(7, page, page_of(7, page));

  EXPECT_FALSE(is_cached(cache, 7, 0));
  for (uint64_t page = 1; page <= 10; ++page)
    EXPECT_TRUE(is_cached(cache, 7, page)) << page;
}

TEST(PageCache, GivenHitPage_WhenClockAdvances_ThenItGetsASecondChance) {
  PageCache cache(capacity_for(3), 1);
  for (uint64_t page = 0; page < 4; ++page)
    cache.insert(0, page, page_of(0, page));
  EXPECT_TRUE(is_cached(cache, 0, 1));  // the bits of 1 and 2 were cleared, 0 was replaced by 3

  cache.insert(0, 4, page_of(0, 4));

  EXPECT_TRUE(is_cached(cache, 0, 1));
  EXPECT_FALSE(is_cached(cache, 0, 2));
}

TEST(PageCache, GivenKeyInsertedTwice_WhenRead_ThenTheNewContentIsThere) {
  PageCache cache(capacity_for(3), 1);
  cache.insert(1, 5, page_of(9, 9));
  cache.insert(1, 5, page_of(9, 9, 100));
  const size_t used = cache.used_bytes();

  cache.insert(1, 5, page_of(1, 5));

  EXPECT_TRUE(is_cached(cache, 1, 5));
  EXPECT_EQ(cache.used_bytes(), used + kPageSize - 100);
}

TEST(PageCache, GivenLargestPageNumbers_WhenCached_ThenPartsAreRead) {
  PageCache cache(kPageSize * 8);
  cache.insert(UINT32_MAX, UINT32_MAX, page_of(3, 3));

  Bytes out(10);
  EXPECT_TRUE(cache.read(UINT32_MAX, UINT32_MAX, 1014, out));
  EXPECT_TRUE(equal_bytes(out, ByteSpan(page_of(3, 3)).subspan(1014)));
  EXPECT_FALSE(cache.read(UINT32_MAX, UINT32_MAX - 1, 0, out));
}

TEST(PageCache, GivenNumbersOrPagesTooLargeForAnEntry_WhenInserted_ThenTheyAreNotCached) {
  PageCache cache(1 << 20, 1);
  constexpr uint64_t kWrap = uint64_t{1} << 32;
  cache.insert(1, 2, page_of(1, 2));
  cache.insert(1 + kWrap, 2, page_of(3, 3));
  cache.insert(1, 2 + kWrap, page_of(4, 4));
  cache.insert(1, 3, page_of(1, 3, 65536));
  cache.insert(1, 4, page_of(1, 4, 65535));

  EXPECT_TRUE(is_cached(cache, 1, 2));
  EXPECT_FALSE(is_cached(cache, 1 + kWrap, 2));
  EXPECT_FALSE(is_cached(cache, 1, 2 + kWrap));
  EXPECT_FALSE(is_cached(cache, 1, 3, 65536));
  EXPECT_TRUE(is_cached(cache, 1, 4, 65535));
  cache.evict_from(1 + kWrap, 0);
  EXPECT_TRUE(is_cached(cache, 1, 2));
}

TEST(PageCache, WhenBytesAreFetched_ThenNothingChangesWhateverIsThere) {
  PageCache cache(capacity_for(3), 1);
  cache.fetch(0, 0, 0, 256);
  for (uint64_t page = 0; page < 4; ++page)
    cache.insert(0, page, page_of(0, page));
  const size_t used = cache.used_bytes();

  cache.fetch(0, 1, kPageSize - 1, 256);
  cache.fetch(0, 9, 0, 256);
  cache.fetch(uint64_t{1} << 32, uint64_t{1} << 32, 0, 256);
  cache.insert(0, 4, page_of(0, 4));

  EXPECT_FALSE(is_cached(cache, 0, 1)) << "it was not used";
  EXPECT_EQ(cache.used_bytes(), used);
}

TEST(PageCache, GivenBlobIds_WhenTaken_ThenEachIsNew) {
  PageCache cache(0);

  EXPECT_NE(cache.new_blob_id(), cache.new_blob_id());
  cache.insert(0, 0, page_of(0, 0));
  EXPECT_FALSE(is_cached(cache, 0, 0));
  EXPECT_EQ(cache.used_bytes(), 0u);
}

TEST(PageCache, WhenAPageIsMissedAgain_ThenItIsWantedUnlessManyOthersWereMissedMeanwhile) {
  PageCache cache(kPageSize * 64, 1);

  EXPECT_FALSE(cache.is_wanted(1, 5));
  EXPECT_FALSE(cache.is_wanted(2, 5));
  EXPECT_TRUE(cache.is_wanted(1, 5));
  for (uint64_t page = 0; page < 1000; ++page)
    EXPECT_FALSE(cache.is_wanted(3, page));
  EXPECT_FALSE(cache.is_wanted(1, 5));
}

TEST(PageCache, GivenNoCapacity_WhenAPageIsMissedOften_ThenItIsNeverWanted) {
  PageCache cache(0);

  EXPECT_FALSE(cache.is_wanted(1, 5));
  EXPECT_FALSE(cache.is_wanted(1, 5));
}

uint64_t resident_pages() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident;
}

TEST(PageCache, GivenTheLargestBound_WhenNothingIsCached_ThenItCostsNextToNothing) {
  const uint64_t before = resident_pages();
  PageCache cache(kPageCacheBytesMax);
  EXPECT_FALSE(cache.is_wanted(1, 2));
  EXPECT_TRUE(cache.is_wanted(1, 2));
  EXPECT_LT(resident_pages(), before + 4096);
}

TEST(PageCache, GivenManyBlobs_WhenOneIsEvictedFromAPage_ThenOnlyThosePagesGo) {
  PageCache cache(4 << 20, 4);
  for (uint64_t blob = 0; blob < 5; ++blob)
    for (uint64_t page = 0; page < 100; ++page)
      cache.insert(blob, page, page_of(blob, page, 64));

  cache.evict_from(3, 40);

  for (uint64_t blob = 0; blob < 5; ++blob)
    for (uint64_t page = 0; page < 100; ++page)
      EXPECT_EQ(is_cached(cache, blob, page, 64), blob != 3 || page < 40) << blob << " " << page;
  for (uint64_t blob = 0; blob < 5; ++blob)
    cache.evict_from(blob, 0);
  for (uint64_t page = 0; page < 100; ++page)
    EXPECT_FALSE(is_cached(cache, 0, page, 64));
}

TEST(PageCache, GivenOddPageSizesAndRandomUse_WhenFull_ThenTheBoundIsKeptAndContentIsRight) {
  for (const size_t capacity : {700u, 5'000u, 77'777u, 300'000u}) {
    PageCache cache(capacity, capacity > 100'000 ? 4 : 1);
    std::mt19937_64 random(capacity);
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t blob = random() % 3;
      const uint64_t page = random() % 300;
      const size_t size = std::vector<size_t>{1, 13, 103, 1021, 4084}[(blob + page) % 5];
      if (random() % 200 == 0) cache.evict_from(blob, page);
      if (!is_cached(cache, blob, page, size)) cache.insert(blob, page, page_of(blob, page, size));
      ASSERT_LE(cache.used_bytes(), capacity);
    }
    EXPECT_GT(cache.used_bytes(), capacity / 5);
  }
}

TEST(PageCache, GivenPagesOfTheUsualSizeAndOthers_WhenALargeCacheIsFull_ThenContentIsRight) {
  PageCache cache(8 << 20, 4);
  std::mt19937_64 random(1);
  for (int i = 0; i < 30'000; ++i) {
    const uint64_t page = random() % 4000;
    const size_t size = page % 5 == 0 ? 5000 : 4084;
    if (random() % 5000 == 0) cache.evict_from(1, page);
    if (!is_cached(cache, 1, page, size)) cache.insert(1, page, page_of(1, page, size));
    ASSERT_LE(cache.used_bytes(), cache.capacity_bytes());
  }
  EXPECT_GT(cache.used_bytes(), cache.capacity_bytes() / 2);
}

// The memory of pages of the usual size is kept: it must not come on top of that of others.
TEST(PageCache, GivenACacheFullOfUsualPages_WhenOthersCome_ThenTheyFindRoomWithinTheBound) {
  constexpr size_t kCapacity = 16 << 20;
  constexpr size_t kOtherSize = 512;
  constexpr uint64_t kOthers = kCapacity / 8 / kOtherSize;
  PageCache cache(kCapacity, 4);
  for (uint64_t page = 0; page < 5000; ++page)
    cache.insert(1, page, page_of(1, page, 4084));
  EXPECT_GT(cache.used_bytes(), kCapacity * 9 / 10);

  for (uint64_t page = 0; page < kOthers; ++page)
    cache.insert(2, page, page_of(2, page, kOtherSize));

  EXPECT_LE(cache.used_bytes(), kCapacity);
  uint64_t cached = 0;
  for (uint64_t page = 0; page < kOthers; ++page)
    if (is_cached(cache, 2, page, kOtherSize)) ++cached;
  EXPECT_GT(cached, kOthers * 9 / 10);
}

}  // namespace
}  // namespace firn
