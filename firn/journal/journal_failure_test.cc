// SPDX-License-Identifier: Apache-2.0
//
// Journals: every call to the storage and to the floors fails once, reads too. The failure is what
// is told, never damage, absence or success; and what was synced is there at the next open.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firn/journal/batches.h"
#include "firn/journal/journal_test_support.h"
#include "testkit/failing_calls.h"

namespace firn {
namespace {

using testkit::FailingCalls;
using testkit::FailingFloors;
using testkit::FailingStorage;

constexpr uint64_t kEntrySize = 20;
constexpr uint64_t kSyncedEntries = 3;
constexpr size_t kValueSize = 16;

Bytes id_bytes(uint64_t number) {
  Bytes bytes(sizeof number);
  store_big_endian(bytes.data(), number);
  return bytes;
}

// A store, one of whose calls fails.
struct FailingStore {
  MemoryStorage memory;
  FailingCalls calls;
  FailingStorage storage{memory, calls};
  FailingFloors floors{calls};
  Floors* used_floors = &floors;
  PageCache cache{0};
  bool read_only = false;
  std::unique_ptr<IndexedValueLog> log;

  IndexedValueLogOptions options() {
    IndexedValueLogOptions options;
    options.index.partition = "index";
    options.index.record_size_bytes = kEntrySize;
    options.index.page_size_bytes = kEntrySize;
    options.index.write_buffer_bytes = 0;
    options.index.open_sections_max = 2;
    options.index.cache = &cache;
    options.index.floors = used_floors;
    options.values.partition = "values";
    options.values.write_buffer_bytes = 32;
    options.values.open_sections_max = 2;
    return options;
  }

  Status open() {
    log.reset();
    RecoveryLog recovery(storage, read_only);
    TRY_INTO(log, IndexedValueLog::open(storage, options(), recovery));
    return {};
  }

  Status append(uint64_t section, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i)
      TRY(log->append(Section(section), id_bytes(section), Bytes(kValueSize, std::byte{7})));
    return {};
  }

  Bytes raw(std::string_view partition, uint64_t section) const {
    return memory.raw(partition, journal::section_name(Section(section))).value_or(Bytes());
  }

  void set_raw(std::string_view partition, uint64_t section, Bytes content) {
    memory.set_raw(partition, journal::section_name(Section(section)), std::move(content));
  }

  Status read_all() const {
    Bytes entry(kEntrySize);
    for (const Section section : log->sections()) {
      TRY_INTO(const uint64_t count, log->entry_count(section));
      for (uint64_t position = 0; position < count; ++position) {
        TRY(log->read_entry(section, Position(position), entry));
        TRY(log->read_value(section, IndexedValueLog::location_of(entry)));
      }
      TRY(log->read_last(section, entry));
      TRY(log->value_size(section));
    }
    return {};
  }
};

// What is there before the calls that fail: sections 1, 2 and 3 with synced entries each.
void fill(FailingStore& store) {
  ASSERT_OK(store.open());
  for (const uint64_t section : {1u, 2u, 3u})
    ASSERT_OK(store.append(section, kSyncedEntries));
  ASSERT_OK(store.log->sync_all());
}

struct Script {
  std::string name;
  std::function<void(FailingStore&)> prepare;
  std::function<Status(FailingStore&)> run;
  uint64_t first_kept = 1;  // section with all of its synced entries afterwards
  uint64_t last_kept = 3;
};

void expect_synced(FailingStore& store, const Script& script) {
  store.read_only = false;
  ASSERT_OK(store.open());
  EXPECT_TRUE(store.log->damaged().empty());
  for (uint64_t section = script.first_kept; section <= script.last_kept; ++section) {
    ASSERT_OK_INTO(const uint64_t count, store.log->entry_count(Section(section)));
    EXPECT_GE(count, kSyncedEntries) << section;
  }
  EXPECT_OK(store.read_all());
  EXPECT_OK(store.append(3, 1));
  EXPECT_OK(store.log->close());
}

// The script, failing at each of its calls in turn.
void run_failing(const Script& script, FailingCalls::Repeat repeat) {
  for (uint64_t call = 0;; ++call) {
    FailingStore store;
    script.prepare(store);
    if (testing::Test::HasFatalFailure()) return;
    store.calls.fail(call, Errc::io, repeat);
    const Status outcome = script.run(store);
    store.calls.stop();
    SCOPED_TRACE(concat(script.name, repeat == FailingCalls::Repeat::once ? "" : ", for ever",
                        ", call ", call, ": ", store.calls.failed().value_or("-")));
    if (!store.calls.failed()) {
      EXPECT_OK(outcome);
      EXPECT_GT(call, 0u) << "nothing was called";
      return;
    }
    EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    expect_synced(store, script);
    if (testing::Test::HasFailure()) return;
  }
}

void run_failing(const Script& script) {
  run_failing(script, FailingCalls::Repeat::once);
  run_failing(script, FailingCalls::Repeat::for_ever);
}

void kill_with_unsynced_entries(FailingStore& store) {
  fill(store);
  ASSERT_OK(store.append(3, 4));
  store.log.reset();
}

void close_cleanly(FailingStore& store) {
  fill(store);
  ASSERT_OK(store.log->close());
  store.log.reset();
  store.floors.mark_clean();
}

TEST(JournalFailureTest, WhenACallOfRecoveryFails_ThenThatIsToldAndTheNextOneRecovers) {
  const auto open = [](FailingStore& store) { return store.open(); };
  const auto cut_values = [](FailingStore& store) {
    kill_with_unsynced_entries(store);
    Bytes values = store.raw("values", 3);
    values.resize(values.size() - 1);
    store.set_raw("values", 3, values);
  };
  const auto add_values = [](FailingStore& store) {
    fill(store);
    store.log.reset();
    Bytes values = store.raw("values", 3);
    values.resize(values.size() + 1);
    store.set_raw("values", 3, values);
  };
  const auto tear_index = [](FailingStore& store) {
    kill_with_unsynced_entries(store);
    Bytes index = store.raw("index", 3);
    index.resize(index.size() - 1);
    store.set_raw("index", 3, index);
  };
  const auto orphan = [](FailingStore& store) {
    fill(store);
    store.log.reset();
    store.set_raw("values", 4, store.raw("values", 3));
  };
  const auto half_prune = [](FailingStore& store) {
    fill(store);
    store.log.reset();
    ASSERT_OK(store.floors.set_boundary(Section(2)));
  };
  const auto without_floors = [](const auto& prepare) {
    return [=](FailingStore& store) {
      store.used_floors = nullptr;
      prepare(store);
    };
  };
  for (const Script& script :
       std::vector<Script>{{"after a kill", kill_with_unsynced_entries, open},
                           {"after a clean close", close_cleanly, open},
                           {"values are cut", cut_values, open},
                           {"values without entries", add_values, open},
                           {"a torn page", tear_index, open},
                           {"values without an index", orphan, open},
                           {"half a prune", half_prune, open, 2},
                           {"no floors", without_floors(kill_with_unsynced_entries), open},
                           {"no floors, values are cut", without_floors(cut_values), open},
                           {"no floors, values without entries", without_floors(add_values), open},
                           {"no floors, a torn page", without_floors(tear_index), open}})
    run_failing(script);
}

TEST(JournalFailureTest, WhenACallOfAReaderFails_ThenThatIsToldAndNotDamage) {
  const auto open_for_reading = [](FailingStore& store) {
    close_cleanly(store);
    store.read_only = true;
    ASSERT_OK(store.open());
  };
  const auto follow = [=](FailingStore& store) {
    fill(store);
    store.log.reset();
    store.floors.pin();
    store.read_only = true;
    ASSERT_OK(store.open());
  };
  const auto fall_behind = [=](FailingStore& store) {
    constexpr uint64_t kMore = 2;
    fill(store);
    ASSERT_OK(store.append(3, kMore));
    ASSERT_OK(store.log->sync_all());
    store.log.reset();
    ASSERT_OK(store.floors.lower(Section(3), kSyncedEntries * kEntrySize));
    store.floors.pin();
    store.read_only = true;
    ASSERT_OK(store.open());
    ASSERT_OK(store.floors.raise(Section(3), (kSyncedEntries + kMore) * kEntrySize));
  };
  const auto verify = [](FailingStore& store) -> Status {
    RecoveryLog findings(store.memory, true);
    Status verified = store.log->verify(true, findings, [](uint64_t) {});
    EXPECT_TRUE(findings.report().damage.empty());
    return verified;
  };
  const auto replay = [](FailingStore& store) -> Status {
    TRY_INTO(FixedReplay items, store.log->replay());
    while (true) {
      TRY_INTO(const auto item, items.next());
      if (!item) break;
    }
    TRY_INTO(FixedReplay section, store.log->replay_section(Section(2), Position(1)));
    TRY(section.next());
    return {};
  };
  for (const Script& script : std::vector<Script>{
           {"open for reading", close_cleanly,
            [](FailingStore& store) {
              store.read_only = true;
              return store.open();
            }},
           {"open beside a writer",
            [](FailingStore& store) {
              fill(store);
              store.log.reset();
              store.floors.pin();
            },
            [](FailingStore& store) {
              store.read_only = true;
              return store.open();
            }},
           {"reads", open_for_reading, [](FailingStore& store) { return store.read_all(); }},
           {"reads beside a writer", follow, [](FailingStore& store) { return store.read_all(); }},
           {"following", fall_behind,
            [](FailingStore& store) -> Status {
              TRY_INTO(const auto grown, store.log->follow());
              EXPECT_EQ(grown, std::vector{Section(3)});
              return store.read_all();
            }},
           {"verify", open_for_reading, verify},
           {"replay", open_for_reading, replay}})
    run_failing(script);
}

TEST(JournalFailureTest, WhenACallOfAWriterFails_ThenThatIsToldAndWhatWasSyncedStays) {
  for (const Script& script : std::vector<Script>{
           {"append", fill,
            [](FailingStore& store) -> Status {
              TRY(store.append(3, 4));
              TRY(store.append(4, 2));
              TRY(store.log->sync(Section(3)));
              return store.log->sync_all();
            }},
           {"append after a clean close",
            [](FailingStore& store) {
              close_cleanly(store);
              ASSERT_OK(store.open());
            },
            [](FailingStore& store) { return store.append(1, 1); }},
           {"close", kill_with_unsynced_entries,
            [](FailingStore& store) -> Status {
              TRY(store.open());
              TRY(store.append(3, 2));
              return store.log->close();
            }},
           {"prune", fill,
            [](FailingStore& store) -> Status {
              TRY(store.log->prune(Section(2)));
              return {};
            },
            2},
           {"rewind", fill,
            [](FailingStore& store) { return store.log->rewind(Section(2), kEntrySize); }, 1, 1},
           {"rewind of one section", fill,
            [](FailingStore& store) { return store.log->rewind_section(Section(2), kEntrySize); },
            1, 1},
           {"destroy", fill, [](FailingStore& store) { return store.log->destroy(); }, 1, 0}})
    run_failing(script);
}

// ---- what is refused, and what is not there

class JournalRefusals : public FixedJournalTest {
 protected:
  using Place = std::pair<Section, Position>;

  Status open_with(const std::function<void(FixedJournalOptions&)>& change) {
    FixedJournalOptions changed = options();
    change(changed);
    RecoveryLog recovery(storage_, false);
    TRY(FixedJournal::open(storage_, changed, recovery));
    return {};
  }

  std::vector<Bytes> found_in_cache(const std::vector<Place>& places) const {
    std::vector<Bytes> found(places.size());
    const auto visit = [&](size_t i, ByteSpan record) { found[i] = to_bytes(record); };
    FixedJournal::Batch batch(*journal_);
    for (size_t i = 0; i < places.size(); ++i)
      batch.push(places[i].first, places[i].second, i, visit);
    batch.finish(visit);
    return found;
  }
};

TEST_F(JournalRefusals, GivenSizesThatCannotBe_WhenOpened_ThenRefused) {
  for (const uint32_t size : {0u, (1u << 20) + 1})
    EXPECT_THAT(open_with([&](FixedJournalOptions& made) { made.record_size_bytes = size; }),
                FailsWith(Errc::invalid_argument, "is not between 1 and 1048576"));
  for (const uint32_t size : {0u, 65536u})
    EXPECT_THAT(open_with([&](FixedJournalOptions& made) { made.page_size_bytes = size; }),
                FailsWith(Errc::invalid_argument, "is not between 1 and 65535"));
}

TEST_F(JournalRefusals, GivenARecordInTwoPages_WhenOneIsNotCached_ThenABatchDoesNotFindTheRecord) {
  reopen();
  append_records(1, 8);
  ASSERT_OK(journal_->sync(Section(1)));
  reopen();
  const std::vector<Place> places = {{Section(1), Position(2)},   // of pages 1 and 2
                                     {Section(1), Position(3)}};  // of page 2

  ASSERT_EQ(get(1, 3), record(103));
  EXPECT_THAT(found_in_cache(places), testing::ElementsAre(Bytes(), record(103)));
  ASSERT_EQ(get(1, 2), record(102));
  EXPECT_THAT(found_in_cache(places), testing::ElementsAre(record(102), record(103)));
}

// More than are fetched together.
TEST_F(JournalRefusals, GivenManyRecords_WhenSoughtInTheCache_ThenEachIsFoundAtItsPlace) {
  constexpr uint64_t kCount = 33;
  reopen();
  std::vector<Place> places;
  for (uint64_t i = 0; i < kCount; ++i) {
    const uint64_t section = 1 + i % 3;
    ASSERT_OK(append(section, i));
    places.emplace_back(Section(section), Position(i / 3));
  }
  for (uint64_t section = 1; section <= 3; ++section)
    append_records(section, 8);  // the last pages are not in the cache
  ASSERT_OK(journal_->sync_all());
  reopen();
  std::vector<Bytes> records;
  for (uint64_t i = 0; i < kCount; ++i) {
    records.push_back(record(i));
    ASSERT_EQ(get(places[i].first.value, places[i].second.value), records[i]);
  }

  EXPECT_EQ(found_in_cache(places), records);
}

TEST_F(JournalRefusals, GivenSections_WhenAskedForWhatIsNotThere_ThenTold) {
  reopen();
  append_records(1, 3);
  ASSERT_OK(journal_->sync(Section(1)));
  append_records(2, 1);

  EXPECT_OK(journal_->sync(Section(7)));
  RecoveryLog findings(storage_, true);
  EXPECT_OK(journal_->verify_section(Section(7), findings));
  EXPECT_TRUE(findings.report().empty());
  EXPECT_EQ(journal_->size(Section(7)), 0u);
  EXPECT_THAT(journal_->replay_section(Section(7), Position(0)), testing::Not(FailsWith(Errc::io)));
  const std::vector<Place> places = {{Section(1), Position(9)}, {Section(7), Position(0)}};
  EXPECT_THAT(found_in_cache(places), testing::ElementsAre(Bytes(), Bytes()));
  EXPECT_EQ(journal_->prune(Section(2)), 1u);
  EXPECT_THAT(journal_->replay_section(Section(1), Position(0)), FailsWith(Errc::pruned));
  EXPECT_THAT(found_in_cache(places), testing::ElementsAre(Bytes(), Bytes()));
  EXPECT_THAT(journal_->sync(Section(1)), FailsWith(Errc::pruned));
}

TEST_F(JournalRefusals, GivenAReplay_WhenItsSectionIsRemoved_ThenToldAndNothingIsInvented) {
  reopen();
  append_records(1, 3);
  ASSERT_OK_INTO(FixedReplay items, journal_->replay());

  ASSERT_OK(journal_->clear());

  EXPECT_THAT(items.next(), FailsWith(Errc::out_of_range, "was removed"));
  ASSERT_OK_INTO(const auto end, items.next());
  EXPECT_FALSE(end.has_value());
}

TEST_F(JournalRefusals, GivenASectionThatCannotBeOpened_WhenAppended_ThenToldAndItGoesOnLater) {
  FailingCalls calls;
  FailingStorage storage(storage_, calls);
  open_sections_max_ = 1;
  ASSERT_OK_INTO(journal_, try_open(storage));
  for (const uint64_t section : {1u, 2u}) {
    append_records(section, 1);
    ASSERT_OK(journal_->sync_all());
  }

  calls.fail(0);
  EXPECT_FALSE(journal_->append_would_write(Section(1))) << "the append tells why it fails";
  calls.fail(0);
  EXPECT_THAT(append(1, 101), FailsWith(Errc::io));

  EXPECT_EQ(append(1, 101), Position(1));
  journal_.reset();
}

TEST_F(JournalRefusals, GivenADamagedPage_WhenVerified_ThenItIsNamedAndTheOthersAreWhole) {
  reopen();
  append_records(1, 3);
  append_records(2, 3);
  ASSERT_OK(journal_->sync_all());
  patch_blob(kIndex, 1, 5, Bytes(1, std::byte{0}));

  RecoveryLog findings(storage_, true);
  ASSERT_OK(journal_->verify(findings));
  ASSERT_EQ(findings.report().damage.size(), 1u);
  EXPECT_EQ(findings.report().damage[0].blob, "0000000000000001");
}

TEST_F(JournalRefusals, GivenOneOpenSection_WhenOthersAreDirtyOrRead_ThenTheyStayOpen) {
  open_sections_max_ = 1;
  reopen();
  for (const uint64_t section : {1u, 2u, 3u})
    append_records(section, 1);
  EXPECT_EQ(journal_->open_section_count(), 3u)
      << "closing a dirty file loses the error of a flush";

  ASSERT_OK(journal_->sync_all());
  append_records(4, 1);
  EXPECT_EQ(journal_->open_section_count(), 1u);
  for (const uint64_t section : {1u, 2u, 3u, 4u})
    EXPECT_EQ(get(section, 0), record(section * 100));
}

class ValueLogRefusals : public JournalTest {
 protected:
  Result<std::unique_ptr<ValueLog>> open_values(std::optional<int> compression_level = {}) {
    ValueLogOptions options;
    options.partition = std::string(kValues);
    options.compression_level = compression_level;
    options.cache = &cache_;
    RecoveryLog recovery(storage_, false);
    return ValueLog::open(storage_, options, recovery);
  }
};

TEST_F(ValueLogRefusals, GivenALevelThatZstdDoesNotKnow_WhenOpened_ThenRefused) {
  for (const int level : {1000, -1'000'000})
    EXPECT_THAT(open_values(level), FailsWith(Errc::invalid_argument, "compression level"));
}

TEST_F(ValueLogRefusals, GivenAPrune_WhenAPrunedSectionIsUsed_ThenEveryCallSaysSo) {
  ASSERT_OK_INTO(const auto log, open_values());
  ASSERT_OK(log->append(Section(3), pattern(1, 16)));
  ASSERT_OK(log->prune(Section(3)));
  const Section pruned(2);

  EXPECT_THAT(log->append(pruned, pattern(1, 16)), FailsWith(Errc::pruned));
  EXPECT_THAT(log->read(pruned, {0, 20}), FailsWith(Errc::pruned));
  EXPECT_THAT(log->size(pruned), FailsWith(Errc::pruned));
  EXPECT_THAT(log->sync(pruned), FailsWith(Errc::pruned));
  EXPECT_THAT(log->rewind(pruned, 0), FailsWith(Errc::pruned));
  EXPECT_THAT(log->rewind_section(pruned, 0), FailsWith(Errc::pruned));
  EXPECT_OK(log->adopt(Section(9)));
  EXPECT_OK(log->remove_section(Section(9)));
  EXPECT_EQ(log->size(Section(3)), 20u);
}

TEST_F(ValueLogRefusals, GivenABatch_WhenOfWhatCannotBeCached_ThenThereIsNoValue) {
  ASSERT_OK_INTO(const auto log, open_values());
  ASSERT_OK_INTO(const ValueLocation location, log->append(Section(1), pattern(1, 16)));
  ASSERT_OK(log->sync_all());
  log->map_reads();
  std::optional<Value> value;
  {
    ValueLog::Batch batch(*log);
    batch.push(Section(1), location, value);
    batch.push(Section(9), location, value);
    batch.push(Section(1), {0, 3}, value);
    batch.push(Section(1), {0, 5000}, value);
    batch.push(Section(1), {UINT64_MAX, 16}, value);
    batch.finish();
  }

  EXPECT_FALSE(value.has_value());
}

}  // namespace
}  // namespace firn
