// SPDX-License-Identifier: Apache-2.0
//
// Snapshots of a LocationIndex: what they hold, what they refuse, and every damage to their bytes.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/base/hash.h"
#include "firn/index/location_index_test_support.h"

namespace firn {
namespace {

const KeyHasher& hasher() {
  static const KeyHasher of_all = KeyHasher::random();
  return of_all;
}

// Memory for an image, aligned as a mapping is.
class Image {
 public:
  explicit Image(ByteSpan bytes) : storage_(bytes.size() + kPage), size_(bytes.size()) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    offset_ = (kPage - address % kPage) % kPage;
    copy_bytes(this->bytes(), bytes);
  }
  MutableByteSpan bytes() { return MutableByteSpan(storage_).subspan(offset_, size_); }

 private:
  static constexpr size_t kPage = 4096;
  Bytes storage_;
  size_t size_;
  size_t offset_ = 0;
};

LocationIndexOptions options(unsigned shard_bits) {
  return {.hasher = hasher(), .shard_bits = shard_bits};
}

KeyMatch other_key(Location) {
  return KeyMatch::different;
}

// Random hashes; or all with one, so that chains are full and entries lie beyond them.
void fill(IndexUnderTest& index, uint64_t count, uint64_t equal) {
  for (uint64_t i = 1; i <= count; ++i)
    (void)index->put(index.session(), KeyHash(mixed(i)), Location(i), other_key);
  for (uint64_t i = count + 1; i <= count + equal; ++i)
    (void)index->put(index.session(), KeyHash(0x4242424242424242), Location(i), other_key);
}

Bytes snapshot_of(IndexUnderTest& index) {
  BytesSink sink;
  sink.end = 2000;
  const auto range = index->snapshot(index.session(), sink, 1000);
  EXPECT_EQ(range.value_or(SnapshotRange{}), (SnapshotRange{.log_begin = 1000, .log_end = 2000}));
  return std::move(sink.bytes);
}

class LocationSnapshots : public ::testing::TestWithParam<std::array<uint64_t, 3>> {};

TEST_P(LocationSnapshots, WhenLoadedByReadingOrInPlace_ThenTheSameEntries) {
  const auto [shard_bits, count, equal] = GetParam();
  const LocationIndexOptions same = options(static_cast<unsigned>(shard_bits));
  IndexUnderTest original(same);
  fill(original, count, equal);
  const Bytes bytes = snapshot_of(original);
  const auto expected = original.entries();
  Image image(bytes);
  for (const bool in_place : {false, true}) {
    IndexUnderTest loaded(same);
    BytesSource source(bytes);
    const auto range = in_place ? loaded->load_in_place(image.bytes()) : loaded->load(source);
    ASSERT_TRUE(range) << range.error().message;
    EXPECT_EQ(*range, (SnapshotRange{.log_begin = 1000, .log_end = 2000}));
    EXPECT_EQ(loaded->size(), count + equal);
    EXPECT_EQ(loaded.entries(), expected);
    EXPECT_EQ(snapshot_of(loaded), bytes);
    // It goes on from there: moves out of the image, takes more, loses some.
    auto& session = loaded.session();
    for (uint64_t i = 1; i <= count; ++i)
      ASSERT_TRUE(loaded
                      ->remove(session, KeyHash(mixed(i)),
                               [&](Location at) {
                                 return at.value == i ? KeyMatch::same : KeyMatch::different;
                               })
                      .found());
    for (uint64_t i = 1; i <= 3 * count; ++i)
      ASSERT_TRUE(
          loaded->put(session, KeyHash(mixed(i)), Location(kLocationMax - i), other_key).ok());
    EXPECT_EQ(loaded->size(), 3 * count + equal);
    EXPECT_EQ(loaded.entries().size(), 3 * count + equal);
    EXPECT_EQ(loaded->maintain(session), LocationStatus::done);
  }
}

INSTANTIATE_TEST_SUITE_P(Contents, LocationSnapshots,
                         ::testing::Values(std::array<uint64_t, 3>{8, 0, 0},
                                           std::array<uint64_t, 3>{0, 1, 0},
                                           std::array<uint64_t, 3>{0, 30'000, 0},
                                           std::array<uint64_t, 3>{3, 10'000, 700},
                                           std::array<uint64_t, 3>{8, 60'000, 230},
                                           std::array<uint64_t, 3>{12, 1000, 0}));

TEST(LocationSnapshot, GivenAnIndexThatGrows_WhenCopied_ThenEntriesThatStayAreInItOnce) {
  SteeredPolicy::state() = {};
  BasicIndexUnderTest<SteeredPolicy> index({.hasher = hasher(), .shard_bits = 0});
  auto& session = index.session();
  BasicEpochSession<SteeredPolicy> other(index.domain());
  constexpr uint64_t kEntries = 3000;
  for (uint64_t i = 1; i <= kEntries; ++i)
    (void)index->put(session, KeyHash(mixed(i)), Location(i), other_key);
  // A growth begins, and at every home that is copied another home moves, or a key moves about.
  uint64_t next = kEntries;
  SteeredPolicy::state().at_point = [&](LocationPoint point) {
    if (point != LocationPoint::header_read && point != LocationPoint::pinned) return;
    ++next;
    (void)index->put(other, KeyHash(mixed(next)), Location(next), other_key);
    const KeyHash restless(mixed(next % 50 + kEntries * 100));
    (void)index->remove(other, restless, AnyKey{});
    (void)index->put(other, restless, Location(kLocationMax - next), AnyKey{});
  };
  BytesSink sink;
  for (int i = 0; i < 200; ++i)
    (void)index->find(session, KeyHash(mixed(1)), AnyKey{});
  ASSERT_TRUE(index->snapshot(session, sink, 0));
  SteeredPolicy::state().at_point = nullptr;
  IndexUnderTest loaded(options(0));
  BytesSource source(sink.bytes);
  ASSERT_TRUE(loaded->load(source));
  const auto entries = loaded.entries();
  for (uint64_t i = 1; i <= kEntries; ++i)
    EXPECT_TRUE(entries.contains(i)) << i;
  std::map<KeyHash, int> keys;
  for (const auto& [at, hash] : entries)
    EXPECT_LE(++keys[hash], 1) << "a key is in a snapshot at most once";
}

class LocationSnapshotDamage : public ::testing::Test {
 protected:
  LocationSnapshotDamage() {
    IndexUnderTest index(options(1));
    fill(index, 60, 240);
    bytes_ = snapshot_of(index);
  }

  // What load and load_in_place answer to these bytes; the index must stay empty and usable.
  Errc outcome(ByteSpan bytes) {
    IndexUnderTest& index = empty_;
    BytesSource source(bytes);
    const auto loaded = index->load(source);
    Image image(bytes);
    const auto in_place = index->load_in_place(image.bytes());
    EXPECT_FALSE(loaded);
    EXPECT_FALSE(in_place);
    if (loaded || in_place) return Errc::io;
    EXPECT_EQ(loaded.error().code, in_place.error().code);
    EXPECT_EQ(index->size(), 0u);
    (void)index.put("key");
    EXPECT_NE(index.find("key"), 0u);
    EXPECT_TRUE(index.remove("key").found());
    return loaded.error().code;
  }

  Bytes bytes_;
  IndexUnderTest empty_{options(1)};
};

TEST_F(LocationSnapshotDamage, GivenAnyTruncation_WhenLoaded_ThenCorrupt) {
  for (size_t size = 0; size < bytes_.size(); ++size)
    ASSERT_EQ(outcome(ByteSpan(bytes_).first(size)), Errc::corrupt) << size;
}

TEST_F(LocationSnapshotDamage, GivenAnyByteChanged_WhenLoaded_ThenCorrupt) {
  for (size_t at = 0; at < bytes_.size(); ++at) {
    const auto flip = std::byte{1} << (at % 8);
    bytes_[at] ^= flip;
    ASSERT_EQ(outcome(bytes_), Errc::corrupt) << at;
    bytes_[at] ^= flip;
  }
}

TEST_F(LocationSnapshotDamage, GivenBytesBehindIt_WhenLoaded_ThenCorrupt) {
  bytes_.resize(bytes_.size() + 1);
  EXPECT_EQ(outcome(bytes_), Errc::corrupt);
}

TEST_F(LocationSnapshotDamage, GivenAnotherSecretOrModeOrShards_WhenLoaded_ThenInvalidArgument) {
  for (const LocationIndexOptions& other :
       {LocationIndexOptions{.hasher = KeyHasher::random(), .shard_bits = 1},
        LocationIndexOptions{
            .hasher = *KeyHasher::create(KeyHasher::Mode::hostile, hasher().seed()),
            .shard_bits = 1},
        options(2)}) {
    IndexUnderTest index(other);
    BytesSource source(bytes_);
    const auto loaded = index->load(source);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, Errc::invalid_argument);
    EXPECT_EQ(index->size(), 0u);
  }
}

TEST_F(LocationSnapshotDamage, GivenAnotherVersion_WhenLoaded_ThenUnsupportedVersion) {
  constexpr size_t kVersionAt = 11;
  constexpr size_t kChecksumAt = 48;
  bytes_[kVersionAt] = std::byte{1};
  store_big_endian(bytes_.data() + kChecksumAt, hash64(ByteSpan(bytes_).first(kChecksumAt), 0));
  EXPECT_EQ(outcome(bytes_), Errc::unsupported_version);
}

TEST_F(LocationSnapshotDamage, GivenAnIndexWithEntries_WhenLoaded_ThenInvalidArgument) {
  IndexUnderTest index(options(1));
  (void)index.put("key");
  BytesSource source(bytes_);
  const auto loaded = index->load(source);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::invalid_argument);
  EXPECT_EQ(index.find("key"), 1u);
}

TEST_F(LocationSnapshotDamage, GivenASourceThatFails_WhenLoaded_ThenItsErrorIsHandedOn) {
  for (uint64_t reads = 0;; ++reads) {
    IndexUnderTest index(options(1));
    BytesSource source(bytes_);
    source.reads_left = reads;
    const auto loaded = index->load(source);
    if (loaded) break;
    EXPECT_EQ(loaded.error().code, Errc::io);
    EXPECT_EQ(index->size(), 0u);
  }
}

TEST_F(LocationSnapshotDamage, GivenASinkThatFails_WhenWritten_ThenItsErrorIsHandedOn) {
  IndexUnderTest index(options(1));
  fill(index, 400, 300);
  for (const size_t room : {size_t{0}, bytes_.size() - 1}) {
    BytesSink sink;
    sink.size_max = room;
    const auto range = index->snapshot(index.session(), sink, 0);
    ASSERT_FALSE(range);
    EXPECT_EQ(range.error().code, Errc::no_space);
  }
}

TEST_F(LocationSnapshotDamage, GivenNoMemory_WhenWrittenOrLoaded_ThenNoSpace) {
  using Steered = BasicIndexUnderTest<SteeredPolicy>;
  auto& state = SteeredPolicy::state();
  state = {};
  for (uint64_t refused = 0;; ++refused) {
    Steered index(options(1));
    state.allocation_refused = state.allocations + refused;
    BytesSource source(bytes_);
    const auto loaded = index->load(source);
    state = {};
    if (loaded) break;
    EXPECT_EQ(loaded.error().code, Errc::no_space);
    EXPECT_EQ(index->size(), 0u);
  }
  Steered index(options(1));
  (void)index.put("key");
  state.allocations_allowed = 0;
  BytesSink sink;
  const auto range = index->snapshot(index.session(), sink, 0);
  state = {};
  ASSERT_FALSE(range);
  EXPECT_EQ(range.error().code, Errc::no_space);
}

TEST_F(LocationSnapshotDamage, GivenAnImageThatIsNotAligned_WhenLoadedInPlace_ThenRefused) {
  IndexUnderTest index(options(1));
  Image image(bytes_);
  const auto loaded = index->load_in_place(image.bytes().subspan(256));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::invalid_argument);
}

// Snapshots with bytes that were changed by somebody who knows the format: all checksums are right.
class LocationSnapshotForgery : public LocationSnapshotDamage {
 protected:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kMib = 1 << 20;
  static constexpr size_t kTrailer = 48;
  static constexpr size_t kShardsBytes = 2 * 16;

  void SetUp() override {
    directory_ = load_big_endian<uint64_t>(at(bytes_.size() - kTrailer));
    // Shard 0 has the equal hashes, and entries beyond its table; shard 1 has neither.
    second_image_ = kPage + image_bytes(0);
    ASSERT_EQ(second_image_ + image_bytes(1), directory_);
    ASSERT_GE(number<uint32_t>(directory_ + 4), 2U);
    while (word(second_image_, bucket_, 1) == 0)
      ++bucket_;
    ASSERT_EQ(outcome_of([] {}), Errc::io) << "a snapshot that is sealed again is loaded";
  }

  // What loading answers after this change; Errc::io if it is loaded.
  template <class Forge>
  Errc outcome_of(Forge&& forge) {
    const Bytes saved = bytes_;
    forge();
    reseal();
    IndexUnderTest index(options(1));
    IndexUnderTest mapped(options(1));
    BytesSource source(bytes_);
    Image image(bytes_);
    const auto loaded = index->load(source);
    const auto in_place = mapped->load_in_place(image.bytes());
    bytes_ = saved;
    EXPECT_EQ(loaded.has_value(), in_place.has_value());
    if (!loaded || !in_place) {
      EXPECT_EQ(loaded.error().code, in_place.error().code);
      EXPECT_EQ(index->size(), 0U);
      EXPECT_EQ(mapped->size(), 0U);
      use(index);
      use(mapped);
      return loaded.error().code;
    }
    use(index);
    use(mapped);
    return Errc::io;
  }

  // Whatever is in it, every operation ends, and finds what is put.
  static void use(IndexUnderTest& index) {
    auto& session = index.session();
    for (uint64_t i = 0; i < 200; ++i)
      ASSERT_TRUE(index->put(session, KeyHash(mixed(i)), Location((1 << 20) + i), other_key).ok());
    for (uint64_t i = 0; i < 200; ++i) {
      const auto same = [&](Location at) {
        return at.value == (1 << 20) + i ? KeyMatch::same : KeyMatch::different;
      };
      ASSERT_TRUE(index->find(session, KeyHash(mixed(i)), same).found());
      ASSERT_TRUE(index->remove(session, KeyHash(mixed(i)), same).found());
    }
    std::array<Location, 8> some;
    (void)index->candidates(session, KeyHash(0x4242424242424242), some);
    BytesSink sink;
    EXPECT_TRUE(index->snapshot(session, sink, 0));
    EXPECT_EQ(index->reserve(session, 5000), LocationStatus::done);
    EXPECT_EQ(index->shrink(session), LocationStatus::done);
    EXPECT_EQ(index->maintain(session), LocationStatus::done);
  }

  void reseal() {
    constexpr size_t kHeaderSum = 48;
    const auto seal = [&](size_t begin, size_t end, size_t sum) {
      store_big_endian(at(sum), hash64(ByteSpan(bytes_).subspan(begin, end - begin), 0));
    };
    seal(0, kHeaderSum, kHeaderSum);
    for (size_t begin = 0; begin < directory_; begin += kMib)
      seal(begin, std::min(begin + kMib, directory_), directory_ + kShardsBytes + begin / kMib * 8);
    seal(directory_, bytes_.size() - 16, bytes_.size() - 16);
  }

  std::byte* at(size_t offset) { return bytes_.data() + offset; }
  template <class T>
  T number(size_t offset) {
    return load_big_endian<T>(at(offset));
  }
  template <class T>
  void add(size_t offset, uint64_t value) {
    store_big_endian<T>(at(offset), static_cast<T>(number<T>(offset) + value));
  }
  template <class T>
  void set(size_t offset, uint64_t value) {
    store_big_endian<T>(at(offset), static_cast<T>(value));
  }
  uint32_t buckets(size_t shard) {
    return index::kBucketCounts[number<uint32_t>(directory_ + 16 * shard)];
  }
  size_t image_bytes(size_t shard) {
    const size_t extras = number<uint32_t>(directory_ + 16 * shard + 4);
    return (128 + size_t{buckets(shard)} * 64 + extras * 16 + kPage - 1) / kPage * kPage;
  }
  size_t word_offset(size_t image, size_t bucket, size_t which) const {
    return image + 128 + bucket * 64 + which * 8;
  }
  uint64_t word(size_t image, size_t bucket, size_t which) {
    uint64_t value = 0;
    std::memcpy(&value, at(word_offset(image, bucket, which)), sizeof value);
    return value;
  }
  // Of the second shard.
  void change_word(size_t which, uint64_t bits, uint64_t value) {
    const uint64_t changed = (word(second_image_, bucket_, which) & ~bits) | value;
    std::memcpy(at(word_offset(second_image_, bucket_, which)), &changed, sizeof changed);
  }

  size_t directory_ = 0;
  size_t second_image_ = 0;
  size_t bucket_ = 0;  // the first of the second shard whose first slot is used
};

TEST_F(LocationSnapshotForgery, GivenATableThatIsNotOne_WhenLoaded_ThenCorrupt) {
  constexpr size_t kHeader = 0;
  constexpr size_t kSlot = 1;
  const uint64_t top_of_hash = uint64_t{1} << 62;
  EXPECT_EQ(outcome_of([&] { change_word(kHeader, 0, index::kLockBit); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { change_word(kHeader, 0, index::kMigratedBit); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { change_word(kSlot, 0, index::kFrozenBit); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { change_word(kSlot, index::kLocationMask, 0); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { change_word(kSlot, ~uint64_t{0}, 0); }), Errc::corrupt) << "one less";
  const uint64_t elsewhere = ~word(second_image_, bucket_, kSlot) & top_of_hash;
  EXPECT_EQ(outcome_of([&] { change_word(kSlot, top_of_hash, elsewhere); }), Errc::corrupt)
      << "an entry in a bucket that no lookup of its hash comes to";
  EXPECT_EQ(outcome_of([&] { set<uint8_t>(second_image_, 1); }), Errc::corrupt) << "its head";
}

TEST_F(LocationSnapshotForgery, GivenNumbersThatDoNotFit_WhenLoaded_ThenCorrupt) {
  const size_t shard = directory_ + 16;
  const size_t trailer = bytes_.size() - kTrailer;
  for (const uint64_t size_class : {uint64_t{168}, uint64_t{255}, uint64_t{256}, uint64_t{~0U}})
    EXPECT_EQ(outcome_of([&] { set<uint32_t>(shard, size_class); }), Errc::corrupt) << size_class;
  for (uint64_t size_class = 0; size_class < 168; ++size_class)
    if (index::kBucketCounts[size_class] > 2 * buckets(1)) {
      EXPECT_EQ(outcome_of([&] { set<uint32_t>(shard, size_class); }), Errc::corrupt);
    }
  EXPECT_EQ(outcome_of([&] { add<uint64_t>(shard + 8, 1); }), Errc::corrupt);
  for (const uint64_t more : {uint64_t{1}, ~uint64_t{0}, uint64_t{1} << 63})
    EXPECT_EQ(outcome_of([&] {
                add<uint64_t>(shard + 8, more);
                add<uint64_t>(trailer + 16, more);
              }),
              Errc::corrupt)
        << more;
  for (const uint64_t extras : {uint64_t{1}, uint64_t{4096}, uint64_t{~0U}})
    EXPECT_EQ(outcome_of([&] {
                set<uint32_t>(shard + 4, extras);
                add<uint64_t>(shard + 8, extras);
                add<uint64_t>(trailer + 16, extras);
              }),
              Errc::corrupt)
        << extras;
  for (const uint64_t more : {uint64_t{1}, uint64_t{4096}, ~uint64_t{0}, uint64_t{1} << 63})
    EXPECT_EQ(outcome_of([&] { add<uint64_t>(trailer, more); }), Errc::corrupt) << more;
  for (const uint64_t shard_bits : {uint64_t{0}, uint64_t{2}, uint64_t{13}, uint64_t{64}})
    EXPECT_EQ(outcome_of([&] { set<uint32_t>(24, shard_bits); }), Errc::corrupt) << shard_bits;
}

TEST_F(LocationSnapshotForgery, GivenAnEntryBeyondItsTableThatIsNotOne_WhenLoaded_ThenCorrupt) {
  const size_t extra = kPage + 128 + size_t{buckets(0)} * 64;
  ASSERT_EQ(number<uint64_t>(extra), uint64_t{0x4242424242424242} << 1 >> 35);
  EXPECT_EQ(outcome_of([&] { set<uint64_t>(extra, uint64_t{1} << 29); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { set<uint64_t>(extra + 8, 0); }), Errc::corrupt);
  EXPECT_EQ(outcome_of([&] { set<uint64_t>(extra + 8, kLocationMax + 1); }), Errc::corrupt);
}

// What no check can tell from a snapshot costs time at most.
TEST_F(LocationSnapshotForgery, GivenAnyWordsChanged_WhenLoaded_ThenRefusedOrOfUse) {
  constexpr uint64_t kSeed = 11;
  Random random(kSeed);
  EXPECT_EQ(outcome_of([&] {
              for (bucket_ = 0; bucket_ < buckets(1); ++bucket_)
                change_word(0, 0, index::kAllClasses);
            }),
            Errc::io);
  int loaded = 0;
  for (int i = 0; i < 200; ++i) {
    const auto forge = [&] {
      for (uint64_t changes = 1 + random.below(2); changes != 0; --changes) {
        const size_t begin = random.one_in(4) ? directory_ : kPage + 128;
        const size_t offset = begin + random.below((bytes_.size() - 16 - begin) / 8) * 8;
        *at(offset + random.below(8)) ^= std::byte{1} << random.below(8);
      }
    };
    if (outcome_of(forge) == Errc::io) ++loaded;
    if (HasFailure()) FAIL() << "change " << i;
  }
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace firn
