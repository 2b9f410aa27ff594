// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/value_log.h"

#include <algorithm>
#include <utility>

#include <zstd.h>
#include <zstd_errors.h>

#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/per_thread.h"
#include "firn/base/read_section.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"
#include "firn/journal/batches.h"
#include "firn/journal/section_name.h"
#include "firn/journal/value_entry.h"

namespace firn {

using journal::kChecksumSizeBytes;

namespace {

// Of larger ones a copy costs more than what is saved, and a lie costs memory.
constexpr uint32_t kCachedValueMaxBytes = 4084;

bool may_be_cached(ValueLocation location) {
  return location.size_bytes >= kChecksumSizeBytes && location.size_bytes <= kCachedValueMaxBytes;
}

struct Compressor {
  Compressor() : context(ZSTD_createCCtx()) {
    if (context == nullptr) throw std::bad_alloc();
  }
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  const std::unique_ptr<ZSTD_CCtx, Free> context;
};

// Replaces `compressed`, whose bytes beyond the result are scratch.
Result<ByteSpan> compress(ByteSpan plain, int level, Bytes& compressed) {
  thread_local constinit PerThread<Compressor> kept;
  compressed.resize(ZSTD_compressBound(plain.size()));
  const size_t size = ZSTD_compressCCtx(kept.get().context.get(), compressed.data(),
                                        compressed.size(), plain.data(), plain.size(), level);
  if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation) throw std::bad_alloc();
  if (ZSTD_isError(size) != 0)
    return fail(Errc::io, concat("compression failed: ", ZSTD_getErrorName(size)));
  if (size > UINT32_MAX - kChecksumSizeBytes)
    return fail(Errc::invalid_argument, "the compressed value is larger than 4 GiB");
  return ByteSpan(compressed).first(size);
}

}  // namespace

ValueLog::ValueLog(Storage& storage, const ValueLogOptions& options, bool read_only)
    : storage_(storage),
      options_(options),
      read_only_(read_only),
      table_(std::max<size_t>(options.open_sections_max, 1),
             [this](Section section, const decltype(table_)::Entry& entry) {
               const bool changes = !read_only_ && !entry.damage;
               return open_section(section, changes ? OpenMode::read_write : OpenMode::read_only,
                                   entry.size, entry.cache_id);
             }) {}

ValueLog::~ValueLog() = default;

Status ValueLog::check_compression_level(int level) {
  if (level >= ZSTD_minCLevel() && level <= ZSTD_maxCLevel()) return {};
  return fail(Errc::invalid_argument, concat("compression level ", level, " is not between ",
                                             ZSTD_minCLevel(), " and ", ZSTD_maxCLevel()));
}

Result<std::unique_ptr<ValueLog>> ValueLog::open(Storage& storage, const ValueLogOptions& options,
                                                 RecoveryLog& recovery) {
  if (options.compression_level) TRY(check_compression_level(*options.compression_level));
  TRY_INTO(const std::vector<Section> found, journal::scan_sections(storage, options.partition));
  std::unique_ptr<ValueLog> log(new ValueLog(storage, options, recovery.read_only()));
  for (const Section section : found)
    log->table_.add_closed(section, log->new_cache_id());
  return log;
}

uint64_t ValueLog::new_cache_id() const {
  return options_.cache == nullptr ? 0 : options_.cache->new_blob_id();
}

Result<ValueLog::Handle> ValueLog::open_section(Section section, OpenMode mode,
                                                std::optional<uint64_t> durable_size,
                                                uint64_t cache_id) const {
  TRY_INTO(auto blob, storage_.open(options_.partition, journal::section_name(section), mode));
  // What was found on disk counts as written by somebody else: adopt() makes it durable.
  uint64_t size = blob->size();
  uint64_t durable = std::min(durable_size.value_or(size), size);
  if (end_of_) {
    const auto end = end_of_(section);
    if (!end && end.error().code != Errc::corrupt)
      return fail(end.error().code, end.error().message);
    if (end) size = std::min(size, *end);
    durable = end ? size : 0;
  }
  return std::make_shared<journal::ValueSegment>(std::move(blob), size, durable,
                                                 options_.write_buffer_bytes, only_grows_,
                                                 options_.cache, cache_id);
}

Status ValueLog::check_retained(Section section) const {
  const uint64_t boundary = boundary_.load();
  if (section.value >= boundary) return {};
  return fail(Errc::pruned, concat("section ", section, " of partition ", options_.partition,
                                   " is pruned: sections from ", boundary, " on are retained"));
}

Status ValueLog::check_writable() const {
  if (read_only_) {
    return fail(Errc::invalid_argument,
                concat("value log ", options_.partition, " is open for reading only"));
  }
  return poison_.check();
}

Result<ValueLog::Handle> ValueLog::find_existing(Section section) const {
  TRY_INTO(auto handle, table_.find(section));
  if (handle != nullptr) return handle;
  // Only now: a prune raises the boundary before it removes anything.
  TRY(check_retained(section));
  return fail(Errc::out_of_range,
              concat("there is no blob ", options_.partition, "/", journal::section_hex(section)));
}

Result<ValueLog::Handle> ValueLog::find_or_create(Section section) {
  TRY_INTO(auto existing, table_.find(section));
  if (existing != nullptr) return existing;
  const uint64_t cache_id = new_cache_id();
  TRY_INTO(auto handle, open_section(section, OpenMode::create_new, 0, cache_id));
  table_.add_open(section, cache_id, handle);
  return handle;
}

Result<journal::ValueSegment*> ValueLog::begin_appending(Section section) {
  if (appending_ == nullptr || appending_section_ != section) {
    TRY_INTO(appending_, find_or_create(section));
    appending_section_ = section;
  }
  return appending_.get();
}

void ValueLog::set_aside(Section section, const Error& damage) {
  using Readable = decltype(table_)::Readable;
  table_.set_aside(section, damage, table_.contains(section) ? Readable::yes : Readable::no);
}

Result<ValueLocation> ValueLog::append(Section section, std::span<const ByteSpan> value) {
  uint64_t size_bytes = 0;
  for (const ByteSpan part : value)
    size_bytes += part.size();
  if (size_bytes > options_.value_size_max_bytes) {
    return fail(Errc::invalid_argument,
                concat("a value of ", size_bytes, " bytes is larger than the limit of ",
                       options_.value_size_max_bytes, " bytes"));
  }
  TRY(check_writable());
  TRY(check_retained(section));

  parts_.assign(value.begin(), value.end());
  if (options_.compression_level) {
    joined_.clear();
    for (const ByteSpan part : value)
      joined_.insert(joined_.end(), part.begin(), part.end());
    TRY_INTO(const ByteSpan compressed,
             compress(joined_, *options_.compression_level, compressed_));
    parts_.assign(1, compressed);
  }

  uint32_t checksum = crc32c({});
  uint64_t stored_bytes = kChecksumSizeBytes;
  for (const ByteSpan part : parts_) {
    checksum = extend_crc32c(checksum, part);
    stored_bytes += part.size();
  }
  std::byte trailer[kChecksumSizeBytes];
  store_big_endian(trailer, checksum);
  parts_.emplace_back(trailer);

  TRY_INTO(journal::ValueSegment* const segment, poison_.watch(begin_appending(section)));
  TRY_INTO(const uint64_t offset, poison_.watch(segment->append(parts_)));
  return ValueLocation{offset, static_cast<uint32_t>(stored_bytes)};
}

// The value with its checksum, as it is stored.
Result<Value> ValueLog::read_entry(Section section, ValueLocation location, Use use) const {
  if (use == Use::cache) {
    if (auto found = find_in_memory(section, location)) return std::move(*found);
  }
  TRY_INTO(const Handle segment, find_existing(section));
  const uint64_t end = segment->size();
  if (location.size_bytes < kChecksumSizeBytes || location.offset > end ||
      location.size_bytes > end - location.offset) {
    return fail(Errc::out_of_range,
                concat("blob ", options_.partition, "/", journal::section_hex(section), " holds ",
                       end, " bytes: there is no value of ", location.size_bytes,
                       " bytes at file offset ", file_offset(location.offset)));
  }
  if (auto mapped = segment->read_mapped(location.offset, location.size_bytes))
    return Value(std::move(mapped->pin), mapped->bytes);
  Buffer buffer(location.size_bytes);
  const MutableByteSpan bytes = buffer.mutable_bytes();
  TRY(use == Use::cache ? segment->read_cached(location.offset, bytes)
                        : segment->read(location.offset, bytes));
  return Value(std::move(buffer), 0, location.size_bytes);
}

// Without a lock or a system call. Nothing if it is not there.
std::optional<Value> ValueLog::find_in_memory(Section section, ValueLocation location) const {
  if (!may_be_cached(location)) return std::nullopt;
  const ReadSection reading;
  const journal::ValueSegment* const segment = table_.peek(section);
  if (segment == nullptr || segment->may_be_mapped()) return std::nullopt;
  Buffer buffer(location.size_bytes);
  if (!segment->find_cached(location.offset, buffer.mutable_bytes())) return std::nullopt;
  return Value(std::move(buffer), 0, location.size_bytes);
}

void ValueLog::fetch(Section section, uint64_t offset) const {
  const ReadSection reading;
  const journal::ValueSegment* const segment = table_.peek(section);
  if (segment != nullptr) segment->fetch(offset);
}

Result<Value> ValueLog::read(Section section, ValueLocation location) const {
  return read(section, location, Use::cache);
}

Result<Value> ValueLog::read(Section section, ValueLocation location, Use use) const {
  TRY_INTO(Value entry, read_entry(section, location, use));
  const journal::EntryPlace which{options_.partition, section, location};
  TRY_INTO(Value payload, journal::check_entry(std::move(entry), which));
  if (!options_.compression_level) return payload;
  return journal::decompress_entry(payload.bytes(), options_.value_size_max_bytes, which);
}

ValueLog::Batch::Batch(const ValueLog& log) : log_(log) {
  if (log.options_.cache != nullptr && !log.options_.compression_level)
    reads_.emplace(*log.options_.cache);
}

void ValueLog::Batch::push(Section section, ValueLocation location, std::optional<Value>& value) {
  if (!reads_ || !may_be_cached(location)) return;
  if (section_ != section) {
    section_ = section;
    segment_ = log_.table_.peek(section);
    end_ = segment_ == nullptr ? 0 : segment_->cacheable_bytes();
  }
  if (location.offset >= end_ || location.size_bytes > end_ - location.offset) return;
  reads_->push(segment_->wanted(location.offset, location.size_bytes), &value,
               [this](auto* to, const auto& read) { take(read, *to); });
}

void ValueLog::Batch::finish() {
  if (reads_) reads_->finish([this](auto* to, const auto& read) { take(read, *to); });
}

void ValueLog::Batch::take(const PageCache::Wanted& wanted, std::optional<Value>& value) {
  if (wanted.found.empty() && wanted.bytes_beyond_page() == 0) return;
  if (free_.size() < wanted.size_bytes) {
    size_t bytes = wanted.size_bytes;
    reads_->for_each_left([&](const PageCache::Wanted& left) { bytes += left.size_bytes; });
    memory_ = std::make_shared_for_overwrite<std::byte[]>(bytes);
    free_ = MutableByteSpan(memory_.get(), bytes);
  }
  const MutableByteSpan entry = free_.first(wanted.size_bytes);
  const ByteSpan found = log_.options_.cache->find(wanted, entry);
  if (found.empty()) return;
  if (found.data() != entry.data()) copy_bytes(entry, found);
  const ByteSpan payload = entry.first(entry.size() - kChecksumSizeBytes);
  if (load_big_endian<uint32_t>(payload.data() + payload.size()) != crc32c(payload)) return;
  free_ = free_.subspan(entry.size());
  value.emplace(memory_, payload);
}

Status ValueLog::check(Section section, ValueLocation location) const {
  TRY(read(section, location, Use::blob));
  return {};
}

Result<uint64_t> ValueLog::size(Section section) const {
  TRY(check_retained(section));
  TRY_INTO(const auto handle, table_.find(section));
  return handle == nullptr ? 0 : handle->size();
}

Status ValueLog::sync(Section section) {
  TRY(poison_.check());
  TRY(check_retained(section));
  appending_.reset();
  TRY_INTO(const auto handle, table_.find(section));
  return handle == nullptr ? Status() : poison_.watch(handle->sync());
}

Status ValueLog::sync_all() {
  TRY(poison_.check());
  appending_.reset();
  for (const auto& [section, handle] : table_.dirty())
    TRY(poison_.watch(handle->sync()));
  return {};
}

Status ValueLog::adopt(Section section) {
  TRY(poison_.check());
  TRY_INTO(const auto handle, table_.find(section));
  return handle == nullptr ? Status() : poison_.watch(handle->blob().sync());
}

void ValueLog::follow(EndOf end_of) {
  table_.reopen_all([&] { end_of_ = std::move(end_of); }, [this] { return new_cache_id(); });
}

void ValueLog::follow(const std::vector<Section>& grown, Section boundary) {
  boundary_ = std::max(boundary_.load(), boundary.value);
  for (const Section section : table_.sections()) {
    if (section >= boundary) break;
    forget(section);
  }
  // Asks end_of_ when it is opened again.
  for (const Section section : grown)
    table_.reopen(section, [this] { return new_cache_id(); });
  table_.collect();  // what other reads were in when it was dropped
}

void ValueLog::forget(Section section) {
  appending_.reset();
  const uint64_t cache_id = table_.erase(section);
  if (options_.cache != nullptr) options_.cache->evict_from(cache_id, 0);
}

Status ValueLog::remove(const std::vector<Section>& sections) {
  for (const Section section : sections)
    forget(section);
  Status removed = journal::remove_sections(storage_, options_.partition, sections);
  table_.collect();  // a file takes space as long as it is open
  return removed;
}

Result<size_t> ValueLog::prune(Section oldest_retained) {
  TRY(check_writable());
  if (oldest_retained.value <= boundary_.load()) return 0;
  boundary_ = oldest_retained.value;
  std::vector<Section> dropped = table_.sections();
  dropped.erase(std::ranges::lower_bound(dropped, oldest_retained), dropped.end());
  if (!dropped.empty()) TRY(poison_.watch(remove(dropped)));
  return dropped.size();
}

Status ValueLog::rewind(Section section, uint64_t size_bytes) {
  TRY(check_writable());
  TRY(check_retained(section));
  // Opened first, and kept open: what fails after the first removal would leave half a rewind.
  TRY_INTO(const auto handle, table_.find(section));
  std::vector<Section> later = table_.sections();
  later.erase(later.begin(), std::ranges::upper_bound(later, section));
  std::ranges::reverse(later);
  // One at a time: a power cut must not leave a later section without an earlier one.
  for (const Section newest : later)
    TRY(poison_.watch(remove({newest})));
  return rewind_section(section, size_bytes);
}

Status ValueLog::rewind_section(Section section, uint64_t size_bytes) {
  TRY(check_writable());
  TRY(check_retained(section));
  TRY_INTO(const auto handle, table_.find(section));
  return handle == nullptr ? Status() : poison_.watch(handle->truncate(size_bytes));
}

Status ValueLog::remove_section(Section section) {
  TRY(check_writable());
  if (!table_.contains(section)) return {};
  return poison_.watch(remove({section}));
}

Status ValueLog::clear() {
  TRY(check_writable());
  boundary_ = 0;
  return poison_.watch(remove(table_.sections()));
}

Status ValueLog::destroy() {
  TRY(clear());
  return poison_.watch(storage_.remove_partition(options_.partition));
}

BlobRange ValueLog::rest_of(Section section, const Handle& handle, uint64_t offset,
                            std::string reason) const {
  return {options_.partition, journal::section_hex(section), offset, handle->size() - offset,
          std::move(reason)};
}

Status ValueLog::save_before_cut(Section section, uint64_t offset, std::string reason,
                                 RecoveryLog& recovery) const {
  TRY_INTO(const auto handle, table_.find(section));
  if (handle == nullptr || handle->size() <= offset) return {};
  return recovery.save_before_cut(handle->blob(),
                                  rest_of(section, handle, offset, std::move(reason)));
}

Status ValueLog::note_cut(Section section, uint64_t offset, std::string reason,
                          RecoveryLog& recovery) const {
  const auto handle = table_.find_open(section);
  CHECK(handle != nullptr && offset < handle->size(), "its size was asked, and is more");
  return recovery.note_cut(handle->blob(), rest_of(section, handle, offset, std::move(reason)));
}

}  // namespace firn
