// SPDX-License-Identifier: Apache-2.0
#include "firn/io/blob_header.h"

#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"

namespace firn {
namespace {

constexpr std::string_view kMagic = "CWIC";
constexpr uint16_t kHeaderVersion = 0;
constexpr size_t kHeaderVersionOffset = 4;
constexpr size_t kBlobVersionOffset = 6;

bool is_partition_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// Names that were refused may hold anything: they are shown without control characters, and cut.
std::string printable(std::string_view text) {
  constexpr size_t kShownMaxBytes = 80;
  std::string shown(text.substr(0, kShownMaxBytes));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  if (text.size() > kShownMaxBytes) shown += "...";
  return shown;
}

}  // namespace

std::array<std::byte, kBlobHeaderSizeBytes> encode_blob_header(uint16_t blob_version) {
  std::array<std::byte, kBlobHeaderSizeBytes> header;
  copy_bytes(header, as_bytes(kMagic));
  store_big_endian<uint16_t>(header.data() + kHeaderVersionOffset, kHeaderVersion);
  store_big_endian<uint16_t>(header.data() + kBlobVersionOffset, blob_version);
  return header;
}

Result<uint16_t> check_blob_header(ByteSpan header, BlobVersions versions,
                                   std::string_view partition, ByteSpan name) {
  CHECK(header.size() == kBlobHeaderSizeBytes, "a blob header has 8 bytes");
  if (!equal_bytes(header.first(kMagic.size()), as_bytes(kMagic)))
    return fail(Errc::corrupt,
                concat(describe_blob(partition, name),
                       ": invalid magic at file offset 0: expected ", to_hex(as_bytes(kMagic)),
                       " (", kMagic, "), found ", to_hex(header.first(kMagic.size())),
                       "; the file is damaged or was not written by firn"));
  const auto header_version = load_big_endian<uint16_t>(header.data() + kHeaderVersionOffset);
  if (header_version != kHeaderVersion)
    return fail(Errc::unsupported_version,
                concat(describe_blob(partition, name), ": unsupported header version: expected ",
                       kHeaderVersion, ", found ", header_version, "; use a newer firn"));
  const auto blob_version = load_big_endian<uint16_t>(header.data() + kBlobVersionOffset);
  if (blob_version < versions.lowest || blob_version > versions.highest)
    return fail(Errc::unsupported_version,
                concat(describe_blob(partition, name), ": unsupported blob version: expected ",
                       versions.lowest, " to ", versions.highest, ", found ", blob_version));
  return blob_version;
}

bool is_partition_name(std::string_view text) {
  return !text.empty() && text.size() <= kPartitionNameMaxBytes &&
         std::ranges::all_of(text, is_partition_character);
}

Status check_partition_name(std::string_view partition) {
  if (is_partition_name(partition)) return {};
  return fail(Errc::invalid_argument,
              concat("invalid partition name '", printable(partition), "': expected 1 to ",
                     kPartitionNameMaxBytes, " of the characters A-Z a-z 0-9 _ -"));
}

Status check_blob_name(std::string_view partition, ByteSpan name) {
  if (!name.empty() && name.size() <= kBlobNameMaxBytes) return {};
  return fail(Errc::invalid_argument,
              concat("invalid blob name in partition '", partition, "': expected 1 to ",
                     kBlobNameMaxBytes, " bytes, found ", name.size()));
}

Status check_blob_versions(BlobVersions versions) {
  if (versions.lowest <= versions.highest) return {};
  return fail(Errc::invalid_argument,
              concat("invalid range of blob versions: lowest ", versions.lowest,
                     " is above highest ", versions.highest));
}

std::string describe_blob(std::string_view partition, ByteSpan name) {
  return concat("blob '", partition, "/", to_hex(name), "'");
}

}  // namespace firn
