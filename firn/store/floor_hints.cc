// SPDX-License-Identifier: Apache-2.0
#include "firn/store/floor_hints.h"

#include <algorithm>
#include <array>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"

namespace firn {
namespace {

constexpr std::string_view kBlobName = "floors";
constexpr uint64_t kRecordSizeBytes = 32;
constexpr uint64_t kCrcOffset = kRecordSizeBytes - sizeof(uint32_t);
// Slots are used again after every checkpoint, so no blob has more content than this.
constexpr uint64_t kReadMaxBytes = uint64_t{1024} * 2 * kRecordSizeBytes;

std::array<std::byte, kRecordSizeBytes> encode(const FloorHint& hint) {
  std::array<std::byte, kRecordSizeBytes> record;
  store_big_endian<uint32_t>(record.data(), static_cast<uint32_t>(hint.role));
  store_big_endian<uint64_t>(record.data() + 4, hint.section.value);
  store_big_endian<uint64_t>(record.data() + 12, hint.size);
  store_big_endian<uint64_t>(record.data() + 20, hint.generation);
  store_big_endian<uint32_t>(record.data() + kCrcOffset,
                             crc32c(ByteSpan(record).first(kCrcOffset)));
  return record;
}

std::optional<FloorHint> decode(ByteSpan record) {
  if (crc32c(record.first(kCrcOffset)) != load_big_endian<uint32_t>(record.data() + kCrcOffset))
    return std::nullopt;
  return FloorHint{static_cast<StoreRole>(load_big_endian<uint32_t>(record.data())),
                   Section(load_big_endian<uint64_t>(record.data() + 4)),
                   load_big_endian<uint64_t>(record.data() + 12),
                   load_big_endian<uint64_t>(record.data() + 20)};
}

}  // namespace

Result<std::unique_ptr<FloorHints>> FloorHints::open(Storage& storage, bool read_only,
                                                     RecoveryLog& recovery) {
  std::unique_ptr<FloorHints> hints(new FloorHints(storage));
  auto blob = storage.open(kManifestPartition, as_bytes(kBlobName),
                           read_only ? OpenMode::read_only : OpenMode::read_write);
  if (blob) {
    hints->blob_ = std::move(*blob);
    TRY(hints->read());
  } else if (blob.error().code == Errc::corrupt) {
    hints->is_damaged_ = true;
    recovery.note_damage({std::string(kManifestPartition), to_hex(as_bytes(kBlobName)), 0, 0,
                          blob.error().message + "; the floors of the last checkpoint are used"});
  } else if (blob.error().code != Errc::not_found) {
    return pass_on(blob);
  }
  return hints;
}

Status FloorHints::read() {
  const uint64_t size = std::min(blob_->size(), kReadMaxBytes);
  Buffer content(size);
  TRY(blob_->read_at(0, content.mutable_bytes()));
  for (uint64_t at = 0; size - at >= kRecordSizeBytes; at += kRecordSizeBytes)
    if (const auto hint = decode(content.bytes().subspan(at, kRecordSizeBytes)))
      found_.push_back(*hint);
  return {};
}

Status FloorHints::make_ready_for_writing() {
  if (blob_) return {};
  const Bytes name = to_bytes(as_bytes(kBlobName));
  if (is_damaged_) TRY(storage_.remove(kManifestPartition, std::span(&name, 1)));
  is_damaged_ = false;
  TRY_INTO(blob_, storage_.open(kManifestPartition, name, OpenMode::create));
  return {};
}

Status FloorHints::write(const FloorHint& hint) {
  const auto [at, is_new] = slots_.try_emplace({hint.role, hint.section}, Slot{slots_.size(), 0});
  Slot& slot = at->second;
  const uint64_t record_number = 2 * slot.index + slot.writes % 2;
  ++slot.writes;
  const auto record = encode(hint);
  return blob_->write_at(record_number * kRecordSizeBytes, ByteSpan(record));
}

}  // namespace firn
