// SPDX-License-Identifier: Apache-2.0
//
// IndexedValueLog: fixed-size entries that each own a value of any size, recovered together.
// Use it where records must be scanned without reading their values; PrunableArchive and Freezer
// are built on it.
//
//   index partition (FixedJournal)                 value partition (ValueLog)
//   | entry prefix ... | offset u64 | size u32 | -> | payload | crc32c |
//   The last 12 bytes of every entry are the value's location, big-endian. FORMAT.md, section 4.
//
// Crash argument. A value's bytes are durable before its entry can reach the disk:
//   append -> value to its buffer, entry to its buffer; when the entry buffer must be written out,
//             the section's values are flushed to the device first.
//   sync   -> flush values, then entries, then raise the floor of the index.
//   rewind -> the index shrinks durably, then the values do; only then is the range reused.
//   prune  -> boundary, then index sections, then value sections.
//   open   -> at or below the floor every entry's value must lie inside the value blob, else the
//             section is set aside: nothing of it changes, appends to it are refused, and what is
//             readable is read (see FixedJournal for a damaged index). A writer looks at all
//             sections before it changes any. Above the floor entries count up to the first whose
//             value is missing or fails its checksum; the rest is saved aside (values, then pages
//             of the index), cut and reported, and so are value bytes that no entry refers to. Not
//             saved are only values behind an index of which nothing was cut, in a store that was
//             not closed: a writer that was stopped had written them ahead of their entries.
//             What is adopted is made durable first. With unknown floors (a store of the original)
//             each section is cut after its newest entry whose value lies inside the value blob, as
//             the original does. After a clean close the same look finds nothing, or what was added
//             to the files since.
//
// Invariants. 1. Entries of a section refer to ascending, disjoint ranges of its value blob.
// 2. No value section exists without its index section.
//
// Threads. One writer at a time; all reads run concurrently with it, never waiting for a flush.
// Cost. append: two copies and a checksum. sync: 2 flushes a dirty section. read: a cache probe.
//
// The structure is the original's oversized journal; it flushed both sides at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/base/value.h"
#include "firn/journal/batches.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/value_log.h"

namespace firn {

struct IndexedValueLogOptions {
  FixedJournalOptions index;  // record_size_bytes includes the 12 bytes of the location
  ValueLogOptions values;
};

class IndexedValueLog {
 public:
  static constexpr uint32_t kLocationSizeBytes = 12;

  struct Appended {
    Position position;
    ValueLocation location;
  };

  // Errors: invalid_argument (options, page size), corrupt (a blob that is no section), io,
  // no_space.
  [[nodiscard]] static Result<std::unique_ptr<IndexedValueLog>> open(
      Storage& storage, const IndexedValueLogOptions& options, RecoveryLog& recovery);

  // Appends a value and its entry: `prefix` is the entry without its location.
  // Errors: as FixedJournal::append and ValueLog::append; corrupt if the section is damaged.
  [[nodiscard]] Result<Appended> append(Section section, ByteSpan prefix,
                                        std::span<const ByteSpan> value);
  [[nodiscard]] Result<Appended> append(Section section, ByteSpan prefix, ByteSpan value) {
    return append(section, prefix, std::span<const ByteSpan>(&value, 1));
  }

  // The whole entry, location included.
  [[nodiscard]] Status read_entry(Section section, Position position, MutableByteSpan out) const {
    return index_->read(section, position, out);
  }
  // See ValueLog.
  void fetch_value(Section section, uint64_t offset) const { values_->fetch(section, offset); }
  // See FixedJournal and ValueLog.
  [[nodiscard]] FixedJournal::Batch entry_batch() const { return FixedJournal::Batch(*index_); }
  [[nodiscard]] ValueLog::Batch value_batch() const { return ValueLog::Batch(*values_); }
  [[nodiscard]] Result<std::optional<Position>> read_last(Section section,
                                                          MutableByteSpan out) const {
    return index_->read_last(section, out);
  }
  [[nodiscard]] Result<Value> read_value(Section section, ValueLocation location) const;
  // See ValueLog. Requires: no rewind any more.
  void map_reads() { values_->map_reads(); }
  // The location in an entry, without the rest of it.
  [[nodiscard]] Result<ValueLocation> location_at(Section section, uint64_t position) const;
  // The location that an entry holds. Requires: a whole entry.
  [[nodiscard]] static ValueLocation location_of(ByteSpan entry);

  // Bytes of the index section, 0 if it does not exist.
  [[nodiscard]] Result<uint64_t> size(Section section) const { return index_->size(section); }
  [[nodiscard]] Result<uint64_t> entry_count(Section section) const {
    return index_->record_count(section);
  }
  // The end of the last entry's value, 0 if the section is empty or missing.
  [[nodiscard]] Result<uint64_t> value_size(Section section) const;
  [[nodiscard]] std::vector<Section> sections() const { return index_->sections(); }
  [[nodiscard]] std::optional<Section> oldest_section() const { return index_->oldest_section(); }
  [[nodiscard]] std::optional<Section> newest_section() const { return index_->newest_section(); }

  // Errc::poisoned if an earlier mutation failed.
  [[nodiscard]] Status check_writable() const;
  [[nodiscard]] const std::string& index_partition() const { return index_->partition(); }
  // For mutations of what is built on the log.
  [[nodiscard]] Poison& poison() { return index_->poison_; }
  // Sections with appends that no sync covered yet.
  [[nodiscard]] size_t unsynced_section_count() const { return unsynced_.size(); }

  [[nodiscard]] Status sync(Section section);
  [[nodiscard]] Status sync_all();
  // sync_all, then records every floor, so that nothing is above one. Further calls stay possible.
  [[nodiscard]] Status close();
  [[nodiscard]] Result<size_t> prune(Section oldest_retained);
  // Syncs all, rewind_section only its section, so that what is kept is durable; then see
  // FixedJournal::rewind, and the values follow. out_of_range for a missing section, unless
  // index_size_bytes is 0; nothing is changed then.
  [[nodiscard]] Status rewind(Section section, uint64_t index_size_bytes);
  [[nodiscard]] Status rewind_section(Section section, uint64_t index_size_bytes);
  [[nodiscard]] Status destroy();

  // See FixedJournal::follow.
  [[nodiscard]] Result<std::vector<Section>> follow();

  // The sections that were set aside, each with what is wrong, the blob and the offset.
  [[nodiscard]] std::map<Section, Error> damaged() const { return index_->damaged(); }
  // Checks every page of the index and every location; with `values`, every value's checksum too.
  // Notes each damaged range and goes on; changes nothing. Fails only if something could not be
  // checked (io). `progress` gets the bytes checked since its last call.
  [[nodiscard]] Status verify(bool values, RecoveryLog& findings,
                              const std::function<void(uint64_t)>& progress) const;

  [[nodiscard]] Result<FixedReplay> replay(Section section = Section(0),
                                           Position position = Position(0)) const {
    return index_->replay(section, position);
  }

  [[nodiscard]] Result<FixedReplay> replay_section(Section section, Position position) const {
    return index_->replay_section(section, position);
  }

  [[nodiscard]] const FixedJournal& index() const { return *index_; }
  [[nodiscard]] const ValueLog& values() const { return *values_; }

 private:
  IndexedValueLog(Floors* floors, size_t unsynced_max)
      : floors_(floors), unsynced_max_(unsynced_max) {}

  [[nodiscard]] static Result<std::unique_ptr<IndexedValueLog>> open_once(
      Storage& storage, const IndexedValueLogOptions& options, const journal::KnownState& known,
      RecoveryLog& recovery);
  [[nodiscard]] Status recover(const journal::KnownState& known, RecoveryLog& recovery);
  // `looked`: what a look without changes found.
  [[nodiscard]] Status save_values_of_cut_entries(Storage& storage,
                                                  const RecoveryReport& looked) const;
  [[nodiscard]] Status recover_section(Section section, RecoveryLog& recovery);
  [[nodiscard]] Status unless_damaged(Section section, Status outcome, RecoveryLog& recovery);
  [[nodiscard]] Status set_aside(Section section, const Error& damage, RecoveryLog& recovery);
  void set_values_aside(Section section, const Error& damage, RecoveryLog& recovery);
  template <class T>
  [[nodiscard]] Result<T> unless_missing(Section section, Result<T> outcome) const;
  [[nodiscard]] Result<uint64_t> count_from_floor(Section section, uint64_t count,
                                                  uint64_t value_bytes, std::string& reason) const;
  [[nodiscard]] Result<uint64_t> count_like_original(Section section, uint64_t count,
                                                     uint64_t value_bytes) const;
  // What recovery finds of a section, and how many of its entries it keeps.
  struct Found {
    uint64_t count = 0;
    uint64_t kept = 0;
    uint64_t value_bytes = 0;
  };
  [[nodiscard]] Status cut(Section section, const Found& found, const std::string& reason,
                           RecoveryLog& recovery);
  [[nodiscard]] Result<uint64_t> end_of_entry(Section section, uint64_t position) const;
  [[nodiscard]] Status begin_appending(Section section);
  [[nodiscard]] Error missing_values(Section section, uint64_t found, uint64_t needed) const;
  [[nodiscard]] Status rewind_values(Section section, bool later_too);
  void follow_values();
  [[nodiscard]] Status remove_orphans(RecoveryLog& recovery);
  [[nodiscard]] Status remove_orphan(Section section, RecoveryLog& recovery);
  [[nodiscard]] Status verify_section(Section section, bool values, RecoveryLog& findings,
                                      const std::function<void(uint64_t)>& progress) const;

  std::unique_ptr<FixedJournal> index_;
  std::unique_ptr<ValueLog> values_;
  Floors* const floors_;
  const size_t unsynced_max_;
  bool was_clean_ = false;                // as of open
  bool follows_values_ = false;           // set in open or follow()
  std::set<Section> unsynced_;            // the writer's: appended to since their last sync
  std::optional<Section> last_appended_;  // the writer's
  Bytes entry_;                           // the writer's scratch
};

}  // namespace firn
