// SPDX-License-Identifier: Apache-2.0
//
// ValueSegment: bytes come from the buffer, the blob, the cache or a mapping, and are the same.
#include "firn/journal/value_segment.h"

#include "firn/journal/journal_test_support.h"
#include "testkit/failing_calls.h"

namespace firn::journal {
namespace {

using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;

constexpr uint64_t kBlock = 4084;

// Bytes that tell where they are.
Bytes stream(uint64_t offset, size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((offset + i) * 7 + (offset + i) / 251);
  return bytes;
}

// Blobs of memory that can be mapped, as those of files can.
class MappableStorage final : public testkit::ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

  enum class Maps : uint8_t { yes, no, fail } maps = Maps::yes;
  uint64_t asked = 0;

 private:
  class Copied final : public Mapping {
   public:
    explicit Copied(Bytes bytes) : bytes_(std::move(bytes)) {}
    [[nodiscard]] ByteSpan bytes() const override { return bytes_; }

   private:
    const Bytes bytes_;
  };

  class MappableBlob final : public testkit::ForwardingBlob {
   public:
    MappableBlob(std::unique_ptr<Blob> inner, MappableStorage& storage)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}
    Result<std::unique_ptr<Mapping>> map(uint64_t size) override {
      ++storage_.asked;
      if (storage_.maps == Maps::fail) return fail(Errc::io, "the test made this call fail");
      if (storage_.maps == Maps::no) return ForwardingBlob::map(size);
      Bytes bytes(size);
      TRY(read_at(0, bytes));
      return std::make_unique<Copied>(std::move(bytes));
    }

   private:
    MappableStorage& storage_;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<MappableBlob>(std::move(blob), *this);
  }
};

class ValueSegmentTest : public testing::Test {
 protected:
  // A new segment of the blob, with a buffer of 1,000 bytes.
  std::unique_ptr<ValueSegment> open(Storage& storage, PageCache* cache) {
    auto blob = storage.open("values", as_bytes("1"), OpenMode::create, {});
    EXPECT_OK(blob);
    const uint64_t size = (*blob)->size();
    return std::make_unique<ValueSegment>(std::move(*blob), size, size, 1000, only_grows_, cache,
                                          cache_.new_blob_id());
  }

  static void append(ValueSegment& segment, size_t size) {
    const Bytes bytes = stream(segment.size(), size);
    const ByteSpan buffer(bytes);
    EXPECT_OK(segment.append({&buffer, 1}));
  }

  static Result<Bytes> read(const ValueSegment& segment, uint64_t offset, size_t size) {
    Bytes out(size);
    TRY(segment.read(offset, out));
    return out;
  }

  static Result<Bytes> read_cached(const ValueSegment& segment, uint64_t offset, size_t size) {
    Bytes out(size);
    TRY(segment.read_cached(offset, out));
    return out;
  }

  MemoryStorage memory_;
  FailingCalls calls_;
  FailingStorage failing_{memory_, calls_};
  PageCache cache_{1 << 20};
  std::atomic<bool> only_grows_ = true;
};

TEST_F(ValueSegmentTest, GivenWrittenAndBufferedBytes_WhenAnyRangeIsRead_ThenItIsRightOrRefused) {
  const auto segment = open(failing_, nullptr);
  append(*segment, 10);
  ASSERT_OK(segment->sync());
  append(*segment, 10);

  for (uint64_t begin = 0; begin <= 20; ++begin)
    for (uint64_t end = begin; end <= 20; ++end)
      EXPECT_EQ(read(*segment, begin, end - begin), stream(begin, end - begin));
  EXPECT_THAT(read(*segment, 21, 0), FailsWith(Errc::out_of_range));
  EXPECT_THAT(read(*segment, 15, 6), FailsWith(Errc::out_of_range, "beyond the 20 bytes stored"));
  for (const uint64_t begin : {0u, 5u}) {
    calls_.fail(0);
    EXPECT_THAT(read(*segment, begin, 10), FailsWith(Errc::io));
  }
}

TEST_F(ValueSegmentTest, GivenARangeThatCannotBeCached_WhenReadOften_ThenItComesFromTheBlob) {
  const auto segment = open(failing_, &cache_);
  append(*segment, 3 * kBlock + 500);
  ASSERT_OK(segment->sync());
  const auto uncached = open(failing_, nullptr);
  const size_t unused = cache_.used_bytes();
  struct Range {
    const ValueSegment& of;
    uint64_t offset;
    size_t size;
    bool only_grows = true;
  };

  for (const Range& range : {Range{*uncached, 0, 16},                 //
                             Range{*segment, 0, 16, false},           // may be cut
                             Range{*segment, 0, kBlock + 1},          // larger than a block
                             Range{*segment, 3 * kBlock + 1, 16},     // behind the last whole one
                             Range{*segment, 3 * kBlock - 8, 16}}) {  // in part
    only_grows_ = range.only_grows;
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(read_cached(range.of, range.offset, range.size), stream(range.offset, range.size));
    calls_.fail(0);
    EXPECT_THAT(read_cached(range.of, range.offset, range.size), FailsWith(Errc::io));
  }
  EXPECT_EQ(cache_.used_bytes(), unused);
}

TEST_F(ValueSegmentTest, GivenASmallRange_WhenReadAgain_ThenItsBlockIsLoadedOnceOrTheFailureTold) {
  const auto segment = open(failing_, &cache_);
  append(*segment, 3 * kBlock);
  ASSERT_OK(segment->sync());

  EXPECT_EQ(read_cached(*segment, 100, 16), stream(100, 16));
  calls_.fail(0);
  EXPECT_THAT(read_cached(*segment, 100, 16), FailsWith(Errc::io)) << "the whole block";
  EXPECT_EQ(read_cached(*segment, 100, 16), stream(100, 16));

  calls_.fail(0, Errc::io, FailingCalls::Repeat::for_ever);
  EXPECT_EQ(read_cached(*segment, 7, 900), stream(7, 900));
  EXPECT_THAT(read_cached(*segment, kBlock - 8, 16), FailsWith(Errc::io)) << "the next block";
}

TEST_F(ValueSegmentTest, WhenAskedWhatMayBeCached_ThenOnlyDurableBytesOfWholeBlocks) {
  const auto segment = open(memory_, &cache_);
  append(*segment, 2 * kBlock + 500);
  ASSERT_OK(segment->sync());
  const auto uncached = open(memory_, nullptr);
  constexpr uint32_t kSize = 16;
  const auto is_asked = [&](const ValueSegment& of, uint64_t offset) {
    of.fetch(offset);  // harmless anywhere
    const uint64_t end = of.cacheable_bytes();
    if (offset > end || kSize > end - offset) return false;
    const PageCache::Wanted wanted = of.wanted(offset, kSize);
    EXPECT_EQ(wanted.offset(), offset);
    EXPECT_EQ(wanted.size_bytes, kSize);
    return true;
  };

  EXPECT_TRUE(is_asked(*segment, 0));
  EXPECT_TRUE(is_asked(*segment, 2 * kBlock - 16));
  EXPECT_TRUE(is_asked(*segment, kBlock - 15)) << "two blocks";
  EXPECT_FALSE(is_asked(*segment, 2 * kBlock - 15)) << "not of a whole block at the end";
  EXPECT_FALSE(is_asked(*segment, 2 * kBlock)) << "no whole block";
  EXPECT_FALSE(is_asked(*segment, UINT64_MAX));
  EXPECT_FALSE(is_asked(*uncached, 0));
  only_grows_ = false;
  EXPECT_FALSE(is_asked(*segment, 0)) << "may be cut";
}

TEST_F(ValueSegmentTest, GivenABlobThatMaps_WhenItGrows_ThenItIsMappedAnewOnlyWhereThatPays) {
  constexpr size_t kLarge = 300 << 10;
  MappableStorage storage(memory_);
  const auto segment = open(storage, nullptr);
  append(*segment, kLarge);
  EXPECT_FALSE(segment->read_mapped(0, 16)) << "not durable";
  ASSERT_OK(segment->sync());
  const auto mapped = [&](uint64_t offset) {
    const auto found = segment->read_mapped(offset, 16);
    return found ? to_bytes(found->bytes) : Bytes();
  };

  EXPECT_EQ(mapped(0), stream(0, 16));
  EXPECT_EQ(mapped(kLarge - 16), stream(kLarge - 16, 16));
  EXPECT_EQ(storage.asked, 1u);
  EXPECT_EQ(mapped(kLarge - 15), Bytes()) << "beyond the end";
  EXPECT_EQ(mapped(kLarge + 1), Bytes());

  append(*segment, 100);
  ASSERT_OK(segment->sync());
  for (int i = 0; i < 256; ++i)
    ASSERT_EQ(mapped(kLarge), Bytes()) << "a little more is durable";
  EXPECT_EQ(mapped(kLarge), stream(kLarge, 16)) << "but it is read often";
  append(*segment, 2 * kLarge);
  ASSERT_OK(segment->sync());
  EXPECT_EQ(mapped(2 * kLarge), stream(2 * kLarge, 16)) << "much more";
  EXPECT_EQ(storage.asked, 3u);

  only_grows_ = false;
  EXPECT_EQ(mapped(0), Bytes()) << "may be cut";
}

TEST_F(ValueSegmentTest, GivenABlobThatCannotBeMapped_WhenRead_ThenItIsAskedOnce) {
  for (const auto maps : {MappableStorage::Maps::no, MappableStorage::Maps::fail}) {
    MappableStorage storage(memory_);
    storage.maps = maps;
    const auto segment = open(storage, nullptr);
    append(*segment, 300 << 10);
    ASSERT_OK(segment->sync());

    for (int i = 0; i < 2; ++i)
      EXPECT_FALSE(segment->read_mapped(0, 16));
    EXPECT_EQ(storage.asked, 1u);
  }
}

TEST_F(ValueSegmentTest, GivenALogThatMaps_WhenAValueIsRead_ThenItsChecksumIsComparedAllTheSame) {
  MappableStorage storage(memory_);
  RecoveryLog recovery(storage, false);
  ValueLogOptions options;
  options.partition = "log";
  ASSERT_OK_INTO(const auto log, ValueLog::open(storage, options, recovery));
  const Bytes large = stream(0, 300 << 10);
  ASSERT_OK_INTO(const ValueLocation location, log->append(Section(1), large));
  ASSERT_OK(log->sync(Section(1)));
  log->map_reads();

  ASSERT_OK_INTO(const Value value, log->read(Section(1), location));
  EXPECT_TRUE(equal_bytes(value.bytes(), large));
  EXPECT_THAT(log->read(Section(1), {location.offset, location.size_bytes - 1}),
              FailsWith(Errc::corrupt, "checksum"));
  EXPECT_EQ(storage.asked, 1u);
}

}  // namespace
}  // namespace firn::journal
