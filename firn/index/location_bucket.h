// SPDX-License-Identifier: Apache-2.0
//
// LocationBucket: the bits of a LocationIndex: how a hash is cut, what the words of a bucket mean,
// which sizes tables have, and which buckets an entry may be in. Arithmetic only.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "firn/index/location_types.h"

namespace firn::index {

static_assert(std::endian::native == std::endian::little, "lanes are the low bytes of a word");
static_assert(sizeof(void*) == 8, "a reference to a table is one word of 64 bits");

inline constexpr unsigned kSlots = 7;

// The header of a bucket: bytes 0 to 6 are lanes, each the tag of the slot of its number.
inline constexpr uint64_t kLockBit = uint64_t{1} << 56;      // inserts, and changes of the header
inline constexpr uint64_t kMigratedBit = uint64_t{1} << 57;  // keys of this home: see the successor
inline constexpr unsigned kClassShift = 58;  // an entry of class c went past: c = 0..5
inline constexpr uint64_t kAllClasses = ~uint64_t{0} << kClassShift;
inline constexpr uint64_t kLanes = kLockBit - 1;

// A slot: 0 is empty.
inline constexpr uint64_t kFrozenBit = uint64_t{1} << 63;  // being moved: this copy never changes
inline constexpr unsigned kLocationBits = 42;
inline constexpr unsigned kFingerprintBits = 21;
inline constexpr uint64_t kLocationMask = kLocationMax;
inline constexpr uint64_t kFingerprintMask = ((uint64_t{1} << kFingerprintBits) - 1)
                                             << kLocationBits;

// The hash inside of a shard: 29 bits. The top ones choose the home; tag and fingerprint are all.
inline constexpr unsigned kInShardBits = 29;
inline constexpr unsigned kTagBits = 8;

struct InShardHash {
  uint32_t bits;

  [[nodiscard]] uint8_t tag() const { return static_cast<uint8_t>(bits); }
  // In its place in a slot's word.
  [[nodiscard]] uint64_t fingerprint() const {
    return static_cast<uint64_t>(bits >> kTagBits) << kLocationBits;
  }
  // Multiply and shift: table sizes need not be powers of two, and the order of hashes is kept.
  [[nodiscard]] uint32_t home(uint32_t buckets) const {
    return static_cast<uint32_t>((uint64_t{bits} * buckets) >> kInShardBits);
  }
  [[nodiscard]] uint64_t class_bit() const {
    constexpr unsigned kClasses = 6;
    return uint64_t{1} << (kClassShift + ((tag() * kClasses) >> kTagBits));
  }
  [[nodiscard]] uint64_t word(Location location) const { return fingerprint() | location.value; }
};

[[nodiscard]] inline InShardHash in_shard(KeyHash hash, unsigned shard_bits) {
  return {static_cast<uint32_t>((hash.value << shard_bits) >> (64 - kInShardBits))};
}

[[nodiscard]] inline size_t shard_of(KeyHash hash, unsigned shard_bits) {
  return static_cast<size_t>((hash.value >> 1) >> (63 - shard_bits));
}

// What tag and slot tell of the hash: enough to place the entry in a table of any size.
[[nodiscard]] inline InShardHash hash_of(uint64_t header, unsigned slot, uint64_t word) {
  const auto tag = static_cast<uint32_t>((header >> (slot * kTagBits)) & 0xFF);
  return {static_cast<uint32_t>((word & kFingerprintMask) >> kLocationBits) << kTagBits | tag};
}

[[nodiscard]] inline KeyHash hash_prefix(size_t shard, InShardHash hash, unsigned shard_bits) {
  const uint64_t low = uint64_t{hash.bits} << (64 - kInShardBits - shard_bits);
  return KeyHash((shard_bits == 0 ? 0 : uint64_t{shard} << (64 - shard_bits)) | low);
}

[[nodiscard]] inline uint64_t with_lane(uint64_t header, unsigned slot, uint8_t tag) {
  const unsigned shift = slot * kTagBits;
  return (header & ~(uint64_t{0xFF} << shift)) | (uint64_t{tag} << shift);
}

[[nodiscard]] inline bool same_fingerprint(uint64_t word, uint64_t fingerprint) {
  return ((word ^ fingerprint) & kFingerprintMask) == 0 && (word & kLocationMask) != 0;
}

// Bit i is set if lane i has the tag. In every build, so that tests compare it with the other one.
[[nodiscard]] constexpr uint32_t match_lanes_portably(uint64_t header, uint8_t tag) {
  // A byte of `zero` has its top bit set exactly if that byte of `differences` is 0: adding within
  // seven bits carries nothing into the neighbour.
  constexpr uint64_t kLow = 0x7F7F7F7F7F7F7F7F;
  const uint64_t differences = header ^ (tag * uint64_t{0x0101010101010101});
  const uint64_t zero = ~(((differences & kLow) + kLow) | differences | kLow);
  // Bit 7 (7 - i) of the factor brings the bit of lane i, which is bit 8 i, to bit 49 + i.
  constexpr uint64_t kGather = 0x0002040810204081;
  constexpr unsigned kGathered = 49;
  return static_cast<uint32_t>(((zero >> 7) * kGather) >> kGathered) & ((1u << kSlots) - 1);
}

// The same. The header was loaded as one word, so nothing here reads shared memory.
[[nodiscard]] inline uint32_t match_lanes(uint64_t header, uint8_t tag) {
#if defined(__SSE2__)
  const __m128i lanes = _mm_cvtsi64_si128(static_cast<int64_t>(header));
  const __m128i tags = _mm_set1_epi8(static_cast<char>(tag));
  const int equal = _mm_movemask_epi8(_mm_cmpeq_epi8(lanes, tags));
  return static_cast<uint32_t>(equal) & ((1u << kSlots) - 1);
#else
  return match_lanes_portably(header, tag);
#endif
}

// The sizes of tables in buckets, by size class: powers of two up to 256, then steps of 2^(1/8) in
// multiples of 32, and from 4096 on of 256. A larger table comes four classes later, x1.41, so that
// shards that begin in four different classes grow at four different times.
inline constexpr size_t kSizeClasses = 168;
inline constexpr unsigned kClassOf256 = 8;
inline constexpr unsigned kGrowthStep = 4;
inline constexpr unsigned kPhases = 4;
inline constexpr uint32_t kBlock = 256;  // buckets of a block: its memory, and its chains
inline constexpr uint32_t kChainMax = 32;

[[nodiscard]] constexpr std::array<uint32_t, 256> make_bucket_counts() {
  constexpr std::array kEighths = {1.0,          1.0905077327, 1.1892071150, 1.2968395547,
                                   1.4142135624, 1.5422108254, 1.6817928305, 1.8340080864};
  std::array<uint32_t, 256> counts{};
  for (size_t size = 0; size < kSizeClasses; ++size) {
    if (size <= kClassOf256) {
      counts[size] = uint32_t{1} << size;
      continue;
    }
    const size_t above = size - kClassOf256;
    const double exact = static_cast<double>(uint64_t{256} << (above / 8)) * kEighths[above % 8];
    const double unit = exact < 16 * kBlock ? 32 : kBlock;
    const double units = exact / unit;
    const auto whole = static_cast<uint32_t>(units);
    counts[size] = (whole + (units - whole < 0.5 ? 0 : 1)) * static_cast<uint32_t>(unit);
  }
  return counts;
}
inline constexpr std::array<uint32_t, 256> kBucketCounts = make_bucket_counts();

// The memory of a table comes in blocks of so many buckets; only the last one may be smaller.
[[nodiscard]] constexpr uint32_t block_count(uint32_t buckets) {
  return (buckets + kBlock - 1) / kBlock;
}
[[nodiscard]] constexpr uint32_t buckets_in_block(uint32_t buckets, uint32_t block) {
  return std::min(buckets - block * kBlock, kBlock);
}
// The buckets that chains of a home may come to: those of its block. A smaller last block forms one
// with the block before it, so that chains have room enough.
struct ChainRange {
  uint32_t first;
  uint32_t size;
};
[[nodiscard]] constexpr ChainRange chain_range(uint32_t home, uint32_t buckets) {
  const uint32_t last = std::max(buckets / kBlock, 1u) - 1;
  if (home / kBlock < last) return {home / kBlock * kBlock, kBlock};
  return {last * kBlock, buckets - last * kBlock};
}

// The least hash whose home is this one, or a later one.
[[nodiscard]] constexpr uint64_t first_hash(uint64_t home, uint32_t buckets) {
  return ((home << kInShardBits) + buckets - 1) / buckets;
}

// A shard grows when it has more entries than this: 79 to 85 % of its slots. The limits of shards
// differ, as do their phases, so that they do not all hold two tables at the same time.
[[nodiscard]] constexpr uint64_t growth_limit(uint64_t buckets, size_t shard) {
  constexpr uint64_t kLeast = 790;
  constexpr uint64_t kSpread = 64;
  const uint64_t permille = kLeast + shard / kPhases * 37 % kSpread * 60 / kSpread;
  return buckets * kSlots * permille / 1000;
}

[[nodiscard]] constexpr unsigned larger_class(unsigned size_class, unsigned phase) {
  if (size_class + 1 < kClassOf256) return size_class + 1;
  const unsigned next = size_class < kClassOf256 ? kClassOf256 + phase : size_class + kGrowthStep;
  return std::min<unsigned>(next, kSizeClasses - 1);
}

// The buckets that an entry of one home may be in, after the home itself: a walk with a step that
// depends on the home only. Steps are odd and sizes are multiples of 32 above 32 buckets, so the
// first 32 are different ones.
class ChainShape {
 public:
  ChainShape(uint32_t home, uint32_t buckets)
      : first_(chain_range(home, buckets).first),
        size_(chain_range(home, buckets).size),
        offset_(home - first_),
        left_(std::min(size_, kChainMax) - 1) {
    constexpr uint32_t kSpread = 0x9E3779B1;
    const uint32_t spread = home * kSpread;  // modulo 2^32
    step_ = static_cast<uint32_t>((uint64_t{spread} * size_) >> 32) | 1;
  }

  // Moves on to the next bucket's number; false after the last.
  bool next(uint32_t& bucket) {
    if (left_ == 0) return false;
    --left_;
    offset_ += step_;
    if (offset_ >= size_) offset_ -= size_;
    bucket = first_ + offset_;
    return true;
  }

 private:
  uint32_t first_;
  uint32_t size_;
  uint32_t offset_;
  uint32_t left_;
  uint32_t step_ = 1;
};

}  // namespace firn::index
