// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one copy of a MetadataStore (FORMAT.md, section 5): reading and checking them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/metadata/metadata_store.h"

namespace firn::metadata {

inline constexpr size_t kVersionSizeBytes = 8;
inline constexpr size_t kCrcSizeBytes = 4;
inline constexpr size_t kImageSizeMinBytes = kVersionSizeBytes + kCrcSizeBytes;
// A store is small state that is held in memory; a longer blob is damage.
inline constexpr uint64_t kImageSizeMaxBytes = 1u << 30;

// The next number means nothing that can be read. Counting never gets so far; forged copies do.
inline constexpr uint64_t kVersionMax = UINT64_MAX - 1;

// The two copies.
inline constexpr size_t kLeft = 0;
inline constexpr size_t kRight = 1;  // the first commit goes here
inline constexpr std::array<std::string_view, 2> kSideNames = {"left", "right"};

// Problems of a copy, see describe_bad_copy.
inline constexpr std::string_view kIsMissing = "it is missing";
inline constexpr std::string_view kHasNoContent = "it has no content";

// Where one pair lies in an image. The spans point into the image.
struct ImagePair {
  ByteSpan key;
  ByteSpan encoded;        // the value as stored
  size_t prefix_size = 0;  // bytes of `encoded` before the value itself
  uint64_t start = 0;      // of `encoded` in the image
};

// The version field; nullopt if the image is too short to have one.
[[nodiscard]] std::optional<uint64_t> image_version(ByteSpan image);

// The checksum that the image carries. Requires: at least kImageSizeMinBytes.
[[nodiscard]] uint32_t stored_crc(ByteSpan image);

// The checksum of the image if its version field were `version`. Requires the same.
[[nodiscard]] uint32_t computed_crc(ByteSpan image, uint64_t version);

// Why the image cannot be trusted; nullopt if its checksum holds.
[[nodiscard]] std::optional<std::string> why_invalid(ByteSpan image);

// What it means that a copy cannot be used: because of `problem`, while version `used` of the other
// copy is.
[[nodiscard]] std::string describe_bad_copy(std::string_view problem, ByteSpan image,
                                            uint64_t used);

// What a store holds in its only copy, if the checksum of that fails. The first commit writes its
// version last.
enum class LoneCopy : uint8_t {
  complete,  // a first commit that lacks its version only, or has a wrong one
  cut_off,   // a first commit that nobody was told of
  damaged,
};
[[nodiscard]] LoneCopy judge_lone_copy(ByteSpan image);
// What is told of one that is complete although its version is `field`, or cut off and therefore
// invalid because of `problem`.
[[nodiscard]] std::string describe_completed_copy(uint64_t field);
[[nodiscard]] std::string describe_cut_off_copy(std::string_view problem);

// The pairs of an image whose checksum holds. Errc::corrupt, naming `where` and the offset, if they
// do not decode: keys must ascend, and every byte up to the checksum must belong to a pair.
[[nodiscard]] Result<std::vector<ImagePair>> decode_pairs(ByteSpan image,
                                                          const MetadataStoreOptions& options,
                                                          std::string_view where);

// The pairs at the front of an image that need not be valid, up to the first that cannot be one.
[[nodiscard]] std::vector<ImagePair> decode_leading_pairs(ByteSpan image,
                                                          const MetadataStoreOptions& options);

// `value` as it is stored, and the size of its prefix.
struct EncodedValue {
  Bytes bytes;
  size_t prefix_size = 0;
};
[[nodiscard]] EncodedValue encode_value(ByteSpan value, const MetadataStoreOptions& options);

}  // namespace firn::metadata
