// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a freezer: FORMAT.md, section 8. All numbers are big-endian.
//
//   slot        epoch u64 | section u64 | position u64 | added u8 | crc32c of these 25 bytes
//   record      key | next section u64 | next position u64 | value offset u64 | value size u32
//   cursor      section u64 | value offset u64 | value size u32
//   checkpoint  epoch u64 | section u64 | index size u64 | table size u32
//
// A position of the table is two slots. A slot of zeros is empty. A record without a next one has
// all bits set in both fields.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/freezer/freezer_types.h"
#include "firn/journal/indexed_value_log.h"

namespace firn::freezer {

inline constexpr uint32_t kSlotSizeBytes = 29;
inline constexpr uint32_t kPairSizeBytes = 2 * kSlotSizeBytes;
inline constexpr uint32_t kNextSizeBytes = 16;
inline constexpr uint32_t kKeySizeMaxBytes = 1024;
inline constexpr uint32_t kCursorSizeBytes = 20;
inline constexpr uint32_t kCheckpointSizeBytes = 28;
inline constexpr uint32_t kTableSizeMax = uint32_t{1} << 31;

[[nodiscard]] constexpr uint32_t record_size_bytes(uint32_t key_size_bytes) {
  return key_size_bytes + kNextSizeBytes + IndexedValueLog::kLocationSizeBytes;
}
static_assert(record_size_bytes(8) == 36);

// Where a record is. In order of their puts.
struct RecordPlace {
  Section section;
  Position position;

  friend auto operator<=>(const RecordPlace&, const RecordPlace&) = default;
};

// More than any table has.
inline constexpr uint64_t kNoTableSize = UINT64_MAX;

// The smallest table that gives the two hashes positions of their own.
[[nodiscard]] constexpr uint64_t size_to_part(uint32_t hash, uint32_t other) {
  return hash == other ? kNoTableSize : uint64_t{2} << std::countr_zero(hash ^ other);
}

// The head of a chain, as one sync wrote it.
struct Slot {
  uint64_t epoch = 0;
  RecordPlace head;
  uint8_t added = 0;  // records put there since the position was last split; 255: or more

  friend bool operator==(const Slot&, const Slot&) = default;
};

enum class SlotState : uint8_t { empty, valid, damaged };

struct StoredSlot {
  SlotState state = SlotState::empty;
  Slot slot;
};

// Both slots of a position.
struct Pair {
  std::array<StoredSlot, 2> slots;

  // The newer slot; nullptr if both are empty. Requires: none is damaged, and their epochs differ.
  [[nodiscard]] const Slot* head() const;
  // Which slot a write of this epoch replaces: the one of the same epoch, else an empty one, else
  // the older one.
  [[nodiscard]] size_t slot_for(uint64_t epoch) const;
  // A damaged slot, or two of the same epoch.
  [[nodiscard]] bool is_damaged() const;
};

// Requires: kSlotSizeBytes.
void encode_slot(MutableByteSpan target, const Slot& slot);
[[nodiscard]] StoredSlot decode_slot(ByteSpan bytes);
// Requires: kPairSizeBytes.
[[nodiscard]] Pair decode_pair(ByteSpan bytes);

// Everything of a record but the location of its value, which IndexedValueLog adds.
void encode_prefix(Bytes& target, ByteSpan key, std::optional<RecordPlace> next);
[[nodiscard]] inline ByteSpan key_of(ByteSpan record) {
  return record.first(record.size() - record_size_bytes(0));
}
[[nodiscard]] std::optional<RecordPlace> next_of(ByteSpan record);

[[nodiscard]] Bytes encode_cursor(const FreezerCursor& cursor);
[[nodiscard]] Result<FreezerCursor> decode_cursor(ByteSpan bytes);
[[nodiscard]] Bytes encode_checkpoint(const FreezerCheckpoint& checkpoint);
[[nodiscard]] Result<FreezerCheckpoint> decode_checkpoint(ByteSpan bytes);

// What the manifest's record `kTableRecord` says about the table on disk.
inline constexpr uint32_t kTableRecord = 1;
enum class TableState : uint8_t {
  stale = 0,    // says nothing: make it anew
  whole = 1,    // exactly the heads of the checkpoint
  written = 2,  // those, and newer ones: drop them, then apply the records behind the checkpoint
};
struct TableRecord {
  TableState state = TableState::stale;
  FreezerCheckpoint checkpoint;
  uint64_t items = 0;      // records up to the checkpoint
  uint64_t settled = 0;    // see DiskTable
  uint64_t heads_sum = 0;  // of the heads of the checkpoint

  friend bool operator==(const TableRecord&, const TableRecord&) = default;
};
// The state of the key journal that the table has when it is opened; stale: none that can be used.
struct TableSource {
  FreezerCheckpoint checkpoint;
  TableState state = TableState::stale;
  std::optional<uint64_t> heads_sum = std::nullopt;  // as the manifest has it
  uint64_t settled = 0;                              // as the manifest has it
  // The user named the checkpoint: every slot is looked at. Unless the manifest has the same one,
  // only a comparison with the key journal tells that the table can go back to it.
  bool is_given = false;
};

// What one position adds to the sum of a table's heads, modulo 2^64: a sector of the table that is
// lost, or older than the rest, is as valid as any other, but gives another sum.
[[nodiscard]] uint64_t head_summand(uint64_t position, const RecordPlace& head);

[[nodiscard]] Bytes encode_table_record(const TableRecord& record);
[[nodiscard]] Result<TableRecord> decode_table_record(ByteSpan bytes);

[[nodiscard]] constexpr bool is_table_size(uint64_t size) {
  return size > 0 && size <= kTableSizeMax && (size & (size - 1)) == 0;
}

}  // namespace firn::freezer
