// SPDX-License-Identifier: Apache-2.0
//
// Freezer: a permanent store of values by key. Nothing is ever removed or changed: a put of a key
// that exists shadows the older value. Use it for blocks, receipts, documents: data that is written
// once and kept. Where old data is dropped, or items have numbers, use PrunableArchive.
//
//   table partition   position: 2 slots x | epoch, section, position u64 | added u8 | crc |
//   index partition   the key journal: | key | next section, position, offset u64 | size u32 |
//   values partition  the values, in put order; both in sections
//   manifest          geometry, floors, the checkpoint of the table, clean mark
//
//   position of a key = crc32c(key) modulo the table's size, a power of two; the newer slot of a
//   position names the newest record there, and each record the one before it. FORMAT.md, 8.
//
// Two ways to work, one format. By default the table lives in memory: a keyed fingerprint of each
// record answers lookups, and the table on disk is written at close. With immediate writing, and
// beyond the memory budget, lookups read the table on disk and walk chains.
//
// Crash argument. What was put before a sync() that succeeded survives; later puts survive as a
// prefix: a section is flushed before the next one begins. The table is derived: whatever a crash
// or damage leaves of it, it is made anew from the key journal. The manifest says which state of
// the key journal the table on disk has. See also IndexedValueLog and docs/freezer.md.
//
// Damage. A lookup that cannot rule out that the key was on a damaged page or in a damaged slot
// fails with Errc::corrupt; it never reports "not found". Not noticed before the next open: sectors
// of the table on disk that are zeroed, or go back in time, while lookups read it.
// Threads. All calls, concurrently. Mutations are serialised inside; reads beside them wait for
// no flush and no doubling of the table. Concurrent sync() share flushes. Forks: io/storage.h.
// Cost, in memory. put: two copies, a checksum, two hash insertions. sync: 2 flushes. get: a record
// and its value, each from the cache or read. A miss: no I/O. open: reads the key journal once,
// with a thread beside it from 256 Ki records on. close: writes what changed of the table. 30 bytes
// of memory a record. On disk. put: a slot. sync: 3 flushes, a commit, reads after a doubling. get:
// slot, chain, value.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/base/value.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer_types.h"
#include "firn/io/page_cache.h"
#include "firn/io/storage.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/store/store.h"

namespace firn {

namespace freezer {
class AbsenceFilter;
class DiskTable;
class ResidentTable;
enum class ResidentLookups : uint8_t;
}  // namespace freezer

class Freezer {
 public:
  // Errors: not_found (create is off), locked, invalid_argument (geometry, a checkpoint of another
  // store), corrupt, io, no_space.
  [[nodiscard]] static Result<std::unique_ptr<Freezer>> open(Storage& storage,
                                                             const FreezerOptions& options);
  ~Freezer();  // does not sync

  // Adds a value; it is what the key has from now on. Durable after sync(). The cursor stays valid.
  // Errors: invalid_argument (key size, value size), no_space, io, poisoned.
  [[nodiscard]] Result<FreezerCursor> put(ByteSpan key, std::span<const ByteSpan> value);
  [[nodiscard]] Result<FreezerCursor> put(ByteSpan key, ByteSpan value) {
    return put(key, std::span<const ByteSpan>(&value, 1));
  }
  // Puts in order, faster than one by one. If one fails, those before it are put.
  [[nodiscard]] Result<std::vector<FreezerCursor>> put_many(std::span<const FreezerPut> puts);
  // The newest value of a key, as it was put.
  [[nodiscard]] Result<std::optional<Value>> get(ByteSpan key) const;
  // Errors: out_of_range, corrupt. Once the store went back, older cursors may name other values.
  [[nodiscard]] Result<Value> get(const FreezerCursor& cursor) const;
  // Answers in the order of the questions, each on its own; small values may share memory.
  [[nodiscard]] std::vector<Result<std::optional<Value>>> get_many(
      std::span<const ByteSpan> keys) const;

  enum class Presence : uint8_t { absent, present };
  [[nodiscard]] Result<Presence> contains(ByteSpan key) const;  // reads no value
  // The newest put of a key, without its value.
  [[nodiscard]] Result<std::optional<FreezerItem>> find(ByteSpan key) const;
  [[nodiscard]] Result<Value> read_value(const FreezerItem& item) const;

  // Every put at the time of the call in order, shadowed ones too, until the visitor returns false.
  // Errc::corrupt at the end if damage hides some.
  using Visitor = std::function<bool(const FreezerItem&)>;
  [[nodiscard]] Status visit(const Visitor& visitor) const;
  [[nodiscard]] uint64_t item_count() const;  // stored puts, shadowed ones too
  // Everything put before the call is durable on return. The store keeps the checkpoint itself.
  [[nodiscard]] Result<FreezerCheckpoint> sync();
  // sync, the table on disk, the clean mark: the original can open it. Then unusable.
  [[nodiscard]] Result<FreezerCheckpoint> close();
  // Read-only: takes over what a writer in another process synced since; returns how many puts.
  [[nodiscard]] Result<uint64_t> refresh();
  // The error of the change that failed half-way: every change fails then.
  [[nodiscard]] Status check_writable() const;
  // Removes the freezer's partitions, unless others read them. The freezer is then unusable.
  [[nodiscard]] Status destroy();

  // Writes the whole table on disk anew from the key journal.
  [[nodiscard]] Status rebuild_table();
  // Checks the files as they are, and notes every damaged range; changes nothing. `progress` gets
  // the bytes checked since its last call. Puts wait until it returns.
  [[nodiscard]] Status verify(FreezerDepth depth, RecoveryLog& findings,
                              const std::function<void(uint64_t)>& progress) const;

  [[nodiscard]] FreezerStatistics statistics() const;
  [[nodiscard]] Result<FreezerChains> chains() const;
  [[nodiscard]] const RecoveryReport& recovery() const { return store_->recovery().report(); }
  [[nodiscard]] const IndexedValueLog& log() const { return *log_; }
  [[nodiscard]] Manifest* manifest() const { return store_->manifest(); }  // null: none
  [[nodiscard]] uint32_t key_size_bytes() const { return key_size_bytes_; }
  // Sections with damaged key pages, ascending. The freezer then refuses puts.
  [[nodiscard]] const std::vector<Section>& damaged_sections() const { return damaged_; }

 private:
  using Place = freezer::RecordPlace;
  using Located = Result<std::optional<Place>>;
  using Checkpoint = FreezerCheckpoint;
  using Parts = std::span<const ByteSpan>;
  using Cursor = Result<FreezerCursor>;
  using Source = freezer::TableSource;
  using Answer = Result<std::optional<Value>>;
  using RecordBuffer = std::array<std::byte, freezer::record_size_bytes(freezer::kKeySizeMaxBytes)>;

  Freezer() = default;
  // Opening: freezer_open.cc.
  [[nodiscard]] Status open_in_store(const FreezerOptions& options) REQUIRES(writer_);
  [[nodiscard]] Status open_log(Storage& storage, const FreezerOptions& options) REQUIRES(writer_);
  [[nodiscard]] Status check_unrecorded_geometry(Storage& storage,
                                                 const IndexedValueLogOptions& options) const;
  [[nodiscard]] Status load_record(FreezerAccess access) REQUIRES(writer_);
  [[nodiscard]] Status check_checkpoint(const Checkpoint& checkpoint) const REQUIRES(writer_);
  [[nodiscard]] Result<uint64_t> largest_table() const REQUIRES(writer_);
  [[nodiscard]] bool is_table_of(const Checkpoint& checkpoint) const REQUIRES(writer_);
  [[nodiscard]] Status go_back(const Checkpoint& checkpoint) REQUIRES(writer_);
  [[nodiscard]] Result<Source> find_source(const FreezerOptions& options) REQUIRES(writer_);
  [[nodiscard]] Status open_table(const FreezerOptions& options) REQUIRES(writer_);
  [[nodiscard]] Status open_resident(uint32_t size, const Source& source) REQUIRES(writer_);
  [[nodiscard]] Status open_on_disk(const Source& source) REQUIRES(writer_);
  [[nodiscard]] Result<std::string> repair_table(const Source& source) REQUIRES(writer_);
  [[nodiscard]] Status open_on_disk_read_only(const Source& source) REQUIRES(writer_);

  // The table: freezer_table.cc.
  [[nodiscard]] Status open_table_blob(bool create) REQUIRES(writer_);
  [[nodiscard]] freezer::DiskTable* disk_table() const EXCLUDES(state_);
  using Resident = std::unique_ptr<freezer::ResidentTable>;
  [[nodiscard]] Result<Resident> replay(uint32_t size, freezer::ResidentLookups lookups);
  [[nodiscard]] Result<Resident> replay_once(uint32_t size, freezer::ResidentLookups lookups);
  [[nodiscard]] Status forget_shadowed(freezer::ResidentTable& table) const;
  [[nodiscard]] Status absorb(Place place, ByteSpan record) REQUIRES(writer_);
  void note_damage(Section section, const Error& error);
  [[nodiscard]] Status rebuild_table_locked() REQUIRES(writer_);
  [[nodiscard]] Status rebuild_disk_table() REQUIRES(writer_);
  [[nodiscard]] Status rebuild_from_journal(uint32_t size, uint64_t epoch) REQUIRES(writer_);
  [[nodiscard]] Result<std::string> apply_tail(const Checkpoint& checkpoint) REQUIRES(writer_);
  [[nodiscard]] Status write_resident_table(const Checkpoint& checkpoint) REQUIRES(writer_);
  [[nodiscard]] Status write_groups(uint32_t first, uint32_t end, uint64_t epoch) REQUIRES(writer_);
  [[nodiscard]] bool outgrows_memory() const REQUIRES(writer_);
  [[nodiscard]] Status make_filter() REQUIRES(writer_);
  [[nodiscard]] Status leave_memory() REQUIRES(writer_);
  [[nodiscard]] Status commit(const freezer::TableRecord& record) REQUIRES(writer_);
  // Requires: all puts are synced, as the checkpoint says.
  [[nodiscard]] Status commit_synced(freezer::TableState, const Checkpoint&) REQUIRES(writer_);
  [[nodiscard]] Status begin_writing_slots() REQUIRES(writer_);
  [[nodiscard]] Result<Checkpoint> checkpoint_now() const REQUIRES(writer_);
  [[nodiscard]] Place end_of(const Checkpoint& checkpoint) const;
  [[nodiscard]] uint32_t record_bytes() const;
  [[nodiscard]] MutableByteSpan record_in(RecordBuffer& buffer) const;
  [[nodiscard]] Status check_key(ByteSpan key) const;
  [[nodiscard]] Status read_record(Place place, MutableByteSpan out) const;
  // The newest record of the key, in `record`; then, perhaps, its value is read.
  enum class Then : uint8_t { nothing, value };
  [[nodiscard]] Located locate(ByteSpan key, MutableByteSpan record, Then then) const;
  [[nodiscard]] Located locate_among(std::span<Place> candidates, ByteSpan key,
                                     MutableByteSpan record) const;
  [[nodiscard]] Located walk(std::optional<Place> head, ByteSpan key, MutableByteSpan record) const;
  [[nodiscard]] Place first_there(uint32_t position, Place head) const;
  [[nodiscard]] Located not_found() const;
  [[nodiscard]] Answer find_value(ByteSpan key) const;
  class Batch;
  [[nodiscard]] Result<Value> value_of(Place place, ValueLocation at) const;

  [[nodiscard]] Status check_writable_locked() const REQUIRES(writer_);
  [[nodiscard]] Cursor put_locked(ByteSpan key, Parts value) REQUIRES(writer_);
  [[nodiscard]] Cursor append(Section section, ByteSpan key, std::optional<Place> next, Parts value,
                              Place& place) REQUIRES(writer_);
  [[nodiscard]] const freezer::ResidentTable& resident() const REQUIRES(writer_);
  [[nodiscard]] Cursor put_resident(Section section, ByteSpan key, Parts value) REQUIRES(writer_);
  [[nodiscard]] Cursor put_on_disk(Section section, ByteSpan key, Parts value) REQUIRES(writer_);
  void forget_older(ByteSpan key, uint64_t fingerprint, Place newest) REQUIRES(writer_);
  [[nodiscard]] Status settle(uint64_t count) REQUIRES(writer_);
  [[nodiscard]] Status check_epoch() const REQUIRES(writer_);
  [[nodiscard]] Result<Checkpoint> sync_locked() REQUIRES(writer_);

  // Looking at the files: freezer_verify.cc.
  [[nodiscard]] Located head_of_position(uint32_t position) const;
  [[nodiscard]] Status walk_chain(std::optional<Place> head,
                                  const std::function<void(ByteSpan record)>& visit) const;
  class Verification;
  [[nodiscard]] uint32_t table_size() const EXCLUDES(state_);

  // Constant after open.
  std::unique_ptr<Store> store_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<IndexedValueLog> log_;
  uint32_t key_size_bytes_ = 0, table_size_min_ = 1, resize_frequency_ = 1, resize_chunk_ = 1;
  uint64_t section_target_bytes_ = 0, memory_budget_bytes_ = 0;
  TableWriting writing_ = TableWriting::deferred;
  std::string table_partition_;
  std::vector<Section> damaged_;  // ascending

  // Lock order: writer_, then state_.
  mutable Mutex writer_;  // held through a whole mutation, flushes included
  Bytes prefix_ GUARDED_BY(writer_);
  Section section_ GUARDED_BY(writer_);
  uint64_t section_value_bytes_ GUARDED_BY(writer_) = 0;
  uint64_t next_epoch_ GUARDED_BY(writer_) = 1;
  uint64_t synced_count_ GUARDED_BY(writer_) = 0;  // puts that a sync covered
  std::optional<FreezerCheckpoint> last_checkpoint_ GUARDED_BY(writer_);
  std::optional<freezer::TableRecord> recorded_ GUARDED_BY(writer_);  // as the manifest has it
  std::optional<uint32_t> groups_written_ GUARDED_BY(writer_);  // while the store leaves memory
  bool closed_ GUARDED_BY(writer_) = false, in_memory_ GUARDED_BY(writer_) = false;
  Poison poison_;  // of the table and the manifest; the journals have their own

  mutable SharedMutex state_;  // held for memory only, never during I/O
  std::unique_ptr<freezer::DiskTable> table_ GUARDED_BY(state_);       // null until it is needed
  std::unique_ptr<freezer::AbsenceFilter> filter_ GUARDED_BY(state_);  // null: walk chains
  Resident resident_ GUARDED_BY(state_);                               // null: work from disk

  std::atomic<uint64_t> items_ = 0, put_count_ = 0, syncs_ = 0;
  mutable std::atomic<uint64_t> gets_ = 0, has_ = 0, unnecessary_reads_ = 0;
};

}  // namespace firn
