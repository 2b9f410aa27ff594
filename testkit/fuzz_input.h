// SPDX-License-Identifier: Apache-2.0
//
// FuzzInput: the bytes of a fuzz target, taken as numbers; zeros after their end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "firn/base/bytes.h"

namespace firn::testkit {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint64_t number(size_t width_bytes) {
    uint64_t result = 0;
    for (size_t i = 0; i < width_bytes; ++i)
      result = result << 8 | (at_ < size_ ? data_[at_++] : 0);
    return result;
  }
  // 0 for an empty range.
  uint64_t below(uint64_t end) { return end == 0 ? 0 : number(end > 256 ? 2 : 1) % end; }

  // Numbers at which code goes wrong, near `size`, or any one.
  uint64_t interesting(uint64_t size) {
    const uint64_t choice = number(1);
    const std::array<uint64_t, 12> known = {0,          1,          size,           size - 1,
                                            size + 1,   2 * size,   UINT32_MAX,     UINT32_MAX - 4,
                                            UINT16_MAX, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2};
    return choice < known.size() ? known[choice] : choice < 128 ? number(1) : number(8);
  }
  // All that is left.
  Bytes rest() {
    Bytes bytes;
    while (!empty())
      bytes.push_back(static_cast<std::byte>(number(1)));
    return bytes;
  }
  [[nodiscard]] bool empty() const { return at_ >= size_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace firn::testkit
