// SPDX-License-Identifier: Apache-2.0
//
// AbsenceFilter: knows of most keys that they are not in the store, from two bytes a record.
//
// A Bloom filter in blocks of one cache line: an answer waits for memory once. It grows by levels,
// each as large as all before it together; at its bound the last level fills up, and answers get
// less helpful, never wrong. It takes the hash that the table uses anyway, spread under a secret
// seed: whoever chooses keys with equal hashes gets what there is without a filter.
//
// Threads. As a plain container: calls of may_contain() beside each other, add() alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace firn::freezer {

class AbsenceFilter {
 public:
  // memory_max_bytes: at least kBlockBytes.
  AbsenceFilter(uint64_t seed, uint64_t records_expected, size_t memory_max_bytes);

  static constexpr size_t kBlockBytes = 64;

  void add(uint32_t hash);
  // False: nothing with this hash was added.
  [[nodiscard]] bool may_contain(uint32_t hash) const;
  [[nodiscard]] uint64_t records() const { return records_; }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  static constexpr size_t kWordsPerBlock = kBlockBytes / sizeof(uint64_t);
  using Block = std::array<uint64_t, kWordsPerBlock>;
  struct Free {
    void operator()(Block* blocks) const { std::free(blocks); }
  };
  struct Level {
    std::unique_ptr<Block[], Free> blocks;  // from calloc: zeros that nobody waits for
    uint64_t block_count = 0;
    uint64_t capacity = 0;  // records
    uint64_t added = 0;
  };

  [[nodiscard]] uint64_t spread(uint32_t hash) const;
  void add_level(uint64_t records);

  const uint64_t seed_;
  const size_t memory_max_bytes_;
  std::vector<Level> levels_;
  uint64_t records_ = 0;
};

}  // namespace firn::freezer
