// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: write-once items found by a number and by a key; the oldest can be dropped.
// Use it for blocks, events, messages or documents that arrive in an order and are read by either
// name. Numbers may have gaps and arrive in any order; several items may share one.
//
//   index partition    section s: records | index u64 | key | offset u64 | size u32 |, in put order
//   values partition   section s: values, in put order
//   manifest           geometry, floors, prune boundary, clean mark
//   memory             index -> position (runs), key token -> record, intervals of indices
//   section of an index = index rounded down to a multiple of items_per_section. FORMAT.md, 6.
//
// Crash argument. What was put before a sync() that succeeded survives. Later puts survive as a
// prefix per section. prune() makes its boundary durable before it removes anything, so that after
// a crash the items below it are gone for good and all others are there. See IndexedValueLog.
//
// Damage. An archive with damaged sections opens and serves the rest: a missing or damaged file
// costs what it held. Nothing of such a section is changed, puts into it are refused, prune may
// drop it, and close() leaves the archive unclean, so that the next open looks again. A lookup that
// cannot rule out that the item was on a damaged page, or whose value is damaged, fails with
// Errc::corrupt, naming blob and offset; it never reports "not found". `strict` refuses instead,
// but for damage inside of values, which no open reads.
//
// Threads. All calls, concurrently. Mutations are serialised inside; reads run beside them and
// never wait for a flush. Concurrent sync() calls share flushes. Forked children: io/storage.h.
//
// Cost. put: two copies, a checksum, two hash insertions. sync: 2 flushes a touched section.
// get: a search in memory, a cache probe for the record, one for a small value that was read
// before, else one read of the value. contains: no value is read. open: replays the index sections
// (one sequential read), never the values. Memory: about 20 bytes an item with distinct tokens and
// indices in order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "firn/archive/archive_state.h"
#include "firn/archive/archive_types.h"
#include "firn/archive/format.h"
#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/base/value.h"
#include "firn/index/interval_set.h"
#include "firn/index/key_translator.h"
#include "firn/index/token_index.h"
#include "firn/io/page_cache.h"
#include "firn/io/storage.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/store/store.h"

namespace firn {

class PrunableArchive {
 public:
  // Errors: not_found, locked, invalid_argument (geometry), corrupt (manifest; more if `strict`),
  // io, no_space. After all but the last two no item has changed; `strict` changed no file at all.
  [[nodiscard]] static Result<std::unique_ptr<PrunableArchive>> open(
      Storage& storage, const PrunableArchiveOptions& options);
  ~PrunableArchive();  // does not sync

  // Adds an item unless the index has one already (then nothing happens). Durable after sync().
  // Errors: invalid_argument (key size, value size), pruned, corrupt (the index belongs to a
  // damaged section), no_space, io, poisoned.
  [[nodiscard]] Result<PutOutcome> put(uint64_t index, ByteSpan key,
                                       std::span<const ByteSpan> value);
  [[nodiscard]] Result<PutOutcome> put(uint64_t index, ByteSpan key, ByteSpan value) {
    return put(index, key, std::span<const ByteSpan>(&value, 1));
  }
  // Adds an item to those of the index.
  [[nodiscard]] Status put_multi(uint64_t index, ByteSpan key, std::span<const ByteSpan> value);
  [[nodiscard]] Status put_multi(uint64_t index, ByteSpan key, ByteSpan value) {
    return put_multi(index, key, std::span<const ByteSpan>(&value, 1));
  }

  // The first item of an index; any item with the key. Values are as they were put.
  [[nodiscard]] Result<std::optional<Value>> get(uint64_t index) const;
  [[nodiscard]] Result<std::optional<Value>> get(ByteSpan key) const;
  // All items of an index in the order of their puts; nullopt if there is none.
  [[nodiscard]] Result<std::optional<std::vector<Value>>> get_all(uint64_t index) const;
  // Answers in the order of the questions; one that fails does not affect the others.
  [[nodiscard]] std::vector<Result<std::optional<Value>>> get_many(
      std::span<const uint64_t> indices) const;
  [[nodiscard]] std::vector<Result<std::optional<Value>>> get_many(
      std::span<const ByteSpan> keys) const;
  // The values of a range, ascending, all of an index in put order; none of the absent ones. Ends
  // after the first index with which there are `max` values or more: go on behind it. Puts and
  // prunes meanwhile may or may not be seen. Errc::corrupt if the range has items that cannot be
  // told because of damage: visit() gives those that can. Costs a record and a value an item, in
  // the order of the files if the puts were.
  [[nodiscard]] Result<std::vector<IndexedValue>> get_many(const IndexRange& range,
                                                           size_t max) const;

  enum class Presence : uint8_t { absent, present };
  // No value is read. By index no I/O at all.
  [[nodiscard]] Result<Presence> contains(uint64_t index) const;
  [[nodiscard]] Result<Presence> contains(ByteSpan key) const;

  // The item without its value; the item of a key. Its value is Errc::pruned if it was pruned
  // since, also by a prune that is not done yet.
  [[nodiscard]] Result<std::optional<ArchiveItem>> find(uint64_t index) const;
  [[nodiscard]] Result<std::optional<ArchiveItem>> find(ByteSpan key) const;
  [[nodiscard]] Result<Value> read_value(const ArchiveItem& item) const;

  // Iteration: the first present index at or after (before) `index`.
  [[nodiscard]] std::optional<uint64_t> next_index(uint64_t index) const;
  [[nodiscard]] std::optional<uint64_t> previous_index(uint64_t index) const;
  // Visits the items of [first, last] in order (descending with `reverse`), all items of an index
  // in put order, until the visitor returns false. Puts during the visit may or may not be seen.
  // Errc::corrupt at the end if the range has items that cannot be told because of damage.
  using Visitor = std::function<bool(const ArchiveItem&)>;
  [[nodiscard]] Status visit(uint64_t first, uint64_t last, bool reverse,
                             const Visitor& visitor) const;

  // Damaged sections that were not pruned, ascending. Where the index itself is damaged, items may
  // be there that nothing below knows: ranges() lacks them, while missing_items() and next_gap()
  // never count them as missing; to next_gap(), such a section is one range.
  [[nodiscard]] std::vector<Section> damaged_sections() const;
  [[nodiscard]] IndexGap next_gap(uint64_t index) const;
  [[nodiscard]] std::vector<uint64_t> missing_items(uint64_t start, size_t max) const;
  [[nodiscard]] std::vector<IndexRange> ranges(uint64_t from = 0, size_t max = SIZE_MAX) const;
  [[nodiscard]] std::optional<uint64_t> first_index() const;
  [[nodiscard]] std::optional<uint64_t> last_index() const;
  // Items below this index were pruned; always a multiple of items_per_section.
  [[nodiscard]] uint64_t oldest_allowed() const;

  // Everything put before the call is durable on return.
  [[nodiscard]] Status sync();
  // Drops every section that lies below `min` completely, durably.
  [[nodiscard]] Status prune(uint64_t min);
  // For a read-only archive: takes over what a writer in another process has synced and pruned
  // since; returns how many items that added. After a failure the rest comes with the next call.
  [[nodiscard]] Result<uint64_t> refresh();
  // sync, then the clean mark, unless a section is damaged: the next open needs no recovery. The
  // archive is then unusable.
  [[nodiscard]] Status close();
  // Removes the archive's partitions, unless others read them. The archive is then unusable.
  [[nodiscard]] Status destroy();

  [[nodiscard]] ArchiveStatistics statistics() const;
  [[nodiscard]] const RecoveryReport& recovery() const { return store_->recovery().report(); }
  [[nodiscard]] const IndexedValueLog& log() const { return *log_; }
  [[nodiscard]] Manifest* manifest() const { return store_->manifest(); }  // null: none
  [[nodiscard]] uint32_t key_size_bytes() const { return key_size_bytes_; }
  [[nodiscard]] uint64_t items_per_section() const { return items_per_section_; }

 private:
  using Locator = archive::Locator;
  using RecordBuffer = std::array<std::byte, archive::record_size_bytes(archive::kKeySizeMaxBytes)>;

  PrunableArchive() = default;
  [[nodiscard]] Status open_log(Storage& storage, const PrunableArchiveOptions& options);
  [[nodiscard]] Status look_strictly(Storage& storage, const IndexedValueLogOptions& options);
  [[nodiscard]] Status check_unrecorded_geometry(Storage& storage,
                                                 const IndexedValueLogOptions& options) const;
  [[nodiscard]] Status open_in_store(const PrunableArchiveOptions& options);
  [[nodiscard]] Status replay() EXCLUDES(state_);
  // Remembers the records of a replay: of all sections, where damage is noted, or what follows the
  // known end of one, where it is an error.
  [[nodiscard]] Status absorb(FixedReplay& replay, std::optional<archive::KnownEnd> known)
      EXCLUDES(state_);
  [[nodiscard]] Status absorb_new(Section section) EXCLUDES(state_);
  void forget_pruned(Section boundary) EXCLUDES(state_);
  void note_hidden(Section section, const Error& error);
  // The first damaged section of [first, last] that may hide items.
  [[nodiscard]] const std::pair<const Section, archive::Damage>* hiding_section(
      uint64_t first, uint64_t last) const;
  [[nodiscard]] Status check_put(uint64_t index, ByteSpan key) const REQUIRES(writer_);
  [[nodiscard]] Status append(uint64_t index, ByteSpan key, std::span<const ByteSpan> value)
      REQUIRES(writer_);
  void remember(uint64_t index, uint64_t token, Locator locator) REQUIRES(state_);
  void remember(archive::Arrivals& arrivals, size_t group) EXCLUDES(state_);
  // The packed place of the record, for the token index.
  uint64_t remember_place(uint64_t index, Locator locator) REQUIRES(state_);
  archive::SectionItems& items_of(Section section) REQUIRES(state_);
  void sweep_stale_tokens() REQUIRES(state_);
  [[nodiscard]] Section section_of(uint64_t index) const {
    return Section(index - index % items_per_section_);
  }
  // The first damage of the range that may hide items.
  [[nodiscard]] Status check_not_hiding(uint64_t first, uint64_t last) const;
  [[nodiscard]] std::vector<Locator> locate(uint64_t index) const EXCLUDES(state_);
  [[nodiscard]] std::optional<Locator> locate_first(uint64_t index) const EXCLUDES(state_);
  // Valid until this thread's next call.
  [[nodiscard]] std::span<const Locator> candidates(uint64_t token) const EXCLUDES(state_);
  // Success if damage cannot be the reason why the item was not found.
  [[nodiscard]] Status absence_of(uint64_t index) const;
  [[nodiscard]] Status absence_of_key() const;
  [[nodiscard]] Status check_key(ByteSpan key) const;
  [[nodiscard]] MutableByteSpan record_in(RecordBuffer& buffer) const {
    return MutableByteSpan(buffer).first(archive::record_size_bytes(key_size_bytes_));
  }
  [[nodiscard]] bool was_pruned(Section section) const;
  [[nodiscard]] Result<Presence> read_record(Locator locator, MutableByteSpan record) const;
  [[nodiscard]] Result<std::optional<Locator>> find_among(std::span<const Locator> among,
                                                          ByteSpan key,
                                                          MutableByteSpan record) const;
  [[nodiscard]] Result<std::optional<Value>> get_among(std::span<const Locator> among,
                                                       ByteSpan key) const;
  [[nodiscard]] Result<std::optional<ArchiveItem>> read_item(Locator locator) const;
  [[nodiscard]] static ArchiveItem item_of(Locator locator, ByteSpan record);
  [[nodiscard]] Result<Value> read_value(Section section, ValueLocation location,
                                         uint64_t index) const;
  [[nodiscard]] Result<std::optional<Value>> value_of(Locator locator, ByteSpan record) const;
  [[nodiscard]] Result<std::optional<Value>> value_at(Locator locator, ValueLocation location,
                                                      uint64_t index) const;

  // Constant after open.
  std::unique_ptr<Store> store_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<IndexedValueLog> log_;
  std::optional<KeyTranslator> translator_;
  uint32_t key_size_bytes_ = 0;
  uint64_t items_per_section_ = 0;
  std::map<Section, archive::Damage> damaged_;

  // Lock order: writer_, then state_.
  Mutex writer_;  // held through a whole mutation, flushes included
  Bytes prefix_ GUARDED_BY(writer_);
  std::atomic<uint64_t> put_count_ = 0;            // puts that returned
  uint64_t synced_count_ GUARDED_BY(writer_) = 0;  // puts that a sync covered
  bool closed_ GUARDED_BY(writer_) = false;
  std::set<Section> behind_ GUARDED_BY(writer_);  // grew, and are not read yet

  mutable SharedMutex state_;  // held for memory only, never during I/O
  std::map<Section, archive::SectionItems> sections_ GUARDED_BY(state_);
  std::vector<Section> slots_ GUARDED_BY(state_);
  std::unique_ptr<TokenIndex> tokens_ GUARDED_BY(state_);
  IntervalSet intervals_ GUARDED_BY(state_);
  uint64_t oldest_allowed_ GUARDED_BY(state_) = 0;
  uint64_t stale_tokens_ GUARDED_BY(state_) = 0;
  uint64_t indices_pruned_ GUARDED_BY(state_) = 0;
  uint64_t syncs_ GUARDED_BY(state_) = 0;

  mutable std::atomic<uint64_t> gets_ = 0;
  mutable std::atomic<uint64_t> has_ = 0;
  mutable std::atomic<uint64_t> unnecessary_reads_ = 0;
};

}  // namespace firn
