// SPDX-License-Identifier: Apache-2.0
//
// KeyHasher: a keyed 64-bit hash for tables whose keys strangers may choose. Equal keys, modes and
// seeds give equal hashes on every machine and in every version, so hashes may be kept next to the
// seed. Without the seed nobody should be able to find keys that crowd one place of a table.
//
//   KeyHasher hasher = KeyHasher::random();      // keep hasher.seed() with the data
//   KeyHash hash = hasher.hash(key);
//
// fast is XXH3 with a secret of 192 bytes made from the seed: 2 ns for 16 bytes, 10 ns for 200.
// (Not its variant with a short seed: for that one pairs of keys are known that collide under many
// seeds.) hostile is SipHash-1-3, three times slower, which is made to resist an adversary who sees
// the effect of hashes. Threads: const calls from any number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"

namespace firn {

using KeyHash = StrongId<struct KeyHashTag>;

// SipHash-c-d (Aumasson and Bernstein) with c = 1 and d = 3, of the bytes under a key of 16 bytes.
[[nodiscard]] uint64_t siphash_1_3(ByteSpan bytes, ByteSpan key);

class KeyHasher {
 public:
  enum class Mode : uint8_t { fast = 1, hostile = 2 };
  static constexpr size_t kSeedSize = 32;
  using Seed = std::array<std::byte, kSeedSize>;

  // A seed of zeros is refused as invalid_argument: it is a seed that somebody forgot.
  static Result<KeyHasher> create(Mode mode, const Seed& seed);
  // A seed from the operating system.
  static KeyHasher random(Mode mode = Mode::fast);

  // The hash of a key of any size in a name space: an index that serves several mixes their numbers
  // in, so that equal keys of two name spaces are different keys.
  [[nodiscard]] KeyHash hash(ByteSpan key, uint64_t name_space = 0) const;

  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] const Seed& seed() const { return seed_; }
  // Tells hashers apart without telling the seed: what a file records to be opened with the same.
  [[nodiscard]] uint64_t fingerprint() const;

 private:
  static constexpr size_t kSecretSize = 192;

  KeyHasher(Mode mode, const Seed& seed);

  Mode mode_;
  Seed seed_;
  std::array<std::byte, kSecretSize> secret_;
};

}  // namespace firn
