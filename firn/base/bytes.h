// SPDX-License-Identifier: Apache-2.0
//
// Bytes: how firn passes and owns raw memory. Inputs are spans; owned memory is Bytes (a vector) or
// Buffer (uninitialised, for large reads).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;
using Bytes = std::vector<std::byte>;

[[nodiscard]] inline ByteSpan as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

[[nodiscard]] inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[nodiscard]] inline Bytes to_bytes(ByteSpan bytes) {
  return {bytes.begin(), bytes.end()};
}

[[nodiscard]] inline bool equal_bytes(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// Copies all of `source` to the front of `target`, which must be at least as long.
inline void copy_bytes(MutableByteSpan target, ByteSpan source) {
  if (!source.empty()) std::memcpy(target.data(), source.data(), source.size());
}

// Lower-case hexadecimal, two digits a byte.
[[nodiscard]] std::string to_hex(ByteSpan bytes);

// Accepts both cases; nullopt for an odd length or any other character.
[[nodiscard]] std::optional<Bytes> from_hex(std::string_view text);

// Owned memory that is not zeroed first: for reads that fill it completely.
//
// The bytes of a blob begin 8 bytes behind a page of the kernel, those of a large block of the
// allocator 16 bytes behind one. Where the distance of the two is so small, modulo a page, the
// kernel's copies are six times slower on some processors (AMD Zen). Large buffers therefore begin
// at a line of the cache, 64 bytes behind the page.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : data_(allocate(size), Free{size >= kLargeBytes}), size_(size) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] ByteSpan bytes() const { return {data_.get(), size_}; }
  [[nodiscard]] MutableByteSpan mutable_bytes() { return {data_.get(), size_}; }

 private:
  static constexpr size_t kLargeBytes = 4096;
  static constexpr std::align_val_t kLine{64};

  struct Free {
    bool is_large;
    // No conditional expression: of one with two deletions clang 19 makes both calls.
    void operator()(std::byte* data) const {
      if (is_large) {
        ::operator delete[](data, kLine);
      } else {
        ::operator delete[](data);
      }
    }
  };
  [[nodiscard]] static std::byte* allocate(size_t size) {
    return static_cast<std::byte*>(size >= kLargeBytes ? ::operator new[](size, kLine)
                                                       : ::operator new[](size));
  }

  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

}  // namespace firn
