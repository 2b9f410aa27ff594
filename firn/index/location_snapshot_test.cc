// SPDX-License-Identifier: Apache-2.0
//
// Snapshots of a LocationIndex: what they hold, what they refuse, and every damage to their bytes.
#include <algorithm>
#include <array>
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

struct BytesSink : SnapshotSink {
  Status write(ByteSpan written) override {
    if (bytes.size() + written.size() > size_max) return fail(Errc::no_space, "the sink is full");
    bytes.insert(bytes.end(), written.begin(), written.end());
    return {};
  }
  uint64_t log_end() override { return end; }

  Bytes bytes;
  size_t size_max = SIZE_MAX;
  uint64_t end = 0;
};

struct BytesSource : SnapshotSource {
  explicit BytesSource(ByteSpan content) : bytes(content) {}
  [[nodiscard]] uint64_t size() const override { return bytes.size(); }
  Status read(uint64_t offset, MutableByteSpan target) override {
    EXPECT_LE(offset + target.size(), bytes.size());
    if (reads_left-- == 0) return fail(Errc::io, "the device fails");
    copy_bytes(target, bytes.subspan(offset, target.size()));
    return {};
  }

  ByteSpan bytes;
  uint64_t reads_left = UINT64_MAX;
};

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

}  // namespace
}  // namespace firn
