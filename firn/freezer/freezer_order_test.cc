// SPDX-License-Identifier: Apache-2.0
//
// Freezer: whenever the table is written, by a put, a sync, a doubling, a close, a recovery or a
// store that leaves its memory, the manifest already says that it is no longer the table of its
// checkpoint.
#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "testkit/forwarding_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::put;
using freezer::Store;

// Looks into the manifest before each write to the table.
class TableGuard : public testkit::ForwardingStorage {
 public:
  explicit TableGuard(Storage& inner) : ForwardingStorage(inner), inner_(inner) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    TRY_INTO(auto blob, ForwardingStorage::open(partition, name, mode, versions));
    if (partition != "table") return blob;
    return std::make_unique<GuardedBlob>(std::move(blob), *this);
  }
  // Writes to the table, and those of them that came too early. To take back a doubling cuts off
  // what no checkpoint knows, and may come at any time.
  [[nodiscard]] uint64_t writes() const { return writes_; }
  [[nodiscard]] uint64_t early() const { return early_; }

 private:
  class GuardedBlob : public testkit::ForwardingBlob {
   public:
    GuardedBlob(std::unique_ptr<Blob> inner, TableGuard& guard)
        : ForwardingBlob(std::move(inner)), guard_(guard) {}
    Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      guard_.look();
      return ForwardingBlob::write_at(offset, buffers);
    }

   private:
    TableGuard& guard_;
  };

  void look() {
    ++writes_;
    RecoveryLog unused(inner_, true);
    ASSERT_OK_INTO(const auto manifest, Manifest::open(inner_, true, unused));
    const auto recorded = manifest->record(freezer::kTableRecord);
    if (!recorded) return;
    ASSERT_OK_INTO(const auto record, freezer::decode_table_record(*recorded));
    if (record.state == freezer::TableState::whole) ++early_;
  }

  Storage& inner_;
  uint64_t writes_ = 0;
  uint64_t early_ = 0;
};

class FreezerOrder : public freezer::EveryEngine {
 protected:
  void expect_in_order(uint64_t writes_at_least) {
    EXPECT_GE(guard_.writes(), writes_at_least);
    EXPECT_EQ(guard_.early(), 0u);
  }

  // Doublings that take many steps.
  static FreezerOptions options() {
    FreezerOptions options = short_section_options(GetParam());
    options.table.resize_frequency = 1;
    options.table.resize_chunk = 2;
    return options;
  }

  TableGuard guard_{storage_};
  const FreezerOptions options_ = options();
};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerOrder, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerOrder, WhenPutSyncedDoubledAndClosed_ThenTheTableIsNotCalledWhole) {
  uint64_t keys = 0;
  for (const uint64_t more : {40u, 1u, 70u, 0u, 200u}) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(guard_, options_));
    freezer::put_range(freezer, keys, keys + more / 2);
    ASSERT_OK(freezer->sync());
    freezer::put_range(freezer, keys + more / 2, keys + more);
    keys += more;
    ASSERT_OK(freezer->close());
  }
  expect_in_order(3);
}

TEST_P(FreezerOrder, WhenSyncedOrClosedWithoutAPut_ThenTheTableIsNotCalledWhole) {
  for (uint64_t round = 0; round < 12; ++round) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(guard_, options_));
    freezer::put_range(freezer, 17 * round, 17 * (round + 1));
    ASSERT_OK(freezer->close());
    for (const bool syncs : {true, false}) {
      ASSERT_OK_INTO(const Store again, Freezer::open(guard_, options_));
      if (syncs) {
        ASSERT_OK(again->sync());
      }
      ASSERT_OK(again->close());
    }
  }
  expect_in_order(3);
}

TEST_P(FreezerOrder, WhenRecovered_ThenTheTableIsNotCalledWhole) {
  for (uint64_t round = 0; round < 12; ++round) {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(guard_, options_));
    freezer::put_range(freezer, 17 * round, 17 * round + 9);
    ASSERT_OK(freezer->sync());
    freezer::put_range(freezer, 17 * round + 9, 17 * (round + 1));
    if (round % 3 == 0) {
      ASSERT_OK(freezer->close());
    }
  }
  expect_in_order(3);
}

TEST(FreezerOrderInMemory, WhenTheStoreLeavesIt_ThenTheTableIsNotCalledWhole) {
  MemoryStorage storage;
  TableGuard guard(storage);
  FreezerOptions options = short_section_options(Engine::resident);
  options.section_target_bytes = 1 << 20;
  {
    ASSERT_OK_INTO(const Store freezer, Freezer::open(guard, options));
    freezer::put_range(freezer, 0, 1'000);
    ASSERT_OK(freezer->close());
    options.memory_budget_bytes = freezer->statistics().memory_bytes + 2'000;
  }
  ASSERT_OK_INTO(const Store freezer, Freezer::open(guard, options));

  for (uint64_t i = 1'000; freezer->statistics().resident; ++i) {
    ASSERT_LT(i, 100'000u);
    freezer::put_range(freezer, i, i + 1);
  }
  ASSERT_OK(freezer->close());

  EXPECT_GE(guard.writes(), 3u);
  EXPECT_EQ(guard.early(), 0u);
}

}  // namespace
}  // namespace firn
