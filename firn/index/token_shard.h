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
  void prefetch(uint64_t mixed) const;

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
  struct Slot {
    uint64_t mixed = std::numeric_limits<uint64_t>::max();
    uint64_t word = kVacantWord;
  };

  // The home of `mixed` in a table of `capacity` slots: monotone in `mixed`.
  [[nodiscard]] static size_t home(uint64_t mixed, uint32_t capacity) {
    return ((mixed << kShardBits) >> 32) * capacity >> 32;
  }
  // The first slot from the home of `mixed` that is vacant or holds a token >= mixed.
  [[nodiscard]] size_t lower_bound(uint64_t mixed) const;
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
