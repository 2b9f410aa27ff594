// SPDX-License-Identifier: Apache-2.0
//
// The design of emdb 0.9's index, written from its description for this comparison: 64 shards, each
// a reader-writer lock around a power of two of slots with 32 bytes, linear probing. As there, the
// same low bits of the hash choose the shard and the slot, a table doubles only when a probe has
// walked all of it, and the hash of bytes is Fx. Hashes that are equal count as equal keys: the
// lists for collisions are left out, which favours this design.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>

#include "firn/base/bytes.h"

namespace firn::bench {

// Words of eight bytes, then what is left of four, two and one.
[[nodiscard]] inline uint64_t fx_step(uint64_t hash, uint64_t word) {
  return (std::rotl(hash, 5) ^ word) * 0x517CC1B727220A95;
}
[[nodiscard]] inline uint64_t fx_hash(uint64_t key) {
  return fx_step(0, key);
}
[[nodiscard]] inline uint64_t fx_hash(ByteSpan bytes) {
  uint64_t hash = 0;
  for (size_t width = 8; width > 0; width /= 2) {
    for (; bytes.size() >= width; bytes = bytes.subspan(width)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data(), width);
      hash = fx_step(hash, word);
    }
  }
  return hash;
}

class EmdbDesign {
 public:
  [[nodiscard]] uint64_t get(uint64_t hash) {
    Shard& shard = shard_of(hash);
    const ReadGuard guard(shard.lock);
    uint64_t value = 0;
    probe(shard, hash, [&](Slot& slot) {
      value = read(slot);
      return true;
    });
    return value;
  }

  void put(uint64_t hash, uint64_t value) {
    Shard& shard = shard_of(hash);
    for (;;) {
      size_t full = 0;
      {
        const ReadGuard guard(shard.lock);
        if (try_put(shard, hash, value)) return;
        full = shard.slot_count;
      }
      grow(shard, full);
    }
  }

  void remove(uint64_t hash) {
    Shard& shard = shard_of(hash);
    const ReadGuard guard(shard.lock);
    probe(shard, hash, [&](Slot& slot) {
      const uint64_t sequence = begin_write(slot);
      slot.state.store(kTombstone, std::memory_order_relaxed);
      end_write(slot, sequence);
      return true;
    });
  }

 private:
  static constexpr size_t kShards = 64;
  static constexpr size_t kFirstSlots = 1024;
  enum : uint64_t { kEmpty, kLive, kTombstone };

  struct Slot {
    std::atomic<uint64_t> sequence;  // odd while it is written
    std::atomic<uint64_t> state;
    std::atomic<uint64_t> hash;
    std::atomic<uint64_t> value;
  };
  static_assert(sizeof(Slot) == 32);

  // One word: readers count up, a writer takes it all.
  class Lock {
   public:
    void lock_shared() {
      while ((word_.fetch_add(1, std::memory_order_acquire) & kWriter) != 0) {
        word_.fetch_sub(1, std::memory_order_relaxed);
        std::this_thread::yield();
      }
    }
    void unlock_shared() { word_.fetch_sub(1, std::memory_order_release); }
    void lock() {
      uint64_t free = 0;
      while (!word_.compare_exchange_weak(free, kWriter, std::memory_order_acquire)) {
        free = 0;
        std::this_thread::yield();
      }
    }
    void unlock() { word_.fetch_sub(kWriter, std::memory_order_release); }

   private:
    static constexpr uint64_t kWriter = uint64_t{1} << 32;
    std::atomic<uint64_t> word_ = 0;
  };

  class ReadGuard {
   public:
    explicit ReadGuard(Lock& lock) : lock_(lock) { lock_.lock_shared(); }
    ~ReadGuard() { lock_.unlock_shared(); }
    ReadGuard(const ReadGuard&) = delete;
    ReadGuard& operator=(const ReadGuard&) = delete;

   private:
    Lock& lock_;
  };

  struct alignas(64) Shard {
    Lock lock;
    size_t slot_count = kFirstSlots;
    std::unique_ptr<Slot[]> slots = std::make_unique<Slot[]>(kFirstSlots);
  };

  Shard& shard_of(uint64_t hash) { return shards_[hash % kShards]; }

  // Calls visit for each slot of the hash until it returns true, up to an empty slot or all of the
  // table. Returns where the hash could be put: the first removed slot before an empty one.
  template <class Visit>
  static Slot* probe(Shard& shard, uint64_t hash, Visit&& visit) {
    const size_t mask = shard.slot_count - 1;
    Slot* removed = nullptr;
    for (size_t i = 0; i <= mask; ++i) {
      Slot& slot = shard.slots[(hash + i) & mask];
      const uint64_t state = slot.state.load(std::memory_order_acquire);
      if (state == kEmpty) return removed != nullptr ? removed : &slot;
      if (state == kTombstone && removed == nullptr) removed = &slot;
      if (state == kLive && slot.hash.load(std::memory_order_relaxed) == hash && visit(slot))
        return nullptr;
    }
    return nullptr;
  }

  static uint64_t read(const Slot& slot) {
    for (;;) {
      const uint64_t before = slot.sequence.load(std::memory_order_acquire);
      const uint64_t value = slot.value.load(std::memory_order_acquire);
      const bool live = slot.state.load(std::memory_order_acquire) == kLive;
      const uint64_t after = slot.sequence.load(std::memory_order_acquire);
      if (before == after && before % 2 == 0) return live ? value : 0;
    }
  }

  static uint64_t begin_write(Slot& slot) {
    for (;;) {
      uint64_t sequence = slot.sequence.load(std::memory_order_relaxed) & ~uint64_t{1};
      if (slot.sequence.compare_exchange_weak(sequence, sequence + 1)) return sequence;
    }
  }
  static void end_write(Slot& slot, uint64_t sequence) {
    slot.sequence.store(sequence + 2, std::memory_order_release);
  }

  static void fill(Slot& slot, uint64_t hash, uint64_t value) {
    slot.hash.store(hash, std::memory_order_relaxed);
    slot.value.store(value, std::memory_order_relaxed);
    slot.state.store(kLive, std::memory_order_release);
  }

  // False if the table has no empty slot.
  static bool try_put(Shard& shard, uint64_t hash, uint64_t value) {
    for (;;) {
      bool replaced = false;
      Slot* const free = probe(shard, hash, [&](Slot& slot) {
        const uint64_t sequence = begin_write(slot);
        slot.value.store(value, std::memory_order_relaxed);
        end_write(slot, sequence);
        return replaced = true;
      });
      if (replaced) return true;
      if (free == nullptr) return false;
      const uint64_t sequence = begin_write(*free);
      const bool claimed = free->state.load(std::memory_order_relaxed) != kLive;
      if (claimed) fill(*free, hash, value);
      end_write(*free, sequence);
      if (claimed) return true;
    }
  }

  static void grow(Shard& shard, size_t full) {
    shard.lock.lock();
    if (shard.slot_count == full) double_slots(shard);
    shard.lock.unlock();
  }

  static void double_slots(Shard& shard) {
    const size_t old_count = shard.slot_count;
    const std::unique_ptr<Slot[]> old = std::move(shard.slots);
    shard.slot_count = old_count * 2;
    shard.slots = std::make_unique<Slot[]>(shard.slot_count);
    for (size_t i = 0; i < old_count; ++i) {
      if (old[i].state.load(std::memory_order_relaxed) == kLive)
        try_put(shard, old[i].hash.load(std::memory_order_relaxed),
                old[i].value.load(std::memory_order_relaxed));
    }
  }

  Shard shards_[kShards];
};

}  // namespace firn::bench
