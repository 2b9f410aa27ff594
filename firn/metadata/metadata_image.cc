// SPDX-License-Identifier: Apache-2.0
#include "firn/metadata/metadata_image.h"

#include <algorithm>
#include <array>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/codec/varint.h"
#include "firn/io/blob_header.h"

namespace firn::metadata {
namespace {

// The sizes of the value at the front of `rest`: its prefix, and the whole.
struct ValueExtent {
  size_t prefix_size = 0;
  size_t encoded_size = 0;
};

std::optional<ValueExtent> value_extent(ByteSpan rest, const MetadataStoreOptions& options) {
  if (options.self_delimiting) {
    const std::optional<size_t> size = options.self_delimiting(rest);
    if (!size || *size > rest.size()) return std::nullopt;
    return ValueExtent{0, *size};
  }
  const VarintRead length = read_varint<uint32_t>(rest);
  if (length.outcome != VarintOutcome::complete || length.value > rest.size() - length.size)
    return std::nullopt;
  return ValueExtent{length.size, length.size + static_cast<size_t>(length.value)};
}

struct Decoded {
  std::vector<ImagePair> pairs;
  uint64_t end = 0;          // of what was understood
  std::string_view problem;  // why it ends there; empty: everything was
};

Decoded decode(ByteSpan image, const MetadataStoreOptions& options) {
  const ByteSpan body = image.first(image.size() - kCrcSizeBytes);
  Decoded decoded;
  std::vector<ImagePair>& pairs = decoded.pairs;
  decoded.end = kVersionSizeBytes;
  while (decoded.end < body.size()) {
    const ByteSpan rest = body.subspan(decoded.end);
    ImagePair pair;
    if (rest.size() < options.key_size_bytes) {
      decoded.problem = "a key is cut off";
      break;
    }
    pair.key = rest.first(options.key_size_bytes);
    if (!pairs.empty() && !std::ranges::lexicographical_compare(pairs.back().key, pair.key)) {
      decoded.problem = "keys do not ascend";
      break;
    }
    pair.start = decoded.end + options.key_size_bytes;
    const auto extent = value_extent(rest.subspan(options.key_size_bytes), options);
    if (!extent) {
      decoded.end = pair.start;
      decoded.problem = "a value does not decode";
      break;
    }
    pair.encoded = rest.subspan(options.key_size_bytes, extent->encoded_size);
    pair.prefix_size = extent->prefix_size;
    decoded.end = pair.start + extent->encoded_size;
    pairs.push_back(pair);
  }
  return decoded;
}

}  // namespace

std::optional<uint64_t> image_version(ByteSpan image) {
  if (image.size() < kVersionSizeBytes) return std::nullopt;
  return load_big_endian<uint64_t>(image.data());
}

uint32_t stored_crc(ByteSpan image) {
  return load_big_endian<uint32_t>(image.data() + image.size() - kCrcSizeBytes);
}

uint32_t computed_crc(ByteSpan image, uint64_t version) {
  std::array<std::byte, kVersionSizeBytes> field;
  store_big_endian<uint64_t>(field.data(), version);
  return extend_crc32c(crc32c(field),
                       image.first(image.size() - kCrcSizeBytes).subspan(kVersionSizeBytes));
}

std::optional<std::string> why_invalid(ByteSpan image) {
  if (image.size() < kImageSizeMinBytes)
    return concat("has ", image.size(), " bytes, at least ", kImageSizeMinBytes, " expected");
  const uint32_t computed = computed_crc(image, load_big_endian<uint64_t>(image.data()));
  if (computed == stored_crc(image)) return std::nullopt;
  return concat("checksum ", stored_crc(image), " stored at file offset ",
                file_offset(image.size() - kCrcSizeBytes), ", ", computed, " computed");
}

std::string describe_bad_copy(std::string_view problem, ByteSpan image, uint64_t used) {
  const bool is_older = image.size() >= kImageSizeMinBytes && image_version(image) == used - 1 &&
                        computed_crc(image, used + 1) != stored_crc(image);
  std::string_view meaning =
      "; an acknowledged commit may be missing, unless it was being written when power failed";
  if (is_older) meaning = "; it is the older copy, nothing is missing";
  if (image.empty()) meaning = ", and a newer commit may be missing";
  return concat(problem, "; version ", used, " in the other copy is used", meaning);
}

LoneCopy judge_lone_copy(ByteSpan image) {
  const bool has_checksum = image.size() >= kImageSizeMinBytes;
  if (has_checksum && computed_crc(image, 1) == stored_crc(image)) return LoneCopy::complete;
  const bool lacks_version =
      std::ranges::all_of(image.first(std::min(image.size(), kVersionSizeBytes)),
                          [](std::byte byte) { return byte == std::byte{0}; });
  return lacks_version ? LoneCopy::cut_off : LoneCopy::damaged;
}

std::string describe_completed_copy(uint64_t field) {
  return concat("version field is ", field, "; the checksum proves that it was 1, used as such");
}

std::string describe_cut_off_copy(std::string_view problem) {
  return concat("the first commit was cut off before it was acknowledged (", problem,
                "); the map is empty");
}

Result<std::vector<ImagePair>> decode_pairs(ByteSpan image, const MetadataStoreOptions& options,
                                            std::string_view where) {
  Decoded decoded = decode(image, options);
  if (decoded.problem.empty()) return std::move(decoded.pairs);
  return fail(Errc::corrupt,
              concat(where, ", file offset ", file_offset(decoded.end), ": ", decoded.problem,
                     " although the checksum is right; was it written with another key size or "
                     "value encoding than ",
                     options.key_size_bytes, "-byte keys?"));
}

std::vector<ImagePair> decode_leading_pairs(ByteSpan image, const MetadataStoreOptions& options) {
  if (image.size() < kImageSizeMinBytes) return {};
  return decode(image, options).pairs;
}

EncodedValue encode_value(ByteSpan value, const MetadataStoreOptions& options) {
  EncodedValue encoded;
  if (!options.self_delimiting) {
    std::array<std::byte, kMaxVarintSize<uint64_t>> length;
    encoded.prefix_size = store_varint(length, value.size());
    encoded.bytes.reserve(encoded.prefix_size + value.size());
    encoded.bytes.assign(length.begin(),
                         length.begin() + static_cast<ptrdiff_t>(encoded.prefix_size));
  }
  encoded.bytes.insert(encoded.bytes.end(), value.begin(), value.end());
  return encoded;
}

}  // namespace firn::metadata
