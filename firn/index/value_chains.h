// SPDX-License-Identifier: Apache-2.0
//
// ValueChains: the linked lists of a TokenIndex, for the tokens that have more than one value.
// Nodes of 12 bytes live in chunks that never move and are named by 32-bit numbers; freed nodes are
// used again, and the chunks are released when no node is in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/prefetch.h"

namespace firn::index {

class ValueChains {
 public:
  static constexpr uint32_t kNoNode = std::numeric_limits<uint32_t>::max();
  // Node numbers stay below this one.
  static constexpr uint32_t kNodesMax = kNoNode - 1;

  [[nodiscard]] uint32_t allocate(uint64_t value, uint32_t next) {
    uint32_t id = free_;
    if (id != kNoNode) {
      free_ = node(id).next;
    } else {
      CHECK(used_ < kNodesMax, "a TokenIndex holds at most 2^32 - 2 values that share a token");
      if (used_ == chunks_.size() * kChunkNodes)
        chunks_.push_back(std::make_unique_for_overwrite<Node[]>(kChunkNodes));
      id = used_++;
    }
    ++live_;
    set_value(id, value);
    node(id).next = next;
    return id;
  }

  void release(uint32_t id) {
    if (--live_ == 0) {
      clear();
      return;
    }
    node(id).next = free_;
    free_ = id;
  }

  [[nodiscard]] uint64_t value(uint32_t id) const {
    return uint64_t{node(id).value_high} << 32 | node(id).value_low;
  }
  void set_value(uint32_t id, uint64_t value) {
    node(id).value_low = static_cast<uint32_t>(value);
    node(id).value_high = static_cast<uint32_t>(value >> 32);
  }
  [[nodiscard]] uint32_t next(uint32_t id) const { return node(id).next; }
  void set_next(uint32_t id, uint32_t next) { node(id).next = next; }
  void prefetch(uint32_t id) const { firn::prefetch(&node(id)); }

  void clear() {
    chunks_ = std::vector<std::unique_ptr<Node[]>>();
    free_ = kNoNode;
    used_ = 0;
    live_ = 0;
  }

  [[nodiscard]] size_t memory_bytes() const {
    return chunks_.size() * kChunkNodes * sizeof(Node) + chunks_.capacity() * sizeof(chunks_[0]);
  }

 private:
  // The value in halves: a 64-bit member would pad the node to 16 bytes.
  struct Node {
    uint32_t value_low;
    uint32_t value_high;
    uint32_t next;
  };
  static constexpr size_t kChunkNodes = 512;

  [[nodiscard]] Node& node(uint32_t id) { return chunks_[id / kChunkNodes][id % kChunkNodes]; }
  [[nodiscard]] const Node& node(uint32_t id) const {
    return chunks_[id / kChunkNodes][id % kChunkNodes];
  }

  std::vector<std::unique_ptr<Node[]>> chunks_;
  uint32_t free_ = kNoNode;
  uint32_t used_ = 0;
  uint32_t live_ = 0;
};

}  // namespace firn::index
