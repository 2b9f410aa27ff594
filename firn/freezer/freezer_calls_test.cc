// SPDX-License-Identifier: Apache-2.0
//
// Freezer: every call to the storage fails once, reads too. The failure is what is told, never
// damage, absence or a table made anew; and what was synced is there at the next open.
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "testkit/failing_calls.h"

namespace firn {
namespace {

using freezer::Engine;
using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;
using Handle = freezer::Store;

constexpr uint64_t kSyncedKeys = 5;

FreezerOptions small_store(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 64;
  options.write_buffer_bytes = 128;
  options.section_target_bytes = 12;
  options.page_cache_bytes = 0;
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 4;
  return freezer::with_engine(options, engine);
}

Status put_keys(const Handle& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    TRY(freezer::put(freezer, concat("key", i), concat(i)));
  return {};
}

Status read_everything(const Handle& freezer, Storage& storage, bool table_is_lost = false) {
  for (uint64_t i = 0; i < kSyncedKeys; ++i) {
    const Bytes key = freezer::test_key(concat("key", i), 8);
    TRY_INTO(const auto value, freezer->get(key));
    EXPECT_TRUE(value.has_value()) << i;
    TRY_INTO(const auto presence, freezer->contains(key));
    EXPECT_EQ(presence, Freezer::Presence::present) << i;
  }
  TRY(freezer->visit([](const FreezerItem&) { return true; }));
  RecoveryLog findings(storage, true);
  Status verified = freezer->verify(FreezerDepth::values, findings, [](uint64_t) {});
  EXPECT_TRUE(table_is_lost || findings.report().damage.empty());
  return verified;
}

struct CallsScript {
  std::string name;
  std::function<void(MemoryStorage&)> damage;  // after the store was filled
  std::function<Status(Storage&, const FreezerOptions&, const FreezerCheckpoint&)> run;
  bool table_is_lost = false;
  std::string tolerated = {};  // a call whose failure need not be told
};

std::vector<CallsScript> calls_scripts() {
  const auto nothing = [](MemoryStorage&) {};
  const auto with = [](const std::function<void(FreezerOptions&)>& change, bool lost = false) {
    return [=](Storage& storage, FreezerOptions options, const FreezerCheckpoint&) -> Status {
      change(options);
      TRY_INTO(const Handle freezer, Freezer::open(storage, options));
      return read_everything(freezer, storage, lost);
    };
  };
  return {
      {"opening", nothing, with([](FreezerOptions&) {})},
      {"opening strictly", nothing, with([](FreezerOptions& options) { options.strict = true; })},
      {"reading", nothing,
       with([](FreezerOptions& options) { options.access = FreezerAccess::read_only; })},
      {"rebuilding", nothing,
       with([](FreezerOptions& options) { options.access = FreezerAccess::rebuild; })},
      {"opening without a manifest",
       [](MemoryStorage& memory) { ASSERT_OK(memory.remove_partition("manifest")); },
       with([](FreezerOptions& options) { options.compression_level = kNoCompression; }), false,
       "read values"},  // another value confirms the geometry
      {"opening without a table",
       [](MemoryStorage& memory) { ASSERT_OK(memory.remove_partition("table")); },
       with([](FreezerOptions&) {}, true), true},
      {"opening with a damaged table",
       [](MemoryStorage& memory) {
         Bytes table = memory.raw("table", as_bytes("table")).value_or(Bytes(8));
         table[0] ^= std::byte{1};
         memory.set_raw("table", as_bytes("table"), table);
       },
       with([](FreezerOptions&) {}, true), true},
      {"going back", nothing,
       [](Storage& storage, FreezerOptions options, const FreezerCheckpoint& checkpoint) -> Status {
         options.checkpoint = checkpoint;
         TRY_INTO(const Handle freezer, Freezer::open(storage, options));
         return read_everything(freezer, storage);
       }},
      {"writing", nothing,
       [](Storage& storage, const FreezerOptions& options, const FreezerCheckpoint&) -> Status {
         TRY_INTO(const Handle freezer, Freezer::open(storage, options));
         TRY(put_keys(freezer, 10, 14));
         TRY(freezer->sync());
         TRY(put_keys(freezer, 14, 18));
         TRY(freezer->rebuild_table());
         TRY(freezer->close());
         return {};
       }},
      {"following", nothing,
       [](Storage& storage, FreezerOptions options, const FreezerCheckpoint&) -> Status {
         options.access = FreezerAccess::read_only;
         TRY_INTO(const Handle freezer, Freezer::open(storage, options));
         TRY(freezer->refresh());
         return read_everything(freezer, storage);
       }}};
}

FreezerCheckpoint fill_and_leave(MemoryStorage& memory, Engine engine, bool closed) {
  auto opened = Freezer::open(memory, small_store(engine));
  EXPECT_OK(opened);
  EXPECT_OK(put_keys(*opened, 0, kSyncedKeys));
  const auto checkpoint = (*opened)->sync();
  EXPECT_OK(checkpoint);
  EXPECT_OK(put_keys(*opened, kSyncedKeys, kSyncedKeys + 2));
  if (closed) {
    EXPECT_OK((*opened)->close());
  }
  return checkpoint.value_or(FreezerCheckpoint());
}

// The script, failing at each of its calls in turn.
void fail_each_call(const CallsScript& script, Engine before, Engine engine, bool closed) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    const FreezerCheckpoint checkpoint = fill_and_leave(memory, before, closed);
    script.damage(memory);
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call);
    const Status outcome = script.run(storage, small_store(engine), checkpoint);
    SCOPED_TRACE(concat(script.name, " after ", freezer::engine_name(before),
                        closed ? " closed" : " killed", ", ", freezer::engine_name(engine),
                        ", call ", call, ": ", calls.failed().value_or("-")));
    calls.stop();
    if (!calls.failed()) {
      EXPECT_OK(outcome);
      return;
    }
    const bool is_tolerated = outcome && calls.failed() == script.tolerated;
    if (!is_tolerated) {
      EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    }
    FreezerOptions options = small_store(engine);
    options.compression_level = kNoCompression;
    ASSERT_OK_INTO(const Handle freezer, Freezer::open(memory, options));
    EXPECT_OK(read_everything(freezer, memory, script.table_is_lost));
    if (testing::Test::HasFailure()) return;
  }
}

class FreezerCalls : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerCalls, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerCalls, WhenAnyCallFails_ThenThatIsToldAndNotDamage) {
  for (const CallsScript& script : calls_scripts()) {
    fail_each_call(script, GetParam(), GetParam(), true);
    fail_each_call(script, Engine::on_disk, GetParam(), false);
  }
}

// Reads of values fail, every one.
class UnreadableValues : public testkit::ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

 private:
  class UnreadableBlob : public testkit::ForwardingBlob {
   public:
    using ForwardingBlob::ForwardingBlob;
    Status read_at(uint64_t, MutableByteSpan) override { return fail(Errc::io, "a bad device"); }
  };
  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view partition,
                             ByteSpan) override {
    if (partition != "values") return blob;
    return std::make_unique<UnreadableBlob>(std::move(blob));
  }
};

TEST(FreezerWithoutManifest, GivenValuesThatCannotBeRead_WhenOpened_ThenThatIsToldNotAWrongSize) {
  MemoryStorage memory;
  fill_and_leave(memory, Engine::resident, true);
  ASSERT_OK(memory.remove_partition("manifest"));
  UnreadableValues storage(memory);
  FreezerOptions options = small_store(Engine::resident);
  options.compression_level = kNoCompression;

  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::io, "a bad device"));
}

}  // namespace
}  // namespace firn
