// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/resident_table.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <new>

#include <sys/mman.h>

#include "firn/base/check.h"

namespace firn::freezer {
namespace {

constexpr uint64_t kRecordsPerPosition = 2;
constexpr size_t kFingerprintMaxBytes = 20;
constexpr size_t kPrefetchDistance = 16;
// Fingerprints that are inserted together, beside the replay: 12 MiB of memory, and each shard's
// part fits a cache.
constexpr size_t kEntriesPerInsert = 256 << 10;

}  // namespace

SparseNumbers::SparseNumbers(size_t count) {
  const size_t bytes = count * sizeof(uint32_t);
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  numbers_ = std::unique_ptr<uint32_t[], Unmap>(static_cast<uint32_t*>(mapped), Unmap{bytes});
}

void SparseNumbers::Unmap::operator()(uint32_t* numbers) const {
  ::munmap(numbers, bytes);
}

ResidentTable::ResidentTable(uint32_t size, uint64_t seed, Lookups lookups)
    : seed_(seed),
      lookups_(lookups),
      size_(size),
      heads_(size),
      fingerprints_(seed ^ 0x5851F42D4C957F2D),
      dirty_((group_count() + 63) / 64) {
  CHECK(is_table_size(size), "a table's size is a power of two");
}

uint32_t ResidentTable::size_for(uint64_t count, uint32_t size_min) {
  const uint64_t wanted = std::bit_ceil((count + kRecordsPerPosition - 1) / kRecordsPerPosition);
  return static_cast<uint32_t>(std::clamp<uint64_t>(wanted, size_min, kTableSizeMax));
}

RecordPlace ResidentTable::place_of(uint64_t number) const {
  const Run& last = runs_.back();
  if (number >= last.first) return {last.section, Position(number - last.first)};
  const auto after = std::ranges::upper_bound(runs_, number, std::less<>(), &Run::first);
  const Run& run = *std::prev(after);
  return {run.section, Position(number - run.first)};
}

std::optional<uint64_t> ResidentTable::number_of(RecordPlace place) const {
  if (runs_.empty()) return std::nullopt;
  auto run = std::prev(runs_.end());  // nearly always that one
  if (run->section != place.section)
    run = std::ranges::lower_bound(runs_, place.section, std::less<>(), &Run::section);
  if (run == runs_.end() || run->section != place.section) return std::nullopt;
  const uint64_t end = std::next(run) == runs_.end() ? count_ : std::next(run)->first;
  if (place.position.value >= end - run->first) return std::nullopt;
  return run->first + place.position.value;
}

std::optional<RecordPlace> ResidentTable::head_of_position(uint32_t position) const {
  const uint32_t head = heads_[position];
  if (head == 0) return std::nullopt;
  return place_of(head - 1);
}

std::optional<RecordPlace> ResidentTable::head(uint32_t position_hash) const {
  return head_of_position(position_hash & (size_ - 1));
}

RecordPlace ResidentTable::end() const {
  if (runs_.empty()) return {};
  return {runs_.back().section, Position(count_ - runs_.back().first)};
}

void ResidentTable::prefetch(const KeyHashes& hashes) const {
  heads_.prefetch(hashes.position_hash & (size_ - 1));
  fingerprints_.prefetch(hashes.fingerprint);
}

void ResidentTable::begin_run(RecordPlace place) {
  if (!runs_.empty() && runs_.back().section == place.section) {
    CHECK(place.position.value == count_ - runs_.back().first, "records come in order");
    return;
  }
  CHECK(runs_.empty() || runs_.back().section < place.section, "sections come in order");
  CHECK(place.position.value == 0, "a section begins with its first record");
  runs_.push_back({place.section, count_});
}

void ResidentTable::append_hash(uint32_t position_hash) {
  CHECK(count_ < kRecordsMax, "the number of a record fits in 32 bits");
  if (count_ % kHashesPerChunk == 0)
    hashes_.push_back(std::make_unique_for_overwrite<uint32_t[]>(kHashesPerChunk));
  hashes_[count_ / kHashesPerChunk][count_ % kHashesPerChunk] = position_hash;
  ++count_;
}

void ResidentTable::mark_dirty(uint32_t position) {
  const uint32_t group = position / kGroupPositions;
  dirty_[group / 64] |= uint64_t{1} << (group % 64);
  any_dirty_ = true;
}

bool ResidentTable::add(RecordPlace place, const KeyHashes& hashes, uint64_t value_offset) {
  CHECK(has_fingerprints(), "a table for reading only has none");
  begin_run(place);
  const uint64_t number = count_;
  append_hash(hashes.position_hash);
  const uint32_t position = hashes.position_hash & (size_ - 1);
  heads_[position] = static_cast<uint32_t>(number + 1);
  mark_dirty(position);
  if (may_double_ && !doubling_ && count_ > kRecordsPerPosition * size_ && size_ < kTableSizeMax) {
    doubling_.emplace(SparseNumbers(size_t{size_} * 2));
    ++doublings_;
  }
  if (doubling_) advance_doubling(kStepRecords);
  const uint64_t entry = entry_of(number, value_offset);
  auto older = fingerprints_.cursor_or_insert(hashes.fingerprint, entry);
  if (!older) return false;
  CHECK(older->next().has_value(), "a fingerprint without records is none");
  older->insert(entry);
  return true;
}

void ResidentTable::forget(uint64_t fingerprint, RecordPlace older) {
  const auto number = number_of(older);
  CHECK(number.has_value(), "a record of the table");
  fingerprints_.prune(fingerprint, [&](uint64_t entry) { return number_in(entry) == *number; });
}

// A larger table has fewer records a position, so every record leads to the one before it there, as
// long as no record was put with a table that was larger still.
void ResidentTable::check_chain(uint32_t position_hash, uint32_t head,
                                const std::optional<RecordPlace>& next) {
  uint64_t next_number = 0;
  if (next) {
    const auto known = number_of(*next);
    if (!known) {
      need(kNoTableSize, {end(), next, std::nullopt});
      return;
    }
    next_number = *known + 1;
  }
  if (next_number >= head) return;
  need(size_to_part(position_hash, hash_at(head - 1)), {end(), next, place_of(head - 1)});
}

void ResidentTable::need(uint64_t size, const BrokenLink& link) {
  if (size <= size_needed_) return;
  size_needed_ = size;
  widest_ = link;
}

void ResidentTable::add_replayed(RecordPlace first, std::span<const Replayed> records) {
  if (records.empty()) return;
  begin_run(first);
  const uint32_t mask = size_ - 1;
  for (size_t i = 0; i < records.size(); ++i) {
    if (i + kPrefetchDistance < records.size())
      heads_.prefetch(records[i + kPrefetchDistance].hashes.position_hash & mask);
    const auto& [hashes, next, value_offset] = records[i];
    uint32_t& head = heads_[hashes.position_hash & mask];
    check_chain(hashes.position_hash, head, next);
    if (has_fingerprints())
      entries_.push_back({hashes.fingerprint, entry_of(count_, value_offset)});
    append_hash(hashes.position_hash);
    head = static_cast<uint32_t>(count_);
  }
  if (entries_.size() >= kEntriesPerInsert) insert_entries();
  all_dirty_ = any_dirty_ = true;
}

void ResidentTable::reserve(uint64_t count) {
  if (!has_fingerprints()) return;
  entries_.reserve(std::min<uint64_t>(count, 2 * kEntriesPerInsert));
  if (count < kEntriesPerInsert)
    fingerprints_.reserve(count);
  else
    insert_beside([this, count] { fingerprints_.reserve(count); });
}

void ResidentTable::end_replay() {
  if (inserting_.valid()) inserting_.get();
  fingerprints_.insert_many(entries_);
  entries_ = {};
  inserted_ = {};
}

// Without a thread to be had, it is done when it is waited for.
void ResidentTable::insert_beside(std::function<void()> insert) {
  if (inserting_.valid()) inserting_.get();
  inserting_ = std::async(std::launch::async | std::launch::deferred, std::move(insert));
}

void ResidentTable::insert_entries() {
  if (inserting_.valid()) inserting_.get();
  inserted_.swap(entries_);
  entries_.clear();
  entries_.reserve(inserted_.size());
  insert_beside([this] { fingerprints_.insert_many(inserted_); });
}

void ResidentTable::skip_to(RecordPlace next) {
  if (runs_.empty() || runs_.back().section != next.section) begin_run({next.section, Position(0)});
  while (count_ - runs_.back().first < next.position.value)
    append_hash(0);
}

std::vector<ResidentTable::Shared> ResidentTable::shared_fingerprints() const {
  std::vector<Shared> shared;
  if (fingerprints_.statistics().items == fingerprints_.statistics().keys) return shared;
  uint64_t current = 0;
  std::vector<uint64_t> numbers;
  const auto finish = [&] {
    if (numbers.size() > 1) {
      std::ranges::sort(numbers, std::greater<>());
      Shared& entry = shared.emplace_back(Shared{current, {}});
      for (const uint64_t number : numbers)
        entry.candidates.push_back(place_of(number));
    }
    numbers.clear();
  };
  fingerprints_.for_each_entry([&](uint64_t fingerprint, uint64_t entry) {
    if (fingerprint != current) finish();
    current = fingerprint;
    numbers.push_back(number_in(entry));
  });
  finish();
  // Fingerprints are keyed at random; what is read then should not be.
  std::ranges::sort(shared, std::less<>(),
                    [](const Shared& entry) { return entry.candidates.front(); });
  return shared;
}

void ResidentTable::advance_doubling(uint64_t records) {
  const uint64_t end = std::min(doubling_->next + records, count_);
  const uint32_t mask = size_ * 2 - 1;
  for (; doubling_->next < end; ++doubling_->next)
    doubling_->heads[hash_at(doubling_->next) & mask] = static_cast<uint32_t>(doubling_->next + 1);
  if (end < count_) return;
  size_ *= 2;
  heads_ = std::move(doubling_->heads);
  doubling_.reset();
  mark_all_dirty();
}

bool ResidentTable::go_on_doubling() {
  if (doubling_) advance_doubling(kLongStepRecords);
  return !doubling_;
}

void ResidentTable::mark_all_dirty() {
  dirty_.assign((group_count() + 63) / 64, 0);
  all_dirty_ = any_dirty_ = true;
}

void ResidentTable::begin_writing() {
  CHECK(!doubling_, "positions do not move while they are written");
  may_double_ = false;
  mark_all_dirty();
}

void ResidentTable::mark_clean() {
  dirty_.assign((group_count() + 63) / 64, 0);
  all_dirty_ = any_dirty_ = false;
}

void ResidentTable::mark_dirty_from(uint64_t number) {
  for (; number < count_; ++number)
    mark_dirty(hash_at(number) & (size_ - 1));
}

size_t ResidentTable::memory_bytes() const {
  return sizeof(*this) - sizeof(fingerprints_) + runs_.capacity() * sizeof(Run) +
         hashes_.size() * kHashesPerChunk * sizeof(uint32_t) +
         (size_t{size_} + (doubling_ ? size_t{size_} * 2 : 0)) * sizeof(uint32_t) +
         dirty_.capacity() * sizeof(uint64_t) + fingerprints_.memory_bytes();
}

size_t ResidentTable::memory_bytes_next() const {
  const bool doubles = may_double_ && !doubling_ && count_ + 1 > kRecordsPerPosition * size_;
  return memory_bytes() + (doubles ? size_t{size_} * 2 * sizeof(uint32_t) : 0) +
         (count_ % kHashesPerChunk == 0 ? kHashesPerChunk * sizeof(uint32_t) : 0);
}

size_t ResidentTable::memory_bytes_for(uint64_t count, uint32_t size) {
  return count * (sizeof(uint32_t) + kFingerprintMaxBytes) + size_t{size} * sizeof(uint32_t) +
         kHashesPerChunk * sizeof(uint32_t);
}

}  // namespace firn::freezer
