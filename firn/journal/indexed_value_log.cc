// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/indexed_value_log.h"

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/journal/section_name.h"
#include "firn/journal/value_entry.h"

namespace firn {
namespace {

using journal::end_of;

void encode_location(MutableByteSpan target, ValueLocation location) {
  store_big_endian(target.data(), location.offset);
  store_big_endian(target.data() + sizeof(uint64_t), location.size_bytes);
}

// Without floors another version is no damage.
bool is_damage(const Status& outcome, const Floors* floors) {
  if (outcome) return false;
  const Errc code = outcome.error().code;
  return code == Errc::corrupt || (floors != nullptr && code == Errc::unsupported_version);
}

// Whether recovery cut, or will cut, something of this blob.
bool has_cut(const RecoveryReport& report, const std::string& partition, Section section) {
  return std::ranges::any_of(report.cuts, [&](const CutRange& cut) {
    return cut.range.partition == partition && cut.range.blob == journal::section_hex(section);
  });
}

// The values that lie beyond the end of their blob. After a cut they are many, and one line tells
// of all that follow each other.
class LostValues {
 public:
  LostValues(BlobRange blob, uint64_t blob_size, RecoveryLog& findings)
      : lost_(std::move(blob)), blob_size_(blob_size), findings_(findings) {}
  LostValues(const LostValues&) = delete;
  LostValues& operator=(const LostValues&) = delete;
  ~LostValues() { note(); }

  void add(uint64_t position, ValueLocation location) {
    if (position != first_ + count_ || location.offset < lost_.offset) note();
    if (count_ == 0) {
      first_ = position;
      lost_.offset = location.offset;
    }
    ++count_;
    lost_.size_bytes = end_of(location) - lost_.offset;
  }

 private:
  void note() {
    if (count_ == 0) return;
    lost_.reason =
        concat("the values of ", count_, " entries, ", first_, " to ", first_ + count_ - 1,
               ", end beyond the blob, which has ", blob_size_, " bytes");
    findings_.note_damage(lost_);
    count_ = 0;
  }

  BlobRange lost_;
  const uint64_t blob_size_;
  RecoveryLog& findings_;
  uint64_t first_ = 0;  // entry
  uint64_t count_ = 0;
};

}  // namespace

ValueLocation IndexedValueLog::location_of(ByteSpan entry) {
  CHECK(entry.size() >= kLocationSizeBytes, "a whole entry");
  const std::byte* bytes = entry.data() + (entry.size() - kLocationSizeBytes);
  return {load_big_endian<uint64_t>(bytes), load_big_endian<uint32_t>(bytes + sizeof(uint64_t))};
}

Result<std::unique_ptr<IndexedValueLog>> IndexedValueLog::open(
    Storage& storage, const IndexedValueLogOptions& options, RecoveryLog& recovery) {
  if (options.index.record_size_bytes < kLocationSizeBytes) {
    return fail(Errc::invalid_argument,
                concat("entries of ", options.index.record_size_bytes,
                       " bytes cannot hold the 12 bytes of a value's location"));
  }
  if (options.index.partition == options.values.partition) {
    return fail(Errc::invalid_argument,
                concat("index and values cannot share the partition ", options.index.partition));
  }
  const bool clean = options.index.floors != nullptr && options.index.floors->was_clean();
  journal::KnownState known;
  if (!recovery.read_only()) {
    // Damage of values shows only after their index was recovered: this is found out first, without
    // a change, because nothing of a damaged section may change.
    RecoveryLog look_only(storage, true);
    TRY_INTO(const auto looked, open_once(storage, options, known, look_only));
    known.damage = looked->damaged();
    known.ends_at_floors = clean && look_only.report().empty() && looked->index_->ends_at_floors();
    // Once the entries are cut, nobody knows any more that these values had some.
    TRY(looked->save_values_of_cut_entries(storage, look_only.report()));
  }
  return open_once(storage, options, known, recovery);
}

Result<std::unique_ptr<IndexedValueLog>> IndexedValueLog::open_once(
    Storage& storage, const IndexedValueLogOptions& options, const journal::KnownState& known,
    RecoveryLog& recovery) {
  std::unique_ptr<IndexedValueLog> log(new IndexedValueLog(
      options.index.floors, std::max<size_t>(options.index.open_sections_max / 2, 1)));
  TRY_INTO(log->values_, ValueLog::open(storage, options.values, recovery));
  TRY_INTO(log->index_, FixedJournal::open_unraised(storage, options.index, known, recovery));
  TRY(log->recover(known, recovery));
  return log;
}

Status IndexedValueLog::save_values_of_cut_entries(Storage& storage,
                                                   const RecoveryReport& looked) const {
  if (looked.cuts.empty()) return {};
  RecoveryLog saved(storage, false);
  const std::map<Section, Error> damaged = index_->damaged();
  for (const Section section : index_->sections()) {
    const bool has_both = has_cut(looked, index_->partition(), section) &&
                          has_cut(looked, values_->partition(), section);
    if (damaged.contains(section) || !has_both) continue;
    TRY_INTO(const uint64_t values_end, value_size(section));
    TRY(values_->save_before_cut(section, values_end, {}, saved));
  }
  return {};
}

Status IndexedValueLog::recover(const journal::KnownState& known, RecoveryLog& recovery) {
  was_clean_ = floors_ != nullptr && floors_->was_clean();
  if (floors_ != nullptr && !recovery.read_only()) {
    // An interrupted prune may have removed index sections only.
    TRY(values_->prune(floors_->boundary()));
  }
  if (known.ends_at_floors) return {};
  const std::map<Section, Error> damaged = index_->damaged();
  if (index_->is_pinned()) {
    for (const Section section : floors_->sections()) {
      if (values_->contains(section) || damaged.contains(section)) continue;
      TRY(set_aside(section, missing_values(section, 0, floors_->floor(section)), recovery));
    }
    follow_values();
    return {};
  }
  for (const Section section : index_->sections()) {
    if (damaged.contains(section)) {
      // The journal has told of its own damage; what is left is that of the values.
      if (index_->size(section)) set_values_aside(section, known.damage.at(section), recovery);
      continue;
    }
    Status outcome = recover_section(section, recovery);
    // Damage of values that were closed is found by whoever reads them, or appends to them.
    const bool is_found_later = was_clean_ && values_->contains(section) &&
                                !has_cut(recovery.report(), index_->partition(), section);
    if (!is_found_later || !is_damage(outcome, floors_))
      TRY(unless_damaged(section, std::move(outcome), recovery));
  }
  return remove_orphans(recovery);
}

// Values end where those of the entries do: what follows them is the writer's.
void IndexedValueLog::follow_values() {
  if (std::exchange(follows_values_, true)) return;
  values_->follow([this](Section section) { return value_size(section); });
}

Result<std::vector<Section>> IndexedValueLog::follow() {
  TRY_INTO(auto grown, index_->follow());
  follow_values();
  values_->follow(grown, floors_->boundary());
  return grown;
}

// Of values whose blob was there when it was looked for.
template <class T>
Result<T> IndexedValueLog::unless_missing(Section section, Result<T> outcome) const {
  if (outcome || outcome.error().code != Errc::not_found) return outcome;
  return std::unexpected(index_->explain_missing(section, outcome.error()));
}

Result<Value> IndexedValueLog::read_value(Section section, ValueLocation location) const {
  return unless_missing(section, values_->read(section, location));
}

// Recovery of a section may find damage: then it has changed nothing, and the others go on.
Status IndexedValueLog::unless_damaged(Section section, Status outcome, RecoveryLog& recovery) {
  if (!is_damage(outcome, floors_)) return outcome;
  return set_aside(section, {Errc::corrupt, outcome.error().message}, recovery);
}

Status IndexedValueLog::set_aside(Section section, const Error& damage, RecoveryLog& recovery) {
  set_values_aside(section, damage, recovery);
  return index_->freeze(section, damage);
}

void IndexedValueLog::set_values_aside(Section section, const Error& damage,
                                       RecoveryLog& recovery) {
  recovery.note_damage({values_->partition(), journal::section_hex(section), 0, 0, damage.message});
  values_->set_aside(section, damage);
}

Status IndexedValueLog::recover_section(Section section, RecoveryLog& recovery) {
  TRY_INTO(const uint64_t count, index_->record_count(section));
  TRY_INTO(const uint64_t value_bytes, values_->size(section));
  if (count == 0 && floors_ == nullptr) return {};
  uint64_t kept = 0;
  std::string reason = "the value lies beyond the end of the value blob";
  if (floors_ != nullptr) {
    TRY_INTO(kept, count_from_floor(section, count, value_bytes, reason));
  } else {
    TRY_INTO(kept, count_like_original(section, count, value_bytes));
  }
  // Served values must be durable; their entries are already (FixedJournal::open).
  const bool above_floor =
      floors_ == nullptr || kept > floors_->floor(section) / index_->record_size_bytes();
  if (above_floor && kept > 0 && !recovery.read_only()) TRY(values_->adopt(section));
  TRY(cut(section, {count, kept, value_bytes}, reason, recovery));
  if (!above_floor || recovery.read_only()) return {};
  return index_->raise_floor(section, kept * index_->record_size_bytes());
}

Result<uint64_t> IndexedValueLog::count_from_floor(Section section, uint64_t count,
                                                   uint64_t value_bytes,
                                                   std::string& reason) const {
  const uint64_t floor_count = floors_->floor(section) / index_->record_size_bytes();
  CHECK(floor_count <= count, "FixedJournal::open checks the floor");
  uint64_t end = 0;
  if (floor_count > 0) {
    TRY_INTO(end, end_of_entry(section, floor_count - 1));
    if (end > value_bytes) return std::unexpected(missing_values(section, value_bytes, end));
  }
  for (uint64_t position = floor_count; position < count; ++position) {
    TRY_INTO(const ValueLocation location, location_at(section, position));
    if (location.offset < end || end_of(location) > value_bytes) return position;
    const Status checked = values_->check(section, location);
    if (!checked && checked.error().code != Errc::corrupt &&
        checked.error().code != Errc::out_of_range)
      return fail(checked.error().code, checked.error().message);
    if (!checked) {
      reason = checked.error().message;
      return position;
    }
    end = end_of(location);
  }
  return count;
}

Result<uint64_t> IndexedValueLog::count_like_original(Section section, uint64_t count,
                                                      uint64_t value_bytes) const {
  for (uint64_t kept = count; kept > 0; --kept) {
    const Result<ValueLocation> location = location_at(section, kept - 1);
    if (!location && location.error().code != Errc::corrupt)
      return fail(location.error().code, location.error().message);
    if (location && end_of(*location) <= value_bytes) return kept;
  }
  return 0;
}

Status IndexedValueLog::cut(Section section, const Found& found, const std::string& reason,
                            RecoveryLog& recovery) {
  const auto [count, kept, value_bytes] = found;
  uint64_t values_end = 0;
  if (kept > 0) {
    TRY_INTO(values_end, end_of_entry(section, kept - 1));
  }
  if (kept < count) {
    const uint64_t kept_bytes = kept * index_->record_size_bytes();
    const std::string dropped =
        concat("dropped ", count - kept, " entries, ", kept, " to ", count - 1, ": ", reason);
    recovery.note(concat("section ", section, ": ", dropped));
    TRY(index_->save_before_cut(section, kept_bytes, dropped, recovery));
    TRY(values_->save_before_cut(section, values_end, "values of dropped entries", recovery));
    TRY(index_->cut_recovered(section, kept_bytes));
  } else if (floors_ == nullptr || was_clean_ ||
             has_cut(recovery.report(), index_->partition(), section)) {
    TRY(values_->save_before_cut(section, values_end, "value bytes that no entry refers to",
                                 recovery));
  } else if (value_bytes > values_end) {
    // The ordinary end of a writer that was stopped, which may be large: nobody was promised them.
    // If a recovery was stopped, too, they may be values whose entries it had cut, and saved.
    TRY(values_->note_cut(section, values_end,
                          "values that were written ahead of their entries and never acknowledged",
                          recovery));
  }
  if (value_bytes > values_end && !recovery.read_only())
    TRY(values_->rewind_section(section, values_end));
  return {};
}

Status IndexedValueLog::remove_orphans(RecoveryLog& recovery) {
  const std::vector<Section> indexed = index_->sections();
  for (const Section section : values_->sections()) {
    if (std::ranges::binary_search(indexed, section)) continue;
    TRY(unless_damaged(section, remove_orphan(section, recovery), recovery));
  }
  return {};
}

Status IndexedValueLog::remove_orphan(Section section, RecoveryLog& recovery) {
  TRY(values_->save_before_cut(section, 0, "values without an index section", recovery));
  recovery.note(concat(recovery.read_only() ? "ignored" : "removed", " the values of section ",
                       section, ", which has no index"));
  return recovery.read_only() ? Status() : values_->remove_section(section);
}

Result<ValueLocation> IndexedValueLog::location_at(Section section, uint64_t position) const {
  std::byte location[kLocationSizeBytes];
  TRY(index_->read_part(section, Position(position),
                        index_->record_size_bytes() - kLocationSizeBytes, location));
  return location_of(location);
}

Result<uint64_t> IndexedValueLog::end_of_entry(Section section, uint64_t position) const {
  TRY_INTO(const ValueLocation location, location_at(section, position));
  return end_of(location);
}

Status IndexedValueLog::begin_appending(Section section) {
  TRY(index_->check_writable());
  if (!unsynced_.contains(section)) {
    // After a clean close nobody looked at the section yet. Values that were cut off must not be
    // replaced by others under the entries that refer to them.
    TRY(index_->check_undamaged(section));
    TRY_INTO(const uint64_t needed, value_size(section));
    TRY_INTO(const uint64_t found, unless_missing(section, values_->size(section)));
    if (found < needed) return std::unexpected(missing_values(section, found, needed));
    // Unsynced sections stay open; a bound on them bounds the descriptors.
    if (unsynced_.size() >= unsynced_max_) TRY(sync_all());
    if (floors_ != nullptr) TRY(floors_->begin_writing());
    unsynced_.insert(section);
  }
  last_appended_ = section;
  return {};
}

Error IndexedValueLog::missing_values(Section section, uint64_t found, uint64_t needed) const {
  const std::string blob =
      concat("blob ", values_->partition(), "/", journal::section_hex(section));
  if (!values_->contains(section))
    return {Errc::corrupt, concat(blob, ": missing, although values from file offset ",
                                  file_offset(0), " on were synced")};
  return {Errc::corrupt,
          concat(blob, ": ends at file offset ", file_offset(found),
                 ", but values up to file offset ", file_offset(needed), " were synced")};
}

Result<IndexedValueLog::Appended> IndexedValueLog::append(Section section, ByteSpan prefix,
                                                          std::span<const ByteSpan> value) {
  if (prefix.size() + kLocationSizeBytes != index_->record_size_bytes()) {
    return fail(Errc::invalid_argument,
                concat("an entry prefix of ", prefix.size(), " bytes, expected ",
                       index_->record_size_bytes() - kLocationSizeBytes));
  }
  if (last_appended_ != section) TRY(begin_appending(section));
  TRY_INTO(const ValueLocation location, values_->append(section, value));
  // Pages that leave the buffer now may hold this entry and every earlier one.
  if (index_->append_would_write(section)) TRY(values_->sync(section));
  entry_.resize(index_->record_size_bytes());
  copy_bytes(entry_, prefix);
  encode_location(MutableByteSpan(entry_).last(kLocationSizeBytes), location);
  TRY_INTO(const Position position, index_->append(section, entry_));
  return Appended{position, location};
}

Result<uint64_t> IndexedValueLog::value_size(Section section) const {
  TRY_INTO(const uint64_t count, index_->record_count(section));
  if (count == 0) return 0;
  TRY_INTO(const uint64_t end, end_of_entry(section, count - 1));
  if (end == UINT64_MAX)
    return fail(Errc::corrupt, concat("the last value of section ", section, " ends nowhere"));
  return end;
}

Status IndexedValueLog::check_writable() const {
  TRY(values_->check_writable());
  return index_->check_writable();
}

Status IndexedValueLog::sync(Section section) {
  TRY(values_->sync(section));
  TRY(index_->sync(section));
  unsynced_.erase(section);
  last_appended_.reset();
  return {};
}

Status IndexedValueLog::sync_all() {
  // Without anything unsynced too: the values may have failed in a rewind or a prune.
  if (!index_->read_only_) TRY(check_writable());
  for (const Section section : unsynced_)
    TRY(values_->sync(section));
  for (const Section section : unsynced_)
    TRY(index_->sync(section));
  unsynced_.clear();
  last_appended_.reset();
  return {};
}

Status IndexedValueLog::close() {
  TRY(sync_all());
  return index_->close();
}

Result<size_t> IndexedValueLog::prune(Section oldest_retained) {
  unsynced_.erase(unsynced_.begin(), unsynced_.lower_bound(oldest_retained));
  last_appended_.reset();
  TRY_INTO(const size_t removed_index, index_->prune(oldest_retained));
  TRY_INTO(const size_t removed_values, values_->prune(oldest_retained));
  return std::max(removed_index, removed_values);
}

Status IndexedValueLog::rewind(Section section, uint64_t index_size_bytes) {
  const std::vector<Section> existing = index_->sections();
  if (index_size_bytes != 0 && !std::ranges::binary_search(existing, section))
    return fail(Errc::out_of_range, concat("there is no section ", section, " to rewind"));
  TRY(sync_all());
  TRY_INTO(const auto no_followers, index_->exclude_followers());
  TRY(index_->rewind(section, index_size_bytes));
  return index_->poison_.watch(rewind_values(section, true));
}

Status IndexedValueLog::rewind_section(Section section, uint64_t index_size_bytes) {
  const std::vector<Section> existing = index_->sections();
  if (index_size_bytes != 0 && !std::ranges::binary_search(existing, section))
    return fail(Errc::out_of_range, concat("there is no section ", section, " to rewind"));
  TRY(sync(section));
  TRY_INTO(const auto no_followers, index_->exclude_followers());
  TRY(index_->rewind_section(section, index_size_bytes));
  return index_->poison_.watch(rewind_values(section, false));
}

Status IndexedValueLog::rewind_values(Section section, bool later_too) {
  TRY_INTO(const uint64_t target, value_size(section));
  return later_too ? values_->rewind(section, target) : values_->rewind_section(section, target);
}

Status IndexedValueLog::destroy() {
  TRY(index_->destroy());
  return values_->destroy();
}

Status IndexedValueLog::verify(bool values, RecoveryLog& findings,
                               const std::function<void(uint64_t)>& progress) const {
  for (const Section section : index_->sections()) {
    const Status verified = verify_section(section, values, findings, progress);
    if (!verified && verified.error().code != Errc::pruned) return verified;
  }
  return {};
}

Status IndexedValueLog::verify_section(Section section, bool values, RecoveryLog& findings,
                                       const std::function<void(uint64_t)>& progress) const {
  auto count = index_->record_count(section);
  if (!count && count.error().code != Errc::corrupt) return pass_on(count);
  TRY(index_->verify_section(section, findings));
  if (!count) return {};  // noted
  progress(*count * index_->record_size_bytes());
  const auto value_bytes = unless_missing(section, values_->size(section));
  const std::string blob = journal::section_hex(section);
  if (!value_bytes) {
    const Error& failure = value_bytes.error();
    if (failure.code != Errc::corrupt && failure.code != Errc::unsupported_version)
      return std::unexpected(failure);
    findings.note_damage({values_->partition(), blob, 0, 0, failure.message});
    return {};
  }
  LostValues lost({.partition = values_->partition(), .blob = blob, .reason = {}}, *value_bytes,
                  findings);
  uint64_t end = 0;
  for (uint64_t position = 0; position < *count; ++position) {
    const Result<ValueLocation> location = location_at(section, position);
    if (!location && location.error().code != Errc::corrupt)
      return fail(location.error().code, location.error().message);
    if (!location) continue;  // its page is already noted
    const auto damaged = [&](const std::string& why) {
      findings.note_damage({values_->partition(), blob, location->offset, location->size_bytes,
                            concat("value of entry ", position, ": ", why)});
    };
    const bool is_possible =
        location->size_bytes >= journal::kChecksumSizeBytes && end_of(*location) != UINT64_MAX;
    if (location->offset < end || !is_possible) {
      damaged("its location is impossible");
      continue;
    }
    if (end_of(*location) > *value_bytes) {
      lost.add(position, *location);
      continue;
    }
    end = end_of(*location);
    if (values) {
      const Status checked = unless_missing(section, values_->check(section, *location));
      if (!checked && checked.error().code != Errc::corrupt)
        return fail(checked.error().code, checked.error().message);
      if (!checked) damaged(checked.error().message);
      progress(location->size_bytes);
    }
  }
  return {};
}

}  // namespace firn
