// SPDX-License-Identifier: Apache-2.0
//
// LocationTable: the memory of a shard of a LocationIndex, and how it is read. A table is a head of
// two lines, the addresses of its blocks, and the blocks of 256 buckets. The reference to it is one
// word: its address, which is a multiple of 256, and its size class in the low byte.
//
//   shard.ref --> [ head: successor, stash, ... ][ cursor, done ][ block 0 ][ block 1 ] ...
//                     |          |                                   |
//                     v          +--> buckets --> ...                +--> [ bucket 0 ][ bucket 1 ]
//                     ...
//                 larger table        beyond a full chain
//
// The chain of a home stays in its block, so a growing table needs memory only for the homes that
// have come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "firn/index/location_bucket.h"
#include "firn/index/location_policy.h"

namespace firn::index {

template <class Policy>
struct alignas(64) LocationBucket {
  using Word = typename Policy::Word;
  Word words[1 + kSlots];

  [[nodiscard]] Word& header() { return words[0]; }
  [[nodiscard]] Word& slot(unsigned number) { return words[1 + number]; }
  [[nodiscard]] uint64_t load_header() { return Policy::load(words[0], std::memory_order_seq_cst); }
  [[nodiscard]] uint64_t load_slot(unsigned number) {
    return Policy::load(words[1 + number], std::memory_order_seq_cst);
  }
};

// A link of the list that continues all chains of a table which are full. Only grows.
template <class Policy>
struct alignas(64) LocationStash {
  typename Policy::Word next;
  uint64_t bucket_count;
  uint64_t bytes;

  [[nodiscard]] LocationBucket<Policy>* buckets() {
    return reinterpret_cast<LocationBucket<Policy>*>(this + 1);
  }
};

template <class Policy>
struct alignas(64) LocationTable : EpochRetired {
  using Word = typename Policy::Word;
  static constexpr uint64_t kDropBit = uint64_t{1} << 63;

  Word successor;  // the reference of the table that entries move to, and kDropBit if they do not
  Word stash;      // the first block, or 0
  // A line that writers change.
  alignas(
      64) Word cursor;  // counts claimed ranges of homes; ranges are claimed again and again ...
  Word done;            // ... until so many homes are migrated as there are
  Word displaced;       // entries put outside of their home since the table was made
  Word stashed;         // of them, beyond a full chain
  uint64_t head_bytes;  // with the addresses
  uint32_t size_class;
  bool in_place;  // the blocks are not of the arena

  // By number, the address of each block; 0 until the first of its homes is about to be filled.
  [[nodiscard]] Word* blocks() { return reinterpret_cast<Word*>(this + 1); }
};

template <class Policy>
struct LocationTableRef {
  using Table = LocationTable<Policy>;
  static constexpr size_t kAlignment = 256;

  uint64_t word = 0;

  static LocationTableRef of(const Table* table, unsigned size_class) {
    return {reinterpret_cast<uintptr_t>(table) | size_class};
  }
  [[nodiscard]] unsigned size_class() const { return word & (kAlignment - 1); }
  [[nodiscard]] uint32_t bucket_count() const { return kBucketCounts[size_class()]; }
  [[nodiscard]] uint64_t slot_count() const { return uint64_t{bucket_count()} * kSlots; }
  [[nodiscard]] Table& table() const {
    constexpr uint64_t kAddress = ~(Table::kDropBit | (kAlignment - 1));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the reference is one word, so that it is atomic
    return *reinterpret_cast<Table*>(word & kAddress);
  }
  [[nodiscard]] LocationBucket<Policy>& bucket(uint32_t number) const {
    const uint64_t block =
        Policy::load(table().blocks()[number / kBlock], std::memory_order_acquire);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are words, so that they are atomic
    return reinterpret_cast<LocationBucket<Policy>*>(block)[number % kBlock];
  }
  // All buckets of a block.
  [[nodiscard]] std::span<LocationBucket<Policy>> block(uint32_t number) const {
    return {&bucket(number * kBlock), buckets_in_block(bucket_count(), number)};
  }
  [[nodiscard]] uint32_t block_count() const { return index::block_count(bucket_count()); }
  [[nodiscard]] bool drops() const { return (word & Table::kDropBit) != 0; }
  [[nodiscard]] LocationTableRef successor() const {
    return {Policy::load(table().successor, std::memory_order_acquire)};
  }
  explicit operator bool() const { return word != 0; }
  friend bool operator==(LocationTableRef, LocationTableRef) = default;
};

// Read by all, written when a growth begins and ends; so many of them may share a line.
template <class Policy>
struct LocationShard {
  using Word = typename Policy::Word;
  Word ref;
  Word growing;  // growths under way: a hint that writers should help
};

// Of the entries of a shard: written by every insert and remove. May be below zero for a moment.
template <class Policy>
struct alignas(64) LocationCount {
  typename Policy::Word count;
};

// So many buckets of a chain are worth a prefetch: few entries are farther from their homes.
inline constexpr unsigned kPrefetchedOfChain = 2;

// The buckets after the home: the rest of its chain, then the stash of the table.
template <class Policy>
class LocationChain {
 public:
  using Ref = LocationTableRef<Policy>;

  LocationChain(Ref ref, uint32_t home) : ref_(ref), shape_(home, ref.bucket_count()) {}

  // The next bucket, or null at the end. May be called again after null, when a block was added.
  LocationBucket<Policy>* next() {
    uint32_t bucket = 0;
    if (shape_.next(bucket)) return &ref_.bucket(bucket);
    if (block_ == nullptr || index_ == block_->bucket_count) {
      auto* const further = block_of(block_ == nullptr ? ref_.table().stash : block_->next);
      if (further == nullptr) return nullptr;
      block_ = further;
      index_ = 0;
    }
    return &block_->buckets()[index_++];
  }

  [[nodiscard]] bool in_stash() const { return block_ != nullptr; }
  // Where the next block must be linked, after next() returned null.
  [[nodiscard]] typename Policy::Word& end() {
    return block_ == nullptr ? ref_.table().stash : block_->next;
  }

 private:
  static LocationStash<Policy>* block_of(const typename Policy::Word& word) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): links are words, so that they are atomic
    return reinterpret_cast<LocationStash<Policy>*>(Policy::load(word, std::memory_order_acquire));
  }

  Ref ref_;
  ChainShape shape_;
  LocationStash<Policy>* block_ = nullptr;
  uint64_t index_ = 0;
};

// Where a lookup begins: the home bucket in the table that decides for the key, and its header.
template <class Policy>
struct LocationHome {
  LocationTableRef<Policy> ref{};
  uint32_t number = 0;
  InShardHash hash{0};
  LocationBucket<Policy>* bucket = nullptr;
  uint64_t header = 0;

  [[gnu::always_inline]] void enter(LocationTableRef<Policy> table) {
    ref = table;
    number = hash.home(ref.bucket_count());
    bucket = &ref.bucket(number);
  }

  // Loads the header. False if it says that the home has moved (R3), and this is the next one now.
  [[gnu::always_inline]] bool look() {
    header = bucket->load_header();
    Policy::reach(LocationPoint::header_read);
    if ((header & kMigratedBit) == 0) [[likely]]
      return true;
    enter(ref.successor());
    Policy::reach(LocationPoint::table_read);
    return false;
  }
  [[gnu::always_inline]] void follow() {
    while (!look())
      continue;
  }
};

// Where a pinned thread enters: sequentially consistent, as a pin is, so that whoever reclaims sees
// the pin, or this load what has been published.
template <class Policy>
[[nodiscard]] LocationTableRef<Policy> current_table(const LocationShard<Policy>& shard) {
  return {Policy::load(shard.ref, std::memory_order_seq_cst)};
}

template <class Policy>
[[nodiscard, gnu::always_inline]] inline LocationHome<Policy> locate(
    const LocationShard<Policy>& shard, InShardHash hash) {
  LocationHome<Policy> home;
  home.hash = hash;
  home.enter(current_table(shard));
  Policy::reach(LocationPoint::table_read);
  home.follow();
  return home;
}

// Calls visit(slot, word) for the entries of a bucket whose 29 bits may be those of the hash, until
// it returns true. May be wrong in the tag if the slot is being reused: R2 says that the word is
// then of another key, which the caller's look at the record tells.
template <class Policy, class Visit>
[[gnu::always_inline]] inline bool scan_bucket(LocationBucket<Policy>& bucket, uint64_t header,
                                               InShardHash hash, Visit&& visit) {
  for (uint32_t lanes = match_lanes(header, hash.tag()); lanes != 0; lanes &= lanes - 1) {
    const auto number = static_cast<unsigned>(std::countr_zero(lanes));
    const uint64_t word = bucket.load_slot(number);
    Policy::reach(LocationPoint::slot_read);
    if (same_fingerprint(word, hash.fingerprint()) && visit(bucket.slot(number), word)) return true;
  }
  return false;
}

// The same for the chain, from the bucket after the home on.
template <class Policy, class Visit>
bool scan_chain(LocationChain<Policy>& chain, InShardHash hash, Visit&& visit) {
  while (LocationBucket<Policy>* const bucket = chain.next()) {
    const uint64_t header = bucket->load_header();
    Policy::reach(LocationPoint::header_read);
    if (scan_bucket<Policy>(*bucket, header, hash, visit)) return true;
    if ((header & hash.class_bit()) == 0) return false;
  }
  return false;
}

// The same for all of a lookup. Every bucket is looked at once: that is all it takes (R1).
template <class Policy, class Visit>
[[gnu::always_inline]] inline bool scan(const LocationHome<Policy>& home, Visit&& visit) {
  if (scan_bucket<Policy>(*home.bucket, home.header, home.hash, visit)) return true;
  if ((home.header & home.hash.class_bit()) == 0) return false;
  LocationChain<Policy> chain(home.ref, home.number);
  return scan_chain<Policy>(chain, home.hash, visit);
}

}  // namespace firn::index
