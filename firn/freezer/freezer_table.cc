// SPDX-License-Identifier: Apache-2.0
//
// Freezer: how the table is made from the key journal, in memory and on disk.
#include <algorithm>
#include <bit>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/freezer/absence_filter.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/journal_heads.h"
#include "firn/freezer/resident_table.h"
#include "firn/journal/value_entry.h"

namespace firn {

using freezer::BrokenLink;
using freezer::DiskTable;
using freezer::ResidentTable;
using freezer::TableState;

namespace {

// Records that are replayed together: what they take stays in the processor's cache.
constexpr size_t kReplayGroup = 4096;
// Of a store that leaves its memory, what one put writes: an eighth of the table, and 928 KiB at
// most. So small stores go through the states of large ones.
constexpr uint32_t kPiecesMin = 8;
constexpr uint32_t kGroupsAtOnce = 256;
// A table that would have to be so many times larger than expected is not what the records tell of:
// some of them are missing in their chains.
constexpr uint64_t kPlausibleGrowth = 64;

uint64_t plausible_size_max(uint32_t expected) {
  return std::min<uint64_t>(expected * kPlausibleGrowth, freezer::kTableSizeMax);
}

std::unexpected<Error> broken_chains(const IndexedValueLog& log, const BrokenLink& link,
                                     size_t memory_budget_bytes) {
  return fail(
      Errc::corrupt,
      concat(describe(log, link), ": lookups from disk would not find every key. Give more ",
             "memory than ", memory_budget_bytes, " bytes, then each that can be read is found",
             freezer::kDamageAdvice));
}

}  // namespace

DiskTable* Freezer::disk_table() const {
  ReaderLock lock(state_);
  return table_.get();
}

Status Freezer::open_table_blob(bool create) {
  if (disk_table() != nullptr) return {};
  OpenMode mode = OpenMode::create;
  if (!create) mode = store_->read_only() ? OpenMode::read_only : OpenMode::read_write;
  const uint64_t positions_max =
      store_->storage().limits().blob_size_max_bytes / freezer::kPairSizeBytes;
  const freezer::DiskTableOptions options = {
      .partition = table_partition_,
      .frequency = resize_frequency_,
      .chunk = resize_chunk_,
      .size_max = static_cast<uint32_t>(
          std::min<uint64_t>(std::bit_floor(positions_max), freezer::kTableSizeMax))};
  auto opened = DiskTable::open(store_->storage(), options, mode);
  if (!opened && opened.error().code == Errc::corrupt) {
    // No file, or its header is not readable. A table is derived: every key is found without it.
    if (store_->read_only()) {
      store_->recovery().note_damage(
          {table_partition_, to_hex(DiskTable::blob_name()), 0, 0,
           concat(opened.error().message, "; nothing is lost, run `firn freezer rebuild STORE`")});
      return {};
    }
    store_->recovery().note(concat(opened.error().message, ": the table is made anew"));
    const Bytes name = DiskTable::blob_name();
    TRY(store_->storage().remove(table_partition_, std::span(&name, 1)));
    if (!create) return {};
    opened = DiskTable::open(store_->storage(), options, mode);
  }
  if (!create && !opened && opened.error().code == Errc::not_found) return {};
  TRY_INTO(auto table, std::move(opened));
  WriterLock lock(state_);
  table_ = std::move(table);
  return {};
}

Status Freezer::commit(const freezer::TableRecord& record) {
  if (Manifest* const manifest = store_->manifest(); manifest != nullptr)
    TRY(poison_.watch(
        manifest->set_record(freezer::kTableRecord, freezer::encode_table_record(record))));
  recorded_ = record;
  return {};
}

Status Freezer::commit_synced(TableState state, const FreezerCheckpoint& checkpoint) {
  const DiskTable& table = *disk_table();
  return commit({.state = state,
                 .checkpoint = checkpoint,
                 .items = items_,
                 .settled = table.settled(),
                 .heads_sum = table.heads_sum()});
}

// From here on the table has slots that the checkpoint does not know.
Status Freezer::begin_writing_slots() {
  CHECK(recorded_, "a table that is written to is recorded");
  if (recorded_->state != TableState::whole) return {};
  freezer::TableRecord record = *recorded_;
  record.state = TableState::written;
  return commit(record);
}

// ---- in memory

void Freezer::note_damage(Section section, const Error& error) {
  if (damaged_.empty() || damaged_.back() != section) damaged_.push_back(section);
  store_->recovery().note(
      concat(freezer::key_section(*log_, section), " has damaged pages: ", error.message));
}

Result<Freezer::Resident> Freezer::replay(uint32_t size, ResidentTable::Lookups lookups) {
  const uint64_t plausible = plausible_size_max(size);
  while (true) {
    damaged_.clear();
    TRY_INTO(auto table, replay_once(size, lookups));
    const uint64_t needed = table->size_needed();
    if (needed <= size) return table;
    if (needed > plausible) {
      const BrokenLink& link = *table->widest_link();
      if (!table->has_fingerprints()) return broken_chains(*log_, link, memory_budget_bytes_);
      store_->recovery().note(concat(describe(*log_, link), ": each key that can be read is found ",
                                     "while the table fits in memory; run verify"));
      return table;
    }
    size = static_cast<uint32_t>(needed);
  }
}

Result<Freezer::Resident> Freezer::replay_once(uint32_t size, ResidentTable::Lookups lookups) {
  auto table = std::make_unique<ResidentTable>(size, store_->storage().random_seed(), lookups);
  TRY_INTO(FixedReplay replay, log_->replay());
  table->reserve(replay.record_count());
  std::vector<ResidentTable::Replayed> group;
  group.reserve(kReplayGroup);
  Place first;
  uint64_t values_end = 0;
  const auto finish_group = [&] {
    table->add_replayed(first, group);
    group.clear();
  };
  while (true) {
    auto item = replay.next();
    if (!item) {
      if (item.error().code != Errc::corrupt) return pass_on(item);
      note_damage(replay.failed_section(), item.error());
      replay.skip_damaged_page();
      continue;
    }
    if (!item->has_value()) break;
    const auto& [section, position, record] = **item;
    const bool follows = !group.empty() && section == first.section &&
                         position.value == first.position.value + group.size();
    if (!follows || group.size() == kReplayGroup) {
      finish_group();
      if (section != first.section || position.value == 0) values_end = 0;
      first = {section, position};
      table->skip_to(first);
    }
    const ValueLocation location = IndexedValueLog::location_of(record);
    if (location.offset < values_end) {
      // A page in the wrong place has a valid checksum; its locations give it away. From here on
      // they rise again: one far too high is not told of each record that follows.
      note_damage(section, Error{Errc::corrupt, concat("record ", position,
                                                       " refers to an earlier record's value")});
      values_end = 0;
    }
    values_end = std::max(values_end, journal::end_of(location));
    // Field by field: a whole one would be read again before its parts have left the processor.
    ResidentTable::Replayed& replayed = group.emplace_back();
    replayed.hashes.position_hash = crc32c(freezer::key_of(record));
    replayed.hashes.fingerprint = table->fingerprint(freezer::key_of(record));
    replayed.next = freezer::next_of(record);
    replayed.value_offset = location.offset;
  }
  finish_group();
  table->end_replay();
  TRY(forget_shadowed(*table));
  return table;
}

// Keys that were put several times keep their newest record. What cannot be read stays.
Status Freezer::forget_shadowed(ResidentTable& table) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  for (const auto& [fingerprint, candidates] : table.shared_fingerprints()) {
    std::vector<Bytes> keys;
    for (const Place& place : candidates) {
      const Status read = read_record(place, record);
      if (!read && read.error().code == Errc::corrupt) continue;
      TRY(read);
      const ByteSpan key = freezer::key_of(record);
      const bool is_shadowed =
          std::ranges::any_of(keys, [&](const Bytes& newer) { return equal_bytes(newer, key); });
      if (is_shadowed)
        table.forget(fingerprint, place);
      else
        keys.push_back(to_bytes(key));
    }
  }
  return {};
}

// The manifest says that the table is stale before the first slot is replaced, and what it is when
// all of them are durable. Positions that did not change keep their slots: of a table that was
// written from disk, those may have longer chains than they need. In memory nobody has read them:
// if they are not those that the manifest tells of, all are written.
Status Freezer::write_resident_table(const FreezerCheckpoint& checkpoint) {
  const ResidentTable* resident = nullptr;
  while (resident == nullptr) {
    WriterLock lock(state_);  // readers go on between two steps
    if (!resident_->go_on_doubling()) continue;
    resident = resident_.get();  // only mutations change it, and this is one
  }
  if (!resident->is_any_dirty()) return {};
  FreezerCheckpoint written = checkpoint;
  written.table_size = resident->size();
  TRY(poison_.watch(open_table_blob(true)));
  DiskTable& table = *disk_table();
  const auto before = recorded_;
  if (!resident->is_all_dirty() && !groups_written_) {
    TRY_INTO(const auto survey, table.survey(before->checkpoint.table_size, UINT64_MAX, {}));
    if (!survey.damage.empty() || survey.heads_sum != before->heads_sum) {
      store_->recovery().note("the table on disk is damaged: it was made anew");
      WriterLock lock(state_);
      resident_->mark_all_dirty();
    }
  }
  TRY(commit({.state = TableState::stale, .checkpoint = written}));
  if (resident->is_all_dirty())
    TRY(poison_.watch(table.start_blank(written.table_size)));
  else if (!groups_written_)
    TRY(poison_.watch(table.start(written.table_size, 0, before->heads_sum, before->settled)));
  const uint32_t groups = resident->group_count();
  for (uint32_t group = 0; group < groups; ++group) {
    if (!resident->is_dirty(group)) continue;
    const uint32_t first = group;
    while (group + 1 < groups && resident->is_dirty(group + 1))
      ++group;
    TRY(write_groups(first, group + 1, checkpoint.epoch));
  }
  TRY(poison_.watch(table.flush()));
  last_checkpoint_ = written;
  TRY(commit_synced(TableState::whole, written));
  WriterLock lock(state_);
  resident_->mark_clean();
  return {};
}

Status Freezer::write_groups(uint32_t first, uint32_t end, uint64_t epoch) {
  const ResidentTable* resident = nullptr;
  {
    ReaderLock lock(state_);
    resident = resident_.get();  // only mutations change it, and this is one
  }
  DiskTable& table = *disk_table();
  const uint64_t from = uint64_t{first} * ResidentTable::kGroupPositions;
  const uint64_t to =
      std::min<uint64_t>(uint64_t{end} * ResidentTable::kGroupPositions, resident->size());
  const auto head_of = [resident](uint32_t position) {
    return resident->head_of_position(position);
  };
  if (!resident->is_all_dirty()) TRY(poison_.watch(table.forget_heads(from, to)));
  return poison_.watch(table.write_anew(from, to, epoch, head_of));
}

// Whoever reads from disk need not walk a chain to know that a key is absent. Where a page of the
// key journal is damaged, only the chain tells whether the key was on it.
Status Freezer::make_filter() {
  if (memory_budget_bytes_ < freezer::AbsenceFilter::kBlockBytes) return {};
  TRY_INTO(FixedReplay replay, log_->replay());
  auto filter = std::make_unique<freezer::AbsenceFilter>(
      store_->storage().random_seed(), replay.record_count(),  // the manifest's may be wrong
      memory_budget_bytes_);
  while (true) {
    const auto item = replay.next();
    if (!item && item.error().code == Errc::corrupt) return {};
    if (!item) return fail(item.error().code, item.error().message);
    if (!item->has_value()) break;
    filter->add(crc32c(freezer::key_of((*item)->record)));
  }
  WriterLock lock(state_);
  filter_ = std::move(filter);
  return {};
}

// The store has outgrown its memory: with each put a piece of the table is written and flushed, and
// then the store works from disk. Lookups use memory until then.
Status Freezer::leave_memory() {
  uint32_t groups = 0;
  {
    WriterLock lock(state_);
    if (resident_->is_doubling()) return {};  // the next puts end that
    groups = resident_->group_count();
    if (!groups_written_) resident_->begin_writing();
  }
  if (!groups_written_) {
    TRY(poison_.watch(open_table_blob(true)));
    // Of no state: what is synced now is for the end.
    const FreezerCheckpoint checkpoint = {.epoch = next_epoch_, .table_size = table_size()};
    TRY(commit({.state = TableState::stale, .checkpoint = checkpoint}));
    TRY(poison_.watch(disk_table()->start_blank(checkpoint.table_size)));
    groups_written_ = 0;
    auto filter = std::make_unique<freezer::AbsenceFilter>(store_->storage().random_seed(), items_,
                                                           memory_budget_bytes_);
    WriterLock lock(state_);
    filter_ = std::move(filter);
  }
  const uint32_t piece = std::clamp(groups / kPiecesMin, uint32_t{1}, kGroupsAtOnce);
  const uint32_t end = std::min(groups, *groups_written_ + piece);
  TRY(write_groups(*groups_written_, end, next_epoch_));
  TRY(poison_.watch(disk_table()->flush()));
  groups_written_ = end;
  {
    WriterLock lock(state_);
    for (uint64_t number = filter_->records(); number < resident_->count() * end / groups; ++number)
      filter_->add(resident_->hash_at(number));
    if (end < groups) return {};
    resident_->end_writing();
  }
  TRY(sync_locked());
  TRY(write_resident_table(*last_checkpoint_));
  groups_written_.reset();
  Resident unused;  // goes when readers no longer wait for the lock
  WriterLock lock(state_);
  unused = std::move(resident_);
  in_memory_ = false;
  return {};
}

// ---- on disk

Status Freezer::rebuild_table() {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  TRY(check_writable_locked());
  return rebuild_table_locked();
}

Status Freezer::rebuild_table_locked() {
  if (!damaged_.empty()) {
    return fail(Errc::corrupt,
                concat(freezer::key_section(*log_, damaged_.front()),
                       " is damaged: the table cannot be made from it", freezer::kDamageAdvice));
  }
  if (!in_memory_) return rebuild_disk_table();
  TRY(sync_locked());
  {
    WriterLock lock(state_);
    resident_->mark_all_dirty();
  }
  return write_resident_table(*last_checkpoint_);
}

// A sync would read the table, which may be damaged, and go on doubling it. So the journals alone
// are synced; what was doubled is dropped, and begins again when it is due.
Status Freezer::rebuild_disk_table() {
  TRY(check_epoch());
  TRY(log_->sync_all());
  TRY_INTO(last_checkpoint_, checkpoint_now());
  ++next_epoch_;
  return rebuild_from_journal(last_checkpoint_->table_size, last_checkpoint_->epoch);
}

// Needs memory for a window of the table only: one pass over the key journal for each.
Status Freezer::rebuild_from_journal(uint32_t size, uint64_t epoch) {
  DiskTable& table = *disk_table();
  FreezerCheckpoint checkpoint{.epoch = epoch, .section = section_};
  TRY_INTO(checkpoint.index_size_bytes, log_->size(section_));
  freezer::JournalHeads heads(*log_);
  const uint64_t size_max = plausible_size_max(ResidentTable::size_for(items_, size));
  for (uint64_t begin = 0; begin < size;) {
    if (begin == 0) {
      checkpoint.table_size = size;
      TRY(commit({.state = TableState::stale, .checkpoint = checkpoint}));
      // Once there was a sync, lookups use the table: each position leads to its records then.
      TRY(poison_.watch(last_checkpoint_ ? table.start(size, 0, 0, size / 2)
                                         : table.start_blank(size)));
      if (items_ == 0 && !last_checkpoint_) break;
    }
    TRY_INTO(const uint64_t needed, poison_.watch(heads.write_window(table, begin, epoch)));
    if (needed > size_max)  // half of it is made
      return poison_.watch(
          Status(broken_chains(*log_, *heads.widest_link(), memory_budget_bytes_)));
    begin = needed > size ? 0 : begin + freezer::JournalHeads::kWindowPositions;
    size = static_cast<uint32_t>(std::max<uint64_t>(size, needed));
  }
  TRY(poison_.watch(table.flush()));
  last_checkpoint_ = checkpoint;
  synced_count_ = put_count_.load();
  return commit_synced(TableState::whole, checkpoint);
}

// Puts the records behind the checkpoint into the table. Each must lead to the head that it finds:
// otherwise the table is not that of the checkpoint, or the records were put with another one.
// Returns what is wrong; empty: nothing.
Result<std::string> Freezer::apply_tail(const FreezerCheckpoint& checkpoint) {
  std::string mismatch = "the table on disk does not fit the key journal";
  DiskTable& table = *disk_table();
  const Place from = end_of(checkpoint);
  TRY_INTO(FixedReplay replay, log_->replay(from.section, from.position));
  bool any = false;
  while (true) {
    TRY_INTO(const auto item, freezer::advise(replay.next()));
    if (!item) break;
    if (!any) TRY(begin_writing_slots());
    any = true;
    const uint32_t position = table.position_of(crc32c(freezer::key_of(item->record)));
    const auto pair = table.read(position);
    if (!pair && pair.error().code == Errc::corrupt) return mismatch;
    TRY(pair);
    const freezer::Slot* const head = pair->head();
    std::optional<Place> before;
    if (head != nullptr) before = head->head;
    if (freezer::next_of(item->record) != before) return mismatch;
    TRY(table.put(position, *pair, next_epoch_, {item->section, item->position}));
  }
  if (any) TRY(table.flush());
  return std::string();
}

}  // namespace firn
