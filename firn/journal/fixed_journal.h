// SPDX-License-Identifier: Apache-2.0
//
// FixedJournal: append-only records of one size, in sections that can be dropped one by one.
// Use it for indexes and ledgers whose records have a fixed size; values of any size belong in a
// ValueLog or an IndexedValueLog.
//
//   partition: one blob per section, named by the section's number; records back to back in
//   checksummed pages (FORMAT.md, section 3).
//
// Crash argument. After sync(section) returned, its records survive; later ones survive as a
// prefix.
//   append    -> nothing is promised; a new section's blob exists durably.
//   sync      -> pages, one flush, then the floor is raised.
//   prune     -> the boundary is durable before the first blob is removed; leftovers of an
//                interrupted prune are removed at open.
//   rewind    -> later sections go first, newest first, each durably; then the floor is lowered
//                durably, to a record below what is kept, so that open notices an interrupted cut;
//                then the section is truncated, durably, and the floor rises to its end.
//   open      -> see PagedBlob: an invalid tail above the floor is saved aside, cut at a record
//                boundary, and made durable. A section whose blob is missing, has no valid header,
//                or is damaged at its floor is set aside: it is reported, never changed (prune and
//                rewind may drop it), and every read of it is Errc::corrupt. The others go on.
// Without Floors (a store of the original) all floors are unknown and 0 sections are expected.
//
// Invariants. 1. Section sizes are multiples of the record size. 2. No section lies below the
// boundary. 3. Every section with a floor exists and is at least that long, or is set aside.
//
// Threads. One writer at a time (append, sync, prune, rewind, close). read, size, section lists and
// Replay run concurrently with it and never wait for a flush.
//
// Cost. append: a copy. sync: at most 2 writes and 1 flush a dirty section. read: one cache probe.
// open: one directory listing, and every section is opened once, after a clean close, too: bytes
// behind its end would be cut. At most `open_sections_max` blobs are open at a time, unless more
// are unsynced.
//
// The structure is the original's segmented fixed journal; floors and the bound are ours.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/page_cache.h"
#include "firn/io/paged_blob.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/journal/fixed_replay.h"
#include "firn/journal/floors.h"
#include "firn/journal/section_table.h"

namespace firn {

struct FixedJournalOptions {
  std::string partition;                // one journal's own; [A-Za-z0-9_-]+
  uint32_t record_size_bytes = 0;       // required, 1 to 1 MiB; must not change
  uint32_t page_size_bytes = 4084;      // 1 to 65535; must not change; 4084 makes pages of 4 KiB
  size_t write_buffer_bytes = 1 << 20;  // a dirty section's buffer; at least two pages
  size_t open_sections_max = default_open_blobs_max();  // bound on open blobs
  PageCache* cache = nullptr;  // required; may be shared; outlives the journal
  Floors* floors = nullptr;    // null: unknown (a store without a manifest)
};

// One blob of a FixedJournal while it is open.
struct PagedSection {
  std::unique_ptr<PagedBlob> blob;

  [[nodiscard]] uint64_t size() const { return blob->size(); }
  [[nodiscard]] bool dirty() const { return blob->size() != blob->durable_size(); }
};

namespace journal {
// How the blob of a section is opened.
struct SectionOpening {
  OpenMode mode;
  std::optional<uint64_t> floor;  // unset: asked from the floors
  uint64_t cache_id = 0;
  bool ends_at_floor = false;
};

// What a look at the journal, or at what its records refer to, has found out already.
struct KnownState {
  std::map<Section, Error> damage;  // set aside from the start; records are read if they can be
  bool ends_at_floors = false;      // every section was looked at and needs nothing
};
}  // namespace journal

class FixedJournal {
 public:
  // Opens the journal, creating nothing. `recovery` also decides whether it is read-only, and gets
  // every damaged section. Errors: invalid_argument (options, page size), corrupt (a blob whose
  // name is no section), io.
  [[nodiscard]] static Result<std::unique_ptr<FixedJournal>> open(
      Storage& storage, const FixedJournalOptions& options, RecoveryLog& recovery);
  ~FixedJournal();  // does not sync

  // Appends one record of exactly record_size_bytes and returns its position in the section.
  // Errors: pruned, invalid_argument (size), corrupt (a damaged section), no_space, io, poisoned.
  [[nodiscard]] Result<Position> append(Section section, ByteSpan record);
  // True if appending one more record would write pages of the section before a sync.
  [[nodiscard]] bool append_would_write(Section section) const;

  // Copies the record into `out` (record_size_bytes). Errors: pruned, out_of_range, corrupt, io.
  [[nodiscard]] Status read(Section section, Position position, MutableByteSpan out) const;
  // Copies a part of the record. Requires: offset + out.size() within the record.
  [[nodiscard]] Status read_part(Section section, Position position, uint32_t offset,
                                 MutableByteSpan out) const;
  // Reads many records from the cache: see batches.h.
  class Batch;
  // Copies the last record; false if the section is empty. out_of_range: no such section.
  [[nodiscard]] Result<std::optional<Position>> read_last(Section section,
                                                          MutableByteSpan out) const;

  // The sections that were set aside, each with what is wrong, the blob and the offset.
  [[nodiscard]] std::map<Section, Error> damaged() const { return table_.damaged(); }
  // Payload bytes of a section, 0 if it does not exist. Errors: pruned, corrupt, io.
  [[nodiscard]] Result<uint64_t> size(Section section) const;
  [[nodiscard]] Result<uint64_t> record_count(Section section) const;
  [[nodiscard]] std::vector<Section> sections() const { return table_.sections(); }
  [[nodiscard]] std::optional<Section> oldest_section() const { return table_.oldest(); }
  [[nodiscard]] std::optional<Section> newest_section() const { return table_.newest(); }
  [[nodiscard]] size_t open_section_count() const { return table_.open_count(); }

  // Errc::poisoned if an earlier mutation failed, invalid_argument if open for reading only.
  [[nodiscard]] Status check_writable() const;
  // Durable on return. A missing section is fine; a clean one costs nothing.
  [[nodiscard]] Status sync(Section section);
  [[nodiscard]] Status sync_all();
  // sync_all, then records every floor, so that nothing is above one. Further calls stay possible.
  [[nodiscard]] Status close();

  // Drops every section below `oldest_retained`, durably. Returns how many were removed.
  [[nodiscard]] Result<size_t> prune(Section oldest_retained);
  // Drops the sections after `section` and everything in it from `size_bytes` on, durably. Growing
  // is not an error and changes nothing. Requires: size_bytes is a multiple of the record size.
  [[nodiscard]] Status rewind(Section section, uint64_t size_bytes);
  // The same for the one section.
  [[nodiscard]] Status rewind_section(Section section, uint64_t size_bytes);
  // Drops every section, durably; the journal stays usable. A boundary in the floors stays.
  [[nodiscard]] Status clear();
  // Drops every section and the partition itself.
  [[nodiscard]] Status destroy();

  // For a reader, after its floors were refreshed: sections end at their floors from now on, pruned
  // ones are gone. Returns those that grew, ascending.
  [[nodiscard]] Result<std::vector<Section>> follow();

  // Checks every page of every section and notes each damaged range. Changes nothing.
  [[nodiscard]] Status verify(RecoveryLog& findings) const;
  [[nodiscard]] Status verify_section(Section section, RecoveryLog& findings) const;

  [[nodiscard]] uint32_t record_size_bytes() const { return options_.record_size_bytes; }
  [[nodiscard]] const std::string& partition() const { return options_.partition; }

  // See FixedReplay. From `position` if the first section is `section` itself, else from its start.
  // out_of_range if `position` lies beyond the end of that section.
  [[nodiscard]] Result<FixedReplay> replay(Section section = Section(0),
                                           Position position = Position(0),
                                           size_t buffer_bytes = kReplayBufferBytes) const;
  // Of one section only.
  [[nodiscard]] Result<FixedReplay> replay_section(Section section, Position position) const;

 private:
  using Table = journal::SectionTable<PagedSection>;

  FixedJournal(Storage& storage, const FixedJournalOptions& options, bool read_only);
  [[nodiscard]] Status recover(const journal::KnownState& known, RecoveryLog& recovery);
  [[nodiscard]] Status recover_section(Section section, const Error* known_damage,
                                       RecoveryLog& recovery);
  [[nodiscard]] std::map<Section, Error> check_floors(const std::vector<Section>& found) const;
  void set_aside(Section section, const Error& damage, RecoveryLog& recovery);
  [[nodiscard]] Status check_undamaged(Section section) const;
  using Opening = journal::SectionOpening;
  [[nodiscard]] Result<std::shared_ptr<PagedSection>> open_section(Section section,
                                                                   const Opening& opening,
                                                                   RecoveryLog& recovery) const;
  [[nodiscard]] Result<std::shared_ptr<PagedSection>> open_blob(Section section,
                                                                const Opening& opening,
                                                                RecoveryLog& recovery) const;
  [[nodiscard]] Result<std::shared_ptr<PagedSection>> reopen_section(
      Section section, const Table::Entry& entry) const;
  [[nodiscard]] Result<std::shared_ptr<PagedSection>> create_section(Section section);
  [[nodiscard]] Status begin_appending(Section section);
  [[nodiscard]] Result<std::shared_ptr<PagedSection>> find_retained(Section section) const;
  [[nodiscard]] bool read_from_cache(Section section, uint64_t offset, MutableByteSpan out) const;
  [[nodiscard]] Status read_from(const PagedSection* handle, Section section, Position position,
                                 uint32_t offset, MutableByteSpan out) const;
  [[nodiscard]] Status check_retained(Section section, uint64_t boundary) const;
  // What a blob is that was there and is `not_found`: pruned by the writer meanwhile, for a reader;
  // else damage.
  [[nodiscard]] Error explain_missing(Section section, const Error& not_found) const;
  [[nodiscard]] bool is_pinned() const {
    return read_only_ && options_.floors != nullptr && options_.floors->pinned();
  }
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> exclude_followers() const;
  [[nodiscard]] Status cut_section(Section section, uint64_t size_bytes);
  [[nodiscard]] Status sync_section(Section section, PagedSection& handle);
  [[nodiscard]] Status remove(const std::vector<Section>& sections);

  // For the owner, which checks what the records refer to before the floors are raised to them.
  [[nodiscard]] static Result<std::unique_ptr<FixedJournal>> open_unraised(
      Storage& storage, const FixedJournalOptions& options, const journal::KnownState& known,
      RecoveryLog& recovery);
  // No section is longer than its floor. Requires: floors.
  [[nodiscard]] bool ends_at_floors() const;
  // What the records of a section refer to is damaged: from now on nothing of it changes.
  [[nodiscard]] Status freeze(Section section, const Error& damage);
  // Raises the floor to `size_bytes`. Requires: they are durable.
  [[nodiscard]] Status raise_floor(Section section, uint64_t size_bytes);
  // Recovery of the owner, of a section whose records it has just counted: saves the pages of
  // records that it cannot adopt.
  [[nodiscard]] Status save_before_cut(Section section, uint64_t size_bytes, std::string reason,
                                       RecoveryLog& recovery) const;
  // Then cuts the section, or only the view of it if the journal is read-only.
  [[nodiscard]] Status cut_recovered(Section section, uint64_t size_bytes);
  [[nodiscard]] PagedBlob& recovered_blob(Section section) const;

  friend class IndexedValueLog;
  friend class FixedReplay;

  Storage& storage_;
  const FixedJournalOptions options_;
  const bool read_only_;
  Table table_;
  mutable std::atomic<uint64_t> boundary_ = 0;
  // The writer's: where it appended last, until that is synced. Saves it the look into the table.
  std::shared_ptr<PagedSection> appending_;
  Section appending_section_;
  Poison poison_;
};

}  // namespace firn
