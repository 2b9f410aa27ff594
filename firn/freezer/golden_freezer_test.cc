// SPDX-License-Identifier: Apache-2.0
//
// The bytes of the freezer are those of the original: its published digests, in both of its
// framings, through the real class, and those of its codec. firn's own partitions do not count.
#include <array>
#include <functional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/freezer/freezer.h"
#include "firn/io/memory_storage.h"
#include "testkit/audit.h"
#include "testkit/golden.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::FieldSource;
using testkit::golden_digest;

constexpr std::array<std::string_view, 2> kUncountedPartitions = {kManifestPartition,
                                                                  kLostFoundPartition};

void run_workload(Storage& storage, uint64_t seed) {
  testkit::ChaChaRng rng(seed);
  FreezerOptions options;
  options.partitions.index = "freezer-key-conformance-" + std::to_string(seed);
  options.partitions.values = "freezer-value-conformance-" + std::to_string(seed);
  options.partitions.table = "freezer-table-conformance-" + std::to_string(seed);
  options.key_size_bytes = 64;
  options.page_size_bytes = 1024;
  options.write_buffer_bytes = 1024;
  options.section_target_bytes = 128;
  options.table = {.initial_size = 4,
                   .resize_frequency = 1,
                   .resize_chunk = 4,
                   .writing = TableWriting::immediate};
  ASSERT_OK_INTO(auto freezer, Freezer::open(storage, options));
  for (uint32_t i = 0; i < 64; ++i) {
    std::byte value[4];
    store_big_endian(value, i);
    ASSERT_OK(freezer->put(rng.bytes(64), value));
    if (i % 8 != 0) continue;
    ASSERT_OK(freezer->sync());
  }
  ASSERT_OK(freezer->close());
}

TEST(FreezerGolden, WhenWorkloadRuns_ThenDigestIsTheOriginals) {
  const auto& golden = golden_digest("storage", "Freezer");
  const auto& newer = golden_digest("storage_2026_7", "Freezer");
  testkit::CaseDigest digest;
  testkit::CaseDigest newer_digest;

  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    MemoryStorage storage;
    run_workload(storage, seed);
    digest.add(testkit::audit(storage, kUncountedPartitions));
    newer_digest.add(testkit::audit_2026_7(storage, kUncountedPartitions));
  }

  EXPECT_EQ(digest.hex(), golden.sha256);
  EXPECT_EQ(newer_digest.hex(), newer.sha256);
}

void expect_published(std::string_view name, const std::function<Bytes(FieldSource&)>& encode) {
  const auto& golden = golden_digest("codec", name);
  testkit::CaseDigest digest;

  for (uint64_t seed = 0; seed < golden.cases; ++seed) {
    FieldSource fields(seed);
    digest.add(encode(fields));
  }

  EXPECT_EQ(digest.hex(), golden.sha256) << name;
}

TEST(FreezerGolden, GivenPublishedCheckpoints_WhenEncoded_ThenDigestIsTheOriginals) {
  expect_published("FreezerCheckpoint", [](FieldSource& fields) {
    FreezerCheckpoint checkpoint;
    checkpoint.epoch = fields.next_u64();
    checkpoint.section = Section(fields.next_u64());
    checkpoint.index_size_bytes = fields.next_u64();
    checkpoint.table_size = fields.next_u32();
    const Bytes bytes = freezer::encode_checkpoint(checkpoint);
    EXPECT_EQ(*freezer::decode_checkpoint(bytes), checkpoint);
    return bytes;
  });
}

TEST(FreezerGolden, GivenPublishedCursors_WhenDecodedAndEncoded_ThenDigestIsTheOriginals) {
  expect_published("FreezerCursor", [](FieldSource& fields) {
    return freezer::encode_cursor(*freezer::decode_cursor(fields.next_bytes(20)));
  });
}

// The published entries have random checksums: everything but those goes through the encoder.
TEST(FreezerGolden, GivenPublishedSlots_WhenEncoded_ThenDigestIsTheOriginals) {
  expect_published("FreezerEntry", [](FieldSource& fields) {
    freezer::Slot slot;
    slot.epoch = fields.next_u64();
    slot.head.section = Section(fields.next_u64());
    slot.head.position = Position(fields.next_u64());
    slot.added = fields.next_u8();
    Bytes bytes(freezer::kSlotSizeBytes);
    freezer::encode_slot(bytes, slot);
    EXPECT_EQ(freezer::decode_slot(bytes).slot, slot);
    store_big_endian<uint32_t>(bytes.data() + 25, fields.next_u32());
    return bytes;
  });
}

TEST(FreezerGolden, GivenPublishedRecords_WhenEncoded_ThenDigestIsTheOriginals) {
  expect_published("FreezerRecordU64", [](FieldSource& fields) {
    const Bytes key = fields.next_bytes(8);
    freezer::RecordPlace next;
    next.section = Section(fields.next_u64());
    next.position = Position(fields.next_u64());
    Bytes record;
    freezer::encode_prefix(record, key, next);
    record.resize(freezer::record_size_bytes(8));
    store_big_endian<uint64_t>(record.data() + 24, fields.next_u64());
    store_big_endian<uint32_t>(record.data() + 32, fields.next_u32());
    EXPECT_EQ(freezer::next_of(record), next);
    return record;
  });
}

}  // namespace
}  // namespace firn
