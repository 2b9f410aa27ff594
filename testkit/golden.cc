// SPDX-License-Identifier: Apache-2.0
#include "testkit/golden.h"

#include <algorithm>
#include <bit>

#include <sodium/crypto_hash_sha256.h>

#include "firn/base/check.h"
#include "firn/base/endian.h"

namespace firn::testkit {
namespace {

// Published by the original project at version 2026.4.0, and for "storage_2026_7" at 2026.7.1.
constexpr GoldenDigest kDigests[] = {
    // clang-format off
    {"storage", "ContiguousFixed", 512,
     "b193d460f527eb5e6f54e6bfc0819aefac1e7b58367464e10e45f0c14d5805e9"},
    {"storage", "ContiguousVariable", 512,
     "4345d35c8fe6fbfb3b76d6a487a864085637163f6a70a7eaa288bea469e842ed"},
    {"storage", "SegmentedFixed", 512,
     "fb5d8f684b1a03c0bbaf8c4fd7b67043fa73496446fff115e75d7521154b6ad1"},
    {"storage", "SegmentedGlob", 512,
     "bcc3e67945fe5a97a644e839aeff277bb29711503da65a20e84077e69ae9dcef"},
    {"storage", "SegmentedOversized", 512,
     "ada5da872b95b6369905c2fca454f3276935a380d3da91190bc04f1602e7c501"},
    {"storage", "SegmentedVariable", 512,
     "506b5a02d1a7c3e249f514b889e6099c27bb0723ebc711514263f0c71f0676ef"},
    {"storage", "Freezer", 512,
     "96804c24d9913b87424a9091d19bf4ecc8e011d1561a64c77de6333df92fcfad"},
    {"storage", "ArchivePrunable", 128,
     "590d5e27608bed5c2945a3347b04f13bbeb706ba28ca38f6c307c4428a621ca7"},
    {"storage", "ArchiveImmutable", 128,
     "e349d1a351b91767c785fbab59128c3ea5c82c3dfb47e280202aff56c1cf6ad3"},
    {"storage", "Queue", 512,
     "718a6b9f3905c146aa0d95b2b32ea1557680940c3fe2a293b73a19a56a3ac000"},
    {"storage_2026_7", "Freezer", 512,
     "f3cc032daf714ff6f87374bbcbd04bcb0d068c5c3f63c48b7054f5458ce6b4c8"},
    {"storage_2026_7", "ArchivePrunable", 128,
     "a8a6516bcf111788800de19b83fe9319ea435a57ed3bec69994579629565922d"},
    {"storage_2026_7", "ArchiveImmutable", 128,
     "35142a487ce5fb5f0057f40d3acad5afbb8341a41a23c51a7023bbef633a53eb"},
    {"storage_2026_7", "Metadata", 256,
     "55275c29a47866460e271255d45d2ae4de68b59a878a280ee170bf9c9a11f471"},
    {"storage_2026_7", "Ordinal", 256,
     "1da1949609be5bc3d0e51bcd742d559112c329e1756448657a41f47abd6a6eb9"},
    {"storage_2026_7", "Cache", 256,
     "3c037fcfd162bf5bc9b6fe39f353053fbfc137c0522cbcced2557018a82ad960"},
    {"codec", "BlobHeader", 65536,
     "541c356728d47b13f1d3ac800926ef3ae2396c82f5d4e043f5c7641c4c22b4b9"},
    {"codec", "PageChecksum", 65536,
     "2ca927141b521b7cccc541ec0df8614e418d317fc864ce11f428aefb330cf256"},
    {"codec", "UIntU32", 65536,
     "f0b66ee345e9e295c50b522d9cf3501d95cd70cecfe7bfd315c970ffa78ede40"},
    {"codec", "UIntU64", 65536,
     "56ab85978136cb50f12ea89c8d25ce24451788172fe9d3d3c063f7ae6342d279"},
    {"codec", "SIntI64", 65536,
     "2f24c93ed0351071f864d22d2f5782f7395569da09eabc42341807dbd5422d72"},
    {"codec", "OptionU64", 65536,
     "56298a7f298dfae99947dbdb5691aea48e3a183733d93964b53de858d448ecd2"},
    {"codec", "FreezerCheckpoint", 65536,
     "2066c89982e914e02272e613a7577bd22d15f4f7ce0a03c6b2fb5d3bdaff78fd"},
    {"codec", "FreezerCursor", 65536,
     "fa5e588e9074776440c9d7e46729cc60c8d0cea87e5afc4326640106abcea7ba"},
    {"codec", "FreezerEntry", 65536,
     "572cd3da262e0bb13d2c6780c5be7bbadb21f93e4dbf2c787febecdba62671df"},
    {"codec", "FreezerRecordU64", 65536,
     "13b3e99a8c74b50dc18150194a92306de670b94e6642758feb6d9b6e9881f827"},
    {"codec", "PrunableRecordU64", 65536,
     "3cb6882637c1c1a929a50b3ab425311f3ef342184dc46a80b1eae616ca7b64a4"},
    {"codec", "OrdinalRecordU32", 65536,
     "f93b1dda40f6d9f1ccb3f05994be56189205dcb558551e056c2f3db03a79182d"},
    {"codec", "CacheRecordU64", 65536,
     "9add8634d4f06c3fb7f6dfd80630f38013ecb20849c18accd0579d7eb2ca11d5"},
    {"codec", "ImmutableRecord", 65536,
     "892ba87ed9fa60ee60f694f927de60c3ee7fcdddd5a04d330c7511533cc2ca8d"},
    // clang-format on
};

using Block = std::array<uint32_t, 16>;

void quarter_round(Block& x, size_t a, size_t b, size_t c, size_t d) {
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 16);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 12);
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 8);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 7);
}

// A key from a seed: eight outputs of PCG32 (XSH RR).
std::array<uint32_t, 8> key_of_seed(uint64_t state) {
  std::array<uint32_t, 8> key{};
  for (uint32_t& word : key) {
    state = state * 6364136223846793005u + 11634580027462260723u;
    const auto mixed = static_cast<uint32_t>(((state >> 18) ^ state) >> 27);
    word = std::rotr(mixed, static_cast<int>(state >> 59));
  }
  return key;
}

struct Product {
  uint64_t high;
  uint64_t low;
};

Product multiply(uint64_t a, uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const Uint128 product = Uint128{a} * b;
  return {static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product)};
}

Product multiply(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return {product >> 32, product & 0xFFFFFFFF};
}

// Draws until the low half of draw * width is in a zone whose size is a multiple of the width.
template <std::unsigned_integral T, std::invocable Draw>
T sample(T first, T end, Draw draw) {
  CHECK(first < end, "a range of random numbers is not empty");
  const T width = static_cast<T>(end - first);
  const T zone = static_cast<T>((width << std::countl_zero(width)) - 1);
  while (true) {
    const Product product = multiply(draw(), width);
    if (product.low <= zone) return static_cast<T>(first + product.high);
  }
}

// Draws once, and a second time only to find the carry out of the low half.
template <std::unsigned_integral T, std::invocable Draw>
T sample_2026_7(T first, T end, Draw draw) {
  CHECK(first < end, "a range of random numbers is not empty");
  const T width = static_cast<T>(end - first);
  const Product product = multiply(draw(), width);
  auto result = static_cast<T>(product.high);
  if (product.low > static_cast<T>(0 - width)) {
    const auto low = static_cast<T>(product.low);
    const auto sum = static_cast<T>(low + static_cast<T>(multiply(draw(), width).high));
    if (sum < low) ++result;
  }
  return static_cast<T>(first + result);
}

}  // namespace

struct Sha256::State {
  crypto_hash_sha256_state sodium;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  crypto_hash_sha256_init(&state_->sodium);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::add(ByteSpan bytes) {
  crypto_hash_sha256_update(&state_->sodium, reinterpret_cast<const unsigned char*>(bytes.data()),
                            bytes.size());
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest;
  crypto_hash_sha256_final(&state_->sodium, reinterpret_cast<unsigned char*>(digest.data()));
  crypto_hash_sha256_init(&state_->sodium);
  return digest;
}

void CaseDigest::add(ByteSpan case_bytes) {
  std::array<std::byte, sizeof(uint64_t)> size;
  store_little_endian(size.data(), uint64_t{case_bytes.size()});
  sha256_.add(size);
  sha256_.add(case_bytes);
}

ChaChaRng::ChaChaRng(uint64_t seed, ChaChaRounds rounds)
    : key_(key_of_seed(seed)), rounds_(static_cast<unsigned>(rounds)) {}

void ChaChaRng::refill() {
  Block start = {0x61707865, 0x3320646E, 0x79622D32, 0x6B206574};
  std::ranges::copy(key_, start.begin() + 4);
  start[12] = static_cast<uint32_t>(next_block_);
  start[13] = static_cast<uint32_t>(next_block_ >> 32);
  ++next_block_;
  words_ = start;
  for (unsigned round = 0; round < rounds_; round += 2) {
    for (size_t i = 0; i < 4; ++i)
      quarter_round(words_, i, 4 + i, 8 + i, 12 + i);
    for (size_t i = 0; i < 4; ++i)
      quarter_round(words_, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
  }
  for (size_t i = 0; i < words_.size(); ++i)
    words_[i] += start[i];
  next_word_ = 0;
}

uint32_t ChaChaRng::next_u32() {
  if (next_word_ == words_.size()) refill();
  return words_[next_word_++];
}

uint64_t ChaChaRng::next_u64() {
  const uint64_t low = next_u32();
  return uint64_t{next_u32()} << 32 | low;
}

void ChaChaRng::fill(MutableByteSpan target) {
  while (target.size() >= sizeof(uint32_t)) {
    store_little_endian(target.data(), next_u32());
    target = target.subspan(sizeof(uint32_t));
  }
  if (target.empty()) return;
  std::array<std::byte, sizeof(uint32_t)> last;
  store_little_endian(last.data(), next_u32());
  copy_bytes(target, ByteSpan(last).first(target.size()));
}

Bytes ChaChaRng::bytes(size_t size) {
  Bytes filled(size);
  fill(filled);
  return filled;
}

uint32_t ChaChaRng::range_u32(uint32_t first, uint32_t end) {
  return sample(first, end, [this] { return next_u32(); });
}

uint64_t ChaChaRng::range_u64(uint64_t first, uint64_t end) {
  return sample(first, end, [this] { return next_u64(); });
}

uint32_t ChaChaRng::range_u32_2026_7(uint32_t first, uint32_t end) {
  return sample_2026_7(first, end, [this] { return next_u32(); });
}

uint64_t ChaChaRng::range_u64_2026_7(uint64_t first, uint64_t end) {
  return sample_2026_7(first, end, [this] { return next_u64(); });
}

std::byte FieldSource::next_byte() {
  CHECK(used_ < kSize, "a codec case has no more than 4096 random bytes");
  if (used_++ % sizeof word_ == 0)
    word_ = rng_.next_u32();
  else
    word_ >>= 8;
  return static_cast<std::byte>(word_);
}

uint32_t FieldSource::next_variant(uint32_t count) {
  return static_cast<uint32_t>(uint64_t{next_u32()} * count >> 32);
}

uint64_t FieldSource::next_between(uint64_t first, uint64_t last) {
  CHECK(first <= last, "a range of random numbers is not empty");
  const uint64_t width = last - first;
  uint64_t drawn = 0;
  for (uint64_t left = width; left != 0; left >>= 8)
    drawn = drawn << 8 | next_u8();
  return width == UINT64_MAX ? drawn : first + drawn % (width + 1);
}

Bytes FieldSource::next_bytes(size_t size) {
  Bytes bytes(size);
  std::ranges::generate(bytes, [this] { return next_byte(); });
  return bytes;
}

std::span<const GoldenDigest> golden_digests() {
  return kDigests;
}

const GoldenDigest& golden_digest(std::string_view section, std::string_view name) {
  const auto* found = std::ranges::find_if(kDigests, [&](const GoldenDigest& digest) {
    return digest.section == section && digest.name == name;
  });
  CHECK(found != std::end(kDigests), "the digest is in the table");
  return *found;
}

}  // namespace firn::testkit
