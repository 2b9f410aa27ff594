// SPDX-License-Identifier: Apache-2.0
//
// What a PrunableArchive is opened with and what it answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/strong_id.h"
#include "firn/index/key_translator.h"
#include "firn/io/storage.h"
#include "firn/journal/value_log.h"
#include "firn/store/manifest.h"

namespace firn {

enum class ArchiveAccess : uint8_t {
  create,     // for writing; the store is made if there is none
  write,      // for writing; it must exist
  read_only,  // it must exist; nothing on disk changes; a writer of another process may be at work
};

struct PrunableArchiveOptions {
  // Geometry. Unset: what the store's manifest says, or the default for a new store, and for
  // reading one without a manifest; for writing that, the first three must be given. Values that
  // contradict the store are refused.
  std::optional<uint32_t> key_size_bytes = std::nullopt;     // 1 to 1024; default 32
  std::optional<uint64_t> items_per_section = std::nullopt;  // at least 1; default 65,536
  std::optional<uint32_t> page_size_bytes = std::nullopt;    // 1 to 65535; default 4084
  // A zstd level, 0 for its default, or kNoCompression; default none. Without a manifest values
  // that look compressed are refused unless one of them is given.
  std::optional<int> compression_level = std::nullopt;
  std::optional<std::string> index_partition = std::nullopt;   // default "index"
  std::optional<std::string> values_partition = std::nullopt;  // default "values"
  // In memory. Tokens of 8 hashed bytes with a random seed unless told.
  std::optional<KeyTranslator> translator = std::nullopt;
  // For index pages and small values; at most kPageCacheBytesMax.
  size_t page_cache_bytes = 64 << 20;
  // A touched section's index; as much for its values. At most kWriteBufferBytesMax.
  size_t write_buffer_bytes = 1 << 20;
  // bound on open index blobs; as many value blobs
  size_t open_sections_max = default_open_blobs_max();
  ArchiveAccess access = ArchiveAccess::create;
  // Refuse (Errc::corrupt, nothing changed) what would otherwise be served in part or cut: damage
  // of manifest or index, values that are not there, any torn end of a crash. Values are not read:
  // a rotten one that was synced is served as an error. For those who have another copy. Reads the
  // index twice.
  bool strict = false;
};

enum class PutOutcome : uint8_t { added, already_present };

struct ArchiveStatistics {
  uint64_t items_tracked = 0;  // distinct indices
  uint64_t records = 0;        // items, counting every one of an index
  uint64_t indices_pruned = 0;
  uint64_t gets = 0;
  uint64_t has = 0;
  uint64_t unnecessary_reads = 0;  // records read for a key that had another key
  uint64_t syncs = 0;              // sections synced
  uint64_t tokens_pruned = 0;      // stale index entries dropped
  uint64_t memory_bytes = 0;       // of the maps, without caches and buffers
};

struct ArchiveItem {
  uint64_t index = 0;
  Bytes key;
  Section section;
  Position position;
  ValueLocation location;
};

// Of a range: the value of one item, or why it cannot be read.
struct IndexedValue {
  uint64_t index = 0;
  Result<Value> value;
};

}  // namespace firn
