// SPDX-License-Identifier: Apache-2.0
//
// Freezer: a write, resize, flush or creation that fails, at every place where one can. The first
// failure ends all changes; what was synced is still served, and opening the store anew, in
// whatever way it works then, recovers. A kill and a power cut at the same places are part of that.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/freezer/freezer_test_support.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

using freezer::Engine;
using freezer::get;
using freezer::put;
using freezer::Store;
using testkit::FailsWith;
using testkit::LoggedStorage;

constexpr uint64_t kSynced = 9;

FreezerOptions failing_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 64;
  options.write_buffer_bytes = 128;
  options.section_target_bytes = 40;
  options.page_cache_bytes = 1 << 16;
  options.table.initial_size = 4;
  options.table.resize_frequency = 1;
  options.table.resize_chunk = 4;
  return freezer::with_engine(options, engine);
}

Status put_some(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    TRY(put(freezer, concat("key", i), concat(i)));
  return {};
}

// What so many records take.
size_t memory_of(uint64_t records) {
  MemoryStorage storage;
  const auto freezer = Freezer::open(storage, failing_options(Engine::resident));
  EXPECT_OK(freezer);
  for (uint64_t i = 0; i < records; ++i)
    EXPECT_OK(put(*freezer, concat("k", i), ""));
  return (*freezer)->statistics().memory_bytes;
}

// What may fail: each opens the store itself, and may close it.
struct Script {
  std::string name;
  std::function<Status(Storage&, Engine, const FreezerCheckpoint&, Store&)> run;
};

std::vector<Script> scripts() {
  const auto open = [](Storage& storage, const FreezerOptions& options, Store& freezer) -> Status {
    TRY_INTO(freezer, Freezer::open(storage, options));
    return {};
  };
  return {
      {"puts and syncs",
       [=](Storage& storage, Engine engine, const FreezerCheckpoint&, Store& freezer) -> Status {
         TRY(open(storage, failing_options(engine), freezer));
         TRY(put_some(freezer, 10, 13));
         TRY(put(freezer, "key11", "11"));
         TRY(freezer->sync());
         TRY(put_some(freezer, 13, 30));
         TRY(freezer->sync());
         TRY(freezer->sync());
         return put_some(freezer, 30, 32);
       }},
      {"close",
       [=](Storage& storage, Engine engine, const FreezerCheckpoint&, Store& freezer) -> Status {
         TRY(open(storage, failing_options(engine), freezer));
         TRY(put_some(freezer, 10, 20));
         TRY(freezer->close());
         freezer.reset();
         TRY(open(storage, failing_options(engine), freezer));
         TRY(put_some(freezer, 20, 22));
         TRY(freezer->close());
         return {};
       }},
      {"going back",
       [=](Storage& storage, Engine engine, const FreezerCheckpoint& checkpoint,
           Store& freezer) -> Status {
         FreezerOptions back = failing_options(engine);
         back.checkpoint = checkpoint;
         TRY(open(storage, back, freezer));
         TRY(put_some(freezer, 10, 12));
         TRY(freezer->close());
         return {};
       }},
      {"rebuilding",
       [=](Storage& storage, Engine engine, const FreezerCheckpoint&, Store& freezer) -> Status {
         FreezerOptions rebuilt = failing_options(engine);
         rebuilt.access = FreezerAccess::rebuild;
         TRY(open(storage, rebuilt, freezer));
         TRY(freezer->rebuild_table());
         TRY(freezer->close());
         return {};
       }},
      {"leaving memory",
       [=](Storage& storage, Engine, const FreezerCheckpoint&, Store& freezer) -> Status {
         FreezerOptions small = failing_options(Engine::resident);
         small.memory_budget_bytes = memory_of(800);
         small.section_target_bytes = 1 << 20;
         small.write_buffer_bytes = 1 << 16;
         TRY(open(storage, small, freezer));
         for (uint64_t i = 0; i < 1040; ++i)
           TRY(put(freezer, concat("k", i), "v"));
         EXPECT_FALSE(freezer->statistics().resident);
         TRY(freezer->sync());
         return {};
       }},
  };
}

// A store with nine synced keys, last used in some way and then killed or closed.
FreezerCheckpoint prepare(Storage& storage, Engine engine, bool closed) {
  auto freezer = Freezer::open(storage, failing_options(engine));
  EXPECT_OK(freezer);
  EXPECT_OK(put_some(*freezer, 0, 5));
  EXPECT_OK((*freezer)->sync());
  EXPECT_OK(put_some(*freezer, 5, kSynced));
  const auto checkpoint = closed ? (*freezer)->close() : (*freezer)->sync();
  EXPECT_OK(checkpoint);
  return *checkpoint;
}

void expect_synced(const Store& freezer) {
  for (uint64_t i = 0; i < kSynced; ++i)
    EXPECT_EQ(get(freezer, concat("key", i)), concat(i));
  EXPECT_EQ(get(freezer, "none"), "absent");
}

// Of the others each is there as it was put, or not at all.
void expect_nothing_foreign(const Store& freezer) {
  for (uint64_t i = kSynced; i < 40; ++i) {
    const std::string found = get(freezer, concat("key", i));
    EXPECT_TRUE(found == concat(i) || found == "absent") << i << " " << found;
  }
  EXPECT_OK(freezer->visit([&](const FreezerItem& item) {
    EXPECT_EQ(freezer::contains(freezer, as_text(item.key).substr(0, 5)), "present");
    return true;
  }));
}

void expect_recovered(MemoryStorage& storage, Engine engine) {
  ASSERT_OK_INTO(Store freezer, Freezer::open(storage, failing_options(engine)));
  expect_synced(freezer);
  expect_nothing_foreign(freezer);
  EXPECT_EQ(freezer::findings_of(freezer, storage), "");
  EXPECT_OK(put(freezer, "after", "1"));
  EXPECT_OK(freezer->sync());
  EXPECT_EQ(get(freezer, "after"), "1");
  expect_synced(freezer);
}

void expect_poisoned(const Store& freezer) {
  expect_synced(freezer);
  EXPECT_THAT(put(freezer, "late", "1"), FailsWith(Errc::poisoned));
  EXPECT_THAT(freezer->sync(), FailsWith(Errc::poisoned));
  EXPECT_THAT(freezer->rebuild_table(), FailsWith(Errc::poisoned));
  EXPECT_THAT(freezer->close(), FailsWith(Errc::poisoned));
  expect_synced(freezer);
}

// One script, failing at each of its changes in turn.
void run_failing(const Script& script, Engine before, Engine engine, bool closed) {
  bool failed = true;
  for (uint64_t change = 0; failed; ++change) {
    ASSERT_LT(change, 2000);
    for (const bool power_cut : {false, true}) {
      SCOPED_TRACE(concat(script.name, " after ", freezer::engine_name(before),
                          closed ? " closed" : " killed", ", ", freezer::engine_name(engine),
                          ", change ", change, power_cut ? ", power cut" : ", killed"));
      MemoryStorage memory;
      const FreezerCheckpoint checkpoint = prepare(memory, before, closed);
      LoggedStorage storage(memory);
      storage.fail_change(change);
      Store freezer;
      const Status outcome = script.run(storage, engine, checkpoint, freezer);
      failed = !outcome;
      if (failed && freezer != nullptr) expect_poisoned(freezer);
      freezer.reset();
      if (power_cut) memory.lose_unsynced();
      for (const Engine after :
           {freezer::kEngines[change % 3], freezer::kEngines[(change / 3) % 3]})
        expect_recovered(memory, after);
      if (testing::Test::HasFailure()) return;
    }
  }
}

class FreezerFailure : public freezer::EveryEngine {};
INSTANTIATE_TEST_SUITE_P(Engines, FreezerFailure, testing::ValuesIn(freezer::kEngines),
                         freezer::engine_of);

TEST_P(FreezerFailure, WhenAnyChangeFails_ThenChangesEndReadsGoOnAndReopenRecovers) {
  for (const Script& script : scripts()) {
    for (const Engine before : freezer::kEngines) {
      run_failing(script, before, GetParam(), false);
      if (script.name == "leaving memory") break;  // a long one
      run_failing(script, before, GetParam(), true);
    }
  }
}

TEST_P(FreezerFailure, GivenBlobsLoseTheirContent_WhenRead_ThenNothingThatWasPutIsAbsent) {
  FreezerOptions uncached = failing_options(GetParam());
  uncached.page_cache_bytes = 0;
  prepare(storage_, GetParam(), true);
  ASSERT_OK_INTO(const Store freezer, Freezer::open(storage_, uncached));

  // The blobs lose their content under the open store.
  Bytes header = to_bytes(as_bytes("CWIC"));
  header.resize(8);
  for (const std::string_view partition : {"index", "table"}) {
    ASSERT_OK_INTO(const auto names, storage_.scan(partition));
    for (const Bytes& name : names)
      storage_.set_raw(partition, name, header);
  }

  // What is left is in memory: the last pages.
  for (uint64_t i = 0; i < kSynced; ++i)
    EXPECT_THAT(get(freezer, concat("key", i)), testing::AnyOf(concat(i), "error: corrupt"));
}

}  // namespace
}  // namespace firn
