// SPDX-License-Identifier: Apache-2.0
//
// SnapshotWriter and SnapshotReader: the file around the tables of a LocationIndex (FORMAT.md): a
// header, an image of each shard at a multiple of 4096, a directory with a checksum of each MiB,
// and a trailer. The reader hands out nothing that it has not checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/index/location_types.h"

namespace firn::index {

inline constexpr size_t kSnapshotPage = 4096;
inline constexpr size_t kSnapshotTableHead = 128;  // zeros, where a table in memory has its head
inline constexpr size_t kSnapshotBucket = 64;
inline constexpr size_t kSnapshotExtra = 16;  // an entry beyond a full chain: hash, location

struct SnapshotHeader {
  uint64_t hasher = 0;  // KeyHasher::fingerprint
  uint32_t shard_bits = 0;
  uint64_t log_begin = 0;
};

struct SnapshotShard {
  uint32_t size_class = 0;
  uint32_t extras = 0;
  uint64_t entries = 0;  // extras included

  [[nodiscard]] uint64_t image_bytes() const;
};

class SnapshotWriter {
 public:
  explicit SnapshotWriter(SnapshotSink& sink);

  Status begin(const SnapshotHeader& header);
  Status write(ByteSpan bytes);
  // Zeros up to the next page.
  Status pad();
  Status finish(std::span<const SnapshotShard> shards, uint64_t log_end);

 private:
  Status flush();

  SnapshotSink& sink_;
  Buffer buffer_;
  size_t buffered_ = 0;
  uint64_t written_ = 0;
  std::vector<uint64_t> sums_;
};

class SnapshotReader {
 public:
  // Checks header, directory and trailer.
  static Result<SnapshotReader> open(SnapshotSource& source);

  [[nodiscard]] const SnapshotHeader& header() const { return header_; }
  [[nodiscard]] std::span<const SnapshotShard> shards() const { return shards_; }
  [[nodiscard]] SnapshotRange range() const {
    return {.log_begin = header_.log_begin, .log_end = log_end_};
  }

  // Reads on, from behind the header. Reading everything checks everything.
  Status read(MutableByteSpan target);
  Status skip(uint64_t bytes);

 private:
  explicit SnapshotReader(SnapshotSource& source);

  Status read_header();
  Status read_trailer();
  Status read_directory(ByteSpan directory);
  Status load_chunk();

  SnapshotSource* source_;
  SnapshotHeader header_;
  std::vector<SnapshotShard> shards_;
  std::vector<uint64_t> sums_;
  uint64_t directory_begin_ = 0;
  uint64_t log_end_ = 0;
  Buffer chunk_;
  uint64_t chunk_number_ = UINT64_MAX;
  uint64_t at_ = kSnapshotPage;
};

}  // namespace firn::index
