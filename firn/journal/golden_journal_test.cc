// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the journals are those of the original: its published digests, through the real
// classes.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/codec/writer.h"
#include "firn/io/memory_storage.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/value_log.h"
#include "testkit/audit.h"
#include "testkit/golden.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::ChaChaRng;
using testkit::golden_digest;

constexpr uint64_t kItemsEnd = 16384;
constexpr uint64_t kSectionCount = 3;
constexpr uint32_t kPageSizeBytes = 1024;
constexpr size_t kBufferBytes = 1024;

FixedJournalOptions fixed_options(std::string partition, uint32_t record_size, PageCache& cache) {
  FixedJournalOptions options;
  options.partition = std::move(partition);
  options.record_size_bytes = record_size;
  options.page_size_bytes = kPageSizeBytes;
  options.write_buffer_bytes = kBufferBytes;
  options.cache = &cache;
  return options;
}

ValueLogOptions value_options(std::string partition) {
  ValueLogOptions options;
  options.partition = std::move(partition);
  options.write_buffer_bytes = kBufferBytes;
  return options;
}

// One item of the workload: up to 255 random bytes, encoded as a byte vector.
Bytes next_vector(ChaChaRng& rng) {
  const Bytes content = rng.bytes(rng.range_u64(0, 256));
  Bytes encoded;
  ByteWriter(encoded).write_sized_bytes(content);
  return encoded;
}

template <class RunCase>
std::string digest_of_cases(uint64_t cases, RunCase&& run_case) {
  testkit::CaseDigest digest;
  for (uint64_t seed = 0; seed < cases; ++seed) {
    MemoryStorage storage;
    run_case(storage, seed);
    digest.add(testkit::audit(storage));
  }
  return digest.hex();
}

TEST(FixedJournalGolden, WhenWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage", "SegmentedFixed");

  const std::string digest = digest_of_cases(golden.cases, [](Storage& storage, uint64_t seed) {
    PageCache cache(1 << 20);
    RecoveryLog recovery(storage, false);
    ChaChaRng rng(seed);
    ASSERT_OK_INTO(
        auto journal,
        FixedJournal::open(
            storage, fixed_options("segmented-fixed-conformance-" + std::to_string(seed), 8, cache),
            recovery));
    const uint64_t count = rng.range_u64(0, kItemsEnd);
    const Bytes items = rng.bytes(count * 8);
    for (uint64_t i = 0; i < count; ++i) {
      std::byte record[8];
      store_big_endian(record, load_little_endian<uint64_t>(items.data() + i * 8));
      ASSERT_OK(journal->append(Section(i % kSectionCount), record));
    }
    for (uint64_t s = 0; s < kSectionCount; ++s)
      ASSERT_OK(journal->sync(Section(s)));
  });

  EXPECT_EQ(digest, golden.sha256);
}

TEST(ValueLogGolden, WhenWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage", "SegmentedGlob");

  const std::string digest = digest_of_cases(golden.cases, [](Storage& storage, uint64_t seed) {
    RecoveryLog recovery(storage, false);
    ChaChaRng rng(seed);
    ASSERT_OK_INTO(
        auto log,
        ValueLog::open(storage, value_options("segmented-glob-conformance-" + std::to_string(seed)),
                       recovery));
    const uint64_t count = rng.range_u64(0, kItemsEnd);
    for (uint64_t i = 0; i < count; ++i)
      ASSERT_OK(log->append(Section(i % kSectionCount), next_vector(rng)));
    for (uint64_t s = 0; s < kSectionCount; ++s)
      ASSERT_OK(log->sync(Section(s)));
  });

  EXPECT_EQ(digest, golden.sha256);
}

TEST(IndexedValueLogGolden, WhenWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage", "SegmentedOversized");

  const std::string digest = digest_of_cases(golden.cases, [](Storage& storage, uint64_t seed) {
    PageCache cache(1 << 20);
    RecoveryLog recovery(storage, false);
    ChaChaRng rng(seed);
    const std::string name = std::to_string(seed);
    IndexedValueLogOptions options;
    options.index = fixed_options("segmented-oversized-index-conformance-" + name, 20, cache);
    options.values = value_options("segmented-oversized-value-conformance-" + name);
    ASSERT_OK_INTO(auto log, IndexedValueLog::open(storage, options, recovery));
    const uint64_t count = rng.range_u64(0, kItemsEnd);
    for (uint64_t i = 0; i < count; ++i) {
      std::byte id[8];
      store_big_endian(id, i);
      ASSERT_OK(log->append(Section(i % kSectionCount), id, next_vector(rng)));
    }
    for (uint64_t s = 0; s < kSectionCount; ++s)
      ASSERT_OK(log->sync(Section(s)));
  });

  EXPECT_EQ(digest, golden.sha256);
}

}  // namespace
}  // namespace firn
