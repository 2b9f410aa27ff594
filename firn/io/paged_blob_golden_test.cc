// SPDX-License-Identifier: Apache-2.0
//
// The bytes of PagedBlob against a digest that the original project publishes: its segmented fixed
// journal is nothing but paged blobs, so its cases can be written without a journal.
#include <array>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/io/paged_blob.h"
#include "testkit/audit.h"
#include "testkit/golden.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

constexpr uint64_t kBlobCount = 3;

Result<std::unique_ptr<PagedBlob>> open_section(MemoryStorage& storage, PageCache& cache,
                                                const std::string& partition, uint64_t section,
                                                RecoveryLog& recovery) {
  std::array<std::byte, 8> name;
  store_big_endian<uint64_t>(name.data(), section);
  TRY_INTO(auto blob, storage.open(partition, name, OpenMode::create));
  PagedBlobOptions options;
  options.partition = partition;
  options.blob_name = to_hex(name);
  options.page_size = 1024;
  options.write_buffer_bytes = 1024;
  options.cache = &cache;
  options.cache_id = cache.new_blob_id();
  return PagedBlob::open(std::move(blob), options, recovery);
}

void write_case(uint64_t seed, MemoryStorage& storage) {
  PageCache cache(0);
  RecoveryLog recovery(storage, false);
  const std::string partition = concat("segmented-fixed-conformance-", seed);
  testkit::ChaChaRng random(seed);
  const uint64_t count = random.range_u64(0, 16384);
  const Bytes numbers = random.bytes(8 * count);
  std::array<std::unique_ptr<PagedBlob>, kBlobCount> sections;
  for (uint64_t i = 0; i < count; ++i) {
    std::unique_ptr<PagedBlob>& section = sections[i % kBlobCount];
    if (section == nullptr) {
      ASSERT_OK_INTO(section, open_section(storage, cache, partition, i, recovery));
    }
    std::array<std::byte, 8> item;
    store_big_endian(item.data(), load_little_endian<uint64_t>(&numbers[8 * i]));
    ASSERT_OK(section->append(item));
  }
  for (const auto& section : sections) {
    if (section != nullptr) {
      ASSERT_OK(section->sync());
    }
  }
}

TEST(PagedBlobGolden, GivenSegmentedFixedCases_WhenWritten_ThenTheDigestIsThePublishedOne) {
  const testkit::GoldenDigest& golden = testkit::golden_digest("storage", "SegmentedFixed");
  testkit::CaseDigest digest;
  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    MemoryStorage storage;
    write_case(seed, storage);
    digest.add(testkit::audit(storage));
  }

  EXPECT_EQ(digest.hex(), golden.sha256);
}

}  // namespace
}  // namespace firn
