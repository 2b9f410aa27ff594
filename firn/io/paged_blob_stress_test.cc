// SPDX-License-Identifier: Apache-2.0
//
// PagedBlob and PageCache, used by several threads.
#include "firn/io/paged_blob.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "firn/io/page_cache.h"
#include "testkit/paged_blob_fixture.h"

namespace firn {
namespace {

constexpr size_t kPageSize = 1024;

Bytes page_of(uint64_t page) {
  Bytes bytes(kPageSize);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(page * 7 + i);
  return bytes;
}

TEST(PageCacheStress, GivenThreads_WhenUsedTogether_ThenReadsAreWholePages) {
  PageCache cache(64 * kPageSize, 4);
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&cache, thread] {
      std::mt19937_64 random(thread);
      for (int i = 0; i < 3000; ++i) {
        const uint64_t page = random() % 100;
        Bytes bytes(kPageSize);
        if (cache.read(1, page, 0, bytes))
          EXPECT_EQ(bytes, page_of(page));
        else
          cache.insert(1, page, page_of(page));
        if (i % 500 == 0) cache.evict_from(1, 50);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();

  EXPECT_LE(cache.used_bytes(), cache.capacity_bytes());
}

class PagedBlobStress : public testkit::PagedBlobTest {};

TEST_F(PagedBlobStress, GivenReadersAndAWriter_WhenConcurrent_ThenReadsSeeWholeAppendedPrefixes) {
  // Byte i of the stream is i % 251, so that a read can be checked without knowing the writer.
  ASSERT_OK_INTO(const auto paged, open({.page_size = 61, .write_buffer_bytes = 300}));
  std::atomic<bool> is_done = false;
  std::atomic<size_t> wrong = 0;
  std::vector<std::thread> readers;
  for (uint64_t thread = 0; thread < 3; ++thread) {
    readers.emplace_back([&, thread] {
      std::mt19937_64 random(thread);
      Bytes bytes(200);
      while (!is_done) {
        const uint64_t size = paged->size();
        if (size == 0) continue;
        const uint64_t offset = random() % size;
        const MutableByteSpan out =
            MutableByteSpan(bytes).first(std::min<uint64_t>(bytes.size(), size - offset));
        const Status read =
            thread == 2 ? paged->read_sequential(offset, out) : paged->read_at(offset, out);
        if (!read && read.error().code == Errc::out_of_range) continue;  // truncated meanwhile
        bool is_right = read.has_value();
        for (size_t i = 0; i < out.size(); ++i)
          is_right = is_right && out[i] == static_cast<std::byte>((offset + i) % 251);
        if (!is_right) ++wrong;
      }
    });
  }
  std::mt19937_64 random(99);
  for (int i = 0; i < 3000; ++i) {
    Bytes bytes(random() % 200);
    for (size_t at = 0; at < bytes.size(); ++at)
      bytes[at] = static_cast<std::byte>((paged->size() + at) % 251);
    EXPECT_OK(paged->append(bytes));
    if (i % 7 == 0) {
      EXPECT_OK(paged->sync());
    }
    if (i % 50 == 49) {
      EXPECT_OK(paged->truncate(paged->size() - random() % 700));
    }
  }
  is_done = true;
  for (std::thread& reader : readers)
    reader.join();

  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace firn
