// SPDX-License-Identifier: Apache-2.0
//
// TokenShard: one of the open-addressing tables of a TokenIndex, mixed token -> 64-bit word.
//
// The home slot of a mixed token grows with the token, and no slot between an entry's home and the
// entry is empty, so the whole table is sorted by mixed token:
//
//   slot     0    1    2    3    4    5 | 6    7        | = capacity, then overflow slots for the
//   mixed   03   05    -   21   24   25 | 2f   -            entries that the end pushes out
//   home     0    0        2    3    3    5
//
// A lookup, hit or miss, stops at the first larger entry; it visits about 1 + 1/(2 (1 - load))
// neighbouring slots. Growing is one sequential merge. Insert and erase shift a run by one slot.
// The capacity follows a geometric series whose phase differs between shards, so that the shards of
// one index never grow together. The last slot is always empty: it ends every walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "firn/base/prefetch.h"

namespace firn::index {

// The fate of every lookup in a table: how many slots it visits.
struct ProbeLengths {
  size_t max = 0;
  size_t total = 0;
};

class TokenShard {
 public:
  static constexpr size_t kNoSlot = std::numeric_limits<size_t>::max();
  // Marks a vacant slot; entries never hold it.
  static constexpr uint64_t kVacantWord = std::numeric_limits<uint64_t>::max();
  // The top bits of a mixed token choose the shard, the next ones the home slot.
  static constexpr unsigned kShardBits = 8;

  // 0 <= phase < 1: where this shard starts in the capacity series.
  void set_growth_phase(double phase) { growth_phase_ = phase; }

  // The slot of the entry, or kNoSlot.
  [[nodiscard]] size_t find(uint64_t mixed) const;
  // Its word, or kVacantWord.
  [[nodiscard]] uint64_t find_word(uint64_t mixed) const {
    if (count_ == 0) return kVacantWord;
    return word_of(mixed, lower_bound(mixed));
  }
  // The same, if its slots were fetched: looks at several at once, so that nothing is guessed.
  // Where they are still to be loaded, that waits for more than it needs.
  [[nodiscard]] uint64_t find_fetched_word(uint64_t mixed) const {
    if (count_ == 0) return kVacantWord;
    size_t slot = home(mixed, capacity_);
    const Slot* const at = slots_.get() + slot;
    size_t smaller = 0;
    for (size_t i = 0; i < kSlotsAtOnce; ++i)
      smaller += at[i].mixed < mixed ? 1 : 0;
    slot += smaller;
    while (slots_.get()[slot].mixed < mixed)
      ++slot;
    return word_of(mixed, slot);
  }
  // Most walks end within two cache lines; the second may lie past the end, which is harmless.
  void prefetch(uint64_t mixed) const {
    if (count_ == 0) return;
    const auto* first = reinterpret_cast<const std::byte*>(slots_.get() + home(mixed, capacity_));
    firn::prefetch(first);
    firn::prefetch(first + 64);
  }

  // Makes room for `extra` more entries in one step, if there is none yet.
  void reserve(size_t extra);

  // The slot of the entry, or kNoSlot if there was none: then it is there now, with `word`, and
  // others were moved.
  [[nodiscard]] size_t find_or_insert(uint64_t mixed, uint64_t word);

  // Removes an entry; the entries behind it move down by at most one slot.
  void erase(size_t slot);

  // Gives memory back once most slots are vacant. Moves entries.
  void shrink_if_sparse();

  [[nodiscard]] bool occupied(size_t slot) const { return slots_[slot].word != kVacantWord; }
  [[nodiscard]] uint64_t mixed(size_t slot) const { return slots_[slot].mixed; }
  [[nodiscard]] uint64_t word(size_t slot) const { return slots_[slot].word; }
  void set_word(size_t slot, uint64_t word) { slots_[slot].word = word; }

  [[nodiscard]] size_t slot_count() const { return slot_count_; }
  [[nodiscard]] size_t memory_bytes() const { return slot_count_ * sizeof(Slot); }
  [[nodiscard]] ProbeLengths probe_lengths() const;
  void clear();

 private:
  // At the end of the table, beyond all homes.
  static constexpr size_t kSpareSlotsMin = 3;
  static constexpr size_t kSlotsAtOnce = 3;
  static_assert(kSlotsAtOnce <= kSpareSlotsMin + 1, "from any home on, there are so many slots");

  struct Slot {
    uint64_t mixed = std::numeric_limits<uint64_t>::max();
    uint64_t word = kVacantWord;
  };

  // The home of `mixed` in a table of `capacity` slots: monotone in `mixed`.
  [[nodiscard]] static size_t home(uint64_t mixed, uint32_t capacity) {
    return ((mixed << kShardBits) >> 32) * capacity >> 32;
  }
  // Of the first slot that is vacant or holds a token >= mixed; a vacant one has kVacantWord.
  [[nodiscard]] uint64_t word_of(uint64_t mixed, size_t slot) const {
    return slots_.get()[slot].mixed == mixed ? slots_.get()[slot].word : kVacantWord;
  }
  // The first slot from the home of `mixed` that is vacant or holds a token >= mixed. Vacant slots
  // hold the largest token, so that one comparison ends the walk.
  [[nodiscard]] size_t lower_bound(uint64_t mixed) const {
    size_t slot = home(mixed, capacity_);
    while (slots_.get()[slot].mixed < mixed)
      ++slot;
    return slot;
  }
  [[nodiscard]] uint32_t capacity_at(uint32_t growth_step) const;
  void rebuild(uint32_t growth_step);

  std::unique_ptr<Slot[]> slots_;
  size_t slot_count_ = 0;
  size_t count_ = 0;
  double growth_phase_ = 0;
  uint32_t capacity_ = 0;
  uint32_t growth_step_ = 0;
};

}  // namespace firn::index
