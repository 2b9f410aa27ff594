// SPDX-License-Identifier: Apache-2.0
//
// Gather: walks over the buffers of one write, call by call, skipping what was written. Calls may
// write less than they were given, to the middle of a buffer.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include <limits.h>
#include <sys/uio.h>

#include "firn/base/bytes.h"

namespace firn::io {

inline constexpr size_t kTransferMaxBytes = 0x7ffff000;  // what Linux moves in one call at most
inline constexpr size_t kBuffersPerCall = 64;            // stays on the stack
static_assert(kBuffersPerCall <= IOV_MAX);

class Gather {
 public:
  explicit Gather(std::span<const ByteSpan> buffers) : buffers_(buffers) { skip_empty(); }

  [[nodiscard]] bool done() const { return buffers_.empty(); }

  // What to pass to the next call: at most kBuffersPerCall buffers and `room` bytes.
  [[nodiscard]] std::span<const iovec> next(size_t room) {
    size_t count = 0;
    for (const ByteSpan buffer : buffers_) {
      if (count == kBuffersPerCall || room == 0) break;
      const ByteSpan rest = count == 0 ? buffer.subspan(written_of_first_) : buffer;
      if (rest.empty()) continue;
      const size_t size = std::min(rest.size(), room);
      vectors_[count++] = {const_cast<std::byte*>(rest.data()), size};
      room -= size;
    }
    return std::span(vectors_).first(count);
  }

  // Skips what the call wrote, at most what next() returned.
  void advance(size_t size) {
    while (size > 0) {
      const size_t step = std::min(size, buffers_.front().size() - written_of_first_);
      written_of_first_ += step;
      size -= step;
      skip_empty();
    }
  }

 private:
  void skip_empty() {
    while (!buffers_.empty() && written_of_first_ == buffers_.front().size()) {
      buffers_ = buffers_.subspan(1);
      written_of_first_ = 0;
    }
  }

  std::span<const ByteSpan> buffers_;
  size_t written_of_first_ = 0;
  std::array<iovec, kBuffersPerCall> vectors_;
};

}  // namespace firn::io
