// SPDX-License-Identifier: Apache-2.0
//
// For the tests of Freezer: keys and values from words, answers as text ("absent", the value, or
// "error: ..."), so that an expectation is one line and a failure shows the message. Most tests run
// in every way that a freezer works.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/bytes.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/io/memory_storage.h"
#include "firn/store/manifest.h"
#include "testkit/matchers.h"

namespace firn::freezer {

inline constexpr uint32_t kTestKeySizeBytes = 64;

// The word, padded with zeros.
inline Bytes test_key(std::string_view word, size_t size_bytes = kTestKeySizeBytes) {
  Bytes key(size_bytes);
  copy_bytes(key, as_bytes(word));
  return key;
}

enum class Engine : uint8_t { immediate, on_disk, resident };

inline constexpr std::array<Engine, 3> kEngines = {Engine::immediate, Engine::on_disk,
                                                   Engine::resident};

inline std::string engine_name(Engine engine) {
  switch (engine) {
    case Engine::immediate: return "immediate";
    case Engine::on_disk: return "on_disk";
    case Engine::resident: return "resident";
  }
  return "unknown";
}

inline FreezerOptions with_engine(FreezerOptions options, Engine engine) {
  options.table.writing =
      engine == Engine::immediate ? TableWriting::immediate : TableWriting::deferred;
  options.memory_budget_bytes = engine == Engine::resident ? 64 << 20 : 0;
  return options;
}

// The settings of the original's tests.
inline FreezerOptions shared_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = kTestKeySizeBytes;
  options.page_size_bytes = 1024;
  options.section_target_bytes = 10 << 20;
  options.write_buffer_bytes = 1024;
  options.page_cache_bytes = 1 << 20;
  options.table.initial_size = 256;
  options.table.resize_frequency = 4;
  options.table.resize_chunk = 128;
  return with_engine(std::move(options), engine);
}

// Short keys and pages, and a section for every few items.
inline FreezerOptions short_section_options(Engine engine) {
  FreezerOptions options;
  options.key_size_bytes = 8;
  options.page_size_bytes = 128;
  options.table.initial_size = 16;
  options.section_target_bytes = 64;
  return with_engine(std::move(options), engine);
}

using Store = std::unique_ptr<Freezer>;

inline Result<FreezerCursor> put(const Store& freezer, std::string_view key,
                                 std::string_view value) {
  return freezer->put(test_key(key, freezer->key_size_bytes()), as_bytes(value));
}

inline std::string answer(const Result<std::optional<Value>>& result) {
  if (!result) return concat("error: ", errc_name(result.error().code));
  if (!*result) return "absent";
  return std::string(as_text((*result)->bytes()));
}

inline std::string get(const Store& freezer, std::string_view key) {
  return answer(freezer->get(test_key(key, freezer->key_size_bytes())));
}

inline std::string contains(const Store& freezer, std::string_view key) {
  const auto result = freezer->contains(test_key(key, freezer->key_size_bytes()));
  if (!result) return concat("error: ", errc_name(result.error().code));
  return *result == Freezer::Presence::present ? "present" : "absent";
}

inline std::string get(const Store& freezer, const FreezerCursor& cursor) {
  const auto result = freezer->get(cursor);
  if (!result) return concat("error: ", errc_name(result.error().code));
  return std::string(as_text(result->bytes()));
}

// Puts key<first>, key<first + 1>, ... with their numbers as values.
inline void put_range(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    ASSERT_OK(put(freezer, concat("key", i), concat(i)));
}

inline void expect_range(const Store& freezer, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    ASSERT_EQ(get(freezer, concat("key", i)), concat(i));
}

// The bytes of the table behind the blob's header; empty if there is none.
inline Bytes table_bytes(const MemoryStorage& storage) {
  const auto raw = storage.raw("table", as_bytes("table"));
  if (!raw) return {};
  return {raw->begin() + 8, raw->end()};
}

inline void set_table_bytes(MemoryStorage& storage, ByteSpan bytes) {
  Bytes raw = to_bytes(as_bytes("CWIC"));
  raw.resize(8);
  raw.insert(raw.end(), bytes.begin(), bytes.end());
  storage.set_raw("table", as_bytes("table"), raw);
}

// What verify finds, a line each.
inline std::string findings_of(const Store& freezer, Storage& storage) {
  RecoveryLog findings(storage, true);
  const Status verified = freezer->verify(FreezerDepth::values, findings, [](uint64_t) {});
  std::string text = verified ? "" : concat("failed: ", verified.error().message, "\n");
  for (const BlobRange& range : findings.report().damage)
    text += concat(range.partition, " ", range.offset, ": ", range.reason, "\n");
  return text;
}

// What opening has to tell, a line each.
inline std::string notes_of(const Store& freezer) {
  std::string text;
  for (const std::string& note : freezer->recovery().notes)
    text += concat(note, "\n");
  return text;
}

// Makes the manifest say something else about the table.
inline void set_table_record(Storage& storage, const std::function<void(Bytes&)>& change) {
  RecoveryLog recovery(storage, false);
  ASSERT_OK_INTO(const auto manifest, Manifest::open(storage, false, recovery));
  Bytes record = *manifest->record(kTableRecord);
  change(record);
  ASSERT_OK(manifest->set_record(kTableRecord, record));
  ASSERT_OK(manifest->close());
}

struct WrittenRecord {
  std::string key;
  std::optional<RecordPlace> next;
  Section section = {};
};

// Writes a key journal by hand: what the `next` of each record says is the test's choice. Values
// are the numbers of the records.
inline void write_journal(Storage& storage, const std::vector<WrittenRecord>& records) {
  RecoveryLog recovery(storage, false);
  PageCache cache(1 << 16);
  IndexedValueLogOptions options;
  options.index.partition = "index";
  options.index.record_size_bytes = record_size_bytes(8);
  options.index.page_size_bytes = 128;
  options.index.cache = &cache;
  options.values.partition = "values";
  ASSERT_OK_INTO(const auto log, IndexedValueLog::open(storage, options, recovery));
  for (size_t i = 0; i < records.size(); ++i) {
    Bytes prefix;
    encode_prefix(prefix, test_key(records[i].key, 8), records[i].next);
    ASSERT_OK(log->append(records[i].section, prefix, as_bytes(concat(i))));
  }
  ASSERT_OK(log->sync_all());
}

class EveryEngine : public testing::TestWithParam<Engine> {
 protected:
  [[nodiscard]] FreezerOptions options() const { return shared_options(GetParam()); }

  MemoryStorage storage_;
};

inline std::string engine_of(const testing::TestParamInfo<Engine>& info) {
  return engine_name(info.param);
}

}  // namespace firn::freezer
