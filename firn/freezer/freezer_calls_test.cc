// SPDX-License-Identifier: Apache-2.0
//
// Freezer: every call to the storage fails once, reads too. The failure is what is told, never
// damage, absence or a table made anew; and what was synced is there at the next open.
#include <algorithm>
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
  options.open_sections_max = 1;  // nearly every use of a section opens it
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 4;
  return freezer::with_engine(options, engine);
}

FreezerOptions slowly_doubling(FreezerOptions options) {
  options.table.resize_chunk = 1;
  return options;
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
  std::string tolerated = "-";  // where a failure need not be told
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
       "values"},  // another value confirms the geometry
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
      {"going back without a manifest",
       [](MemoryStorage& memory) { ASSERT_OK(memory.remove_partition("manifest")); },
       [](Storage& storage, FreezerOptions options, const FreezerCheckpoint& checkpoint) -> Status {
         options.checkpoint = checkpoint;
         options.compression_level = kNoCompression;
         TRY_INTO(const Handle freezer, Freezer::open(storage, options));
         return read_everything(freezer, storage);
       },
       false, "values"},
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

FreezerCheckpoint fill_and_leave(MemoryStorage& memory, const FreezerOptions& options,
                                 bool closed) {
  auto opened = Freezer::open(memory, options);
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

// How a store was left.
struct LeftStore {
  std::string name;
  std::function<FreezerCheckpoint(MemoryStorage&)> fill;
  FreezerOptions options;
};

LeftStore closed_after(const FreezerOptions& options) {
  return {"closed", [=](MemoryStorage& memory) { return fill_and_leave(memory, options, true); },
          options};
}

LeftStore killed_after(const FreezerOptions& options) {
  return {"killed", [=](MemoryStorage& memory) { return fill_and_leave(memory, options, false); },
          options};
}

// The script, failing at each of its calls in turn.
void fail_each_call(const CallsScript& script, const LeftStore& left, Engine engine) {
  const FreezerOptions options = freezer::with_engine(left.options, engine);
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    const FreezerCheckpoint checkpoint = left.fill(memory);
    script.damage(memory);
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call);
    const Status outcome = script.run(storage, options, checkpoint);
    SCOPED_TRACE(concat(script.name, ", ", left.name, ", ", freezer::engine_name(engine), ", call ",
                        call, ": ", calls.failed().value_or("-")));
    calls.stop();
    if (!calls.failed()) {
      EXPECT_OK(outcome);
      return;
    }
    const bool is_tolerated = outcome && calls.failed()->ends_with(script.tolerated);
    if (!is_tolerated) {
      EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    }
    FreezerOptions again = options;
    again.compression_level = kNoCompression;
    ASSERT_OK_INTO(const Handle freezer, Freezer::open(memory, again));
    EXPECT_OK(read_everything(freezer, memory, script.table_is_lost));
    if (testing::Test::HasFailure()) return;
  }
}

class FreezerCalls : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerCalls, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerCalls, WhenAnyCallFails_ThenThatIsToldAndNotDamage) {
  for (const CallsScript& script : calls_scripts()) {
    fail_each_call(script, closed_after(small_store(GetParam())), GetParam());
    fail_each_call(script, killed_after(small_store(Engine::on_disk)), GetParam());
  }
}

// Halves of the original's tables begin with the same records, which are followed to their own.
TEST(FreezerCheckpointCalls, GivenATableOfTheOriginal_WhenAnyCallOfGoingBackFails_ThenThatIsTold) {
  const std::vector<CallsScript> scripts = calls_scripts();
  const auto going_back =
      std::ranges::find(scripts, "going back without a manifest", &CallsScript::name);
  ASSERT_NE(going_back, scripts.end());
  const auto fill = [](MemoryStorage& memory) {
    auto opened = Freezer::open(memory, small_store(Engine::immediate));
    EXPECT_OK(opened);
    EXPECT_OK(put_keys(*opened, 0, kSyncedKeys));
    EXPECT_OK(put_keys(*opened, 10, 18));
    EXPECT_OK((*opened)->sync());
    EXPECT_EQ((*opened)->statistics().resizes, 1u);
    EXPECT_FALSE((*opened)->statistics().resizing);
    const auto checkpoint = (*opened)->sync();
    EXPECT_OK(checkpoint);
    return checkpoint.value_or(FreezerCheckpoint());
  };
  fail_each_call(*going_back, {"synced", fill, small_store(Engine::immediate)}, Engine::on_disk);
}

// The table is that of a close, the keys went on in memory, with a larger one, and some came twice.
FreezerCheckpoint leave_keys_behind_the_table(MemoryStorage& memory) {
  fill_and_leave(memory, small_store(Engine::resident), true);
  auto opened = Freezer::open(memory, small_store(Engine::resident));
  EXPECT_OK(opened);
  EXPECT_OK(put_keys(*opened, 20, 40));
  EXPECT_OK(put_keys(*opened, 1, 3));
  EXPECT_OK((*opened)->sync());
  return {};
}

// A power cut took the first key of a section, but not the section. Then the manifest was mended,
// so that a close wrote that and nothing else.
FreezerCheckpoint leave_an_empty_section(MemoryStorage& memory) {
  fill_and_leave(memory, small_store(Engine::resident), true);
  for (const bool closed : {true, false}) {
    auto opened = Freezer::open(memory, small_store(Engine::resident));
    EXPECT_OK(opened);
    EXPECT_OK(freezer::put(*opened, closed ? "full" : "lost", std::string(20, 'v')));
    if (!closed) break;
    EXPECT_OK((*opened)->close());
  }
  memory.lose_unsynced();
  Bytes copy = *memory.raw("manifest", as_bytes("right"));
  copy.back() ^= std::byte{1};
  memory.set_raw("manifest", as_bytes("right"), copy);
  auto opened = Freezer::open(memory, small_store(Engine::resident));
  EXPECT_OK(opened);
  EXPECT_OK((*opened)->close());
  return {};
}

// As one of the original that was just going to double.
FreezerCheckpoint leave_a_table_of_twice_the_length(MemoryStorage& memory) {
  fill_and_leave(memory, small_store(Engine::resident), true);
  Bytes table = freezer::table_bytes(memory);
  table.resize(2 * table.size());
  freezer::set_table_bytes(memory, table);
  return {};
}

TEST_P(FreezerCalls,
       GivenATableThatIsNotThatOfTheKeys_WhenAnyCallFails_ThenThatIsToldAndNotDamage) {
  const FreezerOptions options = small_store(Engine::resident);
  const CallsScript reading = calls_scripts().front();
  CallsScript closing = reading;
  closing.name = "closing after one more key";
  closing.tolerated = "index";  // a chain that is not made shorter
  closing.run = [](Storage& storage, const FreezerOptions& opened,
                   const FreezerCheckpoint&) -> Status {
    TRY_INTO(const Handle freezer, Freezer::open(storage, opened));
    TRY(put_keys(freezer, 40, 41));
    TRY(freezer->close());
    return {};
  };
  for (const LeftStore& left :
       {LeftStore{"keys behind the table", leave_keys_behind_the_table, options},
        LeftStore{"an empty section", leave_an_empty_section, options},
        LeftStore{"twice the length", leave_a_table_of_twice_the_length, options},
        killed_after(slowly_doubling(small_store(Engine::on_disk)))}) {
    fail_each_call(reading, left, GetParam());
    fail_each_call(closing, left, GetParam());
  }
}

// So little memory that the first put leaves it, and its filter has room for all keys.
TEST(FreezerMemoryCalls, WhenAnyCallFailsWhileTheStoreLeavesItsMemory_ThenThatIsToldAndNotDamage) {
  FreezerOptions options = small_store(Engine::resident);
  options.memory_budget_bytes = 66'000;
  CallsScript leaving = calls_scripts().front();
  leaving.name = "leaving memory";
  leaving.run = [=](Storage& storage, const FreezerOptions&, const FreezerCheckpoint&) -> Status {
    TRY_INTO(const Handle freezer, Freezer::open(storage, options));
    EXPECT_TRUE(freezer->statistics().resident);
    TRY(put_keys(freezer, 40, 42));
    EXPECT_FALSE(freezer->statistics().resident);
    return read_everything(freezer, storage);
  };
  fail_each_call(leaving, closed_after(options), Engine::on_disk);
  fail_each_call(leaving, killed_after(options), Engine::resident);
  // A budget for the filter, but not for the table.
  CallsScript filtering = leaving;
  filtering.name = "making the filter";
  filtering.run = [=](Storage& storage, FreezerOptions little, const FreezerCheckpoint&) -> Status {
    little.memory_budget_bytes = 1000;
    TRY_INTO(const Handle freezer, Freezer::open(storage, little));
    EXPECT_GT(freezer->statistics().memory_bytes, 0u);
    return read_everything(freezer, storage);
  };
  fail_each_call(filtering, closed_after(options), Engine::on_disk);
}

// Damage that is seen once only. What the open tells may be wrong then; what it serves is not, and
// nothing is lost for good.
TEST_P(FreezerCalls, WhenAnyCallFindsDamageOnce_ThenNoKeyIsAbsentAndAllAreThereLater) {
  for (const bool closed : {true, false}) {
    bool is_over = false;
    for (uint64_t call = 0; !is_over; ++call) {
      MemoryStorage memory;
      const FreezerOptions options = small_store(GetParam());
      fill_and_leave(memory, options, closed);
      {
        ASSERT_OK_INTO(const Handle freezer, Freezer::open(memory, options));
        ASSERT_OK(put_keys(freezer, 1, 4));
        ASSERT_OK(freezer->sync());
        ASSERT_OK(put_keys(freezer, 20, 34));
      }
      FailingCalls calls;
      FailingStorage storage(memory, calls);
      calls.fail(call, Errc::corrupt);
      {
        const auto opened = Freezer::open(storage, options);
        is_over = !calls.failed();
        SCOPED_TRACE(concat(closed ? "closed" : "killed", ", call ", call, ": ",
                            calls.failed().value_or("-")));
        calls.stop();
        for (uint64_t i = 0; opened && i < kSyncedKeys; ++i)
          EXPECT_THAT(freezer::get(*opened, concat("key", i)),
                      testing::AnyOf(concat(i), "error: corrupt"));
      }
      ASSERT_OK_INTO(const Handle again, Freezer::open(memory, options));
      EXPECT_OK(read_everything(again, memory));
      if (testing::Test::HasFailure()) return;
    }
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
  fill_and_leave(memory, small_store(Engine::resident), true);
  ASSERT_OK(memory.remove_partition("manifest"));
  UnreadableValues storage(memory);
  FreezerOptions options = small_store(Engine::resident);
  options.compression_level = kNoCompression;

  EXPECT_THAT(Freezer::open(storage, options), FailsWith(Errc::io, "a bad device"));
}

}  // namespace
}  // namespace firn
