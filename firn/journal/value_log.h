// SPDX-License-Identifier: Apache-2.0
//
// ValueLog: append-only values of any size, addressed by (section, offset, size), with a checksum
// each. Use it below an index that remembers the addresses; IndexedValueLog is that combination.
//
//   partition: one blob per section; entries back to back: payload, then crc32c(payload) (4 bytes,
//   big-endian). With compression the payload is a zstd frame. FORMAT.md, section 4.
//
// Crash argument. sync(section) makes every value appended before durable; later ones survive in
// any subset, and their checksums tell. A truncation is durable before its range is reused.
//
// Threads. One writer at a time; read and size run concurrently with it, never waiting for a flush.
//
// Cost. append: a copy and a checksum (no copy above the buffer size). read: one read of the blob,
// a checksum, at most one allocation. open: one directory listing, no blob is opened.
//
// The structure is the original's glob. Bounded decompression and the durable truncation are ours.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/base/value.h"
#include "firn/io/page_cache.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/journal/section_table.h"
#include "firn/journal/value_segment.h"

namespace firn {

// Where a value is inside its section. size_bytes includes the checksum.
struct ValueLocation {
  uint64_t offset = 0;
  uint32_t size_bytes = 0;

  friend bool operator==(const ValueLocation&, const ValueLocation&) = default;
};

struct ValueLogOptions {
  std::string partition;                 // one log's own
  std::optional<int> compression_level;  // zstd, 0 = its default; nothing: stored as it is
  size_t write_buffer_bytes = 1 << 20;   // a dirty section's buffer
  size_t open_sections_max = default_open_blobs_max();  // bound on open blobs
  uint32_t value_size_max_bytes = UINT32_MAX - 4;       // of a payload; larger ones are refused
  PageCache* cache = nullptr;  // for small values, once map_reads() was called; outlives the log
};

class ValueLog {
 public:
  // Errc::invalid_argument if zstd does not know the level. open() checks it, too.
  [[nodiscard]] static Status check_compression_level(int level);
  [[nodiscard]] static Result<std::unique_ptr<ValueLog>> open(Storage& storage,
                                                              const ValueLogOptions& options,
                                                              RecoveryLog& recovery);
  ~ValueLog();  // does not sync

  // Appends one value, given as buffers to be joined. Errors: pruned, invalid_argument (too large),
  // no_space, io, poisoned.
  [[nodiscard]] Result<ValueLocation> append(Section section, std::span<const ByteSpan> value);
  [[nodiscard]] Result<ValueLocation> append(Section section, ByteSpan value) {
    return append(section, std::span<const ByteSpan>(&value, 1));
  }

  // Reads, checks and decompresses. Errors: pruned, out_of_range (no such section, beyond its end,
  // size below 4), corrupt (checksum, compression), not_found (the blob is gone: IndexedValueLog
  // tells why), io.
  [[nodiscard]] Result<Value> read(Section section, ValueLocation location) const;
  // For a read that follows soon of a value that begins at about this offset: starts to load it
  // from the cache, if it is there.
  void fetch(Section section, uint64_t offset) const;
  // Reads many values from the cache: see batches.h.
  class Batch;
  // The same without returning the value, and never from the cache.
  [[nodiscard]] Status check(Section section, ValueLocation location) const;

  // From now on durable values are read in place where the storage can map them, and small ones
  // from the cache. Requires: no section is truncated any more.
  void map_reads() { only_grows_ = true; }

  // For a reader beside a writer: a section is as long as `end_of` says, whatever its blob holds.
  // Where that is Errc::corrupt, as long as the blob, and never cached. It must not call this log.
  using EndOf = std::function<Result<uint64_t>(Section)>;
  void follow(EndOf end_of);
  // These sections may be new or longer; those below the boundary are gone.
  void follow(const std::vector<Section>& grown, Section boundary);

  // Bytes of a section, 0 if it does not exist.
  [[nodiscard]] Result<uint64_t> size(Section section) const;
  [[nodiscard]] std::vector<Section> sections() const { return table_.sections(); }
  [[nodiscard]] bool contains(Section section) const { return table_.contains(section); }
  [[nodiscard]] size_t open_section_count() const { return table_.open_count(); }

  [[nodiscard]] const std::string& partition() const { return options_.partition; }

  // From now on the section is opened for reading only; if its blob is missing, reads fail with
  // `damage`.
  void set_aside(Section section, const Error& damage);
  // Errc::poisoned if an earlier mutation failed, invalid_argument if open for reading only.
  [[nodiscard]] Status check_writable() const;
  [[nodiscard]] Status sync(Section section);
  [[nodiscard]] Status sync_all();
  // Makes what was found in a section at open durable, whatever is known about it.
  [[nodiscard]] Status adopt(Section section);
  [[nodiscard]] Result<size_t> prune(Section oldest_retained);
  [[nodiscard]] Status rewind(Section section, uint64_t size_bytes);
  [[nodiscard]] Status rewind_section(Section section, uint64_t size_bytes);
  // Durably removes one section; a missing one is fine.
  [[nodiscard]] Status remove_section(Section section);
  [[nodiscard]] Status clear();
  [[nodiscard]] Status destroy();

  // Saves [offset, size) of a section to lost-found and notes it, before the caller cuts it.
  [[nodiscard]] Status save_before_cut(Section section, uint64_t offset, std::string reason,
                                       RecoveryLog& recovery) const;
  // Notes that the caller, who asked for the size, cuts [offset, size) of a section, of which
  // nothing was promised to anybody.
  [[nodiscard]] Status note_cut(Section section, uint64_t offset, std::string reason,
                                RecoveryLog& recovery) const;

 private:
  using Handle = std::shared_ptr<journal::ValueSegment>;

  // From `offset` to the end of a section.
  [[nodiscard]] BlobRange rest_of(Section section, const Handle& handle, uint64_t offset,
                                  std::string reason) const;

  ValueLog(Storage& storage, const ValueLogOptions& options, bool read_only);
  [[nodiscard]] Result<Handle> open_section(Section section, OpenMode mode,
                                            std::optional<uint64_t> durable_size,
                                            uint64_t cache_id) const;
  [[nodiscard]] uint64_t new_cache_id() const;
  void forget(Section section);
  [[nodiscard]] Result<journal::ValueSegment*> begin_appending(Section section);
  [[nodiscard]] Result<Handle> find_or_create(Section section);
  [[nodiscard]] Result<Handle> find_existing(Section section) const;
  [[nodiscard]] Status check_retained(Section section) const;
  [[nodiscard]] Status remove(const std::vector<Section>& sections);
  enum class Use : uint8_t { cache, blob };
  [[nodiscard]] Result<Value> read_entry(Section section, ValueLocation location, Use use) const;
  [[nodiscard]] std::optional<Value> find_in_memory(Section section, ValueLocation location) const;
  [[nodiscard]] Result<Value> read(Section section, ValueLocation location, Use use) const;

  Storage& storage_;
  const ValueLogOptions options_;
  const bool read_only_;
  journal::SectionTable<journal::ValueSegment> table_;
  std::atomic<uint64_t> boundary_ = 0;
  std::atomic<bool> only_grows_ = false;
  EndOf end_of_;                 // set and called under the lock of table_
  Bytes compressed_;             // the writer's scratch
  Bytes joined_;                 // the writer's scratch
  std::vector<ByteSpan> parts_;  // the writer's scratch
  // The writer's: where it appended last, until that is synced. Saves it the look into the table.
  Handle appending_;
  Section appending_section_;
  Poison poison_;
};

}  // namespace firn
