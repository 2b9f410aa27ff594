// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/fixed_journal.h"

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/read_section.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"
#include "firn/journal/batches.h"
#include "firn/journal/section_name.h"

namespace firn {
namespace {

constexpr uint32_t kRecordSizeMaxBytes = 1 << 20;

Status check_options(const FixedJournalOptions& options) {
  if (options.record_size_bytes == 0 || options.record_size_bytes > kRecordSizeMaxBytes) {
    return fail(Errc::invalid_argument,
                concat("journal ", options.partition, ": record size ", options.record_size_bytes,
                       " is not between 1 and ", kRecordSizeMaxBytes));
  }
  if (options.page_size_bytes == 0 || options.page_size_bytes > UINT16_MAX) {
    return fail(Errc::invalid_argument,
                concat("journal ", options.partition, ": page size ", options.page_size_bytes,
                       " is not between 1 and 65535"));
  }
  CHECK(options.cache != nullptr, "a journal needs a page cache");
  return {};
}

}  // namespace

FixedJournal::FixedJournal(Storage& storage, const FixedJournalOptions& options, bool read_only)
    : storage_(storage),
      options_(options),
      read_only_(read_only),
      table_(std::max<size_t>(options.open_sections_max, 1),
             [this](Section section, const Table::Entry& entry) {
               return reopen_section(section, entry);
             }) {}

FixedJournal::~FixedJournal() = default;

Result<std::unique_ptr<FixedJournal>> FixedJournal::open(Storage& storage,
                                                         const FixedJournalOptions& options,
                                                         RecoveryLog& recovery) {
  TRY_INTO(auto journal, open_unraised(storage, options, journal::KnownState(), recovery));
  if (options.floors == nullptr || recovery.read_only()) return journal;
  for (const auto& [section, size] : journal->table_.known_sizes())
    TRY(journal->raise_floor(section, size));
  return journal;
}

Result<std::unique_ptr<FixedJournal>> FixedJournal::open_unraised(
    Storage& storage, const FixedJournalOptions& options, const journal::KnownState& known,
    RecoveryLog& recovery) {
  TRY(check_options(options));
  std::unique_ptr<FixedJournal> journal(new FixedJournal(storage, options, recovery.read_only()));
  TRY(journal->recover(known, recovery));
  return journal;
}

Status FixedJournal::recover(const journal::KnownState& known, RecoveryLog& recovery) {
  std::map<Section, Error> at_floors;
  TRY_INTO(std::vector<Section> found, journal::scan_sections(storage_, options_.partition));
  if (options_.floors != nullptr) {
    boundary_ = options_.floors->boundary().value;
    const auto retained = std::ranges::lower_bound(found, options_.floors->boundary());
    const std::vector<Section> leftovers(found.begin(), retained);
    found.erase(found.begin(), retained);
    const bool is_interrupted = !is_pinned() || options_.floors->was_clean();
    if (!leftovers.empty() && is_interrupted) {
      recovery.note(concat(read_only_ ? "ignored" : "finished", " an interrupted prune of ",
                           counted(leftovers.size(), "section"), " in partition ",
                           options_.partition));
      if (!read_only_) TRY(journal::remove_sections(storage_, options_.partition, leftovers));
    }
    at_floors = check_floors(found);
    if (!at_floors.empty() && is_pinned()) {
      // Pruned since the floors were read?
      TRY_INTO(const Section boundary, options_.floors->reload_boundary());
      boundary_ = boundary.value;
      at_floors.erase(at_floors.begin(), at_floors.lower_bound(boundary));
      found.erase(found.begin(), std::ranges::lower_bound(found, boundary));
    }
    for (const auto& [section, damage] : at_floors)
      set_aside(section, damage, recovery);
  }
  const bool clean = options_.floors != nullptr && options_.floors->was_clean();
  if (!clean && !read_only_) TRY(journal::settle_removals(storage_, options_.partition));
  for (const Section section : found) {
    if (at_floors.contains(section)) continue;
    if (is_pinned() || known.ends_at_floors) {
      table_.add_closed(section, options_.cache->new_blob_id(), options_.floors->floor(section));
      continue;
    }
    const auto damage = known.damage.find(section);
    TRY(recover_section(section, damage == known.damage.end() ? nullptr : &damage->second,
                        recovery));
  }
  return {};
}

// Damage of a section that was closed is found by whoever uses it. Nothing of it is cut.
Status FixedJournal::recover_section(Section section, const Error* known_damage,
                                     RecoveryLog& recovery) {
  const bool changes = !read_only_ && known_damage == nullptr;
  Opening opening{.mode = changes ? OpenMode::read_write : OpenMode::read_only,
                  .floor = std::nullopt,
                  .cache_id = options_.cache->new_blob_id()};
  RecoveryLog look_only(storage_, true);
  auto handle = open_section(section, opening, known_damage == nullptr ? recovery : look_only);
  if (handle) {
    table_.add_open(section, opening.cache_id, std::move(*handle));
    return known_damage == nullptr ? Status() : freeze(section, *known_damage);
  }
  if (handle.error().code != Errc::corrupt) return pass_on(handle);
  if (options_.floors != nullptr && options_.floors->was_clean() && known_damage == nullptr)
    table_.add_closed(section, opening.cache_id, options_.floors->floor(section));
  else
    set_aside(section, handle.error(), recovery);
  return {};
}

bool FixedJournal::ends_at_floors() const {
  return std::ranges::all_of(table_.known_sizes(), [&](const auto& known) {
    return known.second == options_.floors->floor(known.first);
  });
}

// What is wrong with a section whose floor cannot be right.
std::map<Section, Error> FixedJournal::check_floors(const std::vector<Section>& found) const {
  std::map<Section, Error> damaged;
  const auto add = [&](Section section, const auto&... what) {
    damaged[section] = {Errc::corrupt, concat("blob ", options_.partition, "/",
                                              journal::section_hex(section), ": ", what...)};
  };
  for (const Section section : options_.floors->sections()) {
    const uint64_t floor = options_.floors->floor(section);
    if (floor % options_.record_size_bytes != 0) {
      add(section, floor, " bytes are recorded as synced, which is no whole number of records of ",
          options_.record_size_bytes, " bytes");
    } else if (!std::ranges::binary_search(found, section)) {
      add(section, "missing, although ", floor, " payload bytes from file offset ", file_offset(0),
          " on were synced");
    }
  }
  return damaged;
}

void FixedJournal::set_aside(Section section, const Error& damage, RecoveryLog& recovery) {
  recovery.note_damage({options_.partition, journal::section_hex(section), 0, 0, damage.message});
  table_.set_aside(section, damage, Table::Readable::no);
  if (options_.floors != nullptr) options_.floors->keep_unclean();
}

Status FixedJournal::freeze(Section section, const Error& damage) {
  auto handle = table_.find(section);
  if (!handle && handle.error().code != Errc::corrupt) return pass_on(handle);
  const bool is_readable = handle && *handle != nullptr;
  table_.set_aside(section, damage, is_readable ? Table::Readable::yes : Table::Readable::no);
  if (options_.floors != nullptr) options_.floors->keep_unclean();
  return {};
}

// With floors the store knows its geometry and its version: what contradicts it is damage.
Result<std::shared_ptr<PagedSection>> FixedJournal::open_section(Section section,
                                                                 const Opening& opening,
                                                                 RecoveryLog& recovery) const {
  auto opened = open_blob(section, opening, recovery);
  if (opened || options_.floors == nullptr || opening.mode == OpenMode::create_new) return opened;
  const Errc code = opened.error().code;
  if (code == Errc::unsupported_version || code == Errc::invalid_argument)
    opened.error().code = Errc::corrupt;
  return opened;
}

// Everything was durable when it was closed. What recovery did not adopt, or what a writer added
// since, is no part of a section that is only read. In one that is written, nothing may follow: a
// cut could no longer be told to anybody.
Result<std::shared_ptr<PagedSection>> FixedJournal::reopen_section(
    Section section, const Table::Entry& entry) const {
  CHECK(entry.size.has_value(), "every section was looked at when the journal was opened");
  const bool changes = !read_only_ && !entry.damage && poison_.check().has_value();
  RecoveryLog unexpected(storage_, true);
  TRY_INTO(auto handle, open_section(section,
                                     {.mode = changes ? OpenMode::read_write : OpenMode::read_only,
                                      .floor = entry.size,
                                      .cache_id = entry.cache_id,
                                      .ends_at_floor = !changes},
                                     unexpected));
  if (!unexpected.report().empty() || handle->size() != *entry.size)
    return fail(Errc::corrupt,
                concat("blob ", options_.partition, "/", journal::section_hex(section),
                       " no longer ends behind ", *entry.size,
                       " payload bytes: it was changed from outside "
                       "while the store was open; open the store anew"));
  return handle;
}

Result<std::shared_ptr<PagedSection>> FixedJournal::open_blob(Section section,
                                                              const Opening& opening,
                                                              RecoveryLog& recovery) const {
  TRY_INTO(auto blob,
           storage_.open(options_.partition, journal::section_name(section), opening.mode));
  PagedBlobOptions paged;
  paged.partition = options_.partition;
  paged.blob_name = journal::section_hex(section);
  paged.page_size = options_.page_size_bytes;
  paged.write_buffer_bytes = options_.write_buffer_bytes;
  paged.cache = options_.cache;
  paged.cache_id = opening.cache_id;
  paged.floor = opening.floor;
  if (!paged.floor && options_.floors != nullptr) paged.floor = options_.floors->floor(section);
  paged.ends_at_floor = opening.ends_at_floor;
  paged.record_size = options_.record_size_bytes;
  auto handle = std::make_shared<PagedSection>();
  TRY_INTO(handle->blob, PagedBlob::open(std::move(blob), paged, recovery));
  return handle;
}

Status FixedJournal::check_retained(Section section, uint64_t boundary) const {
  if (section.value >= boundary) return {};
  return fail(Errc::pruned, concat("section ", section, " of partition ", options_.partition,
                                   " is pruned: sections from ", boundary, " on are retained"));
}

Status FixedJournal::check_writable() const {
  if (read_only_) {
    return fail(Errc::invalid_argument,
                concat("journal ", options_.partition, " is open for reading only"));
  }
  return poison_.check();
}

Status FixedJournal::check_undamaged(Section section) const {
  const auto damage = table_.damage(section);
  if (!damage) return {};
  return fail(Errc::corrupt, concat("section ", section, " of partition ", options_.partition,
                                    " is damaged and must not change: ", damage->message));
}

Result<std::shared_ptr<PagedSection>> FixedJournal::find_retained(Section section) const {
  auto handle = table_.find(section);
  if (handle && *handle != nullptr) return handle;
  // Only now: a prune raises the boundary before it removes anything.
  TRY(check_retained(section, boundary_));
  if (!handle && handle.error().code == Errc::not_found)
    return std::unexpected(explain_missing(section, handle.error()));
  return handle;
}

Result<std::shared_ptr<PagedSection>> FixedJournal::create_section(Section section) {
  const uint64_t cache_id = options_.cache->new_blob_id();
  RecoveryLog unexpected(storage_, false);
  TRY_INTO(auto handle,
           open_section(section,
                        {.mode = OpenMode::create_new, .floor = uint64_t{0}, .cache_id = cache_id},
                        unexpected));
  table_.add_open(section, cache_id, handle);
  return handle;
}

Status FixedJournal::begin_appending(Section section) {
  // Damage is no failure of the journal: other sections go on.
  TRY(check_undamaged(section));
  TRY_INTO(auto handle, find_retained(section));
  if (options_.floors != nullptr) TRY(poison_.watch(options_.floors->begin_writing()));
  if (handle == nullptr) {
    TRY_INTO(handle, poison_.watch(create_section(section)));
  }
  appending_ = std::move(handle);
  appending_section_ = section;
  return {};
}

Result<Position> FixedJournal::append(Section section, ByteSpan record) {
  if (record.size() != options_.record_size_bytes) {
    return fail(Errc::invalid_argument,
                concat("journal ", options_.partition, ": record of ", record.size(),
                       " bytes, expected ", options_.record_size_bytes));
  }
  TRY(check_writable());
  if (appending_ == nullptr || appending_section_ != section) TRY(begin_appending(section));
  PagedBlob& blob = *appending_->blob;
  const uint64_t size = blob.size();
  CHECK(size % options_.record_size_bytes == 0, "sections hold whole records");
  TRY(poison_.watch(blob.append(record)));
  return Position(size / options_.record_size_bytes);
}

bool FixedJournal::append_would_write(Section section) const {
  if (appending_ != nullptr && appending_section_ == section)
    return appending_->blob->append_would_write(options_.record_size_bytes);
  const auto handle = table_.find(section);
  // A record that is larger than the buffer of a new section is written at once.
  if (!handle || *handle == nullptr) {
    return options_.record_size_bytes >
           std::max<uint64_t>(options_.write_buffer_bytes, 2 * uint64_t{options_.page_size_bytes});
  }
  return (*handle)->blob->append_would_write(options_.record_size_bytes);
}

Status FixedJournal::read(Section section, Position position, MutableByteSpan out) const {
  CHECK(out.size() == options_.record_size_bytes, "a record is read whole");
  return read_part(section, position, 0, out);
}

Status FixedJournal::read_part(Section section, Position position, uint32_t offset,
                               MutableByteSpan out) const {
  CHECK(offset + out.size() <= options_.record_size_bytes, "a part of one record");
  // So far no offset wraps: a record has 2^20 bytes at most.
  constexpr uint64_t kPositionMax = uint64_t{1} << 43;
  const uint64_t from = position.value * options_.record_size_bytes + offset;
  if (position.value <= kPositionMax && read_from_cache(section, from, out)) return {};
  // With a handle of its own: no idle section is closed, to be opened anew, while it is read.
  TRY_INTO(const auto handle, find_retained(section));
  return read_from(handle.get(), section, position, offset, out);
}

// Without a lock. What was read is what the section has if that was open all the while.
bool FixedJournal::read_from_cache(Section section, uint64_t offset, MutableByteSpan out) const {
  const ReadSection reading;
  const PagedSection* const open = table_.peek(section);
  return open != nullptr && open->blob->read_cached(offset, out) && table_.peek(section) == open;
}

Status FixedJournal::read_from(const PagedSection* handle, Section section, Position position,
                               uint32_t offset, MutableByteSpan out) const {
  if (handle == nullptr) {
    return fail(Errc::out_of_range,
                concat("partition ", options_.partition, " has no section ", section));
  }
  const uint64_t count = handle->size() / options_.record_size_bytes;
  if (position.value >= count) {
    return fail(Errc::out_of_range,
                concat("section ", section, " of partition ", options_.partition, " holds ", count,
                       " records; there is no record ", position));
  }
  return handle->blob->read_at(position.value * options_.record_size_bytes + offset, out);
}

FixedJournal::Batch::Batch(const FixedJournal& journal)
    : journal_(journal),
      reads_(*journal.options_.cache),
      memory_(journal.options_.record_size_bytes) {}

PageCache::Wanted FixedJournal::Batch::wanted(Section section, Position position) {
  const uint32_t record = journal_.options_.record_size_bytes;
  if (section_ != section) {
    section_ = section;
    open_ = journal_.table_.peek(section);
    count_ = open_ == nullptr ? 0 : open_->size() / record;
  }
  if (position.value >= count_) return {};
  return open_->blob->wanted(position.value * record, record);
}

Result<std::optional<Position>> FixedJournal::read_last(Section section,
                                                        MutableByteSpan out) const {
  TRY_INTO(const auto handle, find_retained(section));
  if (handle == nullptr) {
    return fail(Errc::out_of_range,
                concat("partition ", options_.partition, " has no section ", section));
  }
  const uint64_t count = handle->size() / options_.record_size_bytes;
  if (count == 0) return std::optional<Position>();
  TRY(read(section, Position(count - 1), out));
  return std::optional(Position(count - 1));
}

Result<uint64_t> FixedJournal::size(Section section) const {
  TRY_INTO(const auto handle, find_retained(section));
  return handle == nullptr ? 0 : handle->size();
}

Result<uint64_t> FixedJournal::record_count(Section section) const {
  TRY_INTO(const uint64_t bytes, size(section));
  return bytes / options_.record_size_bytes;
}

Status FixedJournal::sync_section(Section section, PagedSection& handle) {
  if (!handle.dirty()) return {};
  TRY(poison_.watch(handle.blob->sync()));
  if (options_.floors == nullptr) return {};
  return poison_.watch(options_.floors->raise(section, handle.blob->durable_size()));
}

Status FixedJournal::sync(Section section) {
  TRY(poison_.check());
  appending_.reset();
  TRY_INTO(const auto handle, find_retained(section));
  return handle == nullptr ? Status() : sync_section(section, *handle);
}

Status FixedJournal::sync_all() {
  TRY(poison_.check());
  appending_.reset();
  for (const auto& [section, handle] : table_.dirty())
    TRY(sync_section(section, *handle));
  return {};
}

Status FixedJournal::close() {
  return read_only_ ? Status() : sync_all();
}

Status FixedJournal::raise_floor(Section section, uint64_t size_bytes) {
  if (options_.floors == nullptr || size_bytes <= options_.floors->floor(section)) return {};
  TRY(poison_.watch(options_.floors->begin_writing()));
  return poison_.watch(options_.floors->raise(section, size_bytes));
}

Status FixedJournal::remove(const std::vector<Section>& sections) {
  appending_.reset();
  for (const Section section : sections)
    options_.cache->evict_from(table_.erase(section), 0);
  Status removed = journal::remove_sections(storage_, options_.partition, sections);
  table_.collect();  // a file takes space as long as it is open
  return removed;
}

Result<size_t> FixedJournal::prune(Section oldest_retained) {
  TRY(check_writable());
  if (oldest_retained.value <= boundary_.load()) return 0;
  if (options_.floors != nullptr)
    TRY(poison_.watch(options_.floors->set_boundary(oldest_retained)));
  boundary_ = oldest_retained.value;
  std::vector<Section> dropped = table_.sections();
  dropped.erase(std::ranges::lower_bound(dropped, oldest_retained), dropped.end());
  if (!dropped.empty()) TRY(poison_.watch(remove(dropped)));
  return dropped.size();
}

Status FixedJournal::rewind(Section section, uint64_t size_bytes) {
  TRY(check_writable());
  TRY(check_undamaged(section));
  // Opened first, and kept open: what fails after the first removal would leave half a rewind.
  TRY_INTO(const auto handle, find_retained(section));
  std::vector<Section> later = table_.sections();
  later.erase(later.begin(), std::ranges::upper_bound(later, section));
  std::ranges::reverse(later);
  TRY_INTO(const auto no_followers, exclude_followers());
  if (!later.empty() && options_.floors != nullptr)
    TRY(poison_.watch(options_.floors->forget(later)));
  // One at a time: a power cut must not leave a later section without an earlier one.
  for (const Section newest : later)
    TRY(poison_.watch(remove({newest})));
  return cut_section(section, size_bytes);
}

Status FixedJournal::rewind_section(Section section, uint64_t size_bytes) {
  TRY_INTO(const auto no_followers, exclude_followers());
  return cut_section(section, size_bytes);
}

Result<std::unique_ptr<StorageLock>> FixedJournal::exclude_followers() const {
  if (options_.floors == nullptr) return std::unique_ptr<StorageLock>();
  return options_.floors->exclude_followers();
}

Status FixedJournal::cut_section(Section section, uint64_t size_bytes) {
  CHECK(size_bytes % options_.record_size_bytes == 0, "sections hold whole records");
  TRY(check_writable());
  TRY(check_undamaged(section));
  TRY_INTO(const auto handle, find_retained(section));
  if (handle == nullptr || size_bytes >= handle->size()) return {};
  // Until the cut is durable the floor is below what is kept: whoever opens the section then finds
  // something above the floor, and makes it, cut or not, durable before using it.
  const uint64_t record = options_.record_size_bytes;
  if (options_.floors != nullptr) {
    const uint64_t below = size_bytes - std::min<uint64_t>(size_bytes, record);
    TRY(poison_.watch(options_.floors->lower(section, below)));
  }
  TRY(poison_.watch(handle->blob->truncate(size_bytes)));
  const uint64_t durable = std::min(size_bytes, handle->blob->durable_size());
  return raise_floor(section, durable - durable % record);
}

PagedBlob& FixedJournal::recovered_blob(Section section) const {
  const auto handle = table_.find_open(section);
  CHECK(handle != nullptr, "its records were just counted");
  return *handle->blob;
}

Status FixedJournal::save_before_cut(Section section, uint64_t size_bytes, std::string reason,
                                     RecoveryLog& recovery) const {
  return recovered_blob(section).save_before_cut(size_bytes, std::move(reason), recovery);
}

Status FixedJournal::cut_recovered(Section section, uint64_t size_bytes) {
  return read_only_ ? recovered_blob(section).cut_view(size_bytes)
                    : cut_section(section, size_bytes);
}

Status FixedJournal::clear() {
  TRY(check_writable());
  const std::vector<Section> all = table_.sections();
  TRY_INTO(const auto no_followers, exclude_followers());
  if (options_.floors != nullptr) TRY(poison_.watch(options_.floors->forget(all)));
  TRY(poison_.watch(remove(all)));
  if (options_.floors == nullptr) boundary_ = 0;
  return {};
}

Status FixedJournal::destroy() {
  TRY(clear());
  return poison_.watch(storage_.remove_partition(options_.partition));
}

Status FixedJournal::verify(RecoveryLog& findings) const {
  for (const Section section : table_.sections())
    TRY(verify_section(section, findings));
  return {};
}

Status FixedJournal::verify_section(Section section, RecoveryLog& findings) const {
  const auto handle = find_retained(section);
  if (!handle) {
    if (handle.error().code != Errc::corrupt)
      return fail(handle.error().code, handle.error().message);
    findings.note_damage(
        {options_.partition, journal::section_hex(section), 0, 0, handle.error().message});
    return {};
  }
  return *handle == nullptr ? Status() : (*handle)->blob->verify(findings);
}

}  // namespace firn
