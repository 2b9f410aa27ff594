// SPDX-License-Identifier: Apache-2.0
//
// Random: a seeded generator of pseudo-random numbers, equal on every machine for an equal seed.
// Everything random in firn and its tests comes from one, so that a printed seed repeats a run. Not
// for secrets. random_seed_from_os is the only source that a seed does not determine; a store draws
// from it through its Storage.
#pragma once

#include <array>
#include <cstdint>

#include "firn/base/bytes.h"

namespace firn {

// xoshiro256++ (Blackman and Vigna), its state filled by SplitMix64. Meets the requirements of
// std::uniform_random_bit_generator. One thread at a time.
class Random {
 public:
  using result_type = uint64_t;

  explicit Random(uint64_t seed);

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }
  uint64_t operator()() { return next(); }

  [[nodiscard]] uint64_t next();

  // Uniform in [0, bound). Requires: bound > 0.
  [[nodiscard]] uint64_t below(uint64_t bound);

  // Uniform in [first, last], both included. Requires: first <= last.
  [[nodiscard]] uint64_t between(uint64_t first, uint64_t last);

  // True once in `count` times. Requires: count > 0.
  [[nodiscard]] bool one_in(uint64_t count) { return below(count) == 0; }

  void fill(MutableByteSpan target);
  [[nodiscard]] Bytes bytes(size_t size);

 private:
  std::array<uint64_t, 4> state_;
};

// One step of SplitMix64: advances `state` and returns a number that is well mixed even if states
// are consecutive. Derives independent seeds from one.
[[nodiscard]] uint64_t split_mix64(uint64_t& state);

// Unpredictable bits from the operating system. It does not fail: it waits at most until the
// system has gathered entropy after boot.
[[nodiscard]] uint64_t random_seed_from_os();

}  // namespace firn
