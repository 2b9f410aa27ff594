// SPDX-License-Identifier: Apache-2.0
//
// ResidentTable: a freezer's table in memory. It answers lookups without the disk, says what a new
// record's next one is, and what the table on disk has to hold.
//
//   records are numbered in the order of their puts, over all sections
//   hashes        number -> crc32c of the key          4 bytes a record
//   heads         position -> newest record there      4 bytes a position, 2 records or fewer each
//   fingerprints  keyed hash of the key -> numbers     at most 20 bytes a record
//
// An entry of the fingerprints has room beside the number: the line of 64 bytes where the value
// begins, as far as 31 bits tell. It is a hint, to load the value while its record is compared.
//
// crc32c is linear and has no key: whoever chooses keys can make one position hold them all. So
// lookups do not use positions but fingerprints, whose key is secret and random.
//
// Doubling. Positions are doubled when there are more than two records each. The new heads are
// made from the hashes, some records with each put, while the old heads are used: no put waits for
// all of it, and each half gets exactly the records that belong to it, without reading any.
//
// Not thread-safe; const calls may run at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/crc32c.h"
#include "firn/base/hash.h"
#include "firn/base/prefetch.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/format.h"
#include "firn/index/token_index.h"

namespace firn::freezer {

// Numbers that start as zeros: address space, which takes memory only where something is written.
// So a manifest that claims the largest table there is takes no memory for it.
class SparseNumbers {
 public:
  explicit SparseNumbers(size_t count);
  [[nodiscard]] uint32_t& operator[](size_t i) { return numbers_.get()[i]; }
  [[nodiscard]] uint32_t operator[](size_t i) const { return numbers_.get()[i]; }
  void prefetch(size_t i) const { firn::prefetch(&numbers_.get()[i]); }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(uint32_t* numbers) const;
  };
  std::unique_ptr<uint32_t[], Unmap> numbers_;
};

// What answers lookups: 30 bytes a record; or 8 and a walk along the chain on disk, for reading
// only.
enum class ResidentLookups : uint8_t { by_fingerprint, by_chain };

class ResidentTable {
 public:
  static constexpr uint64_t kRecordsMax = UINT32_MAX - 1;
  // Positions whose heads are written together.
  static constexpr uint32_t kGroupPositions = 64;
  static constexpr size_t kHashesPerChunk = 1 << 14;

  struct KeyHashes {
    uint32_t position_hash;  // crc32c: part of the format
    uint64_t fingerprint;
  };

  using Lookups = ResidentLookups;

  ResidentTable(uint32_t size, uint64_t seed, Lookups lookups = Lookups::by_fingerprint);

  [[nodiscard]] uint64_t fingerprint(ByteSpan key) const { return hash64(key, seed_); }
  [[nodiscard]] KeyHashes hash(ByteSpan key) const { return {crc32c(key), fingerprint(key)}; }
  [[nodiscard]] bool has_fingerprints() const { return lookups_ == Lookups::by_fingerprint; }
  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint64_t count() const { return count_; }
  // Behind the newest record.
  [[nodiscard]] RecordPlace end() const;
  // The position hash of a record, by its number from 0 on.
  [[nodiscard]] uint32_t hash_at(uint64_t number) const {
    return hashes_[number / kHashesPerChunk][number % kHashesPerChunk];
  }
  // The size that a table of so many records has at least.
  [[nodiscard]] static uint32_t size_for(uint64_t count, uint32_t size_min);

  // What the next record of a key with this hash must lead to.
  [[nodiscard]] std::optional<RecordPlace> head(uint32_t position_hash) const;
  [[nodiscard]] std::optional<RecordPlace> head_of_position(uint32_t position) const;
  void prefetch(const KeyHashes& hashes) const;

  // Calls visitor(RecordPlace, about where its value begins) for each record that may have the key,
  // in no order.
  template <class Visitor>
  void for_each_candidate(uint64_t fingerprint, Visitor&& visitor) const {
    fingerprints_.for_each(fingerprint, [&](uint64_t entry) {
      visitor(place_of(number_in(entry)), value_offset_in(entry));
    });
  }
  // visitor(i, RecordPlace) for each candidate of fingerprints[i].
  template <class Visitor>
  void find_many(std::span<const uint64_t> fingerprints, Visitor&& visitor) const {
    fingerprints_.find_many(
        fingerprints, [&](size_t i, uint64_t entry) { visitor(i, place_of(number_in(entry))); });
  }

  // Adds the record behind the last one. True if the fingerprint had records already: whoever knows
  // that they have the same key calls forget().
  [[nodiscard]] bool add(RecordPlace place, const KeyHashes& hashes, uint64_t value_offset);
  // Takes an older record of a key out of the fingerprints.
  void forget(uint64_t fingerprint, RecordPlace older);

  // Replay: the same for many records, which follow each other in one section; reserve() first.
  struct Replayed {
    KeyHashes hashes;
    std::optional<RecordPlace> next;
    uint64_t value_offset = 0;
  };
  // Fingerprints of many records are added by a thread beside the caller's, until end_replay(),
  // which comes before any lookup.
  void reserve(uint64_t count);
  void end_replay();
  void add_replayed(RecordPlace first, std::span<const Replayed> records);
  // Records that cannot be read: they keep their numbers.
  void skip_to(RecordPlace next);
  // The smallest size with which every replayed record leads to the one before it in its position;
  // kNoTableSize if a record of the same hash was left out, or is not there.
  [[nodiscard]] uint64_t size_needed() const { return size_needed_; }
  // The record that needs that; set if it is more than 1.
  [[nodiscard]] const std::optional<BrokenLink>& widest_link() const { return widest_; }
  // Fingerprints with more than one record, each with its candidates, newest first.
  struct Shared {
    uint64_t fingerprint;
    std::vector<RecordPlace> candidates;
  };
  [[nodiscard]] std::vector<Shared> shared_fingerprints() const;

  // Groups of positions whose heads differ from those on disk.
  [[nodiscard]] bool is_dirty(uint32_t group) const {
    return all_dirty_ || (dirty_[group / 64] >> (group % 64) & 1) != 0;
  }
  [[nodiscard]] uint32_t group_count() const {
    return (size_ + kGroupPositions - 1) / kGroupPositions;
  }
  [[nodiscard]] bool is_all_dirty() const { return all_dirty_; }
  [[nodiscard]] bool is_any_dirty() const { return any_dirty_; }
  void mark_all_dirty();
  void mark_clean();
  // While the table is written group by group: it doubles no more, and end_writing() leaves dirty
  // only the groups that changed since.
  void begin_writing();
  void end_writing() { all_dirty_ = false; }
  // Marks what the records from `number` on changed.
  void mark_dirty_from(uint64_t number);

  [[nodiscard]] bool is_doubling() const { return doubling_.has_value(); }
  // Goes on by so many records that readers of the old heads do not wait for long. True: it is
  // done.
  [[nodiscard]] bool go_on_doubling();
  [[nodiscard]] uint64_t doublings() const { return doublings_; }
  // What it would have with one record more, doubling included.
  [[nodiscard]] size_t memory_bytes_next() const;
  [[nodiscard]] size_t memory_bytes() const;
  [[nodiscard]] static size_t memory_bytes_for(uint64_t count, uint32_t size);

 private:
  // Records whose new heads are made with one put: soon ready, and never long.
  static constexpr uint64_t kStepRecords = 256;
  // The same where nobody waits for a put: a tenth of a millisecond.
  static constexpr uint64_t kLongStepRecords = 1 << 14;

  struct Run {
    Section section;
    uint64_t first;  // the number of its first record
  };
  struct Doubling {
    SparseNumbers heads;
    uint64_t next = 0;  // the first record that is not in them
  };

  static constexpr unsigned kNumberBits = 32;
  static constexpr uint64_t kLineBytes = 64;

  [[nodiscard]] static uint64_t entry_of(uint64_t number, uint64_t value_offset) {
    return (number | value_offset / kLineBytes << kNumberBits) & TokenIndex::kValueMax;
  }
  [[nodiscard]] static uint64_t number_in(uint64_t entry) { return static_cast<uint32_t>(entry); }
  [[nodiscard]] static uint64_t value_offset_in(uint64_t entry) {
    return (entry >> kNumberBits) * kLineBytes;
  }
  [[nodiscard]] RecordPlace place_of(uint64_t number) const;
  [[nodiscard]] std::optional<uint64_t> number_of(RecordPlace place) const;
  void append_hash(uint32_t position_hash);
  void insert_beside(std::function<void()> insert);
  void insert_entries();
  void begin_run(RecordPlace place);
  void mark_dirty(uint32_t position);
  void advance_doubling(uint64_t records);
  void check_chain(uint32_t position_hash, uint32_t head, const std::optional<RecordPlace>& next);
  void need(uint64_t size, const BrokenLink& link);

  const uint64_t seed_;
  const Lookups lookups_;
  bool may_double_ = true;
  uint32_t size_;
  uint64_t count_ = 0;
  uint64_t doublings_ = 0;
  uint64_t size_needed_ = 1;
  std::optional<BrokenLink> widest_;
  std::vector<Run> runs_;  // ascending
  std::vector<std::unique_ptr<uint32_t[]>> hashes_;
  SparseNumbers heads_;  // number + 1; 0: none
  std::optional<Doubling> doubling_;
  TokenIndex fingerprints_;
  // Of the replay: the entries that are collected, and those that inserting_ adds meanwhile.
  std::vector<TokenIndex::Entry> entries_;
  std::vector<TokenIndex::Entry> inserted_;
  std::future<void> inserting_;
  std::vector<uint64_t> dirty_;  // a bit a group
  bool all_dirty_ = true;
  bool any_dirty_ = true;
};

}  // namespace firn::freezer
