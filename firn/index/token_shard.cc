// SPDX-License-Identifier: Apache-2.0
#include "firn/index/token_shard.h"

#include <algorithm>
#include <cmath>

#include "firn/base/check.h"

namespace firn::index {
namespace {

// At these figures a table of any size holds 0.78 to 0.9 entries a slot, 0.84 on average.
constexpr double kGrowthFactor = 1.15;
constexpr double kLoadMax = 0.9;
// A table below this load shrinks to one that is filled to kLoadAfterShrink.
constexpr double kLoadMin = 0.45;
constexpr double kLoadAfterShrink = 0.75;
constexpr double kCapacityFirst = 4;
constexpr double kCapacityMax = 4294967295.0;
constexpr size_t kSpareSlotsMax = 64;

bool fits(size_t count, uint32_t capacity, double load) {
  return static_cast<double>(count) <= static_cast<double>(capacity) * load;
}

}  // namespace

uint32_t TokenShard::capacity_at(uint32_t growth_step) const {
  const double capacity =
      std::ceil(kCapacityFirst * std::pow(kGrowthFactor, growth_step + growth_phase_));
  CHECK(capacity <= kCapacityMax, "a TokenIndex holds at most 2^39 tokens");
  return static_cast<uint32_t>(capacity);
}

size_t TokenShard::find(uint64_t mixed) const {
  if (count_ == 0) return kNoSlot;
  const size_t slot = lower_bound(mixed);
  return slots_[slot].mixed == mixed && occupied(slot) ? slot : kNoSlot;
}

void TokenShard::reserve(size_t extra) {
  if (fits(count_ + extra, capacity_, kLoadMax)) return;
  uint32_t step = slots_ == nullptr ? 0 : growth_step_ + 1;
  while (!fits(count_ + extra, capacity_at(step), kLoadMax))
    ++step;
  rebuild(step);
}

size_t TokenShard::find_or_insert(uint64_t mixed, uint64_t word) {
  size_t slot = count_ == 0 ? 0 : lower_bound(mixed);
  if (count_ > 0 && occupied(slot) && slots_[slot].mixed == mixed) return slot;
  if (count_ == 0 || !fits(count_ + 1, capacity_, kLoadMax)) {
    reserve(1);
    slot = lower_bound(mixed);
  }
  for (;;) {
    size_t vacant = slot;
    while (occupied(vacant))
      ++vacant;
    if (vacant < slot_count_ - 1) {
      std::move_backward(&slots_[slot], &slots_[vacant], &slots_[vacant] + 1);
      slots_[slot] = {mixed, word};
      ++count_;
      return kNoSlot;
    }
    rebuild(growth_step_);
    slot = lower_bound(mixed);
  }
}

void TokenShard::erase(size_t slot) {
  size_t run_end = slot + 1;
  while (occupied(run_end) && home(slots_[run_end].mixed, capacity_) < run_end)
    ++run_end;
  std::move(&slots_[slot] + 1, &slots_[run_end], &slots_[slot]);
  slots_[run_end - 1] = Slot{};
  --count_;
}

void TokenShard::shrink_if_sparse() {
  if (count_ == 0) {
    clear();
    return;
  }
  if (growth_step_ == 0 || !fits(count_, capacity_, kLoadMin)) return;
  uint32_t step = growth_step_;
  while (step > 0 && fits(count_, capacity_at(step - 1), kLoadAfterShrink))
    --step;
  if (step != growth_step_) rebuild(step);
}

// Lays all entries out again for the capacity of `growth_step`, with fresh spare slots at the end.
void TokenShard::rebuild(uint32_t growth_step) {
  const uint32_t capacity = capacity_at(growth_step);
  size_t end = 0;
  for (size_t i = 0; i < slot_count_; ++i)
    if (occupied(i)) end = std::max(end, home(slots_[i].mixed, capacity)) + 1;
  // Hostile tokens could all want the last home: the spare then grows with the overflow, so that
  // the number of rebuilds stays logarithmic, and memory stays proportional to the entries.
  const size_t overflow = end > capacity ? end - capacity : 0;
  const size_t spare =
      std::clamp<size_t>(capacity / 128, kSpareSlotsMin, kSpareSlotsMax) + overflow / 4;
  const size_t slot_count = capacity + overflow + spare + 1;

  auto slots = std::make_unique<Slot[]>(slot_count);
  size_t next = 0;
  for (size_t i = 0; i < slot_count_; ++i) {
    if (!occupied(i)) continue;
    next = std::max(next, home(slots_[i].mixed, capacity));
    slots[next++] = slots_[i];
  }
  slots_ = std::move(slots);
  slot_count_ = slot_count;
  capacity_ = capacity;
  growth_step_ = growth_step;
}

ProbeLengths TokenShard::probe_lengths() const {
  ProbeLengths lengths;
  for (size_t i = 0; i < slot_count_; ++i) {
    if (!occupied(i)) continue;
    const size_t length = i - home(slots_[i].mixed, capacity_) + 1;
    lengths.max = std::max(lengths.max, length);
    lengths.total += length;
  }
  return lengths;
}

void TokenShard::clear() {
  slots_.reset();
  slot_count_ = 0;
  count_ = 0;
  capacity_ = 0;
  growth_step_ = 0;
}

}  // namespace firn::index
