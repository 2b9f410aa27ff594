// SPDX-License-Identifier: Apache-2.0
//
// What a Freezer is opened with and what it answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/strong_id.h"
#include "firn/io/storage.h"
#include "firn/journal/value_log.h"
#include "firn/store/manifest.h"

namespace firn {

enum class FreezerAccess : uint8_t {
  create,     // for writing; the store is made if there is none
  write,      // for writing; it must exist
  rebuild,    // for writing; it must exist; its table is made anew from the key journal
  read_only,  // it must exist; nothing on disk changes; a writer of another process may be at work
};

// When slots of the table reach the disk. Either way a sync() makes every put durable.
enum class TableWriting : uint8_t {
  deferred,   // at close; until then the table is in memory (see memory_budget_bytes)
  immediate,  // with each put and flushed by each sync, byte for byte as the original does
};

struct FreezerTableOptions {
  // Geometry, recorded when the store is made; see FreezerOptions. Slots pairs are 58 bytes.
  std::optional<uint32_t> initial_size = std::nullopt;  // power of two to 2^27; default 4,096
  // The table doubles when half of its positions got this many records: 1 to 254; default 1, which
  // keeps chains shortest.
  std::optional<uint32_t> resize_frequency = std::nullopt;
  // Positions that one sync copies while the table doubles on disk: at least 1; default 16,384.
  std::optional<uint32_t> resize_chunk = std::nullopt;
  TableWriting writing = TableWriting::deferred;
};

struct FreezerPartitions {
  std::optional<std::string> table = std::nullopt;   // default "table"
  std::optional<std::string> index = std::nullopt;   // default "index": the key journal
  std::optional<std::string> values = std::nullopt;  // default "values"
};

// A state of the store that a sync() made durable: 28 bytes on disk. The store commits its own;
// this is for users who commit several stores together. Byte sizes as in the key journal.
struct FreezerCheckpoint {
  uint64_t epoch = 0;             // number of the sync
  Section section{};              // the newest section
  uint64_t index_size_bytes = 0;  // of the key journal in that section
  uint32_t table_size = 0;        // positions

  friend bool operator==(const FreezerCheckpoint&, const FreezerCheckpoint&) = default;
};

// Where the value of one put is: 20 bytes on disk. Reading by cursor does not compare keys.
struct FreezerCursor {
  Section section;
  ValueLocation location;

  friend bool operator==(const FreezerCursor&, const FreezerCursor&) = default;
};

struct FreezerOptions {
  // Geometry. Unset: what the store's manifest says, or the default for a new store, and for
  // reading one without a manifest; for writing that, key and page size must be given. Values that
  // contradict the store are refused.
  std::optional<uint32_t> key_size_bytes = std::nullopt;   // 1 to 1024; default 32
  std::optional<uint32_t> page_size_bytes = std::nullopt;  // 1 to 65535; default 4084
  // A zstd level, 0 for its default, or kNoCompression; default none. Without a manifest values
  // that look compressed are refused unless one of them is given.
  std::optional<int> compression_level = std::nullopt;
  FreezerTableOptions table = {};
  FreezerPartitions partitions = {};
  // A put that finds so many value bytes in the newest section begins the next one. May change.
  uint64_t section_target_bytes = uint64_t{1} << 30;
  // In memory. What keeps lookups from reading the table and from reading anything for absent keys:
  // about 30 bytes a record. A store that outgrows it, and 0, work from disk.
  size_t memory_budget_bytes = size_t{1} << 30;
  // For key journal pages and small values; at most kPageCacheBytesMax.
  size_t page_cache_bytes = 64 << 20;
  // For values, and four times as much for keys; at most kWriteBufferBytesMax. Whenever the keys
  // are full, a put waits for a flush of the values.
  size_t write_buffer_bytes = 1 << 20;
  // bound on open key blobs; as many value blobs
  size_t open_sections_max = default_open_blobs_max();
  FreezerAccess access = FreezerAccess::create;
  // Refuse (Errc::corrupt, nothing changed) what would otherwise be served in part or cut: damage
  // of manifest or keys, values that are not there, any torn end of a crash. Values are not read: a
  // rotten one that was synced is served as an error. The table is made anew, as it can be. For
  // those who have another copy. Reads the keys twice.
  bool strict = false;
  // Goes back to this checkpoint of this store and drops what came after it. Unset: everything that
  // was made durable is kept.
  std::optional<FreezerCheckpoint> checkpoint = std::nullopt;
};

struct FreezerPut {
  ByteSpan key;
  ByteSpan value;
};

// One put, as iteration sees it.
struct FreezerItem {
  Bytes key;
  Section section;
  Position position;
  ValueLocation location;

  [[nodiscard]] FreezerCursor cursor() const { return {section, location}; }
};

struct FreezerStatistics {
  uint64_t items = 0;  // every put that is stored, those that newer ones of their key shadow too
  uint64_t puts = 0;   // since open, here and below
  uint64_t gets = 0;   // by key
  uint64_t has = 0;
  uint64_t unnecessary_reads = 0;   // records read for a key that had another key
  uint64_t unnecessary_writes = 0;  // slots written twice because the table was doubling
  uint64_t resizes = 0;             // doublings begun
  uint64_t syncs = 0;
  uint32_t table_size = 0;    // positions
  double load = 0;            // items a position
  bool resizing = false;      // the table is doubling
  uint64_t resizable = 0;     // positions due for a doubling; table on disk only
  bool resident = false;      // lookups use memory; otherwise the table on disk
  bool leaving = false;       // resident, and outgrown: puts write the table, then it is used
  uint64_t memory_bytes = 0;  // of the resident table, without caches and buffers
};

// Lengths of chains as they are on disk, from evenly spaced positions (all of them in a small
// table). Reading one record of a chain costs one page.
struct FreezerChains {
  uint64_t positions = 0;  // looked at
  uint64_t empty = 0;
  uint64_t longest = 0;             // records
  double records_per_miss = 0;      // the average length of a chain
  double records_per_hit = 0;       // to the newest record of a key, without help from memory
  std::vector<uint64_t> of_length;  // number of positions, by length; [0] == empty
};

enum class FreezerDepth : uint8_t {
  keys,    // pages of the key journal, the table, and every chain
  values,  // the checksum of every value, too
};

}  // namespace firn
