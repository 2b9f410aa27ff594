// SPDX-License-Identifier: Apache-2.0
//
// PageCache while threads read, insert and evict at the same time: a hit is the page that was asked
// for, whole, whatever happens to it meanwhile; and the bound is kept.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/base/read_section.h"
#include "firn/io/cached_reads.h"
#include "firn/io/page_cache.h"

namespace firn {
namespace {

constexpr uint64_t kBlobs = 3;
constexpr uint64_t kPages = 40;
constexpr uint32_t kPageSizeMax = 8192;

size_t size_of(uint64_t blob_id, uint64_t page) {
  return blob_id == 0 ? 4084 : 100 + 64 * page;
}

// Every word of a page says whose it is.
std::byte byte_of(uint64_t blob_id, uint64_t page) {
  return static_cast<std::byte>(blob_id * 64 + page);
}

Bytes page_of(uint64_t blob_id, uint64_t page) {
  return Bytes(size_of(blob_id, page), byte_of(blob_id, page));
}

class PageCacheThreads : public testing::Test {
 protected:
  void read_one(Random& random) {
    const uint64_t blob_id = random.below(kBlobs);
    const uint64_t page = random.below(kPages);
    Bytes out(random.between(1, 100));
    const size_t offset = random.below(size_of(blob_id, page) - out.size() + 1);
    cache_.fetch(blob_id, page, offset, out.size());
    check(cache_.read(blob_id, page, offset, out), blob_id, page, out);
  }

  void seek_many(Random& random) {
    const ReadSection reading;
    CachedReads<int> reads(cache_);
    const auto visit = [&](int, const PageCache::Wanted& wanted) {
      const ByteSpan found = cache_.find(wanted, {});
      check(!found.empty(), wanted.blob_id, wanted.page, found);
    };
    for (int i = 0; i < 50; ++i) {
      const uint64_t offset = random.below(kPages) * kPageSizeMax + random.below(60);
      reads.push({random.below(kBlobs), kPageSizeMax, offset, 32}, i, visit);
    }
    reads.finish(visit);
  }

  void insert_one(Random& random) {
    const uint64_t blob_id = random.below(kBlobs);
    const uint64_t page = random.below(kPages);
    cache_.insert(blob_id, page, page_of(blob_id, page));
    if (random.below(50) == 0) cache_.evict_from(random.below(kBlobs), random.below(kPages));
    EXPECT_LE(cache_.used_bytes(), cache_.capacity_bytes());
  }

  void check(bool is_hit, uint64_t blob_id, uint64_t page, ByteSpan bytes) {
    if (!is_hit) return;
    hits_.fetch_add(1, std::memory_order_relaxed);
    for (const std::byte byte : bytes)
      ASSERT_EQ(byte, byte_of(blob_id, page)) << blob_id << "/" << page;
  }

  PageCache cache_{96 << 10, 2};
  std::atomic<uint64_t> hits_ = 0;
};

TEST_F(PageCacheThreads, GivenReadersBesideEvictions_WhenTheyHit_ThenItIsThePageThatTheyAskedFor) {
  constexpr int kRounds = 3000;
  std::vector<std::thread> threads;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    threads.emplace_back([this, seed] {
      Random random(seed);
      for (int i = 0; i < kRounds && !HasFailure(); ++i) {
        // Now and then in a read section of its own, as a store's reads are.
        std::optional<ReadSection> reading;
        if (random.below(2) == 0) reading.emplace();
        read_one(random);
        if (i % 8 == 0) seek_many(random);
        if (i % 4 == 0) insert_one(random);
      }
    });
  }
  threads.emplace_back([this] {
    Random random(9);
    for (int i = 0; i < kRounds && !HasFailure(); ++i)
      insert_one(random);
  });
  for (std::thread& thread : threads)
    thread.join();

  EXPECT_GT(hits_, 0u);
  cache_.evict_from(0, 0);
  cache_.evict_from(1, 0);
  cache_.evict_from(2, 0);
  cache_.insert(0, 7, page_of(0, 7));
  Bytes out(4084);
  EXPECT_TRUE(cache_.read(0, 7, 0, out)) << "the memory of evicted pages is there again";
}

TEST_F(PageCacheThreads, GivenAReadSection_WhenAllIsEvicted_ThenItsMemoryWaitsWithinTheBound) {
  for (uint64_t page = 0; page < kPages; ++page)
    cache_.insert(0, page, page_of(0, page));
  const size_t full = cache_.used_bytes();
  {
    const ReadSection reading;
    cache_.evict_from(0, 0);
    EXPECT_EQ(cache_.used_bytes(), full);
    for (uint64_t page = 0; page < kPages; ++page)
      cache_.insert(1, page, page_of(1, page));
    EXPECT_LE(cache_.used_bytes(), cache_.capacity_bytes());
  }
  cache_.evict_from(1, 0);
  EXPECT_LT(cache_.used_bytes(), full);
}

}  // namespace
}  // namespace firn
