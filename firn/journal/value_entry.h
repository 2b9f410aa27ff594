// SPDX-License-Identifier: Apache-2.0
//
// Entries of a value log (FORMAT.md, section 4): taking one apart that was read.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/base/units.h"
#include "firn/base/value.h"
#include "firn/journal/value_log.h"

namespace firn::journal {

inline constexpr uint32_t kChecksumSizeBytes = 4;

// Where a value ends; the highest number if that does not fit, which no blob can reach.
[[nodiscard]] inline uint64_t end_of(ValueLocation location) {
  uint64_t end = 0;
  return add_without_overflow(location.offset, location.size_bytes, end) ? end : UINT64_MAX;
}

// Where an entry is, for messages.
struct EntryPlace {
  std::string_view partition;
  Section section;
  ValueLocation location;
};

// The payload, as it is stored; Errc::corrupt if its checksum does not hold.
// Requires: at least kChecksumSizeBytes.
[[nodiscard]] Result<Value> check_entry(Value entry, const EntryPlace& place);

// What zstd frames hold; Errc::corrupt if they do not decompress, or to more than `size_max_bytes`.
[[nodiscard]] Result<Value> decompress_entry(ByteSpan frames, uint32_t size_max_bytes,
                                             const EntryPlace& place);

// Whether a payload is what a compressed value is: nothing but zstd frames that tell their size.
[[nodiscard]] bool is_compressed(ByteSpan payload);

// How long the entry at the front of `bytes` is, checksum included, if it holds a byte vector or a
// zstd frame under a checksum that fits: values have no length of their own.
[[nodiscard]] std::optional<uint64_t> guess_entry_size(ByteSpan bytes, bool compressed);

}  // namespace firn::journal
