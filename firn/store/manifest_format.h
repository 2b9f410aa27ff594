// SPDX-License-Identifier: Apache-2.0
//
// The keys and values of a manifest's MetadataStore (FORMAT.md, section 7). A key is a tag, a
// role (or another small number) and a section (or another large one); numbers are u64 big-endian.
// Tags that this version does not know are kept as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/endian.h"
#include "firn/store/manifest.h"

namespace firn::store {

inline constexpr uint64_t kManifestFormat = 1;
inline constexpr uint32_t kManifestKeySizeBytes = 16;

// Not one of firn's own.
[[nodiscard]] inline bool is_data_partition(std::string_view partition) {
  return partition != kManifestPartition && partition != kLostFoundPartition;
}

enum class ManifestTag : uint32_t {
  format = 1,          // number
  kind = 2,            // text
  id = 3,              // 16 bytes
  writer_version = 4,  // text
  clean = 5,           // number, 0 or 1
  generation = 6,      // number
  geometry = 7,        // section: ordinal; a GeometryField
  partition = 8,       // role; text
  boundary = 9,        // role; number
  floor = 10,          // role, section; number
  last_recovery = 11,  // text
  record = 12,         // role: number of the record; bytes
};

struct ManifestKey {
  ManifestTag tag{};
  uint32_t role = 0;
  uint64_t section = 0;
};

[[nodiscard]] inline Bytes encode_key(const ManifestKey& key) {
  Bytes bytes(kManifestKeySizeBytes);
  store_big_endian<uint32_t>(bytes.data(), static_cast<uint32_t>(key.tag));
  store_big_endian<uint32_t>(bytes.data() + 4, key.role);
  store_big_endian<uint64_t>(bytes.data() + 8, key.section);
  return bytes;
}

// Requires: kManifestKeySizeBytes.
[[nodiscard]] inline ManifestKey decode_key(ByteSpan bytes) {
  return {static_cast<ManifestTag>(load_big_endian<uint32_t>(bytes.data())),
          load_big_endian<uint32_t>(bytes.data() + 4), load_big_endian<uint64_t>(bytes.data() + 8)};
}

[[nodiscard]] inline Bytes encode_number(uint64_t number) {
  Bytes bytes(sizeof number);
  store_big_endian<uint64_t>(bytes.data(), number);
  return bytes;
}

[[nodiscard]] inline std::optional<uint64_t> decode_number(ByteSpan bytes) {
  if (bytes.size() != sizeof(uint64_t)) return std::nullopt;
  return load_big_endian<uint64_t>(bytes.data());
}

// u8 type (0 number, 1 text) | u8 name length | name | number or text
[[nodiscard]] Bytes encode_geometry(const GeometryField& field);
[[nodiscard]] std::optional<GeometryField> decode_geometry(ByteSpan bytes);

// What this library writes into the field of that name ("firn 0.1.0").
[[nodiscard]] std::string_view own_version();

// What no store comes to; so the next generation always exists.
inline constexpr uint64_t kGenerationMax = UINT64_MAX / 2;

// One line of JSON.
[[nodiscard]] std::string describe_recovery(const RecoveryReport& report, uint64_t generation);

}  // namespace firn::store
