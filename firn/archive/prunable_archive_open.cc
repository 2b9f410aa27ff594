// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: opening, which rebuilds the maps in memory from the index records.
#include <algorithm>
#include <utility>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_record.h"
#include "firn/io/page_scan.h"
#include "firn/journal/indexed_value_salvage.h"
#include "firn/journal/section_name.h"
#include "firn/journal/value_entry.h"

namespace firn {
namespace {

constexpr uint32_t kDefaultKeySizeBytes = 32;
constexpr uint32_t kDefaultPageSizeBytes = 4084;
constexpr std::string_view kDefaultIndexPartition = "index";
constexpr std::string_view kDefaultValuesPartition = "values";
// Records whose tokens are inserted together: 4 MiB of memory, and each table's part fits a cache.
constexpr size_t kReplayGroup = 256 << 10;
// Records that are remembered under one lock: they stay in the fastest cache until then.
constexpr size_t kReplayChunk = 512;
constexpr std::string_view kKind = "archive";
constexpr std::string_view kUncompressed = "none";
constexpr std::string_view kCompressed = "zstd";

// How many values are read to find an intact one.
constexpr uint32_t kConfirmationsMax = 64;

Status check_options(const PrunableArchiveOptions& options) {
  const auto refuse = [](std::string_view what, uint64_t value, std::string_view range) {
    return fail(Errc::invalid_argument, concat(what, " ", value, " is not ", range));
  };
  if (options.key_size_bytes &&
      (*options.key_size_bytes == 0 || *options.key_size_bytes > archive::kKeySizeMaxBytes))
    return refuse("key size", *options.key_size_bytes, "between 1 and 1024");
  if (options.items_per_section && *options.items_per_section == 0)
    return refuse("items per section", 0, "at least 1");
  if (options.page_size_bytes &&
      (*options.page_size_bytes == 0 || *options.page_size_bytes > UINT16_MAX))
    return refuse("page size", *options.page_size_bytes, "between 1 and 65535");
  if (options.page_cache_bytes > kPageCacheBytesMax)
    return refuse("page cache in bytes", options.page_cache_bytes, "at most 1 TiB");
  if (options.write_buffer_bytes > kWriteBufferBytesMax)
    return refuse("write buffer in bytes", options.write_buffer_bytes, "at most 1 GiB");
  if (const int level = options.compression_level.value_or(kNoCompression); level != kNoCompression)
    TRY(ValueLog::check_compression_level(level));
  return {};
}

enum class PageFit : uint8_t { unknown, another };

// The first slot of a page lies where the second one of a page 6 bytes shorter would be, so that a
// blob of one page has a valid page in both sizes. But only one of them divides it into whole
// pages.
Result<PageFit> fit_of_pages(Blob& blob, uint32_t page_size) {
  const uint64_t size = blob.size();
  if (size % (page_size + kPageRecordSize) == 0) return PageFit::unknown;
  Bytes front(std::min<uint64_t>(size, kPageSizeMax + kPageRecordSize));
  TRY(blob.read_at(0, front));
  const auto fitting = io::find_page_size(front, size, UINT32_MAX);
  const bool is_another =
      fitting && *fitting != page_size && size % (*fitting + kPageRecordSize) == 0;
  return is_another ? PageFit::another : PageFit::unknown;
}

// What a new archive records about itself, and what is required of an existing one.
StoreOptions store_options(const PrunableArchiveOptions& options) {
  StoreOptions store;
  store.read_only = options.access == ArchiveAccess::read_only;
  store.create = options.access == ArchiveAccess::create;
  store.strict = options.strict;
  store.identity.kind = kKind;
  store.needed_without_manifest = {"key_size", "page_size", "items_per_section"};
  const auto add = [&](std::string name, auto given, auto fallback) {
    store.identity.geometry.push_back({name, given ? *given : fallback});
    if (given) store.required_geometry.push_back({std::move(name), *given});
  };
  add("key_size", std::optional<uint64_t>(options.key_size_bytes), uint64_t{kDefaultKeySizeBytes});
  add("items_per_section", options.items_per_section, archive::kDefaultItemsPerSection);
  add("page_size", std::optional<uint64_t>(options.page_size_bytes),
      uint64_t{kDefaultPageSizeBytes});
  std::optional<std::string> compression;
  if (options.compression_level)
    compression = *options.compression_level == kNoCompression ? kUncompressed : kCompressed;
  add("compression", compression, std::string(kUncompressed));
  const auto add_partition = [&](StoreRole role, const std::optional<std::string>& given,
                                 std::string_view fallback) {
    store.identity.partitions.emplace_back(role, given.value_or(std::string(fallback)));
    if (given) store.required_partitions.emplace_back(role, *given);
  };
  add_partition(StoreRole::index, options.index_partition, kDefaultIndexPartition);
  add_partition(StoreRole::values, options.values_partition, kDefaultValuesPartition);
  return store;
}

}  // namespace

Result<std::unique_ptr<PrunableArchive>> PrunableArchive::open(
    Storage& storage, const PrunableArchiveOptions& options) {
  TRY(check_options(options));
  for (int attempt = 1;; ++attempt) {
    std::unique_ptr<PrunableArchive> archive(new PrunableArchive());
    TRY_INTO(archive->store_, Store::open(storage, store_options(options)));
    Status opened = archive->open_in_store(options);
    TRY_INTO(const auto view, archive->store_->judge_view(opened, attempt));
    if (view == Store::View::outdated) continue;
    TRY(std::move(opened));
    return archive;
  }
}

Status PrunableArchive::open_in_store(const PrunableArchiveOptions& options) {
  translator_ = options.translator.value_or(
      KeyTranslator::hashed(KeyTranslator::eight_cap(), store_->storage().random_seed()));
  TRY(open_log(store_->storage(), options));
  TRY(store_->settle());
  return options.strict ? Status() : replay();
}

Status PrunableArchive::open_log(Storage& storage, const PrunableArchiveOptions& options) {
  const Manifest* manifest = store_->manifest();
  const auto recorded = [&](std::string_view name, uint64_t otherwise) {
    return manifest == nullptr ? otherwise : manifest->number(name).value_or(otherwise);
  };
  const uint64_t key_size =
      recorded("key_size", options.key_size_bytes.value_or(kDefaultKeySizeBytes));
  if (key_size == 0 || key_size > archive::kKeySizeMaxBytes)
    return fail(Errc::corrupt, concat("the manifest records an impossible key size: ", key_size));
  key_size_bytes_ = static_cast<uint32_t>(key_size);
  items_per_section_ = recorded(
      "items_per_section", options.items_per_section.value_or(archive::kDefaultItemsPerSection));
  if (items_per_section_ == 0)
    return fail(Errc::corrupt, "the manifest records 0 items per section");

  cache_ = std::make_unique<PageCache>(options.page_cache_bytes);
  IndexedValueLogOptions log;
  const auto partition = [&](StoreRole role, const std::optional<std::string>& given,
                             std::string_view fallback) {
    const auto from_manifest = manifest == nullptr ? std::nullopt : manifest->partition(role);
    return given.value_or(from_manifest.value_or(std::string(fallback)));
  };
  log.index.partition =
      partition(StoreRole::index, options.index_partition, kDefaultIndexPartition);
  log.index.record_size_bytes = archive::record_size_bytes(key_size_bytes_);
  const uint64_t page_size =
      recorded("page_size", options.page_size_bytes.value_or(kDefaultPageSizeBytes));
  log.index.page_size_bytes = static_cast<uint32_t>(std::min<uint64_t>(page_size, UINT32_MAX));
  log.index.write_buffer_bytes = options.write_buffer_bytes;
  log.index.open_sections_max = options.open_sections_max;
  log.index.cache = cache_.get();
  log.index.floors = store_->floors(StoreRole::index);
  log.values.partition =
      partition(StoreRole::values, options.values_partition, kDefaultValuesPartition);
  if (options.compression_level != kNoCompression)
    log.values.compression_level = options.compression_level;
  log.values.cache = cache_.get();
  if (manifest != nullptr && !options.compression_level &&
      manifest->text("compression") == kCompressed)
    log.values.compression_level = 0;
  log.values.write_buffer_bytes = options.write_buffer_bytes;
  log.values.open_sections_max = options.open_sections_max;
  if (manifest == nullptr) {
    TRY(check_unrecorded_geometry(storage, log));
    if (!options.compression_level) TRY(journal::check_not_compressed(storage, log));
  }
  if (options.strict) TRY(look_strictly(storage, log));
  TRY_INTO(log_, IndexedValueLog::open(storage, log, store_->recovery()));
  log_->map_reads();  // nothing is truncated after recovery
  return {};
}

// Opens without changing anything, replays, and checks every page and location, also after a clean
// close. What is replayed stays: where nothing is cut, recovery adds nothing to it.
Status PrunableArchive::look_strictly(Storage& storage, const IndexedValueLogOptions& options) {
  RecoveryLog look_only(storage, true);
  TRY_INTO(log_, IndexedValueLog::open(storage, options, look_only));
  TRY(replay());
  TRY(log_->verify(false, look_only, [](uint64_t) {}));
  TRY(refuse_damage_and_cuts(look_only.report()));
  TRY(refuse_damage_and_cuts(store_->recovery().report()));
  CHECK(damaged_.empty(), "damage is in a report");
  return {};
}

// A store without a manifest is first read without changing it: recovery with a wrong geometry
// would cut good data. Every record must belong to its section, and one value at least must be
// intact where its record says that it is: a record that was cut out of the wrong bytes cannot name
// one.
Status PrunableArchive::check_unrecorded_geometry(Storage& storage,
                                                  const IndexedValueLogOptions& options) const {
  RecoveryLog look_only(storage, true);
  TRY_INTO(const auto log, IndexedValueLog::open(storage, options, look_only));
  const auto misfit = [&](const auto&... what) {
    return fail(
        Errc::invalid_argument,
        concat(what..., " in partition ", options.index.partition, " does not fit keys of ",
               key_size_bytes_, " bytes with ", items_per_section_,
               " items per section and pages of ", options.index.page_size_bytes, " bytes ",
               options.values.compression_level ? "with compressed" : "without compressed",
               " values: give the values that the store was made with. Nothing was changed"));
  };
  bool is_confirmed = false;
  uint32_t attempts = 0;
  TRY_INTO(FixedReplay replay, log->replay());
  while (true) {
    auto item = replay.next();
    if (!item) {
      if (item.error().code != Errc::corrupt) return pass_on(item);
      replay.skip_damaged_page();
      continue;
    }
    if (!item->has_value()) break;
    const auto& [section, position, record] = **item;
    if (section_of(archive::index_of(record)) != section)
      return misfit("record ", position, " of section ", section);
    if (is_confirmed || attempts == kConfirmationsMax) continue;
    ++attempts;
    is_confirmed = log->values().check(section, IndexedValueLog::location_of(record)).has_value();
  }
  TRY_INTO(const auto names, storage.scan(options.index.partition));
  for (const Bytes& name : names) {
    const auto opened = storage.open(options.index.partition, name, OpenMode::read_only);
    if (!opened && opened.error().code == Errc::corrupt) continue;  // it will be set aside
    if (!opened) return fail(opened.error().code, opened.error().message);
    Blob* const blob = opened->get();
    if (blob->size() > 0 && !is_confirmed) return misfit("blob ", to_hex(name));
    TRY_INTO(const PageFit fit, fit_of_pages(*blob, options.index.page_size_bytes));
    if (fit == PageFit::another) return misfit("blob ", to_hex(name));
  }
  return {};
}

// Records of the section cannot be read. What the log has set aside is in the report already.
void PrunableArchive::note_hidden(Section section, const Error& error) {
  archive::Damage& damage = damaged_[section];
  if (!damage.hides_items && damage.message != error.message) {
    store_->recovery().note_damage(
        {log_->index().partition(), journal::section_hex(section), 0, 0, error.message});
  }
  if (damage.message.empty()) damage.message = error.message;
  damage.hides_items = true;
}

Status PrunableArchive::replay() {
  TRY_INTO(FixedReplay replay, log_->replay());
  {
    WriterLock lock(state_);
    tokens_ = std::make_unique<TokenIndex>(store_->storage().random_seed());
    if (Floors* floors = store_->floors(StoreRole::index); floors != nullptr)
      oldest_allowed_ = floors->boundary().value;
    tokens_->reserve(replay.record_count());
  }
  for (const auto& [damaged, error] : log_->damaged())
    damaged_[damaged].message = error.message;
  return absorb(replay, std::nullopt);
}

Status PrunableArchive::absorb(FixedReplay& replay, std::optional<archive::KnownEnd> known) {
  std::optional<Section> section;
  uint64_t values_end = 0;
  if (known) {
    section = known->section;
    values_end = known->values_end;
  }
  const auto damaged = [&](Section in, const Error& damage) -> Status {
    if (known) return std::unexpected(damage);
    note_hidden(in, damage);
    return {};
  };
  archive::Arrivals arrivals;
  arrivals.tokens.reserve(std::min<size_t>(kReplayGroup, replay.record_count()));
  // Others may read an archive that follows: a record is there with its key or not at all.
  const size_t group = known ? kReplayChunk : kReplayGroup;
  while (true) {
    auto item = replay.next();
    if (!item && item.error().code == Errc::pruned) continue;  // the writer was quicker
    if (!item) {
      if (item.error().code != Errc::corrupt) return pass_on(item);
      TRY(damaged(replay.failed_section(), item.error()));
      replay.skip_damaged_page();
      continue;
    }
    if (!item->has_value()) break;
    const auto& [in_section, position, record] = **item;
    if (in_section != section) values_end = 0;
    section = in_section;
    const ValueLocation location = IndexedValueLog::location_of(record);
    const auto misplaced = [&](std::string_view what) {
      return Error{Errc::corrupt,
                   concat("blob ", log_->index().partition(), "/", journal::section_hex(*section),
                          ": record ", position, " at payload offset ",
                          position.value * record.size(), " ", what)};
    };
    if (location.offset < values_end) {
      // A page in the wrong place has a valid checksum; its locations give it away.
      TRY(damaged(*section, misplaced("refers to an earlier record's value")));
      continue;
    }
    values_end = journal::end_of(location);
    const uint64_t index = archive::index_of(record);
    if (section_of(index) != *section) {
      TRY(damaged(*section, misplaced(concat("holds index ", index))));
      continue;
    }
    arrivals.records.push_back(
        {index, translator_->token(archive::key_of(record)), {*section, position}});
    if (arrivals.records.size() == kReplayChunk) remember(arrivals, group);
  }
  remember(arrivals, 0);
  return {};
}

// Takes all records, and the tokens once there are `group` of them.
void PrunableArchive::remember(archive::Arrivals& arrivals, size_t group) {
  WriterLock lock(state_);
  for (const archive::Replayed& record : arrivals.records)
    arrivals.tokens.push_back({record.token, remember_place(record.index, record.locator)});
  arrivals.records.clear();
  if (arrivals.tokens.size() < group) return;
  tokens_->insert_many(arrivals.tokens);
  arrivals.tokens.clear();
}

Result<uint64_t> PrunableArchive::refresh() {
  MutexLock lock(writer_);
  if (closed_) return fail(Errc::invalid_argument, "the archive is closed");
  TRY(store_->refresh());
  if (store_->manifest() == nullptr) return 0;  // no writer can be there
  TRY_INTO(const auto grown, log_->follow());
  behind_.insert(grown.begin(), grown.end());
  const Section boundary = store_->floors(StoreRole::index)->boundary();
  if (boundary.value > oldest_allowed()) forget_pruned(boundary);
  const uint64_t before = statistics().records;
  for (auto next = behind_.begin(); next != behind_.end(); next = behind_.erase(next))
    if (*next >= boundary && !damaged_.contains(*next)) TRY(absorb_new(*next));
  const uint64_t added = statistics().records - before;
  // What was pruned meanwhile was not added: without the older sections, too, the view has no gap.
  const Section boundary_now = store_->floors(StoreRole::index)->boundary();
  if (boundary_now.value > oldest_allowed()) forget_pruned(boundary_now);
  return added;
}

Status PrunableArchive::absorb_new(Section section) {
  uint64_t known = 0;
  {
    ReaderLock lock(state_);
    if (const auto items = sections_.find(section); items != sections_.end())
      known = items->second.records;
  }
  const auto read = [&]() -> Status {
    uint64_t values_end = 0;
    if (known > 0) {
      TRY_INTO(const ValueLocation last, log_->location_at(section, known - 1));
      values_end = last.offset + last.size_bytes;
    }
    TRY_INTO(FixedReplay replay, log_->replay_section(section, Position(known)));
    return absorb(replay, archive::KnownEnd{section, values_end});
  };
  Status outcome = read();
  if (!outcome && outcome.error().code == Errc::pruned) return {};
  return outcome;
}

}  // namespace firn
