// SPDX-License-Identifier: Apache-2.0
//
// Items: keys and values that a benchmark puts, generated before the clock starts: random bytes, so
// that nothing compresses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/random.h"

namespace firn::bench {

struct Items {
  Items(size_t count, size_t key_size, size_t value_size, uint64_t seed);

  [[nodiscard]] ByteSpan key(uint64_t index) const {
    return ByteSpan(keys).subspan(index * key_size_bytes, key_size_bytes);
  }
  [[nodiscard]] ByteSpan value(uint64_t index) const {
    const size_t start = index * 64 % (pool.size() - value_size_bytes);
    return ByteSpan(pool).subspan(start, value_size_bytes);
  }
  [[nodiscard]] size_t total_bytes() const { return count * (key_size_bytes + value_size_bytes); }

  size_t count;
  size_t key_size_bytes;
  size_t value_size_bytes;
  Random random;
  Bytes keys;
  Bytes pool;
};

// Sums whole words, then the last bytes: whoever has the sum has read every byte. Never 0.
[[nodiscard]] uint64_t sum_words(ByteSpan value);

}  // namespace firn::bench
