// SPDX-License-Identifier: Apache-2.0
//
// A page cache whose allocations fail. A program of its own, as it replaces the functions that
// allocate.
#include <array>
#include <new>

#include "firn/base/units.h"
#include "firn/io/page_cache.h"
#include "testkit/failing_allocations.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::allocations_left;

constexpr size_t kPageBytes = 4084;
constexpr size_t kCapacityBytes = 32 * kMiB;  // pages share chunks

void insert_pages(PageCache& cache, uint64_t blob, uint64_t count) {
  constexpr std::array<std::byte, kPageBytes> kPage{};
  for (uint64_t number = 0; number < count; ++number) {
    try {
      cache.insert(blob, number, kPage);
    } catch (const std::bad_alloc&) {
    }
  }
}

uint64_t count_pages(PageCache& cache, uint64_t blob, uint64_t count) {
  Bytes page(kPageBytes);
  uint64_t found = 0;
  for (uint64_t number = 0; number < count; ++number)
    if (cache.read(blob, number, 0, page)) ++found;
  return found;
}

// What a refused allocation left in the account would be missing for ever.
TEST(PageCacheAllocation, GivenAllocationsThatFail_WhenThereIsMemoryAgain_ThenAllOfTheBoundIsUsed) {
  constexpr uint64_t kPages = 2 * kCapacityBytes / kPageBytes;
  PageCache untroubled(kCapacityBytes);
  const uint64_t blob = untroubled.new_blob_id();
  insert_pages(untroubled, blob, kPages);
  const uint64_t fitting = count_pages(untroubled, blob, kPages);
  untroubled.evict_from(blob, 0);  // what is left is kept for ever: chunks and tables

  for (int64_t succeed = 0; succeed < 12; ++succeed) {
    SCOPED_TRACE(succeed);
    PageCache cache(kCapacityBytes);
    ASSERT_EQ(cache.new_blob_id(), blob);
    testkit::allocations_fail_for_ever = true;
    allocations_left = succeed;
    insert_pages(cache, blob, kPages);
    allocations_left = -1;
    EXPECT_GT(testkit::allocations_failed, 0);

    insert_pages(cache, blob, kPages);

    EXPECT_EQ(count_pages(cache, blob, kPages), fitting);
    cache.evict_from(blob, 0);
    EXPECT_EQ(cache.used_bytes(), untroubled.used_bytes());
  }
}

TEST(PageCacheAllocation, GivenNoMemory_WhenACacheIsMade_ThenItThrows) {
  constexpr int64_t kAllocations = 3;  // what was missed, the memory, the shards
  testkit::allocations_fail_for_ever = false;
  for (int64_t succeed = 0; succeed < kAllocations; ++succeed) {
    allocations_left = succeed;
    EXPECT_THROW(PageCache cache(kCapacityBytes), std::bad_alloc) << succeed;
  }
  allocations_left = kAllocations;
  EXPECT_NO_THROW(PageCache cache(kCapacityBytes));
  allocations_left = -1;
}

}  // namespace
}  // namespace firn
