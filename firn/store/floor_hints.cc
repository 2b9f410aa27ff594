// SPDX-License-Identifier: Apache-2.0
#include "firn/store/floor_hints.h"

#include <algorithm>
#include <array>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/store/manifest_format.h"

namespace firn {
namespace {

constexpr std::string_view kBlobName = "floors";
constexpr uint64_t kRecordSizeBytes = 32;
constexpr uint64_t kCrcOffset = kRecordSizeBytes - sizeof(uint32_t);
// How often a reader reads again what a writer was quicker to change.
constexpr int kHintReadsMax = 1000;
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
  const FloorHint hint{static_cast<StoreRole>(load_big_endian<uint32_t>(record.data())),
                       Section(load_big_endian<uint64_t>(record.data() + 4)),
                       load_big_endian<uint64_t>(record.data() + 12),
                       load_big_endian<uint64_t>(record.data() + 20)};
  if (hint.generation > store::kGenerationMax) return std::nullopt;
  return hint;
}

}  // namespace

// No record ever returns to a value that it had: if two readings are the same, then that is what
// the blob held between them.
Result<std::unique_ptr<FloorHints>> FloorHints::open(Storage& storage, bool read_only,
                                                     RecoveryLog& recovery) {
  std::unique_ptr<FloorHints> hints(new FloorHints(storage));
  auto content = hints->read_content();
  for (int attempt = 0; read_only && content; ++attempt) {
    auto again = hints->read_content();
    const bool is_same = again && equal_bytes(content->bytes(), again->bytes());
    content = std::move(again);
    if (is_same) break;
    if (attempt == kHintReadsMax)
      return fail(Errc::locked,
                  concat("the floors of ", storage.description(), " changed during each of ",
                         kHintReadsMax, " attempts to read them: try again"));
  }
  if (content) {
    const ByteSpan bytes = content->bytes();
    for (uint64_t at = 0; bytes.size() - at >= kRecordSizeBytes; at += kRecordSizeBytes)
      if (const auto hint = decode(bytes.subspan(at, kRecordSizeBytes)))
        hints->found_.push_back(*hint);
  } else if (content.error().code == Errc::corrupt) {
    hints->is_damaged_ = true;
    recovery.note_damage(
        {std::string(kManifestPartition), to_hex(as_bytes(kBlobName)), 0, 0,
         content.error().message + "; the floors of the last checkpoint are used"});
  } else if (content.error().code != Errc::not_found) {
    return pass_on(content);
  }
  return hints;
}

// An open for writing would give a file that is too short its header, also where the store is then
// refused.
Result<Buffer> FloorHints::read_content() const {
  TRY_INTO(const auto blob,
           storage_.open(kManifestPartition, as_bytes(kBlobName), OpenMode::read_only));
  Buffer content(std::min(blob->size(), kReadMaxBytes));
  TRY(blob->read_at(0, content.mutable_bytes()));
  return content;
}

Status FloorHints::make_ready_for_writing() {
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
