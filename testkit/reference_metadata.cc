// SPDX-License-Identifier: Apache-2.0
#include "testkit/reference_metadata.h"

#include <algorithm>
#include <array>

#include "testkit/reference_bytes.h"

namespace firn::testkit::reference {
namespace {

constexpr std::string_view kManifest = "manifest";

// A varint of at most 32 bits at the front of `bytes`, which loses it.
std::optional<uint64_t> take_varint(ByteSpan& bytes) {
  uint64_t number = 0;
  for (int shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    const auto byte = std::to_integer<uint64_t>(bytes.front());
    bytes = bytes.subspan(1);
    number |= (byte & 127) << shift;
    if (byte >= 128) continue;
    const bool is_shortest = byte != 0 || shift == 0;
    return is_shortest && number <= UINT32_MAX ? std::optional(number) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::map<Bytes, Bytes>> pairs_of(ByteSpan copy, uint64_t key_size) {
  std::map<Bytes, Bytes> pairs;
  ByteSpan rest = copy.subspan(8, copy.size() - 12);
  while (!rest.empty()) {
    if (rest.size() < key_size) return std::nullopt;
    Bytes key = to_bytes(rest.first(key_size));
    rest = rest.subspan(key_size);
    const auto size = take_varint(rest);
    const bool ascends = pairs.empty() || pairs.rbegin()->first < key;
    if (!size || *size > rest.size() || !ascends) return std::nullopt;
    pairs.emplace(std::move(key), to_bytes(rest.first(*size)));
    rest = rest.subspan(*size);
  }
  return pairs;
}

bool is_valid(ByteSpan copy) {
  return copy.size() >= 12 && ends_in_checksum(copy);
}

// The first commit goes to the right copy and gets its version field last.
std::optional<Metadata> read_first_commit(const BlobBytes& left, const BlobBytes& right,
                                          uint64_t key_size) {
  const auto has_nothing = [](const BlobBytes& copy) {
    return copy.state != BlobBytes::State::damaged && copy.content.empty();
  };
  if (has_nothing(left) && has_nothing(right)) return Metadata();
  if (!has_nothing(left) || right.content.empty()) return std::nullopt;
  Bytes completed = to_bytes(right.content);
  std::fill_n(completed.begin(), std::min<size_t>(completed.size(), 8), std::byte{0});
  const bool lacks_version = std::ranges::equal(completed, right.content);
  if (completed.size() >= 12) completed[7] = std::byte{1};
  if (!is_valid(completed)) return lacks_version ? std::optional(Metadata()) : std::nullopt;
  auto pairs = pairs_of(completed, key_size);
  if (!pairs) return std::nullopt;
  return Metadata{1, std::move(*pairs)};
}

uint64_t number_at(const Metadata& metadata, const Bytes& key) {
  const auto found = metadata.pairs.find(key);
  return found == metadata.pairs.end() ? 0 : number_of(found->second);
}

Bytes manifest_key(uint64_t tag) {
  Bytes key(16);
  key[3] = static_cast<std::byte>(tag);
  return key;
}

bool is_plain(const Metadata& metadata) {
  for (const auto& [key, value] : metadata.pairs) {
    const uint64_t tag = number_of(ByteSpan(key).first(4));
    const bool is_number = tag == 1 || tag == 5 || tag == 6 || tag == 9 || tag == 10;
    if (is_number && value.size() != 8) return false;
    if (tag == 5 && number_of(value) > 1) return false;
    if (tag == 10 && number_of(value) == 0) return false;
    if (tag == 3 && value.size() != 16) return false;
  }
  const auto has = [&](uint64_t tag) { return metadata.pairs.contains(manifest_key(tag)); };
  return number_at(metadata, manifest_key(1)) == 1 && has(2) && has(3) && has(5) && has(6);
}

void add_hints(Manifest& manifest, uint64_t generation, const BlobBytes& hints) {
  const ByteSpan content = hints.content.first(std::min<size_t>(hints.content.size(), 65536));
  for (size_t at = 0; at + 32 <= content.size(); at += 32) {
    const ByteSpan hint = content.subspan(at, 32);
    const uint64_t section = number_of(hint.subspan(4, 8));
    const bool counts = ends_in_checksum(hint) && number_of(hint.first(4)) == 2 &&
                        number_of(hint.subspan(20, 8)) == generation &&
                        section >= manifest.boundary;
    const uint64_t size = number_of(hint.subspan(12, 8));
    if (counts && size > 0) manifest.floors[section] = std::max(manifest.floors[section], size);
  }
}

}  // namespace

std::optional<Metadata> read_metadata(const StoreFiles& files, std::string_view partition,
                                      uint64_t key_size) {
  const BlobBytes left = blob_of(files, partition, as_bytes("left"));
  const BlobBytes right = blob_of(files, partition, as_bytes("right"));
  std::optional<Metadata> newest;
  for (const BlobBytes& copy : {left, right}) {
    if (!is_valid(copy.content)) continue;
    const uint64_t version = number_of(copy.content.first(8));
    auto pairs = pairs_of(copy.content, key_size);
    // A checksum that holds over what nobody writes.
    if (version == 0 || version == UINT64_MAX || !pairs) return std::nullopt;
    if (!newest || version > newest->version) newest = {version, std::move(*pairs)};
  }
  return newest ? newest : read_first_commit(left, right, key_size);
}

std::optional<Manifest> read_manifest(const StoreFiles& files) {
  const bool exists =
      std::ranges::any_of(files, [](const auto& file) { return file.first.first == kManifest; });
  if (!exists) return Manifest();
  const auto metadata = read_metadata(files, kManifest, 16);
  if (!metadata || !is_plain(*metadata)) return std::nullopt;
  Manifest manifest{.exists = true};
  for (const auto& [key, value] : metadata->pairs) {
    const uint64_t tag = number_of(ByteSpan(key).first(4));
    const uint64_t role = number_of(ByteSpan(key).subspan(4, 4));
    if (tag == 8) manifest.partitions[role] = as_text(value);
    if (tag == 9 && role == 2) manifest.boundary = number_of(value);
    if (tag == 10 && role == 2)
      manifest.floors[number_of(ByteSpan(key).subspan(8))] = number_of(value);
  }
  add_hints(manifest, number_at(*metadata, manifest_key(6)),
            blob_of(files, kManifest, as_bytes("floors")));
  return manifest;
}

}  // namespace firn::testkit::reference
