// SPDX-License-Identifier: Apache-2.0
//
// Freezer: opening. The journals recover first; then the table is taken over, repaired or made
// anew.
#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/freezer/absence_filter.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/journal_heads.h"
#include "firn/freezer/resident_table.h"
#include "firn/io/blob_header.h"
#include "firn/journal/indexed_value_salvage.h"

namespace firn {

using freezer::DiskTable;
using freezer::is_table_size;
using freezer::ResidentTable;
using freezer::TableSource;
using freezer::TableState;

namespace {

constexpr uint32_t kDefaultKeySizeBytes = 32;
constexpr uint32_t kDefaultPageSizeBytes = 4084;
constexpr uint32_t kDefaultTableSize = 4096;
constexpr uint32_t kDefaultFrequency = 1;
constexpr uint32_t kDefaultChunk = 16384;
constexpr uint32_t kFrequencyMax = 254;
// 7.25 GiB. An empty table that is much larger takes minutes to look through; tables grow.
constexpr uint32_t kInitialTableSizeMax = 1 << 27;
constexpr std::string_view kDefaultTablePartition = "table";
constexpr std::string_view kDefaultIndexPartition = "index";
constexpr std::string_view kDefaultValuesPartition = "values";
constexpr std::string_view kKind = "freezer";
constexpr std::string_view kUncompressed = "none";
constexpr std::string_view kCompressed = "zstd";
constexpr std::string_view kExchangeAdvice =
    "; if no file was exchanged, nothing is lost: run `firn freezer rebuild STORE`, which goes by "
    "the key journal";

// Each time the buffer of keys is full, the values are flushed first: a load waits for the device.
// Of four times as many keys at a time that is a small part of its time.
constexpr size_t kKeyBufferFactor = 4;
// How many values are read to find an intact one.
constexpr uint32_t kConfirmationsMax = 64;

Status check_numbers(const FreezerOptions& options) {
  const auto check = [](std::string_view what, std::optional<uint64_t> value, uint64_t min,
                        uint64_t max) -> Status {
    if (!value || (*value >= min && *value <= max)) return {};
    return fail(Errc::invalid_argument,
                concat(what, " ", *value, " is not between ", min, " and ", max));
  };
  TRY(check("key size", options.key_size_bytes, 1, freezer::kKeySizeMaxBytes));
  TRY(check("page size", options.page_size_bytes, 1, UINT16_MAX));
  TRY(check("table size", options.table.initial_size, 1, kInitialTableSizeMax));
  TRY(check("resize frequency", options.table.resize_frequency, 1, kFrequencyMax));
  TRY(check("resize chunk", options.table.resize_chunk, 1, UINT32_MAX));
  TRY(check("page cache in bytes", options.page_cache_bytes, 0, kPageCacheBytesMax));
  TRY(check("write buffer in bytes", options.write_buffer_bytes, 0, kWriteBufferBytesMax));
  if (options.table.initial_size && !is_table_size(*options.table.initial_size))
    return fail(Errc::invalid_argument,
                concat("table size ", *options.table.initial_size, " is not a power of two"));
  if (const int level = options.compression_level.value_or(kNoCompression); level != kNoCompression)
    TRY(ValueLog::check_compression_level(level));
  return {};
}

Status check_options(const FreezerOptions& options) {
  TRY(check_numbers(options));
  if (options.checkpoint && *options.checkpoint != FreezerCheckpoint() &&
      !is_table_size(options.checkpoint->table_size)) {
    return fail(Errc::invalid_argument,
                concat("the checkpoint's table size ", options.checkpoint->table_size,
                       " is not a power of two. Nothing was changed"));
  }
  return {};
}

// What a new freezer records about itself, and what is required of an existing one.
StoreOptions store_options(const FreezerOptions& options) {
  StoreOptions store;
  store.read_only = options.access == FreezerAccess::read_only;
  const bool is_of_a_store = options.checkpoint && *options.checkpoint != FreezerCheckpoint();
  store.create = options.access == FreezerAccess::create && !is_of_a_store;
  store.strict = options.strict;
  store.identity.kind = kKind;
  store.needed_without_manifest = {"key_size", "page_size"};
  const auto add = [&](std::string name, auto given, auto fallback) {
    store.identity.geometry.push_back({name, given ? *given : fallback});
    if (given) store.required_geometry.push_back({std::move(name), *given});
  };
  using Number = std::optional<uint64_t>;
  add("key_size", Number(options.key_size_bytes), uint64_t{kDefaultKeySizeBytes});
  add("page_size", Number(options.page_size_bytes), uint64_t{kDefaultPageSizeBytes});
  add("table_initial_size", Number(options.table.initial_size), uint64_t{kDefaultTableSize});
  add("resize_frequency", Number(options.table.resize_frequency), uint64_t{kDefaultFrequency});
  add("resize_chunk", Number(options.table.resize_chunk), uint64_t{kDefaultChunk});
  std::optional<std::string> compression;
  if (options.compression_level)
    compression = *options.compression_level == kNoCompression ? kUncompressed : kCompressed;
  add("compression", compression, std::string(kUncompressed));
  const auto add_partition = [&](StoreRole role, const std::optional<std::string>& given,
                                 std::string_view fallback) {
    store.identity.partitions.emplace_back(role, given.value_or(std::string(fallback)));
    if (given) store.required_partitions.emplace_back(role, *given);
  };
  add_partition(StoreRole::table, options.partitions.table, kDefaultTablePartition);
  add_partition(StoreRole::index, options.partitions.index, kDefaultIndexPartition);
  add_partition(StoreRole::values, options.partitions.values, kDefaultValuesPartition);
  return store;
}

}  // namespace

Result<std::unique_ptr<Freezer>> Freezer::open(Storage& storage, const FreezerOptions& options) {
  TRY(check_options(options));
  for (int attempt = 1;; ++attempt) {
    std::unique_ptr<Freezer> freezer(new Freezer());
    MutexLock lock(freezer->writer_);
    TRY_INTO(freezer->store_, Store::open(storage, store_options(options)));
    Status opened = freezer->open_in_store(options);
    TRY_INTO(const auto view, freezer->store_->judge_view(opened, attempt));
    if (view == Store::View::outdated) continue;
    TRY(std::move(opened));
    return freezer;
  }
}

Status Freezer::open_in_store(const FreezerOptions& options) {
  TRY(open_log(store_->storage(), options));
  TRY(store_->settle());
  TRY(load_record(options.access));
  TRY(open_table(options));
  if (options.access == FreezerAccess::rebuild) TRY(rebuild_table_locked());
  if (!in_memory_) TRY(make_filter());
  log_->map_reads();  // nothing is truncated after this
  return {};
}

namespace {

// The chains of all keys run through the sections: without one of them the others tell little.
Status refuse_damaged_sections(const IndexedValueLog& log) {
  const auto damaged = log.damaged();
  if (damaged.empty()) return {};
  const Error& first = damaged.begin()->second;
  return fail(first.code, concat(first.message, freezer::kDamageAdvice));
}

// Recovery goes section by section. Damage in a later one must be found before an earlier one is
// changed.
Status look_first(Storage& storage, const IndexedValueLogOptions& options, bool is_strict) {
  RecoveryLog look_only(storage, true);
  TRY_INTO(const auto looked, IndexedValueLog::open(storage, options, look_only));
  TRY(refuse_damaged_sections(*looked));
  if (!is_strict) return {};
  TRY(looked->verify(false, look_only, [](uint64_t) {}));
  return refuse_damage_and_cuts(look_only.report());
}

}  // namespace

Status Freezer::open_log(Storage& storage, const FreezerOptions& options) {
  const Manifest* manifest = store_->manifest();
  const auto number = [&](std::string_view name, std::optional<uint32_t> given, uint32_t fallback,
                          uint64_t max) -> Result<uint32_t> {
    uint64_t value = given.value_or(fallback);
    if (manifest != nullptr) value = manifest->number(name).value_or(value);
    if (value > 0 && value <= max) return static_cast<uint32_t>(value);
    return fail(Errc::corrupt, concat("the manifest records an impossible ", name, ": ", value));
  };
  const auto partition = [&](StoreRole role, const std::optional<std::string>& given,
                             std::string_view fallback) {
    const auto from_manifest = manifest == nullptr ? std::nullopt : manifest->partition(role);
    return given.value_or(from_manifest.value_or(std::string(fallback)));
  };
  TRY_INTO(key_size_bytes_, number("key_size", options.key_size_bytes, kDefaultKeySizeBytes,
                                   freezer::kKeySizeMaxBytes));
  TRY_INTO(table_size_min_, number("table_initial_size", options.table.initial_size,
                                   kDefaultTableSize, freezer::kTableSizeMax));
  TRY_INTO(resize_frequency_, number("resize_frequency", options.table.resize_frequency,
                                     kDefaultFrequency, kFrequencyMax));
  TRY_INTO(resize_chunk_,
           number("resize_chunk", options.table.resize_chunk, kDefaultChunk, UINT32_MAX));
  if (!is_table_size(table_size_min_))
    return fail(Errc::corrupt,
                concat("the manifest records an impossible table_initial_size: ", table_size_min_));
  table_partition_ = partition(StoreRole::table, options.partitions.table, kDefaultTablePartition);
  section_target_bytes_ = options.section_target_bytes;
  memory_budget_bytes_ = options.memory_budget_bytes;
  writing_ = options.table.writing;

  cache_ = std::make_unique<PageCache>(options.page_cache_bytes);
  IndexedValueLogOptions log;
  log.index.partition =
      partition(StoreRole::index, options.partitions.index, kDefaultIndexPartition);
  log.index.record_size_bytes = record_bytes();
  TRY_INTO(log.index.page_size_bytes,
           number("page_size", options.page_size_bytes, kDefaultPageSizeBytes, UINT16_MAX));
  log.index.write_buffer_bytes = kKeyBufferFactor * options.write_buffer_bytes;
  log.index.open_sections_max = options.open_sections_max;
  log.index.cache = cache_.get();
  log.index.floors = store_->floors(StoreRole::index);
  log.values.partition =
      partition(StoreRole::values, options.partitions.values, kDefaultValuesPartition);
  if (options.compression_level != kNoCompression)
    log.values.compression_level = options.compression_level;
  if (manifest != nullptr && !options.compression_level &&
      manifest->text("compression") == kCompressed)
    log.values.compression_level = 0;
  log.values.write_buffer_bytes = options.write_buffer_bytes;
  log.values.open_sections_max = options.open_sections_max;
  log.values.cache = cache_.get();
  if (manifest == nullptr) {
    TRY(check_unrecorded_geometry(storage, log));
    if (!options.compression_level) TRY(journal::check_not_compressed(storage, log));
  }
  const bool recovers = manifest != nullptr && !store_->read_only();
  if (recovers || options.strict) TRY(look_first(storage, log, options.strict));
  TRY_INTO(log_, IndexedValueLog::open(storage, log, store_->recovery()));
  return refuse_damaged_sections(*log_);
}

// A store without a manifest is first read without changing it: recovery with a wrong geometry
// would cut good data. Every record must lead back, and one value at least must be intact where its
// record says that it is: a record that was cut out of the wrong bytes cannot name one.
Status Freezer::check_unrecorded_geometry(Storage& storage,
                                          const IndexedValueLogOptions& options) const {
  RecoveryLog look_only(storage, true);
  TRY_INTO(const auto log, IndexedValueLog::open(storage, options, look_only));
  const auto misfit = [&](const auto&... what) {
    return fail(Errc::invalid_argument,
                concat(what..., " in partition ", options.index.partition, " does not fit keys of ",
                       key_size_bytes_, " bytes and pages of ", options.index.page_size_bytes,
                       " bytes: give the values that the store was made with. Nothing was "
                       "changed"));
  };
  bool is_confirmed = false;
  Status unread;  // of a device that fails nobody knows whether the geometry fits
  uint32_t attempts = 0;
  TRY_INTO(FixedReplay replay, log->replay());
  while (attempts < kConfirmationsMax && !is_confirmed) {
    auto item = replay.next();
    if (!item) {
      if (item.error().code != Errc::corrupt) return pass_on(item);
      replay.skip_damaged_page();
      continue;
    }
    if (!item->has_value()) break;
    const auto& [section, position, record] = **item;
    const auto next = freezer::next_of(record);
    if (next && *next >= Place{section, position})
      return misfit("record ", position, " of section ", section);
    ++attempts;
    Status checked = log->values().check(section, IndexedValueLog::location_of(record));
    is_confirmed = checked.has_value();
    if (!checked && checked.error().code == Errc::io) unread = std::move(checked);
  }
  TRY_INTO(const auto names, storage.scan(options.index.partition));
  for (const Bytes& name : names) {
    TRY_INTO(const auto blob, storage.open(options.index.partition, name, OpenMode::read_only));
    if (blob->size() == 0 || is_confirmed) continue;
    TRY(std::move(unread));
    return misfit("blob ", to_hex(name));
  }
  return {};
}

// What the manifest says about the table must be possible with the key journal that there is.
Status Freezer::load_record(FreezerAccess access) {
  const Manifest* manifest = store_->manifest();
  if (manifest == nullptr) return {};
  const auto bytes = manifest->record(freezer::kTableRecord);
  if (!bytes) return {};
  auto record = freezer::decode_table_record(*bytes);
  const bool is_rebuilding = access == FreezerAccess::rebuild;
  if (!record) {
    if (is_rebuilding) return {};
    return fail(Errc::corrupt, concat(record.error().message, kExchangeAdvice));
  }
  const FreezerCheckpoint& checkpoint = record->checkpoint;
  TRY_INTO(const uint64_t size, freezer::advise(log_->size(checkpoint.section)));
  bool fits =
      checkpoint.index_size_bytes % record_bytes() == 0 && checkpoint.index_size_bytes <= size;
  // After a clean close nothing may follow; but a put that a crash took may have left a section
  // without records. Otherwise there may be many sections, which need not be opened for this.
  if (fits && manifest->was_clean() && record->state == TableState::whole) {
    fits = checkpoint.index_size_bytes == size;
    for (const Section section : log_->sections()) {
      if (section <= checkpoint.section) continue;
      TRY_INTO(const uint64_t newer, freezer::advise(log_->size(section)));
      fits = fits && newer == 0;
    }
  }
  if (fits) {
    recorded_ = *record;
    return {};
  }
  if (is_rebuilding) return {};
  return fail(Errc::corrupt,
              concat("the manifest and the key journal in ", store_->storage().description(),
                     " are not of one state: the manifest has section ", checkpoint.section,
                     " as the newest, with ", checkpoint.index_size_bytes, " bytes in records of ",
                     record_bytes(), ", the journal has section ",
                     log_->newest_section().value_or(Section(0)), " as the newest, and ",
                     freezer::key_section(*log_, checkpoint.section), " with ", size, " bytes",
                     kExchangeAdvice));
}

Freezer::Place Freezer::end_of(const FreezerCheckpoint& checkpoint) const {
  return {checkpoint.section, Position(checkpoint.index_size_bytes / record_bytes())};
}

Result<FreezerCheckpoint> Freezer::checkpoint_now() const {
  FreezerCheckpoint checkpoint{.epoch = next_epoch_, .section = section_};
  TRY_INTO(checkpoint.index_size_bytes, log_->size(section_));
  ReaderLock state(state_);
  checkpoint.table_size = resident_ ? resident_->size() : table_->size();
  return checkpoint;
}

// No state of this store has had a larger table: not on disk, not as the manifest says, and while
// it grows it has at most four positions a record.
Result<uint64_t> Freezer::largest_table() const {
  TRY_INTO(const uint64_t records, freezer::count_records(*log_));
  uint64_t largest = std::max<uint64_t>(table_size_min_, std::bit_ceil(2 * records + 1));
  if (recorded_) largest = std::max<uint64_t>(largest, recorded_->checkpoint.table_size);
  if (const DiskTable* const table = disk_table())
    largest = std::max(largest, table->length_positions());
  return largest;
}

// Before anything is changed: can this be a state of this store?
Status Freezer::check_checkpoint(const FreezerCheckpoint& checkpoint) const {
  const auto refuse = [&](const auto&... why) {
    return fail(Errc::invalid_argument,
                concat("cannot go back to the checkpoint with epoch ", checkpoint.epoch,
                       ", section ", checkpoint.section, ", ", checkpoint.index_size_bytes,
                       " bytes and table size ", checkpoint.table_size, " in ",
                       store_->storage().description(), ": ", why..., ". Nothing was changed"));
  };
  const bool has_data = log_->newest_section().has_value();
  if (checkpoint == FreezerCheckpoint()) {
    if (!has_data) return {};
    return refuse("it is that of an empty store, and this one has data: destroy it to begin anew");
  }
  if (checkpoint.epoch >= UINT64_MAX - 1)
    return refuse("there is no later epoch: the checkpoint is damaged");
  if (checkpoint.section > log_->newest_section().value_or(Section(0)))
    return refuse("there is no such section: the checkpoint is of another store");
  if (checkpoint.index_size_bytes % record_bytes() != 0)
    return refuse("records have ", record_bytes(), " bytes: the checkpoint is of another store");
  TRY_INTO(const uint64_t size, log_->size(checkpoint.section));
  if (checkpoint.index_size_bytes > size)
    return refuse("that section has only ", size, " bytes: the checkpoint is of another store");
  TRY_INTO(const uint64_t largest, largest_table());
  if (checkpoint.table_size > largest)
    return refuse("the table of so many records never had more than ", largest,
                  " positions: the checkpoint is of another store");
  return {};
}

// The manifest says that the table on disk has exactly the heads of this checkpoint.
bool Freezer::is_table_of(const FreezerCheckpoint& checkpoint) const {
  return recorded_ && recorded_->state == TableState::whole && recorded_->checkpoint == checkpoint;
}

// Drops what came after the checkpoint. The manifest says first that the table is not to be
// trusted: whatever is left of this by a crash, the store opens without a checkpoint, or goes back
// with it.
Status Freezer::go_back(const FreezerCheckpoint& checkpoint) {
  TRY_INTO(const uint64_t size, log_->size(checkpoint.section));
  const bool is_newest = log_->newest_section().value_or(Section(0)) == checkpoint.section;
  const bool is_at_end = is_newest && size == checkpoint.index_size_bytes;
  if (is_at_end && (store_->read_only() || is_table_of(checkpoint))) return {};
  if (store_->read_only()) {
    return fail(Errc::invalid_argument, concat(store_->storage().description(),
                                               " has newer records than the checkpoint, "
                                               "and is open for reading only"));
  }
  freezer::TableRecord stale{.state = TableState::stale, .checkpoint = checkpoint};
  if (recorded_)
    stale.checkpoint.table_size = std::max(checkpoint.table_size, recorded_->checkpoint.table_size);
  TRY(commit(stale));
  if (is_at_end) return {};
  return log_->rewind(checkpoint.section, checkpoint.index_size_bytes);
}

// The state of the key journal that the table on disk has, and how far that can be trusted.
Result<TableSource> Freezer::find_source(const FreezerOptions& options) {
  TableSource source{.checkpoint = {.table_size = table_size_min_}};
  if (options.checkpoint || store_->manifest() == nullptr) TRY(open_table_blob(false));
  if (options.checkpoint) {
    TRY(check_checkpoint(*options.checkpoint));
    const auto before = recorded_;
    TRY(go_back(*options.checkpoint));
    if (*options.checkpoint == FreezerCheckpoint()) return source;
    source.checkpoint = *options.checkpoint;
    source.is_given = true;
    const bool may_serve =
        store_->manifest() == nullptr || (before && before->state != TableState::stale);
    if (is_table_of(*options.checkpoint)) {
      source.state = TableState::whole;
      source.heads_sum = recorded_->heads_sum;
      source.settled = recorded_->settled;
    } else if (may_serve) {
      source.state = TableState::written;
    }
    return source;
  }
  if (recorded_) {
    source.checkpoint = recorded_->checkpoint;
    source.heads_sum = recorded_->heads_sum;
    source.settled = recorded_->settled;
    source.state = options.access == FreezerAccess::rebuild ? TableState::stale : recorded_->state;
    return source;
  }
  // Nothing is known: the table is no smaller than it ever was, and later syncs have later epochs.
  TRY(open_table_blob(false));
  const DiskTable* const table = disk_table();
  if (table == nullptr || table->length_positions() == 0) return source;
  const uint64_t positions = std::min<uint64_t>(table->length_positions(), freezer::kTableSizeMax);
  source.checkpoint.table_size = static_cast<uint32_t>(std::bit_floor(positions));
  TRY_INTO(const auto survey, table->survey(positions, UINT64_MAX, {}));
  source.checkpoint.epoch = std::min(survey.newest_epoch, UINT64_MAX / 2);
  return source;
}

Status Freezer::open_table(const FreezerOptions& options) {
  TRY_INTO(TableSource source, find_source(options));
  const bool is_counted = recorded_ && source.state == TableState::whole && !options.checkpoint &&
                          store_->manifest()->was_clean();
  TRY_INTO(const uint64_t items,
           is_counted ? Result<uint64_t>(recorded_->items) : freezer::count_records(*log_));
  items_ = items;
  section_ = log_->newest_section().value_or(Section(0));
  if (options.checkpoint) section_ = options.checkpoint->section;
  TRY_INTO(section_value_bytes_, freezer::advise(log_->value_size(section_)));
  // A crash forgets no more syncs than it left records behind the checkpoint.
  uint64_t epoch = source.checkpoint.epoch;
  if (recorded_ && !options.checkpoint) epoch += items - std::min(items, recorded_->items);
  if (epoch >= UINT64_MAX - 1)
    return fail(Errc::corrupt, "the epoch of the freezer's table is the highest there is");
  next_epoch_ = epoch + 1;

  const uint32_t size = source.checkpoint.table_size;
  const uint32_t resident_size = ResidentTable::size_for(items, size);
  const bool fits = items < ResidentTable::kRecordsMax &&
                    ResidentTable::memory_bytes_for(items, resident_size) <= memory_budget_bytes_;
  const bool is_written_at_once = writing_ == TableWriting::immediate && !store_->read_only();
  if (fits && !is_written_at_once) return open_resident(resident_size, source);
  return open_on_disk(source);
}

namespace {

// After a clean close the heads are those that the manifest tells of.
Status check_heads(Store& store, const freezer::TableRecord& recorded, const IndexedValueLog& log,
                   const DiskTable& table, const ResidentTable& heads) {
  if (!store.manifest()->was_clean()) return {};
  const std::string stranger =
      freezer::JournalHeads(log).find_stranger(table, heads, recorded.heads_sum);
  if (stranger.empty()) return {};
  return fail(Errc::corrupt,
              concat(store.storage().description(), ": ", stranger,
                     ": there are files of another store, or of another state", kExchangeAdvice));
}

}  // namespace

Status Freezer::open_resident(uint32_t size, const TableSource& source) {
  TRY_INTO(auto table, replay(size, ResidentTable::Lookups::by_fingerprint));
  CHECK(source.state != TableState::whole || recorded_, "only a record calls a table whole");
  const bool is_exact =
      source.state == TableState::whole && recorded_->checkpoint.table_size == table->size();
  // A reader beside a writer needs no table on disk, and what it would find is half written.
  const bool may_look = !store_->read_only() || store_->recovery().report().was_clean;
  if (is_exact && damaged_.empty() && may_look) {
    const RecoveryReport& report = store_->recovery().report();
    const size_t told_before = report.damage.size() + report.notes.size();
    TRY(open_table_blob(false));
    const bool is_told = report.damage.size() + report.notes.size() > told_before;
    const DiskTable* const blob = disk_table();
    const std::string misfit =
        blob == nullptr ? DiskTable::missing(table_partition_) : blob->length_misfit(table->size());
    if (misfit.empty()) {
      TRY(check_heads(*store_, *recorded_, *log_, *blob, *table));
      table->mark_clean();
      table->mark_dirty_from(std::min(recorded_->items, table->count()));
    } else if (!is_told) {
      store_->recovery().note(concat(misfit,
                                     "; nothing is lost: the next close of a writer makes "
                                     "it anew, and so does `firn freezer rebuild STORE`"));
    }
  }
  WriterLock lock(state_);
  resident_ = std::move(table);
  in_memory_ = true;
  items_ = resident_->count();
  return {};
}

// The table as it is found is used as far as it can be trusted; otherwise it is made anew.
Status Freezer::open_on_disk(const TableSource& source) {
  const FreezerCheckpoint& base = source.checkpoint;
  if (store_->read_only()) return open_on_disk_read_only(source);
  TRY(open_table_blob(true));
  std::string problem = "the table on disk has no state that can be repaired";
  if (source.state != TableState::stale) {
    TRY_INTO(problem, repair_table(source));
  }
  if (problem.empty()) return {};
  if (items_ > 0) store_->recovery().note(concat(problem, "; it was made anew"));
  return rebuild_from_journal(base.table_size, next_epoch_ - 1);
}

// Drops the slots that are newer than the checkpoint. Returns why the table cannot be that of the
// checkpoint; empty: it is.
Result<std::string> Freezer::repair_table(const TableSource& source) {
  const FreezerCheckpoint& base = source.checkpoint;
  DiskTable& table = *disk_table();
  const std::string length = table.length_misfit(base.table_size);
  if (table.length_positions() < base.table_size) return length;
  if (!length.empty() && source.state == TableState::whole)
    store_->recovery().note(concat(length, "; it was cut to that"));
  TRY_INTO(const auto survey, table.survey(base.table_size, base.epoch, end_of(base)));
  if (!survey.damage.empty()) return concat("the table on disk is damaged: ", survey.damage);
  // Of two syncs that were not committed, the second may have replaced slots of the checkpoint.
  const bool is_overwritten = !source.is_given && survey.newest_epoch > base.epoch + 1;
  if (is_overwritten || survey.foreign_slots > 0)
    return std::string("the table on disk does not fit the key journal");
  if (source.heads_sum && survey.heads_sum != *source.heads_sum)
    return std::string("the table on disk has lost slots, or has older ones");
  if (survey.newer_slots > 0) TRY(table.discard(base.table_size, base.epoch));
  TRY(table.start(base.table_size, survey.resizable, survey.heads_sum, source.settled));
  if (source.state != TableState::whole || survey.newer_slots > 0) TRY(table.flush());
  if (!source.is_given) return apply_tail(base);
  if (source.state == TableState::whole) return std::string();
  TRY_INTO(const std::string misfit, freezer::JournalHeads(*log_).find_misfit(table));
  if (!misfit.empty()) return concat("the table on disk is not that of the checkpoint: ", misfit);
  last_checkpoint_ = base;
  TRY(commit_synced(TableState::whole, base));
  return std::string();
}

Status Freezer::open_on_disk_read_only(const TableSource& source) {
  // A writer replaces slots.
  if (Status alone = store_->exclude_writers(); !alone) {
    return fail(alone.error().code, concat(alone.error().message,
                                           "; beside a writer a freezer is read through memory: "
                                           "give more than ",
                                           memory_budget_bytes_, " bytes"));
  }
  TRY(open_table_blob(false));
  DiskTable* const table = disk_table();
  const FreezerCheckpoint& base = source.checkpoint;
  if (source.state == TableState::whole && table != nullptr && recorded_->items == items_) {
    TRY_INTO(const auto survey, table->survey(base.table_size, base.epoch, end_of(base)));
    if (survey.damage.empty() && survey.heads_sum == source.heads_sum)
      return table->start_reading(base.table_size);
    store_->recovery().note("the table on disk is damaged: its heads are made anew in memory");
  }
  // A reader mends nothing, and must find what a killed writer left: the heads are made in memory.
  TRY_INTO(auto heads, replay(ResidentTable::size_for(items_, base.table_size),
                              ResidentTable::Lookups::by_chain));
  WriterLock lock(state_);
  resident_ = std::move(heads);
  in_memory_ = true;
  items_ = resident_->count();
  return {};
}

}  // namespace firn
