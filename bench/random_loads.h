// SPDX-License-Identifier: Apache-2.0
//
// RandomLoads: what the memory of the machine can do at best, over as many bytes as an index takes:
// one cache line an operation and nothing else, in huge pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace firn::bench {

class RandomLoads {
 public:
  static constexpr size_t kGroup = 128;

  explicit RandomLoads(size_t bytes);
  ~RandomLoads();
  RandomLoads(const RandomLoads&) = delete;
  RandomLoads& operator=(const RandomLoads&) = delete;

  // Each returns a sum that the caller keeps, so that nothing is optimised away.
  // Each load needs the one before it: all lines form one cycle in random order.
  [[nodiscard]] uint64_t dependent(size_t count) const;
  // The lines that the keys choose; the processor overlaps what it can.
  [[nodiscard]] uint64_t independent(std::span<const uint64_t> keys) const;
  // The same, prefetched in groups.
  [[nodiscard]] uint64_t prefetched(std::span<const uint64_t> keys) const;
  // So many bytes from anywhere in those lines on, copied and summed, and fetched some ahead.
  [[nodiscard]] uint64_t checked_copies(std::span<const uint64_t> keys, size_t size_bytes) const;
  // As prefetched(), and each line is changed.
  [[nodiscard]] uint64_t prefetched_stores(std::span<const uint64_t> keys);

 private:
  struct alignas(64) Line {
    uint64_t next;
    uint64_t changes;
    uint64_t unused[6];
  };

  [[nodiscard]] size_t line_of(uint64_t key) const;
  void make_cycle();

  size_t count_;
  size_t mapped_bytes_;
  void* mapping_;
  Line* lines_;
};

}  // namespace firn::bench
