// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/format.h"

#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/codec/reader.h"
#include "firn/codec/writer.h"

namespace firn::freezer {
namespace {

constexpr uint32_t kSummedSizeBytes = 25;
constexpr uint8_t kTableRecordVersion = 3;
// Has a number that nobody read where version 3 says how far the table is settled.
constexpr uint8_t kTableRecordVersionUnsettled = 2;

// Steele, Lea, Flood: the finaliser of splitmix64.
uint64_t mix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  return bits ^ (bits >> 31);
}

}  // namespace

const Slot* Pair::head() const {
  const Slot* newest = nullptr;
  for (const StoredSlot& stored : slots) {
    CHECK(stored.state != SlotState::damaged, "damage is reported before a head is chosen");
    if (stored.state == SlotState::empty) continue;
    if (newest == nullptr || stored.slot.epoch > newest->epoch) newest = &stored.slot;
  }
  return newest;
}

size_t Pair::slot_for(uint64_t epoch) const {
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].state == SlotState::valid && slots[i].slot.epoch == epoch) return i;
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].state == SlotState::empty) return i;
  return slots[0].slot.epoch < slots[1].slot.epoch ? 0 : 1;
}

bool Pair::is_damaged() const {
  const auto& [first, second] = slots;
  if (first.state == SlotState::damaged || second.state == SlotState::damaged) return true;
  return first.state == SlotState::valid && second.state == SlotState::valid &&
         first.slot.epoch == second.slot.epoch;
}

void encode_slot(MutableByteSpan target, const Slot& slot) {
  CHECK(target.size() == kSlotSizeBytes, "a slot has 29 bytes");
  store_big_endian<uint64_t>(target.data(), slot.epoch);
  store_big_endian<uint64_t>(target.data() + 8, slot.head.section.value);
  store_big_endian<uint64_t>(target.data() + 16, slot.head.position.value);
  target[24] = std::byte{slot.added};
  store_big_endian<uint32_t>(target.data() + kSummedSizeBytes,
                             crc32c(target.first(kSummedSizeBytes)));
}

StoredSlot decode_slot(ByteSpan bytes) {
  CHECK(bytes.size() == kSlotSizeBytes, "a slot has 29 bytes");
  // An empty slot is told by its zeros: their checksum is not zero.
  if (std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; })) return {};
  const uint32_t stored = load_big_endian<uint32_t>(bytes.data() + kSummedSizeBytes);
  if (stored != crc32c(bytes.first(kSummedSizeBytes))) return {SlotState::damaged, {}};
  Slot slot;
  slot.epoch = load_big_endian<uint64_t>(bytes.data());
  slot.head.section = Section(load_big_endian<uint64_t>(bytes.data() + 8));
  slot.head.position = Position(load_big_endian<uint64_t>(bytes.data() + 16));
  slot.added = static_cast<uint8_t>(bytes[24]);
  return {SlotState::valid, slot};
}

Pair decode_pair(ByteSpan bytes) {
  CHECK(bytes.size() == kPairSizeBytes, "a position has two slots");
  return {{decode_slot(bytes.first(kSlotSizeBytes)), decode_slot(bytes.last(kSlotSizeBytes))}};
}

void encode_prefix(Bytes& target, ByteSpan key, std::optional<RecordPlace> next) {
  target.resize(key.size() + kNextSizeBytes);
  copy_bytes(target, key);
  std::byte* const fields = target.data() + key.size();
  store_big_endian<uint64_t>(fields, next ? next->section.value : UINT64_MAX);
  store_big_endian<uint64_t>(fields + 8, next ? next->position.value : UINT64_MAX);
}

std::optional<RecordPlace> next_of(ByteSpan record) {
  CHECK(record.size() >= record_size_bytes(0), "a whole record");
  const std::byte* const fields = record.data() + (record.size() - record_size_bytes(0));
  const uint64_t section = load_big_endian<uint64_t>(fields);
  const uint64_t position = load_big_endian<uint64_t>(fields + 8);
  if (section == UINT64_MAX && position == UINT64_MAX) return std::nullopt;
  return RecordPlace{Section(section), Position(position)};
}

Bytes encode_cursor(const FreezerCursor& cursor) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.write_u64(cursor.section.value);
  writer.write_u64(cursor.location.offset);
  writer.write_u32(cursor.location.size_bytes);
  return bytes;
}

Result<FreezerCursor> decode_cursor(ByteSpan bytes) {
  ByteReader reader(bytes, "freezer cursor");
  FreezerCursor cursor;
  TRY_INTO(cursor.section.value, reader.read_u64());
  TRY_INTO(cursor.location.offset, reader.read_u64());
  TRY_INTO(cursor.location.size_bytes, reader.read_u32());
  TRY(reader.finish());
  return cursor;
}

Bytes encode_checkpoint(const FreezerCheckpoint& checkpoint) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.write_u64(checkpoint.epoch);
  writer.write_u64(checkpoint.section.value);
  writer.write_u64(checkpoint.index_size_bytes);
  writer.write_u32(checkpoint.table_size);
  return bytes;
}

Result<FreezerCheckpoint> decode_checkpoint(ByteSpan bytes) {
  ByteReader reader(bytes, "freezer checkpoint");
  FreezerCheckpoint checkpoint;
  TRY_INTO(checkpoint.epoch, reader.read_u64());
  TRY_INTO(checkpoint.section.value, reader.read_u64());
  TRY_INTO(checkpoint.index_size_bytes, reader.read_u64());
  TRY_INTO(checkpoint.table_size, reader.read_u32());
  TRY(reader.finish());
  return checkpoint;
}

uint64_t head_summand(uint64_t position, const RecordPlace& head) {
  constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
  const uint64_t of_position = mix(position + kStep);
  const uint64_t of_section = mix((of_position ^ head.section.value) + kStep);
  return mix((of_section ^ head.position.value) + kStep);
}

Bytes encode_table_record(const TableRecord& record) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.write_u8(kTableRecordVersion);
  writer.write_u8(static_cast<uint8_t>(record.state));
  writer.write_bytes(encode_checkpoint(record.checkpoint));
  writer.write_u64(record.items);
  writer.write_u64(record.settled);
  writer.write_u64(record.heads_sum);
  return bytes;
}

Result<TableRecord> decode_table_record(ByteSpan bytes) {
  ByteReader reader(bytes, "the freezer's table record in the manifest");
  TRY_INTO(const uint8_t version, reader.read_u8());
  if (version != kTableRecordVersion && version != kTableRecordVersionUnsettled)
    return reader.corrupt("its version is unknown");
  TableRecord record;
  TRY_INTO(const uint8_t state, reader.read_u8());
  if (state > static_cast<uint8_t>(TableState::written)) return reader.corrupt("unknown state");
  record.state = static_cast<TableState>(state);
  TRY_INTO(const ByteSpan checkpoint, reader.read_bytes(kCheckpointSizeBytes));
  TRY_INTO(record.checkpoint, decode_checkpoint(checkpoint));
  TRY_INTO(record.items, reader.read_u64());
  TRY_INTO(record.settled, reader.read_u64());
  if (version == kTableRecordVersionUnsettled) record.settled = 0;
  TRY_INTO(record.heads_sum, reader.read_u64());
  TRY(reader.finish());
  if (!is_table_size(record.checkpoint.table_size))
    return reader.corrupt("the table's size is no power of two");
  if (record.settled > record.checkpoint.table_size / 2)
    return reader.corrupt("more positions are settled than were split");
  return record;
}

}  // namespace firn::freezer
