// SPDX-License-Identifier: Apache-2.0
//
// LatencyHistogram: counts durations in nanoseconds, in steps of 3 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace firn::bench {

class LatencyHistogram {
 public:
  void add(uint64_t nanoseconds) {
    ++counts_[step_of(nanoseconds)];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }

  // What `share` of all durations do not exceed, rounded up to its step.
  [[nodiscard]] double percentile(double share) const {
    const auto rank = static_cast<uint64_t>(share * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t step = 0; step < counts_.size(); ++step) {
      seen += counts_[step];
      if (seen > rank) return std::min(end_of(step), static_cast<double>(max_));
    }
    return static_cast<double>(max_);
  }

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] double max() const { return static_cast<double>(max_); }

 private:
  static constexpr unsigned kBits =
      5;  // of each power of two, so many steps as these bits can tell

  static size_t step_of(uint64_t value) {
    if (value < (1u << kBits)) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
    return (size_t{shift + 1} << kBits) + ((value >> shift) & ((1u << kBits) - 1));
  }
  static double end_of(size_t step) {
    if (step < (1u << kBits)) return static_cast<double>(step);
    const uint64_t base = (1u << kBits) + (step & ((1u << kBits) - 1)) + 1;
    return static_cast<double>(base << ((step >> kBits) - 1));
  }

  std::array<uint64_t, size_t{60} << kBits> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace firn::bench
