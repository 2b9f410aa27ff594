// SPDX-License-Identifier: Apache-2.0
#include "bench/items.h"

#include <algorithm>
#include <cstring>

namespace firn::bench {

Items::Items(size_t count_of_items, size_t key_size, size_t value_size, uint64_t seed)
    : count(count_of_items),
      key_size_bytes(key_size),
      value_size_bytes(value_size),
      random(seed),
      keys(random.bytes(count * key_size)),
      pool(random.bytes(std::max<size_t>(value_size * 16, 1 << 20) + value_size)) {}

uint64_t sum_words(ByteSpan value) {
  uint64_t sum = 1;
  size_t offset = 0;
  for (; offset + 8 <= value.size(); offset += 8) {
    uint64_t word;
    std::memcpy(&word, value.data() + offset, sizeof word);
    sum += word;
  }
  for (; offset < value.size(); ++offset)
    sum += std::to_integer<uint64_t>(value[offset]);
  return sum;
}

}  // namespace firn::bench
