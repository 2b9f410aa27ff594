// SPDX-License-Identifier: Apache-2.0
#include "firn/index/location_snapshot_file.h"

#include <algorithm>
#include <array>
#include <string>

// The header's own implementation, compiled here: no library to link, no call through a table.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "firn/base/endian.h"
#include "firn/base/units.h"
#include "firn/index/location_bucket.h"

namespace firn::index {
namespace {

constexpr size_t kChunk = kMiB;
constexpr uint64_t kMagic = 0x6669726E4C495831;     // "firnLIX1"
constexpr uint64_t kEndMagic = 0x656E64204C495831;  // "end LIX1"
constexpr uint32_t kVersion = 2;
constexpr uint32_t kLayout = kSlots << 8 | kLocationBits;
constexpr size_t kHeaderBytes = 48;  // and its checksum, and zeros
constexpr size_t kSum = sizeof(uint64_t);
constexpr size_t kShardBytes = 16;
constexpr size_t kTrailerBytes = 48;
constexpr uint32_t kShardBitsMax = 12;

uint64_t checksum(ByteSpan bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

// Appends and takes numbers in the order of a layout.
struct Fields {
  std::byte* at;

  template <class T>
  void put(T value) {
    store_big_endian(at, value);
    at += sizeof value;
  }
};
struct ConstFields {
  const std::byte* at;

  template <class T>
  T take() {
    const T value = load_big_endian<T>(at);
    at += sizeof value;
    return value;
  }
};

std::unexpected<Error> corrupt(uint64_t offset, const std::string& what) {
  return fail(Errc::corrupt, "snapshot of an index, offset " + std::to_string(offset) + ": " +
                                 what + "; rebuild the index from the log");
}

}  // namespace

uint64_t SnapshotShard::image_bytes() const {
  const uint64_t exact = kSnapshotTableHead +
                         uint64_t{kBucketCounts[size_class]} * kSnapshotBucket +
                         uint64_t{extras} * kSnapshotExtra;
  return round_up(exact, kSnapshotPage);
}

SnapshotWriter::SnapshotWriter(SnapshotSink& sink) : sink_(sink), buffer_(kChunk) {}

Status SnapshotWriter::begin(const SnapshotHeader& header) {
  std::array<std::byte, kSnapshotPage> page{};
  Fields fields{page.data()};
  fields.put(kMagic);
  fields.put(kVersion);
  fields.put(kLayout);
  fields.put(header.hasher);
  fields.put(header.shard_bits);
  fields.put(uint32_t{0});
  fields.put(header.log_begin);
  fields.put(uint64_t{0});
  fields.put(checksum(ByteSpan(page).first(kHeaderBytes)));
  return write(page);
}

Status SnapshotWriter::write(ByteSpan bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kChunk - buffered_);
    copy_bytes(buffer_.mutable_bytes().subspan(buffered_), bytes.first(count));
    buffered_ += count;
    bytes = bytes.subspan(count);
    if (buffered_ == kChunk) TRY(flush());
  }
  return {};
}

Status SnapshotWriter::pad() {
  static constexpr std::array<std::byte, kSnapshotPage> kZeros{};
  return write(ByteSpan(kZeros).first((kSnapshotPage - buffered_ % kSnapshotPage) % kSnapshotPage));
}

Status SnapshotWriter::finish(std::span<const SnapshotShard> shards, uint64_t log_end) {
  if (buffered_ != 0) TRY(flush());
  uint64_t entries = 0;
  Bytes directory(shards.size() * kShardBytes + sums_.size() * kSum + kTrailerBytes);
  Fields fields{directory.data()};
  for (const SnapshotShard& shard : shards) {
    fields.put(shard.size_class);
    fields.put(shard.extras);
    fields.put(shard.entries);
    entries += shard.entries;
  }
  for (const uint64_t sum : sums_)
    fields.put(sum);
  fields.put(written_);
  fields.put(log_end);
  fields.put(entries);
  fields.put(uint64_t{0});
  fields.put(checksum(ByteSpan(directory).first(directory.size() - 2 * kSum)));
  fields.put(kEndMagic);
  return sink_.write(directory);
}

Status SnapshotWriter::flush() {
  const ByteSpan chunk = buffer_.bytes().first(buffered_);
  sums_.push_back(checksum(chunk));
  written_ += buffered_;
  buffered_ = 0;
  return sink_.write(chunk);
}

SnapshotReader::SnapshotReader(SnapshotSource& source)
    : source_(&source), chunk_(static_cast<size_t>(std::min<uint64_t>(kChunk, source.size()))) {}

Result<SnapshotReader> SnapshotReader::open(SnapshotSource& source) {
  SnapshotReader reader(source);
  if (source.size() < kSnapshotPage + kTrailerBytes)
    return corrupt(0, "only " + std::to_string(source.size()) + " bytes");
  TRY(reader.read_header());
  TRY(reader.read_trailer());
  return reader;
}

Status SnapshotReader::read_header() {
  std::array<std::byte, kHeaderBytes + kSum> bytes;
  TRY(source_->read(0, bytes));
  ConstFields fields{bytes.data()};
  if (fields.take<uint64_t>() != kMagic) return corrupt(0, "not the first bytes of a snapshot");
  if (load_big_endian<uint64_t>(bytes.data() + kHeaderBytes) !=
      checksum(ByteSpan(bytes).first(kHeaderBytes)))
    return corrupt(0, "the header fails its checksum");
  const auto version = fields.take<uint32_t>();
  const auto layout = fields.take<uint32_t>();
  if (version != kVersion || layout != kLayout)
    return fail(Errc::unsupported_version,
                "snapshot of an index: version " + std::to_string(version) + ", layout " +
                    std::to_string(layout) + "; this is version " + std::to_string(kVersion) +
                    ", layout " + std::to_string(kLayout) + "; rebuild the index from the log");
  header_.hasher = fields.take<uint64_t>();
  header_.shard_bits = fields.take<uint32_t>();
  (void)fields.take<uint32_t>();
  header_.log_begin = fields.take<uint64_t>();
  if (header_.shard_bits > kShardBitsMax)
    return corrupt(0, "2^" + std::to_string(header_.shard_bits) + " shards");
  return {};
}

Status SnapshotReader::read_trailer() {
  const uint64_t trailer_begin = source_->size() - kTrailerBytes;
  std::array<std::byte, kTrailerBytes> trailer;
  TRY(source_->read(trailer_begin, trailer));
  if (load_big_endian<uint64_t>(trailer.data() + kTrailerBytes - kSum) != kEndMagic)
    return corrupt(trailer_begin, "not the last bytes of a snapshot");
  directory_begin_ = load_big_endian<uint64_t>(trailer.data());
  // The directory's size follows from the header's shards and the chunks in front of it.
  const uint64_t chunks = divide_rounding_up(directory_begin_, kChunk);
  const uint64_t shards = uint64_t{1} << header_.shard_bits;
  if (directory_begin_ < kSnapshotPage || directory_begin_ >= trailer_begin ||
      trailer_begin - directory_begin_ != shards * kShardBytes + chunks * kSum)
    return corrupt(trailer_begin, "the directory is not where the trailer says");
  Buffer directory(source_->size() - directory_begin_);
  TRY(source_->read(directory_begin_, directory.mutable_bytes()));
  const ByteSpan summed = directory.bytes().first(directory.size() - 2 * kSum);
  if (checksum(summed) != load_big_endian<uint64_t>(summed.data() + summed.size()))
    return corrupt(directory_begin_, "the directory fails its checksum");
  return read_directory(directory.bytes());
}

Status SnapshotReader::read_directory(ByteSpan directory) {
  ConstFields fields{directory.data()};
  uint64_t entries = 0;
  uint64_t end = kSnapshotPage;
  for (size_t i = 0; i < size_t{1} << header_.shard_bits; ++i) {
    SnapshotShard shard;
    shard.size_class = fields.take<uint32_t>();
    shard.extras = fields.take<uint32_t>();
    shard.entries = fields.take<uint64_t>();
    if (shard.size_class >= kSizeClasses)
      return corrupt(directory_begin_, "a shard of size class " + std::to_string(shard.size_class));
    end += shard.image_bytes();
    entries += shard.entries;
    shards_.push_back(shard);
    if (end > directory_begin_) return corrupt(directory_begin_, "shards larger than the file");
  }
  for (uint64_t at = 0; at < directory_begin_; at += kChunk)
    sums_.push_back(fields.take<uint64_t>());
  if (fields.take<uint64_t>() != end)
    return corrupt(directory_begin_, "shards that do not fill the file");
  log_end_ = fields.take<uint64_t>();
  if (fields.take<uint64_t>() != entries)
    return corrupt(directory_begin_, "another number of entries than in its shards");
  return {};
}

Status SnapshotReader::load_chunk() {
  const uint64_t begin = chunk_number_ * kChunk;
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(kChunk, directory_begin_ - begin));
  const MutableByteSpan target = chunk_.mutable_bytes().first(bytes);
  TRY(source_->read(begin, target));
  if (checksum(target) != sums_[chunk_number_]) return corrupt(begin, "a checksum fails");
  return {};
}

Status SnapshotReader::read(MutableByteSpan target) {
  while (!target.empty()) {
    if (at_ >= directory_begin_) return corrupt(at_, "a read beyond the shards");
    if (chunk_number_ != at_ / kChunk) {
      chunk_number_ = at_ / kChunk;
      TRY(load_chunk());
    }
    const auto from = static_cast<size_t>(at_ % kChunk);
    const uint64_t chunk_end = std::min((chunk_number_ + 1) * kChunk, directory_begin_);
    const auto count = static_cast<size_t>(std::min<uint64_t>(target.size(), chunk_end - at_));
    copy_bytes(target, chunk_.bytes().subspan(from, count));
    target = target.subspan(count);
    at_ += count;
  }
  return {};
}

Status SnapshotReader::skip(uint64_t bytes) {
  std::array<std::byte, kSnapshotPage> ignored;
  while (bytes != 0) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(bytes, ignored.size()));
    TRY(read(MutableByteSpan(ignored).first(count)));
    bytes -= count;
  }
  return {};
}

}  // namespace firn::index
