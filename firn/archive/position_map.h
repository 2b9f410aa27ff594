// SPDX-License-Identifier: Apache-2.0
//
// PositionMap: the archive indices of one section and the positions of their first records.
//
// Runs of consecutive indices at consecutive positions are one entry of 16 bytes, so a section that
// was filled in order costs nothing per item, and one that was filled at random 16 bytes an item.
// Lookup: a binary search over the runs. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace firn::archive {

class PositionMap {
 public:
  // Requires: index is not in the map.
  void insert(uint64_t index, uint32_t position);
  [[nodiscard]] std::optional<uint32_t> find(uint64_t index) const;
  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] size_t memory_bytes() const { return runs_.capacity() * sizeof(Run); }

 private:
  struct Run {
    uint64_t index;
    uint32_t position;
    uint32_t length;
  };

  std::vector<Run> runs_;  // ascending by index, disjoint
  uint64_t size_ = 0;
};

}  // namespace firn::archive
