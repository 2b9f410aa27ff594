// SPDX-License-Identifier: Apache-2.0
//
// SplitMix: the test kit's only source of randomness. Equal seeds give equal sequences on every
// machine; split() derives an independent stream, so that one 64-bit seed replays a whole run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "firn/base/bytes.h"

namespace firn::testkit {

class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
  }

  // A number in [0, bound); 0 for a bound of 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

  // A number in [low, high].
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }

  // True in `numerator` of `denominator` cases.
  bool chance(uint64_t numerator, uint64_t denominator) { return below(denominator) < numerator; }

  void fill(MutableByteSpan out) {
    for (size_t done = 0; done < out.size();) {
      uint64_t word = next();
      for (size_t i = 0; i < sizeof word && done < out.size(); ++i, word >>= 8)
        out[done++] = static_cast<std::byte>(word & 0xFF);
    }
  }

  SplitMix split() { return SplitMix(next()); }

 private:
  uint64_t state_;
};

}  // namespace firn::testkit
