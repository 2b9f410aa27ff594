// SPDX-License-Identifier: Apache-2.0
#include "firn/base/random.h"

#include <algorithm>
#include <bit>

#include <sys/random.h>

#include "firn/base/check.h"
#include "firn/base/endian.h"

namespace firn {
namespace {

// `__extension__`, because ISO C++ has no integer of 128 bits.
__extension__ using Uint128 = unsigned __int128;

}  // namespace

uint64_t split_mix64(uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_)
    word = split_mix64(seed);
}

uint64_t Random::next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

// The high half of draw * bound is the result. 2^64 mod bound of the low halves would make some
// results more likely than others, and are drawn again (Lemire).
uint64_t Random::below(uint64_t bound) {
  CHECK(bound > 0, "a range of random numbers is not empty");
  Uint128 product = Uint128{next()} * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t biased = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < biased)
      product = Uint128{next()} * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

uint64_t Random::between(uint64_t first, uint64_t last) {
  CHECK(first <= last, "a range of random numbers is not empty");
  const uint64_t width = last - first;
  return width == UINT64_MAX ? next() : first + below(width + 1);
}

void Random::fill(MutableByteSpan target) {
  std::array<std::byte, sizeof(uint64_t)> word;
  while (!target.empty()) {
    store_little_endian(word.data(), next());
    const size_t size = std::min(word.size(), target.size());
    copy_bytes(target, ByteSpan(word).first(size));
    target = target.subspan(size);
  }
}

Bytes Random::bytes(size_t size) {
  Bytes filled(size);
  fill(filled);
  return filled;
}

uint64_t random_seed_from_os() {
  uint64_t seed = 0;
  CHECK(getentropy(&seed, sizeof seed) == 0, "the operating system gives eight random bytes");
  return seed;
}

}  // namespace firn
