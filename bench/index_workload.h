// SPDX-License-Identifier: Apache-2.0
//
// The workloads of the benchmark of indexes. Item i (from 1) has the key key_of(i), 64 bits that
// look random as those of a good hash do, and a value of 42 bits: its number, and above it a
// version that changes with each put. Operations are made before the clock starts.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/random.h"

namespace firn::bench {

inline constexpr uint64_t kVersionShift = 32;
inline constexpr uint64_t kVersions = 1024;

// The finaliser of SplitMix64: different for different items.
[[nodiscard]] inline uint64_t key_of(uint64_t item) {
  item = (item ^ (item >> 30)) * 0xBF58476D1CE4E5B9;
  item = (item ^ (item >> 27)) * 0x94D049BB133111EB;
  return item ^ (item >> 31);
}

[[nodiscard]] inline uint64_t item_of(uint64_t value) {
  return value & ((uint64_t{1} << kVersionShift) - 1);
}

struct Operation {
  static constexpr uint64_t kGet = 0;
  static constexpr uint64_t kRemove = ~uint64_t{0};

  uint64_t key;
  uint64_t value;  // kGet, kRemove, or what to put
};

enum class Distribution : uint8_t { uniform, zipf };

// Chooses from the items 1 to `items`: all with the same chance, or after Zipf's law with the
// exponent 0.99 (the generator of Gray et al., scrambled so that popular items are anywhere).
class Picker {
 public:
  Picker(Distribution distribution, uint64_t items, uint64_t seed);
  [[nodiscard]] uint64_t next();

 private:
  [[nodiscard]] uint64_t zipf_rank();

  Random random_;
  uint64_t items_;
  bool zipf_;
  double zeta_ = 0;
  double eta_ = 0;
};

// Keys of items that are there; with `absent` of such that are not.
[[nodiscard]] std::vector<uint64_t> make_gets(Picker& picker, size_t count, bool absent = false);

// Gets, and one put in `puts_every`: replaces.
[[nodiscard]] std::vector<Operation> make_mix(Picker& picker, size_t count, uint64_t puts_every);

// Puts of items behind the last and removals of the first in turn. Items are those with the same
// remainder as `first` by `step`, so that threads have items of their own.
[[nodiscard]] std::vector<Operation> make_churn(uint64_t first, uint64_t behind_last, uint64_t step,
                                                size_t count);

// Families of keys that occur in practice; weak hashes crowd them.
struct KeyPattern {
  std::string_view name;
  size_t size;
  // Writes the key of an item.
  void (*write)(uint64_t item, MutableByteSpan key);
};
[[nodiscard]] const std::vector<KeyPattern>& key_patterns();
// Random bytes of any size.
void write_random_key(uint64_t item, MutableByteSpan key);

}  // namespace firn::bench
