// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/freezer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/per_thread.h"
#include "firn/base/read_section.h"
#include "firn/base/text.h"
#include "firn/freezer/absence_filter.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/resident_table.h"

namespace firn {

using freezer::DiskTable;
using freezer::ResidentTable;
using freezer::TableState;

namespace {

// How often a growing freezer looks at its memory.
constexpr uint64_t kPutsPerBudgetCheck = 1024;
// More than are put while a store leaves its memory.
constexpr uint64_t kRecordsWhileLeaving = 1 << 20;
// Keys of a batch whose memory is fetched together.
constexpr size_t kGroupPuts = 16;
// What close() settles of what is left: one or two records are read for each position of a half.
constexpr uint64_t kSettledAtCloseMax = 1 << 16;
// Records that are read for a head; from where that gets to, the next doubling goes on.
constexpr int kReadsPerHeadMax = 16;

}  // namespace

Freezer::~Freezer() = default;

Status Freezer::check_key(ByteSpan key) const {
  if (key.size() == key_size_bytes_) return {};
  return fail(Errc::invalid_argument,
              concat("a key of ", key.size(), " bytes, but the keys of ",
                     store_->storage().description(), " have ", key_size_bytes_, " bytes"));
}

uint32_t Freezer::record_bytes() const {
  return freezer::record_size_bytes(key_size_bytes_);
}

MutableByteSpan Freezer::record_in(RecordBuffer& buffer) const {
  return MutableByteSpan(buffer).first(record_bytes());
}

// ---- lookups

Status Freezer::read_record(Place place, MutableByteSpan record) const {
  Status read = log_->read_entry(place.section, place.position, record);
  if (read) return read;
  if (read.error().code != Errc::out_of_range) return freezer::advise(std::move(read));
  return fail(Errc::corrupt,
              concat("a chain of the freezer leads past the end of its key journal: ",
                     read.error().message, "; run `firn verify`, then `firn freezer rebuild`"));
}

Result<std::optional<Freezer::Place>> Freezer::locate(ByteSpan key, MutableByteSpan record,
                                                      Then then) const {
  TRY(check_key(key));
  thread_local constinit PerThread<std::vector<Place>> kept;
  std::vector<Place>& candidates = kept.get();
  candidates.clear();
  const DiskTable* on_disk = nullptr;
  bool is_absent = false;
  bool has_head = false;
  std::optional<Place> head;
  uint64_t value_offset = 0;
  {
    ReaderLock lock(state_);
    if (resident_ == nullptr) {
      on_disk = table_.get();
      is_absent = filter_ != nullptr && !filter_->may_contain(crc32c(key));
    } else if (resident_->has_fingerprints()) {
      resident_->for_each_candidate(resident_->fingerprint(key), [&](Place place, uint64_t offset) {
        candidates.push_back(place);
        value_offset = offset;
      });
    } else {
      has_head = true;
      head = resident_->head(crc32c(key));
    }
  }
  if (is_absent) return not_found();
  if (on_disk != nullptr) {
    TRY_INTO(const freezer::Pair pair, on_disk->find(crc32c(key)));
    has_head = true;
    if (pair.head() != nullptr) head = pair.head()->head;
  }
  if (has_head) return walk(head, key, record);
  // The memory of the record and of the value, of which this is a hint, is waited for together.
  if (then == Then::value && candidates.size() == 1)
    log_->fetch_value(candidates.front().section, value_offset);
  return locate_among(candidates, key, record);
}

// The newest first: it is what the key has now.
Result<std::optional<Freezer::Place>> Freezer::locate_among(std::span<Place> candidates,
                                                            ByteSpan key,
                                                            MutableByteSpan record) const {
  if (candidates.size() > 1) std::ranges::sort(candidates, std::greater<>());
  for (const Place& place : candidates) {
    TRY(read_record(place, record));
    if (equal_bytes(freezer::key_of(record), key)) return std::optional(place);
    unnecessary_reads_.fetch_add(1, std::memory_order_relaxed);
  }
  return not_found();
}

Result<std::optional<Freezer::Place>> Freezer::not_found() const {
  if (damaged_.empty()) return std::optional<Place>();
  return fail(Errc::corrupt,
              concat("the key was not found, but ", freezer::key_section(*log_, damaged_.front()),
                     " is damaged", freezer::kDamageAdvice));
}

Result<std::optional<Freezer::Place>> Freezer::walk(std::optional<Place> head, ByteSpan key,
                                                    MutableByteSpan record) const {
  while (head) {
    const Place place = *head;
    TRY(read_record(place, record));
    if (equal_bytes(freezer::key_of(record), key)) return std::optional(place);
    unnecessary_reads_.fetch_add(1, std::memory_order_relaxed);
    head = freezer::next_of(record);
    if (head && *head >= place) return freezer::leads_forward(*log_, place, *head);
  }
  return not_found();
}

// Where the chain of `head` begins for the keys of a position of the table on disk: at the first
// record that belongs there, or that cannot be read, or at the last one if none does.
Freezer::Place Freezer::first_there(uint32_t position, Place head) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  const DiskTable& table = *disk_table();
  for (int reads = 0; reads < kReadsPerHeadMax; ++reads) {
    if (!read_record(head, record)) return head;
    if (table.position_of(crc32c(freezer::key_of(record))) == position) return head;
    const auto next = freezer::next_of(record);
    if (!next || *next >= head) return head;
    head = *next;
  }
  return head;
}

// A record may lead past the end of its values.
Result<Value> Freezer::value_of(Place place, ValueLocation at) const {
  auto value = log_->read_value(place.section, at);
  if (value) return value;
  if (value.error().code != Errc::out_of_range) return freezer::advise(std::move(value));
  return fail(Errc::corrupt, concat("record ", place.position, " of key section ", place.section,
                                    ": ", value.error().message, freezer::kDamageAdvice));
}

Result<std::optional<Value>> Freezer::get(ByteSpan key) const {
  gets_.fetch_add(1, std::memory_order_relaxed);
  return find_value(key);
}

Result<std::optional<Value>> Freezer::find_value(ByteSpan key) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  TRY_INTO(const auto place, locate(key, record, Then::value));
  if (!place) return std::optional<Value>();
  TRY_INTO(Value value, value_of(*place, IndexedValueLog::location_of(record)));
  return std::optional(std::move(value));
}

Result<Value> Freezer::get(const FreezerCursor& cursor) const {
  return freezer::advise(log_->read_value(cursor.section, cursor.location));
}

Result<Freezer::Presence> Freezer::contains(ByteSpan key) const {
  has_.fetch_add(1, std::memory_order_relaxed);
  RecordBuffer buffer;
  TRY_INTO(const auto place, locate(key, record_in(buffer), Then::nothing));
  return place ? Presence::present : Presence::absent;
}

Result<std::optional<FreezerItem>> Freezer::find(ByteSpan key) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  TRY_INTO(const auto place, locate(key, record, Then::nothing));
  if (!place) return std::optional<FreezerItem>();
  return std::optional(FreezerItem{to_bytes(key), place->section, place->position,
                                   IndexedValueLog::location_of(record)});
}

Result<Value> Freezer::read_value(const FreezerItem& item) const {
  return value_of({item.section, item.position}, item.location);
}

// Some keys of get_many, which wait for memory together: first for the fingerprints, then for the
// records that are in the page cache, and for the values there of the records before. What is left
// is read one by one.
class Freezer::Batch {
 public:
  static constexpr size_t kKeysMax = 128;

  Batch(const Freezer& freezer, std::span<const ByteSpan> keys, std::span<Answer> answers)
      : freezer_(freezer), keys_(keys), answers_(answers) {}

  void read() {
    const bool has_fingerprints = find_candidates();
    if (has_fingerprints) read_cached();
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (answers_[i]->has_value()) continue;
      const bool is_known = has_fingerprints && candidate_count_[i] <= 1;
      answers_[i] = is_known ? read_candidate(i) : freezer_.find_value(keys_[i]);
    }
  }

 private:
  // False if there are no fingerprints in memory.
  [[nodiscard]] bool find_candidates() {
    ReaderLock lock(freezer_.state_);
    const Resident& resident = freezer_.resident_;
    if (resident == nullptr || !resident->has_fingerprints()) return false;
    std::array<uint64_t, kKeysMax> fingerprints;
    for (size_t i = 0; i < keys_.size(); ++i)
      fingerprints[i] = resident->fingerprint(keys_[i]);
    resident->find_many(std::span(fingerprints).first(keys_.size()), [&](size_t i, Place place) {
      candidates_[i] = place;
      ++candidate_count_[i];
    });
    return true;
  }

  // Of the keys that have one candidate, the values that need no reading.
  void read_cached() {
    FixedJournal::Batch records = freezer_.log_->entry_batch();
    ValueLog::Batch values = freezer_.log_->value_batch();
    const auto visit = [&](size_t i, ByteSpan record) {
      if (equal_bytes(freezer::key_of(record), keys_[i]))
        values.push(candidates_[i].section, IndexedValueLog::location_of(record), *answers_[i]);
    };
    for (size_t i = 0; i < keys_.size(); ++i)
      if (candidate_count_[i] == 1)
        records.push(candidates_[i].section, candidates_[i].position, i, visit);
    records.finish(visit);
    values.finish();
  }

  [[nodiscard]] Answer read_candidate(size_t i) {
    TRY(freezer_.check_key(keys_[i]));
    RecordBuffer buffer;
    const MutableByteSpan record = freezer_.record_in(buffer);
    const auto candidate = std::span(candidates_).subspan(i, candidate_count_[i]);
    TRY_INTO(const auto place, freezer_.locate_among(candidate, keys_[i], record));
    if (!place) return std::optional<Value>();
    TRY_INTO(Value value, freezer_.value_of(*place, IndexedValueLog::location_of(record)));
    return std::optional(std::move(value));
  }

  const Freezer& freezer_;
  const std::span<const ByteSpan> keys_;
  const std::span<Answer> answers_;
  std::array<Place, kKeysMax> candidates_;  // the last one of each
  std::array<size_t, kKeysMax> candidate_count_{};
};

std::vector<Result<std::optional<Value>>> Freezer::get_many(std::span<const ByteSpan> keys) const {
  gets_.fetch_add(keys.size(), std::memory_order_relaxed);
  std::vector<Answer> answers(keys.size());
  for (size_t from = 0; from < keys.size(); from += Batch::kKeysMax) {
    const size_t count = std::min(Batch::kKeysMax, keys.size() - from);
    Batch(*this, keys.subspan(from, count), std::span(answers).subspan(from, count)).read();
  }
  return answers;
}

// ---- mutations

Status Freezer::check_writable() const {
  MutexLock lock(writer_);
  return check_writable_locked();
}

Status Freezer::check_writable_locked() const {
  if (closed_) return fail(Errc::invalid_argument, "the freezer is closed");
  TRY(log_->check_writable());
  return poison_.check();
}

Result<FreezerCursor> Freezer::put(ByteSpan key, std::span<const ByteSpan> value) {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  return put_locked(key, value);
}

Result<std::vector<FreezerCursor>> Freezer::put_many(std::span<const FreezerPut> puts) {
  std::vector<FreezerCursor> cursors;
  cursors.reserve(puts.size());
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  for (size_t i = 0; i < puts.size(); ++i) {
    if (i % kGroupPuts == 0) {
      ReaderLock state(state_);
      for (const FreezerPut& put : puts.subspan(i, std::min(kGroupPuts, puts.size() - i)))
        if (resident_) resident_->prefetch(resident_->hash(put.key));
    }
    TRY_INTO(const FreezerCursor cursor,
             put_locked(puts[i].key, std::span<const ByteSpan>(&puts[i].value, 1)));
    cursors.push_back(cursor);
  }
  return cursors;
}

Result<FreezerCursor> Freezer::put_locked(ByteSpan key, std::span<const ByteSpan> value) {
  TRY(check_writable_locked());
  TRY(check_key(key));
  if (!damaged_.empty()) {
    return fail(Errc::corrupt, concat(freezer::key_section(*log_, damaged_.front()),
                                      " is damaged: nothing can be put", freezer::kDamageAdvice));
  }
  Section section = section_;
  if (section_value_bytes_ >= section_target_bytes_) {
    if (section.value == UINT64_MAX)
      return fail(Errc::no_space, "the freezer has no more sections");
    // Records of a later section lead to earlier ones: those must not be lost before them.
    TRY(log_->sync(section));
    section = Section(section.value + 1);
  }
  if (in_memory_ && (groups_written_ || outgrows_memory())) TRY(leave_memory());
  TRY_INTO(const FreezerCursor cursor,
           in_memory_ ? put_resident(section, key, value) : put_on_disk(section, key, value));
  items_.fetch_add(1, std::memory_order_relaxed);
  put_count_.fetch_add(1, std::memory_order_release);
  return cursor;
}

bool Freezer::outgrows_memory() const {
  if (put_count_.load(std::memory_order_relaxed) % kPutsPerBudgetCheck != 0) return false;
  ReaderLock state(state_);
  return resident_->memory_bytes_next() > memory_budget_bytes_ ||
         resident_->count() >= ResidentTable::kRecordsMax - kRecordsWhileLeaving;
}

Result<FreezerCursor> Freezer::append(Section section, ByteSpan key, std::optional<Place> next,
                                      std::span<const ByteSpan> value, Place& place) {
  freezer::encode_prefix(prefix_, key, next);
  auto result = freezer::advise(log_->append(section, prefix_, value));
  if (!result && result.error().code != Errc::invalid_argument)
    result = poison_.watch(std::move(result));
  TRY_INTO(const auto appended, std::move(result));
  section_ = section;
  section_value_bytes_ = appended.location.offset + appended.location.size_bytes;
  place = {section, appended.position};
  CHECK(!next || *next < place, "a chain leads back");
  return FreezerCursor{section, appended.location};
}

// What only the writer changes, it reads without the lock.
const ResidentTable& Freezer::resident() const NO_THREAD_SAFETY_ANALYSIS {
  return *resident_;
}

Result<FreezerCursor> Freezer::put_resident(Section section, ByteSpan key,
                                            std::span<const ByteSpan> value) {
  const ResidentTable& table = resident();
  const ResidentTable::KeyHashes hashes = table.hash(key);
  table.prefetch(hashes);
  const std::optional<Place> next = table.head(hashes.position_hash);
  Place place;
  TRY_INTO(const FreezerCursor cursor, append(section, key, next, value, place));
  bool is_shared = false;
  {
    WriterLock state(state_);
    is_shared = resident_->add(place, hashes, cursor.location.offset);
  }
  if (is_shared) forget_older(key, hashes.fingerprint, place);
  return cursor;
}

// A key that is put again and again keeps one candidate. A record that cannot be read stays one:
// the newest is looked at first.
void Freezer::forget_older(ByteSpan key, uint64_t fingerprint, Place newest) {
  std::vector<Place> older;
  {
    ReaderLock state(state_);
    resident_->for_each_candidate(fingerprint, [&](Place place, uint64_t) {
      if (place != newest) older.push_back(place);
    });
  }
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  for (const Place& place : older) {
    if (!read_record(place, record) || !equal_bytes(freezer::key_of(record), key)) continue;
    WriterLock state(state_);
    resident_->forget(fingerprint, place);
  }
}

Result<FreezerCursor> Freezer::put_on_disk(Section section, ByteSpan key,
                                           std::span<const ByteSpan> value) {
  DiskTable* const table = disk_table();
  TRY(table->check_room());
  // Nobody commits the table's size and heads before the next sync. After a crash the records from
  // here on do not fit the older ones, and the table is made anew.
  if (writing_ == TableWriting::deferred && table->wants_step()) {
    TRY(begin_writing_slots());
    TRY(settle(table->settled_by_step()));
    TRY(poison_.watch(table->step(next_epoch_)));
  }
  const uint32_t hash = crc32c(key);
  const uint32_t position = table->position_of(hash);
  TRY_INTO(const freezer::Pair pair, table->read(position));
  const freezer::Slot* const head = pair.head();
  std::optional<Place> next;
  if (head != nullptr) next = head->head;
  TRY_INTO(const uint64_t count, log_->entry_count(section));
  if (next && *next >= Place{section, Position(count)}) {
    return fail(Errc::corrupt,
                concat("the table leads from position ", position, " to record ", next->position,
                       " of section ", next->section,
                       ", which is not there; nothing is lost, run `firn freezer rebuild STORE`"));
  }
  TRY(begin_writing_slots());
  Place place;
  TRY_INTO(const FreezerCursor cursor, append(section, key, next, value, place));
  {
    WriterLock state(state_);
    if (filter_) filter_->add(hash);
  }
  TRY(poison_.watch(table->put(position, pair, next_epoch_, place)));
  return cursor;
}

// So many positions of each half. The original settles nothing.
Status Freezer::settle(uint64_t count) {
  if (writing_ == TableWriting::immediate) return {};
  const auto first = [this](uint32_t position, Place head) { return first_there(position, head); };
  return poison_.watch(disk_table()->settle(next_epoch_, count, first));
}

Result<FreezerCheckpoint> Freezer::sync() {
  const uint64_t wanted = put_count_.load(std::memory_order_acquire);
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  TRY(check_writable_locked());
  // A sync that ran while this one waited has covered everything that it was asked for.
  const bool is_covered = synced_count_ >= wanted && last_checkpoint_;
  if (is_covered && writing_ == TableWriting::deferred) return *last_checkpoint_;
  return sync_locked();
}

Status Freezer::check_epoch() const {
  if (next_epoch_ < UINT64_MAX) return {};
  return fail(Errc::no_space, "the freezer was synced as often as epochs can tell apart");
}

Result<FreezerCheckpoint> Freezer::sync_locked() {
  TRY(check_epoch());
  const uint64_t covered = put_count_.load(std::memory_order_acquire);
  TRY(log_->sync_all());
  if (!in_memory_) {
    DiskTable* const table = disk_table();
    TRY(begin_writing_slots());
    TRY(settle(table->settled_by_step()));
    TRY(poison_.watch(table->step(next_epoch_)));
    TRY(poison_.watch(table->flush()));
  }
  TRY_INTO(const FreezerCheckpoint checkpoint, checkpoint_now());
  if (!in_memory_) TRY(commit_synced(TableState::written, checkpoint));
  ++next_epoch_;
  synced_count_ = covered;
  last_checkpoint_ = checkpoint;
  syncs_.fetch_add(1, std::memory_order_relaxed);
  return checkpoint;
}

Result<FreezerCheckpoint> Freezer::close() {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  if (closed_) return fail(Errc::invalid_argument, "the freezer is closed");
  if (store_->read_only()) {
    TRY(store_->close());
    closed_ = true;
    return last_checkpoint_.value_or(FreezerCheckpoint());
  }
  TRY(check_writable_locked());
  if (in_memory_) {
    if (!last_checkpoint_ || synced_count_ < put_count_.load()) TRY(sync_locked());
    if (damaged_.empty()) TRY(write_resident_table(*last_checkpoint_));
  } else {
    DiskTable* const table = disk_table();
    TRY(poison_.watch(table->finish_doubling(next_epoch_)));
    if (!table->is_settled()) {
      TRY(begin_writing_slots());
      TRY(settle(kSettledAtCloseMax));
    }
    TRY(sync_locked());
    TRY(commit_synced(TableState::whole, *last_checkpoint_));
  }
  TRY(poison_.watch(log_->close()));
  TRY(poison_.watch(store_->close()));
  closed_ = true;
  return *last_checkpoint_;
}

Status Freezer::destroy() {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  if (store_->read_only())
    return fail(Errc::invalid_argument, "destroy: the freezer was opened read-only");
  TRY_INTO(const auto no_followers, store_->exclude_followers());
  closed_ = true;
  TRY(log_->destroy());
  TRY(store_->storage().remove_partition(table_partition_));
  TRY(store_->storage().remove_partition(kLostFoundPartition));
  return store_->storage().remove_partition(kManifestPartition);
}

uint64_t Freezer::item_count() const {
  return items_.load(std::memory_order_relaxed);
}

FreezerStatistics Freezer::statistics() const {
  FreezerStatistics result;
  result.items = items_.load();
  result.puts = put_count_.load();
  result.gets = gets_.load();
  result.has = has_.load();
  result.unnecessary_reads = unnecessary_reads_.load();
  result.syncs = syncs_.load();
  ReaderLock state(state_);
  result.resident = resident_ != nullptr;
  if (resident_) {
    result.table_size = resident_->size();
    result.resizes = resident_->doublings();
    result.resizing = resident_->is_doubling();
    result.leaving = filter_ != nullptr;
    result.memory_bytes = resident_->memory_bytes();
  } else if (table_) {
    result.table_size = table_->size();
    result.resizes = table_->doublings();
    result.unnecessary_writes = table_->unnecessary_writes();
    result.resizing = table_->is_doubling();
    result.resizable = table_->resizable();
    if (filter_) result.memory_bytes = filter_->memory_bytes();
  }
  if (result.table_size > 0) result.load = static_cast<double>(result.items) / result.table_size;
  return result;
}

}  // namespace firn
