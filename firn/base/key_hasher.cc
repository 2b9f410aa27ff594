// SPDX-License-Identifier: Apache-2.0
#include "firn/base/key_hasher.h"

#include <algorithm>
#include <bit>

#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"

// The header's own implementation, compiled here: no library to link, no call through a table.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace firn {
namespace {

constexpr size_t kSipKeySize = 16;

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }

  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
};

}  // namespace

uint64_t siphash_1_3(ByteSpan bytes, ByteSpan key) {
  CHECK(key.size() == kSipKeySize, "a key of SipHash has 16 bytes");
  const auto k0 = load_little_endian<uint64_t>(key.data());
  const auto k1 = load_little_endian<uint64_t>(key.data() + sizeof k0);
  SipState state{.v0 = k0 ^ 0x736f6d6570736575,
                 .v1 = k1 ^ 0x646f72616e646f6d,
                 .v2 = k0 ^ 0x6c7967656e657261,
                 .v3 = k1 ^ 0x7465646279746573};
  const auto size_byte = static_cast<uint64_t>(bytes.size()) << 56;
  constexpr size_t kWord = sizeof(uint64_t);
  for (; bytes.size() >= kWord; bytes = bytes.subspan(kWord))
    state.absorb(load_little_endian<uint64_t>(bytes.data()));
  std::array<std::byte, kWord> rest{};
  copy_bytes(rest, bytes);
  state.absorb(load_little_endian<uint64_t>(rest.data()) | size_byte);
  state.v2 ^= 0xFF;
  for (int i = 0; i < 3; ++i)
    state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

KeyHasher::KeyHasher(Mode mode, const Seed& seed) : mode_(mode), seed_(seed), secret_{} {
  static_assert(kSecretSize >= XXH3_SECRET_SIZE_MIN);
  XXH3_generateSecret(secret_.data(), secret_.size(), seed_.data(), seed_.size());
}

Result<KeyHasher> KeyHasher::create(Mode mode, const Seed& seed) {
  if (std::ranges::all_of(seed, [](std::byte byte) { return byte == std::byte{0}; }))
    return fail(Errc::invalid_argument,
                "the seed of a hash of keys is all zeros; draw a random one");
  if (mode != Mode::fast && mode != Mode::hostile)
    return fail(Errc::invalid_argument,
                "unknown mode of a hash of keys: " + std::to_string(static_cast<int>(mode)));
  return KeyHasher(mode, seed);
}

KeyHasher KeyHasher::random(Mode mode) {
  Seed seed;
  for (size_t at = 0; at < seed.size(); at += sizeof(uint64_t))
    store_little_endian(seed.data() + at, random_seed_from_os());
  return {mode, seed};
}

KeyHash KeyHasher::hash(ByteSpan key, uint64_t name_space) const {
  const uint64_t hash = mode_ == Mode::fast ? XXH3_64bits_withSecret(key.data(), key.size(),
                                                                     secret_.data(), secret_.size())
                                            : siphash_1_3(key, ByteSpan(seed_).first(kSipKeySize));
  if (name_space == 0) return KeyHash(hash);
  // Mixed with a part of the seed that nothing else uses directly.
  uint64_t state = load_little_endian<uint64_t>(seed_.data() + kSipKeySize) ^ name_space;
  return KeyHash(hash ^ split_mix64(state));
}

uint64_t KeyHasher::fingerprint() const {
  constexpr std::string_view kWhat = "firn key hasher";
  const uint64_t seed_hash =
      XXH3_64bits_withSecret(kWhat.data(), kWhat.size(), secret_.data(), secret_.size());
  return seed_hash ^ static_cast<uint64_t>(mode_);
}

}  // namespace firn
