// SPDX-License-Identifier: Apache-2.0
//
// The published digest of metadata stores: firn writes the original's bytes.
#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/metadata/metadata_store.h"
#include "testkit/audit.h"
#include "testkit/golden.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::ChaChaRng;

Status put_random_value(MetadataStore& store, uint64_t number, ChaChaRng& rng) {
  Bytes key(8);
  store_big_endian<uint64_t>(key.data(), number);
  const uint32_t size = rng.range_u32_2026_7(0, 512);
  return store.put(key, rng.bytes(size));
}

// Values of random sizes, then new ones for every third key.
Status run_case(MemoryStorage& storage, uint64_t seed) {
  ChaChaRng rng(seed);
  MetadataStoreOptions options;
  options.partition = concat("metadata-conformance-", seed);
  RecoveryLog recovery(storage, false);
  TRY_INTO(const auto store, MetadataStore::open(storage, options, recovery));
  const uint64_t keys = rng.range_u64_2026_7(16, 64);
  for (uint64_t key = 0; key < keys; ++key)
    TRY(put_random_value(*store, key, rng));
  TRY(store->sync());
  for (uint64_t key = 0; key < keys; key += 3)
    TRY(put_random_value(*store, key, rng));
  return store->sync();
}

TEST(MetadataGolden, GivenPublishedWorkload_WhenRun_ThenDigestIsThePublishedOne) {
  const testkit::GoldenDigest& golden = testkit::golden_digest("storage_2026_7", "Metadata");
  testkit::CaseDigest digest;

  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    MemoryStorage storage;
    ASSERT_OK(run_case(storage, seed));
    digest.add(testkit::audit_2026_7(storage));
  }

  EXPECT_EQ(digest.hex(), golden.sha256);
}

}  // namespace
}  // namespace firn
