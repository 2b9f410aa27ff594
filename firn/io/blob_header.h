// SPDX-License-Identifier: Apache-2.0
//
// The 8-byte header of every blob, and the rules for names. FORMAT.md, section 1.
//
//   +-----------------+----------------------+--------------------+
//   | magic "CWIC"    | header version (u16) | blob version (u16) |   big-endian
//   +-----------------+----------------------+--------------------+
//
// Backends share this file, so that every one of them refuses the same names and the same headers
// with the same words. The header has no checksum of its own.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/storage.h"

namespace firn {

inline constexpr uint64_t kBlobHeaderSizeBytes = 8;
// Where a byte of a blob is in its file. Messages for people have file offsets only, and say so.
[[nodiscard]] constexpr uint64_t file_offset(uint64_t offset_in_blob) {
  return std::max(offset_in_blob, offset_in_blob + kBlobHeaderSizeBytes);  // a forged one may wrap
}
inline constexpr size_t kBlobNameMaxBytes = 127;       // 254 hexadecimal digits fit a file name
inline constexpr size_t kPartitionNameMaxBytes = 255;  // a directory name

[[nodiscard]] std::array<std::byte, kBlobHeaderSizeBytes> encode_blob_header(uint16_t blob_version);

// Returns the blob's version. Checks magic, header version and blob version, in this order:
// Errc::corrupt, Errc::unsupported_version, Errc::unsupported_version.
// Requires: header.size() == kBlobHeaderSizeBytes.
[[nodiscard]] Result<uint16_t> check_blob_header(ByteSpan header, BlobVersions versions,
                                                 std::string_view partition, ByteSpan name);

// One or more of [A-Za-z0-9_-], or Errc::invalid_argument.
[[nodiscard]] Status check_partition_name(std::string_view partition);
[[nodiscard]] bool is_partition_name(std::string_view text);

// 1 to 127 bytes, or Errc::invalid_argument.
[[nodiscard]] Status check_blob_name(std::string_view partition, ByteSpan name);

// lowest <= highest, or Errc::invalid_argument.
[[nodiscard]] Status check_blob_versions(BlobVersions versions);

// How messages name a blob: "blob 'index/0000000000000001'".
[[nodiscard]] std::string describe_blob(std::string_view partition, ByteSpan name);

}  // namespace firn
