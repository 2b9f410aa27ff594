// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the prunable archive are those of the original: its published digests, in both of
// its framings, through the real class. firn's own partitions do not count.
#include <array>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/io/memory_storage.h"
#include "testkit/audit.h"
#include "testkit/golden.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::golden_digest;

constexpr std::array<std::string_view, 2> kOwnPartitions = {kManifestPartition,
                                                            kLostFoundPartition};

// The newer release draws the number of items in another way; everything else is the same.
enum class Release { of_2026_4, of_2026_7 };

void run_workload(Storage& storage, uint64_t seed, Release release) {
  testkit::ChaChaRng rng(seed);
  PrunableArchiveOptions options;
  options.index_partition = "archive-prunable-key-" + std::to_string(seed);
  options.values_partition = "archive-prunable-value-" + std::to_string(seed);
  options.key_size_bytes = 64;
  options.items_per_section = 1024;
  options.page_size_bytes = 1024;
  options.write_buffer_bytes = 1024;
  options.translator = KeyTranslator::two_cap();
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, options));
  const uint32_t count =
      release == Release::of_2026_4 ? rng.range_u32(100, 500) : rng.range_u32_2026_7(100, 500);
  for (uint64_t index = 0; index < count; ++index) {
    const Bytes key = rng.bytes(64);
    std::byte value[4];
    store_big_endian(value, rng.next_u32());
    ASSERT_OK(archive->put(index, key, value));
  }
  ASSERT_OK(archive->sync());
}

TEST(PrunableArchiveGolden, WhenWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage", "ArchivePrunable");
  testkit::CaseDigest digest;

  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    MemoryStorage storage;
    run_workload(storage, seed, Release::of_2026_4);
    digest.add(testkit::audit(storage, kOwnPartitions));
  }

  EXPECT_EQ(digest.hex(), golden.sha256);
}

TEST(PrunableArchiveGolden, WhenNewerWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage_2026_7", "ArchivePrunable");
  testkit::CaseDigest digest;

  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    MemoryStorage storage;
    run_workload(storage, seed, Release::of_2026_7);
    digest.add(testkit::audit_2026_7(storage, kOwnPartitions));
  }

  EXPECT_EQ(digest.hex(), golden.sha256);
}

}  // namespace
}  // namespace firn
