// SPDX-License-Identifier: Apache-2.0
//
// Golden digests: proof that firn writes the bytes of the original project. That project publishes,
// for each of its formats, one SHA-256 over many cases. A case is made of the random numbers of its
// number, its seed; here are the same numbers, the same sum, and the published digests.
//
//   CaseDigest digest;
//   for (uint64_t seed = 0; seed < golden.cases; ++seed) digest.add(bytes_of_case(seed));
//   EXPECT_EQ(digest.hex(), golden.sha256);
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"

namespace firn::testkit {

using Sha256Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void add(ByteSpan bytes);

  // The digest of all that was added; starts afresh.
  [[nodiscard]] Sha256Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 over, for each case in order, its length (u64, little-endian) and its bytes.
class CaseDigest {
 public:
  void add(ByteSpan case_bytes);
  [[nodiscard]] std::string hex() { return to_hex(sha256_.finish()); }

 private:
  Sha256 sha256_;
};

enum class ChaChaRounds : uint8_t { eight = 8, twelve = 12 };

// The random numbers of a case. Storage cases use twelve rounds, codec cases eight.
class ChaChaRng {
 public:
  explicit ChaChaRng(uint64_t seed, ChaChaRounds rounds = ChaChaRounds::twelve);

  [[nodiscard]] uint32_t next_u32();
  [[nodiscard]] uint64_t next_u64();

  // Takes whole words; the rest of the last one is lost.
  void fill(MutableByteSpan target);
  [[nodiscard]] Bytes bytes(size_t size);

  // Uniform in [first, end), first < end. The original draws 32 or 64 bits, whichever type the
  // bounds have there, and samples differently from its version 2026.7 on.
  [[nodiscard]] uint32_t range_u32(uint32_t first, uint32_t end);
  [[nodiscard]] uint64_t range_u64(uint64_t first, uint64_t end);
  [[nodiscard]] uint32_t range_u32_2026_7(uint32_t first, uint32_t end);
  [[nodiscard]] uint64_t range_u64_2026_7(uint64_t first, uint64_t end);

 private:
  void refill();

  std::array<uint32_t, 8> key_;
  uint64_t next_block_ = 0;
  unsigned rounds_;
  size_t next_word_ = 16;
  std::array<uint32_t, 16> words_{};
};

// The fields of a codec case: 4096 random bytes, of which each field takes the next few,
// little-endian, in the order of the record's declaration.
class FieldSource {
 public:
  explicit FieldSource(uint64_t seed) : rng_(seed, ChaChaRounds::eight) {}

  [[nodiscard]] uint8_t next_u8() { return next<uint8_t>(); }
  [[nodiscard]] uint16_t next_u16() { return next<uint16_t>(); }
  [[nodiscard]] uint32_t next_u32() { return next<uint32_t>(); }
  [[nodiscard]] uint64_t next_u64() { return next<uint64_t>(); }
  [[nodiscard]] bool next_bool() { return (next_u8() & 1) != 0; }

  // One of `count` variants of an enumeration.
  [[nodiscard]] uint32_t next_variant(uint32_t count);

  // In [first, last], from as many bytes as last - first has.
  [[nodiscard]] uint64_t next_between(uint64_t first, uint64_t last);

  // Raw bytes, as they are.
  [[nodiscard]] Bytes next_bytes(size_t size);

 private:
  static constexpr size_t kSize = 4096;

  template <std::unsigned_integral T>
  [[nodiscard]] T next() {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(next_byte()) << (8 * i)));
    return value;
  }

  [[nodiscard]] std::byte next_byte();

  ChaChaRng rng_;
  size_t used_ = 0;
  uint32_t word_ = 0;
};

struct GoldenDigest {
  std::string_view section;
  std::string_view name;
  uint64_t cases;
  std::string_view sha256;
};

// All published digests. Sections: "storage", "storage_2026_7" (the same stored bytes, summed with
// lengths) and "codec".
[[nodiscard]] std::span<const GoldenDigest> golden_digests();

// Requires: there is one of that section and name.
[[nodiscard]] const GoldenDigest& golden_digest(std::string_view section, std::string_view name);

}  // namespace firn::testkit
