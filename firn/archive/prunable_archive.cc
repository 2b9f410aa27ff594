// SPDX-License-Identifier: Apache-2.0
#include "firn/archive/prunable_archive.h"

#include <algorithm>
#include <utility>

#include "firn/archive/format.h"
#include "firn/base/check.h"
#include "firn/base/per_thread.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn {
namespace {

// A record's place in memory: the section's slot (31 bits) and the position (32 bits).
constexpr uint64_t pack(uint32_t slot, Position position) {
  return uint64_t{slot} << 32 | position.value;
}
constexpr uint32_t slot_of(uint64_t packed) {
  return static_cast<uint32_t>(packed >> 32);
}
constexpr Position position_of(uint64_t packed) {
  return Position(packed & UINT32_MAX);
}

// Stale tokens are swept once they outnumber the live ones.
constexpr uint64_t kStaleTokensMin = 4096;

constexpr std::string_view kAdvice =
    "; what is readable is still served; restore the file from a copy, or put what can be read "
    "into a new store with 'firn salvage'";

}  // namespace

PrunableArchive::~PrunableArchive() = default;

Status PrunableArchive::check_put(uint64_t index, ByteSpan key) const {
  if (closed_) return fail(Errc::invalid_argument, "the archive is closed");
  TRY(log_->poison().check());
  TRY(check_key(key));
  if (const uint64_t oldest = oldest_allowed(); index < oldest) {
    return fail(Errc::pruned,
                concat("index ", index, " is pruned: indices from ", oldest, " on are allowed"));
  }
  const auto damage = damaged_.find(section_of(index));
  if (damage == damaged_.end()) return {};
  return fail(Errc::corrupt, concat("index ", index, " belongs to section ", damage->first,
                                    ", which is damaged and must not change, while others may: ",
                                    damage->second.message, kAdvice));
}

Result<PutOutcome> PrunableArchive::put(uint64_t index, ByteSpan key,
                                        std::span<const ByteSpan> value) {
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  TRY(check_put(index, key));
  if (locate_first(index)) return PutOutcome::already_present;
  TRY(append(index, key, value));
  return PutOutcome::added;
}

Status PrunableArchive::put_multi(uint64_t index, ByteSpan key, std::span<const ByteSpan> value) {
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  TRY(check_put(index, key));
  return append(index, key, value);
}

Status PrunableArchive::append(uint64_t index, ByteSpan key, std::span<const ByteSpan> value) {
  const Section section = section_of(index);
  TRY_INTO(const uint64_t records, log_->entry_count(section));
  if (records > UINT32_MAX)
    return fail(Errc::invalid_argument,
                concat("section ", section, " is full: it holds 2^32 items"));
  archive::encode_prefix(prefix_, index, key);
  TRY_INTO(const auto appended, log_->append(section, prefix_, value));
  CHECK(appended.position.value <= UINT32_MAX, "the record fits the section");
  const uint64_t token = translator_->token(key);
  {
    WriterLock state(state_);
    remember(index, token, {section, appended.position});
  }
  put_count_.fetch_add(1, std::memory_order_release);
  return {};
}

archive::SectionItems& PrunableArchive::items_of(Section section) {
  if (const auto found = sections_.find(section); found != sections_.end()) return found->second;
  CHECK(slots_.size() < (uint64_t{1} << 31), "fewer than 2^31 sections");
  const auto slot = static_cast<uint32_t>(slots_.size());
  slots_.push_back(section);  // first: a section without its slot would be found
  archive::SectionItems& items = sections_[section];
  items.slot = slot;
  return items;
}

uint64_t PrunableArchive::remember_place(uint64_t index, Locator locator) {
  archive::SectionItems& items = items_of(locator.section);
  const auto position = static_cast<uint32_t>(locator.position.value);
  if (intervals_.insert(index))
    items.first.insert(index, position);
  else
    items.more[index].push_back(position);
  ++items.records;
  return pack(items.slot, locator.position);
}

void PrunableArchive::remember(uint64_t index, uint64_t token, Locator locator) {
  const uint64_t packed = remember_place(index, locator);
  const auto is_stale = [this](uint64_t candidate) NO_THREAD_SAFETY_ANALYSIS {
    return slots_[slot_of(candidate)].value < oldest_allowed_;
  };
  const uint64_t pruned_before = tokens_->statistics().pruned;
  tokens_->insert_and_prune(token, packed, is_stale);
  const uint64_t dropped = tokens_->statistics().pruned - pruned_before;
  stale_tokens_ -= std::min(stale_tokens_, dropped);
}

std::optional<PrunableArchive::Locator> PrunableArchive::locate_first(uint64_t index) const {
  ReaderLock lock(state_);
  const Section section = section_of(index);
  const auto found = sections_.find(section);
  if (found == sections_.end()) return std::nullopt;
  const auto position = found->second.first.find(index);
  if (!position) return std::nullopt;
  return Locator{section, Position(*position)};
}

std::vector<PrunableArchive::Locator> PrunableArchive::locate(uint64_t index) const {
  std::vector<Locator> all;
  const auto first = locate_first(index);
  if (!first) return all;
  all.push_back(*first);
  ReaderLock lock(state_);
  const auto items = sections_.find(first->section);
  if (items == sections_.end()) return all;
  const auto more = items->second.more.find(index);
  if (more == items->second.more.end()) return all;
  for (const uint32_t position : more->second)
    all.push_back({first->section, Position(position)});
  return all;
}

std::span<const PrunableArchive::Locator> PrunableArchive::candidates(uint64_t token) const {
  thread_local constinit PerThread<std::vector<Locator>> kept;
  std::vector<Locator>& found = kept.get();
  found.clear();
  ReaderLock lock(state_);
  tokens_->for_each(token, [&](uint64_t packed) NO_THREAD_SAFETY_ANALYSIS {
    const Section section = slots_[slot_of(packed)];
    if (section.value >= oldest_allowed_) found.push_back({section, position_of(packed)});
  });
  return found;
}

// A section with a name that no index of this store has may hide the items from its name on, up to
// the next section: whoever named it may have counted in other sections.
const std::pair<const Section, archive::Damage>* PrunableArchive::hiding_section(
    uint64_t first, uint64_t last) const {
  const Section begin = section_of(std::max(first, oldest_allowed()));
  for (auto found = damaged_.lower_bound(begin); found != damaged_.end(); ++found) {
    if (found->first.value > last) break;
    if (found->second.hides_items) return &*found;
  }
  return nullptr;
}

Status PrunableArchive::absence_of(uint64_t index) const {
  const auto* damage = damaged_.empty() ? nullptr : hiding_section(index, index);
  if (damage == nullptr) return {};
  return fail(Errc::corrupt,
              concat("index ", index, " was not found, but its section ", damage->first,
                     " is damaged: ", damage->second.message, kAdvice));
}

Status PrunableArchive::absence_of_key() const {
  const auto* damage = damaged_.empty() ? nullptr : hiding_section(0, UINT64_MAX);
  if (damage == nullptr) return {};
  return fail(Errc::corrupt, concat("the key was not found, but section ", damage->first,
                                    " is damaged: ", damage->second.message, kAdvice));
}

// Asked after a read failed: a prune that began since the item was located may be the reason.
bool PrunableArchive::was_pruned(Section section) const {
  const auto size = log_->size(section);
  return !size && size.error().code == Errc::pruned;
}

// Fills `record` with the record, or answers absent if it was pruned since it was located.
Result<PrunableArchive::Presence> PrunableArchive::read_record(Locator locator,
                                                               MutableByteSpan record) const {
  const Status read = log_->read_entry(locator.section, locator.position, record);
  if (read) return Presence::present;
  if (was_pruned(locator.section)) return Presence::absent;
  return fail(read.error().code, read.error().message);
}

// Reads candidates into `record` until one has the key; nullopt if none has.
Result<std::optional<PrunableArchive::Locator>> PrunableArchive::find_among(
    std::span<const Locator> among, ByteSpan key, MutableByteSpan record) const {
  std::optional<Error> failure;
  for (const Locator& locator : among) {
    const auto presence = read_record(locator, record);
    if (!presence) {
      if (!failure) failure = presence.error();
      continue;
    }
    if (*presence == Presence::absent) continue;
    if (equal_bytes(archive::key_of(record), key)) return std::optional(locator);
    unnecessary_reads_.fetch_add(1, std::memory_order_relaxed);
  }
  if (failure) return fail(failure->code, failure->message);
  TRY(absence_of_key());
  return std::optional<Locator>();
}

Result<std::optional<ArchiveItem>> PrunableArchive::read_item(Locator locator) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  TRY_INTO(const Presence presence, read_record(locator, record));
  if (presence == Presence::absent) return std::optional<ArchiveItem>();
  return std::optional(item_of(locator, record));
}

ArchiveItem PrunableArchive::item_of(Locator locator, ByteSpan record) {
  return {archive::index_of(record), to_bytes(archive::key_of(record)), locator.section,
          locator.position, IndexedValueLog::location_of(record)};
}

Result<std::optional<ArchiveItem>> PrunableArchive::find(uint64_t index) const {
  const auto locator = locate_first(index);
  if (locator) return read_item(*locator);
  TRY(absence_of(index));
  return std::optional<ArchiveItem>();
}

Status PrunableArchive::check_key(ByteSpan key) const {
  if (key.size() == key_size_bytes_) return {};
  return fail(Errc::invalid_argument,
              concat("a key of ", key.size(), " bytes, but the keys of ",
                     store_->storage().description(), " have ", key_size_bytes_, " bytes"));
}

Result<std::optional<ArchiveItem>> PrunableArchive::find(ByteSpan key) const {
  TRY(check_key(key));
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  TRY_INTO(const auto locator, find_among(candidates(translator_->token(key)), key, record));
  if (!locator) return std::optional<ArchiveItem>();
  return std::optional(item_of(*locator, record));
}

Result<Value> PrunableArchive::read_value(const ArchiveItem& item) const {
  return read_value(item.section, item.location, item.index);
}

Result<Value> PrunableArchive::read_value(Section section, ValueLocation location,
                                          uint64_t index) const {
  auto value = log_->read_value(section, location);
  if (value) return value;
  if (was_pruned(section)) {
    return fail(Errc::pruned, concat("index ", index, " was pruned after it was found"));
  }
  const Errc code = value.error().code;
  const bool is_damage =
      code == Errc::corrupt || code == Errc::out_of_range || code == Errc::unsupported_version;
  return fail(is_damage ? Errc::corrupt : code,
              concat("index ", index, ", value at file offset ", file_offset(location.offset), ": ",
                     value.error().message));
}

Result<std::optional<Value>> PrunableArchive::value_of(Locator locator, ByteSpan record) const {
  return value_at(locator, IndexedValueLog::location_of(record), archive::index_of(record));
}

Result<std::optional<Value>> PrunableArchive::value_at(Locator locator, ValueLocation location,
                                                       uint64_t index) const {
  auto value = read_value(locator.section, location, index);
  if (value) return std::optional<Value>(std::move(*value));
  if (value.error().code == Errc::pruned) return std::optional<Value>();
  return pass_on(value);
}

Result<std::optional<Value>> PrunableArchive::get(uint64_t index) const {
  gets_.fetch_add(1, std::memory_order_relaxed);
  const auto locator = locate_first(index);
  if (!locator) {
    TRY(absence_of(index));
    return std::optional<Value>();
  }
  auto location = log_->location_at(locator->section, locator->position.value);
  if (location) return value_at(*locator, *location, index);
  if (was_pruned(locator->section)) return std::optional<Value>();
  return pass_on(location);
}

Result<std::optional<Value>> PrunableArchive::get(ByteSpan key) const {
  gets_.fetch_add(1, std::memory_order_relaxed);
  TRY(check_key(key));
  return get_among(candidates(translator_->token(key)), key);
}

Result<std::optional<Value>> PrunableArchive::get_among(std::span<const Locator> among,
                                                        ByteSpan key) const {
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  TRY_INTO(const auto locator, find_among(among, key, record));
  if (!locator) return std::optional<Value>();
  return value_of(*locator, record);
}

Result<std::optional<std::vector<Value>>> PrunableArchive::get_all(uint64_t index) const {
  gets_.fetch_add(1, std::memory_order_relaxed);
  std::vector<Value> values;
  RecordBuffer buffer;
  const MutableByteSpan record = record_in(buffer);
  for (const Locator& locator : locate(index)) {
    TRY_INTO(const Presence presence, read_record(locator, record));
    if (presence == Presence::absent) continue;
    TRY_INTO(auto value, value_of(locator, record));
    if (value) values.push_back(std::move(*value));
  }
  if (!values.empty()) return std::optional(std::move(values));
  TRY(absence_of(index));
  return std::optional<std::vector<Value>>();
}

std::vector<Result<std::optional<Value>>> PrunableArchive::get_many(
    std::span<const uint64_t> indices) const {
  std::vector<Result<std::optional<Value>>> answers;
  answers.reserve(indices.size());
  for (const uint64_t index : indices)
    answers.push_back(get(index));
  return answers;
}

std::vector<Result<std::optional<Value>>> PrunableArchive::get_many(
    std::span<const ByteSpan> keys) const {
  // All tokens are looked up at once, so that their cache misses overlap.
  std::vector<uint64_t> tokens(keys.size());
  std::ranges::transform(keys, tokens.begin(),
                         [this](ByteSpan key) { return translator_->token(key); });
  std::vector<std::vector<Locator>> located(keys.size());
  {
    ReaderLock lock(state_);
    tokens_->find_many(tokens, [&](size_t i, uint64_t packed) NO_THREAD_SAFETY_ANALYSIS {
      const Section section = slots_[slot_of(packed)];
      if (section.value >= oldest_allowed_) located[i].push_back({section, position_of(packed)});
    });
  }
  std::vector<Result<std::optional<Value>>> answers;
  answers.reserve(keys.size());
  gets_.fetch_add(keys.size(), std::memory_order_relaxed);
  for (size_t i = 0; i < keys.size(); ++i) {
    const Status checked = check_key(keys[i]);
    if (checked)
      answers.push_back(get_among(located[i], keys[i]));
    else
      answers.push_back(fail(checked.error().code, checked.error().message));
  }
  return answers;
}

Result<PrunableArchive::Presence> PrunableArchive::contains(uint64_t index) const {
  has_.fetch_add(1, std::memory_order_relaxed);
  if (locate_first(index)) return Presence::present;
  TRY(absence_of(index));
  return Presence::absent;
}

Result<PrunableArchive::Presence> PrunableArchive::contains(ByteSpan key) const {
  has_.fetch_add(1, std::memory_order_relaxed);
  TRY_INTO(const auto item, find(key));
  return item ? Presence::present : Presence::absent;
}

Status PrunableArchive::sync() {
  const uint64_t wanted = put_count_.load(std::memory_order_acquire);
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  // A sync that ran while this one waited has covered everything that it was asked for.
  if (synced_count_ >= wanted) return log_->check_writable();
  const uint64_t covered = put_count_.load(std::memory_order_acquire);
  const size_t sections = log_->unsynced_section_count();
  TRY(log_->sync_all());
  synced_count_ = covered;
  WriterLock state(state_);
  syncs_ += sections;
  return {};
}

Status PrunableArchive::prune(uint64_t min) {
  // What the caller put may be its reason to prune: it must survive first.
  TRY(sync());
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  if (closed_) return fail(Errc::invalid_argument, "the archive is closed");
  const Section boundary = section_of(min);
  if (boundary.value <= oldest_allowed()) return {};
  TRY(log_->prune(boundary));
  forget_pruned(boundary);
  return {};
}

void PrunableArchive::forget_pruned(Section boundary) {
  WriterLock state(state_);
  const auto end = sections_.lower_bound(boundary);
  for (auto dropped = sections_.begin(); dropped != end; ++dropped) {
    indices_pruned_ += dropped->second.first.size();
    stale_tokens_ += dropped->second.records;
  }
  sections_.erase(sections_.begin(), end);
  intervals_.remove(0, boundary.value - 1);
  oldest_allowed_ = boundary.value;
  if (stale_tokens_ > kStaleTokensMin &&
      stale_tokens_ > tokens_->statistics().items - stale_tokens_)
    sweep_stale_tokens();
}

void PrunableArchive::sweep_stale_tokens() {
  tokens_->prune_all([this](uint64_t packed) NO_THREAD_SAFETY_ANALYSIS {
    return slots_[slot_of(packed)].value < oldest_allowed_;
  });
  stale_tokens_ = 0;
}

Status PrunableArchive::close() {
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  if (closed_) return {};
  TRY(log_->close());
  TRY(store_->close());
  closed_ = true;
  return {};
}

Status PrunableArchive::destroy() {
  MutexLock lock(writer_);
  const Poison::Guard guard(log_->poison());
  if (store_->read_only())
    return fail(Errc::invalid_argument, "destroy: the archive was opened read-only");
  TRY_INTO(const auto no_followers, store_->exclude_followers());
  closed_ = true;
  TRY(log_->destroy());
  TRY(store_->storage().remove_partition(kLostFoundPartition));
  return store_->storage().remove_partition(kManifestPartition);
}

ArchiveStatistics PrunableArchive::statistics() const {
  ArchiveStatistics result;
  result.gets = gets_.load();
  result.has = has_.load();
  result.unnecessary_reads = unnecessary_reads_.load();
  ReaderLock lock(state_);
  result.memory_bytes = tokens_->memory_bytes() + slots_.capacity() * sizeof(Section);
  for (const auto& [section, items] : sections_) {
    result.items_tracked += items.first.size();
    result.records += items.records;
    result.memory_bytes += sizeof(items) + 48 + items.first.memory_bytes();
    for (const auto& [index, positions] : items.more)
      result.memory_bytes += 72 + positions.capacity() * sizeof(uint32_t);
  }
  result.indices_pruned = indices_pruned_;
  result.tokens_pruned = tokens_->statistics().pruned;
  result.syncs = syncs_;
  return result;
}

}  // namespace firn
