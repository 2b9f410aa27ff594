// SPDX-License-Identifier: Apache-2.0
//
// The index record of a prunable archive: FORMAT.md, section 6.
//
//   offset  size  field
//        0     8  index, big-endian
//        8     K  key
//      8+K     8  value offset   \ written and read by IndexedValueLog
//     16+K     4  value size     /
#pragma once

#include "firn/base/bytes.h"
#include "firn/base/endian.h"
#include "firn/journal/indexed_value_log.h"

namespace firn::archive {

inline constexpr uint32_t kIndexSizeBytes = 8;
inline constexpr uint32_t kKeySizeMaxBytes = 1024;
inline constexpr uint64_t kDefaultItemsPerSection = 65536;

[[nodiscard]] constexpr uint32_t record_size_bytes(uint32_t key_size_bytes) {
  return kIndexSizeBytes + key_size_bytes + IndexedValueLog::kLocationSizeBytes;
}
static_assert(record_size_bytes(8) == 28);

[[nodiscard]] inline uint64_t index_of(ByteSpan record) {
  return load_big_endian<uint64_t>(record.data());
}

[[nodiscard]] inline ByteSpan key_of(ByteSpan record) {
  return record.subspan(kIndexSizeBytes, record.size() - record_size_bytes(0));
}

// The record without its location, as IndexedValueLog::append takes it.
inline void encode_prefix(Bytes& target, uint64_t index, ByteSpan key) {
  target.resize(kIndexSizeBytes + key.size());
  store_big_endian(target.data(), index);
  copy_bytes(MutableByteSpan(target).subspan(kIndexSizeBytes), key);
}

}  // namespace firn::archive
