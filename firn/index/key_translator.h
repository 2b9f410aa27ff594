// SPDX-License-Identifier: Apache-2.0
//
// KeyTranslator: shrinks a key to a token of 1 to 8 bytes for an in-memory index. Different keys
// may share a token, so whoever finds a token must compare the whole key with what is on disk.
//
//   KeyTranslator::four_cap()                          first 4 bytes; keeps the order of keys
//   KeyTranslator::hashed(KeyTranslator::eight_cap(), seed)   for keys with common prefixes, or
//   keys
//                                                      that strangers choose: use a secret seed
//
// A token is an integer: the first bytes of the key, zero-padded on the right, read big-endian. A
// token of width w is below 2^(8w), and tokens of one width compare as their bytes do.
//
// A hashed translator hashes the whole key (XXH3, keyed by the seed) and takes the first bytes of
// the hash, least significant byte first. It destroys the order. The original used another hash
// (AHash), so hashed tokens differ from its tokens; that is harmless, because tokens are never
// stored, and firn may change the hash in any release.
//
// A value type: immutable, cheap to copy, safe to share between threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/check.h"

namespace firn {

class KeyTranslator {
 public:
  static constexpr size_t kWidthBytesMax = 8;

  // The width known when compiling; anything but 1 to 8 does not compile.
  template <size_t kWidthBytes>
    requires(kWidthBytes >= 1 && kWidthBytes <= kWidthBytesMax)
  [[nodiscard]] static constexpr KeyTranslator cap() {
    return KeyTranslator(kWidthBytes);
  }

  // The width known when running. Requires: 1 <= width_bytes <= 8.
  [[nodiscard]] static constexpr KeyTranslator cap(size_t width_bytes) {
    CHECK(width_bytes >= 1 && width_bytes <= kWidthBytesMax, "a token has 1 to 8 bytes");
    return KeyTranslator(width_bytes);
  }

  [[nodiscard]] static constexpr KeyTranslator one_cap() { return cap<1>(); }
  [[nodiscard]] static constexpr KeyTranslator two_cap() { return cap<2>(); }
  [[nodiscard]] static constexpr KeyTranslator four_cap() { return cap<4>(); }
  [[nodiscard]] static constexpr KeyTranslator eight_cap() { return cap<8>(); }

  // `base` over the hash of the key. Two translators with the same width and seed agree.
  [[nodiscard]] static constexpr KeyTranslator hashed(KeyTranslator base, uint64_t seed) {
    base.hashed_ = true;
    base.seed_ = seed;
    return base;
  }

  [[nodiscard]] uint64_t token(ByteSpan key) const {
    return hashed_ ? hashed_token(key) : prefix_token(key);
  }

  [[nodiscard]] constexpr size_t width_bytes() const { return width_bytes_; }
  [[nodiscard]] constexpr bool is_hashed() const { return hashed_; }
  // True when tokens compare as the first bytes of their keys do.
  [[nodiscard]] constexpr bool keeps_order() const { return !hashed_; }

  friend constexpr bool operator==(const KeyTranslator&, const KeyTranslator&) = default;

 private:
  explicit constexpr KeyTranslator(size_t width_bytes)
      : width_bytes_(static_cast<uint8_t>(width_bytes)) {}

  [[nodiscard]] uint64_t prefix_token(ByteSpan key) const {
    const size_t taken = std::min<size_t>(key.size(), width_bytes_);
    uint64_t token = 0;
    for (size_t i = 0; i < taken; ++i)
      token = token << 8 | std::to_integer<uint64_t>(key[i]);
    // Never a shift by 64: a width of 8 with nothing taken keeps token at 0.
    return taken == 0 ? 0 : token << (8 * (width_bytes_ - taken));
  }

  [[nodiscard]] uint64_t hashed_token(ByteSpan key) const;

  uint8_t width_bytes_;
  bool hashed_ = false;
  uint64_t seed_ = 0;
};

}  // namespace firn
