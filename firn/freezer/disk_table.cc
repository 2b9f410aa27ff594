// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/disk_table.h"

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn::freezer {
namespace {

// Positions that are read or written at once: 928 KiB.
constexpr uint64_t kBatchPositions = 16384;
// Positions of a blank table that are written or left out together: about a page.
constexpr uint64_t kBlankGroupPositions = 64;
// Positions of a half that are settled together: both halves begin with the same records, which the
// second then finds in the page cache.
constexpr uint64_t kSettledTogether = 256;

constexpr uint64_t offset_of(uint64_t position) {
  return position * kPairSizeBytes;
}

uint8_t one_more(uint8_t added) {
  return added == UINT8_MAX ? added : static_cast<uint8_t>(added + 1);
}

}  // namespace

Bytes DiskTable::blob_name() {
  return to_bytes(as_bytes("table"));
}

Result<std::unique_ptr<DiskTable>> DiskTable::open(Storage& storage,
                                                   const DiskTableOptions& options, OpenMode mode) {
  CHECK(options.chunk > 0, "a table that never gets on would never end doubling");
  TRY_INTO(auto blob, storage.open(options.partition, blob_name(), mode));
  return std::unique_ptr<DiskTable>(new DiskTable(std::move(blob), options));
}

std::string DiskTable::length_misfit(uint64_t size) const {
  const uint64_t length = blob_->size();
  const uint64_t expected = offset_of(size);
  if (length == expected || length == 2 * expected) return {};
  return concat("the table ", options_.partition, "/", to_hex(blob_name()), " is ",
                length < expected ? "shorter" : "longer", " than the manifest says: ", length,
                " bytes instead of ", expected, ", which are ", size, " positions");
}

std::string DiskTable::missing(std::string_view partition) {
  return concat("the table ", partition, "/", to_hex(blob_name()), " is missing");
}

Status DiskTable::start(uint32_t size, uint64_t resizable, uint64_t heads_sum, uint64_t settled) {
  CHECK(is_table_size(size), "a table's size is a power of two");
  if (blob_->size() != offset_of(size)) TRY(blob_->resize(offset_of(size)));
  size_.store(size, std::memory_order_release);
  resizable_ = resizable;
  heads_sum_ = heads_sum;
  copied_sum_ = 0;
  settled_ = settled;
  progress_.reset();
  is_doubling_ = false;
  is_blank_ = false;
  return {};
}

Status DiskTable::start_blank(uint32_t size) {
  if (blob_->size() > 0) TRY(blob_->resize(0));
  TRY(start(size, 0, 0, size / 2));
  is_blank_ = true;
  return {};
}

Status DiskTable::start_reading(uint32_t size) {
  CHECK(is_table_size(size), "a table's size is a power of two");
  size_.store(size, std::memory_order_release);
  return {};
}

std::unexpected<Error> DiskTable::damaged(uint64_t position) const {
  return fail(Errc::corrupt,
              concat("position ", position, " of the table ", options_.partition, "/",
                     to_hex(blob_name()), " (file offset ", file_offset(offset_of(position)),
                     ") is damaged: nothing is lost, run `firn freezer rebuild`"));
}

Result<Pair> DiskTable::read_once(uint64_t position) const {
  std::array<std::byte, kPairSizeBytes> bytes;
  const Status read = blob_->read_at(offset_of(position), bytes);
  if (!read && read.error().code == Errc::out_of_range) return damaged(position);
  TRY(read);
  return decode_pair(bytes);
}

Result<Pair> DiskTable::read(uint64_t position) const {
  TRY_INTO(Pair pair, read_once(position));
  if (!pair.is_damaged()) return pair;
  // Perhaps it was just being written.
  MutexLock lock(changing_);
  TRY_INTO(pair, read_once(position));
  if (pair.is_damaged()) return damaged(position);
  return pair;
}

Result<Pair> DiskTable::find(uint32_t hash) const {
  while (true) {
    const uint32_t position = position_of(hash);
    TRY_INTO(const Pair pair, read(position));
    if (position_of(hash) == position) return pair;
  }
}

Status DiskTable::write(uint64_t offset, ByteSpan bytes) {
  MutexLock lock(changing_);
  return blob_->write_at(offset, bytes);
}

uint64_t DiskTable::grown(uint64_t position, const Slot* before, RecordPlace head) {
  return head_summand(position, head) -
         (before == nullptr ? 0 : head_summand(position, before->head));
}

Status DiskTable::put(uint32_t position, const Pair& pair, uint64_t epoch, RecordPlace head) {
  CHECK(position < size(), "a position of the table");
  ++puts_since_step_;
  const Slot* const before = pair.head();
  Slot slot{epoch, head, one_more(before == nullptr ? 0 : before->added)};
  if (slot.added == options_.frequency) ++resizable_;
  std::array<std::byte, kSlotSizeBytes> bytes;
  encode_slot(bytes, slot);
  const uint64_t offset = pair.slot_for(epoch) * kSlotSizeBytes;
  TRY(write(offset_of(position) + offset, bytes));
  heads_sum_ += grown(position, before, head);
  if (!progress_ || position >= *progress_) return {};
  // The position was copied already: its twin has the same slots, and gets the same.
  ++unnecessary_writes_;
  if (slot.added == options_.frequency) ++resizable_;
  const uint64_t twin = uint64_t{size()} + position;
  copied_sum_ += grown(twin, before, head);
  return write(offset_of(twin) + offset, bytes);
}

Status DiskTable::check_room() const {
  if (size() < options_.size_max || !is_due()) return {};
  return fail(Errc::no_space, concat("the table ", options_.partition, " has ", size(),
                                     " positions, which is the most there can be, and it is full: "
                                     "begin another store"));
}

Status DiskTable::begin_doubling() {
  ++doublings_;
  if (size() > options_.size_max / 2) return {};
  TRY(blob_->resize(offset_of(uint64_t{size()} * 2)));
  progress_ = 0;
  is_doubling_ = true;
  return {};
}

Status DiskTable::step(uint64_t epoch) {
  puts_since_step_ = 0;
  if (!progress_ && is_due()) TRY(begin_doubling());
  return progress_ ? advance(epoch) : Status();
}

Status DiskTable::finish_doubling(uint64_t epoch) {
  while (progress_)
    TRY(advance(epoch));
  return {};
}

Status DiskTable::advance(uint64_t epoch) {
  const uint64_t old_size = size();
  const uint64_t end = std::min<uint64_t>(*progress_ + options_.chunk, old_size);
  Bytes bytes;
  while (*progress_ < end) {
    const uint64_t begin = *progress_;
    const uint64_t count = std::min(end - begin, kBatchPositions);
    bytes.resize(offset_of(count));
    TRY(blob_->read_at(offset_of(begin), bytes));
    for (uint64_t i = 0; i < count; ++i) {
      const MutableByteSpan pair_bytes =
          MutableByteSpan(bytes).subspan(offset_of(i), kPairSizeBytes);
      const Pair pair = decode_pair(pair_bytes);
      if (pair.is_damaged()) return damaged(begin + i);
      const Slot* const head = pair.head();
      if (head == nullptr) continue;
      if (head->added >= options_.frequency && resizable_ > 0) --resizable_;
      const MutableByteSpan slot_bytes =
          pair_bytes.subspan(pair.slot_for(epoch) * kSlotSizeBytes, kSlotSizeBytes);
      encode_slot(slot_bytes, {epoch, head->head, 0});
      copied_sum_ += head_summand(old_size + begin + i, head->head);
    }
    TRY(write(offset_of(begin), bytes));
    TRY(write(offset_of(old_size + begin), bytes));
    progress_ = begin + count;
  }
  if (end < old_size) return {};
  size_.store(static_cast<uint32_t>(old_size * 2), std::memory_order_release);
  heads_sum_ += std::exchange(copied_sum_, 0);
  settled_ = 0;
  progress_.reset();
  is_doubling_ = false;
  return {};
}

Status DiskTable::settle(uint64_t epoch, uint64_t count, const FirstThere& first_there) {
  if (progress_) return {};
  const uint64_t half = size() / 2;
  const uint64_t end = settled_ + std::min(half - settled_, count);
  while (settled_ < end) {
    const uint64_t together = std::min(end - settled_, kSettledTogether);
    TRY(settle_range(settled_, together, epoch, first_there));
    TRY(settle_range(half + settled_, together, epoch, first_there));
    settled_ += together;
  }
  return {};
}

// What is damaged stays as it is: lookups report it.
Status DiskTable::settle_range(uint64_t begin, uint64_t count, uint64_t epoch,
                               const FirstThere& first_there) {
  Bytes bytes(offset_of(count));
  TRY(blob_->read_at(offset_of(begin), bytes));
  bool has_changed = false;
  for (uint64_t i = 0; i < count; ++i) {
    const MutableByteSpan pair_bytes = MutableByteSpan(bytes).subspan(offset_of(i), kPairSizeBytes);
    const Pair pair = decode_pair(pair_bytes);
    if (pair.is_damaged()) continue;
    const Slot* const head = pair.head();
    if (head == nullptr) continue;
    const RecordPlace first = first_there(static_cast<uint32_t>(begin + i), head->head);
    if (first == head->head) continue;
    heads_sum_ += grown(begin + i, head, first);
    encode_slot(pair_bytes.subspan(pair.slot_for(epoch) * kSlotSizeBytes, kSlotSizeBytes),
                {epoch, first, head->added});
    has_changed = true;
  }
  return has_changed ? write(offset_of(begin), bytes) : Status();
}

Status DiskTable::for_each_pair(uint64_t begin, uint64_t end, const PairVisitor& visit) const {
  Bytes bytes(offset_of(std::min(end - begin, kBatchPositions)));
  for (; begin < end; begin += std::min(end - begin, kBatchPositions)) {
    const uint64_t count = std::min(end - begin, kBatchPositions);
    const MutableByteSpan batch = MutableByteSpan(bytes).first(offset_of(count));
    TRY(blob_->read_at(offset_of(begin), batch));
    for (uint64_t i = 0; i < count; ++i)
      TRY(visit(begin + i, batch.subspan(offset_of(i), kPairSizeBytes)));
  }
  return {};
}

Result<DiskTable::Survey> DiskTable::survey(uint64_t size, uint64_t epoch, RecordPlace end) const {
  Survey found;
  if (length_positions() < size) {
    found.damage = length_misfit(size);
    return found;
  }
  const auto visit = [&](uint64_t position, ByteSpan bytes) -> Status {
    Pair pair = decode_pair(bytes);
    if (pair.is_damaged()) {
      if (found.damage.empty()) found.damage = concat("position ", position, " is damaged");
      return {};
    }
    for (StoredSlot& stored : pair.slots) {
      if (stored.state == SlotState::empty) continue;
      found.newest_epoch = std::max(found.newest_epoch, stored.slot.epoch);
      if (stored.slot.epoch > epoch) {
        ++found.newer_slots;
        stored = {};
      } else if (stored.slot.head >= end) {
        ++found.foreign_slots;
      }
    }
    const Slot* const head = pair.head();
    if (head == nullptr) return {};
    if (head->added >= options_.frequency) ++found.resizable;
    found.heads_sum += head_summand(position, head->head);
    return {};
  };
  TRY(for_each_pair(0, size, visit));
  return found;
}

Status DiskTable::discard(uint32_t size, uint64_t epoch) {
  constexpr std::array<std::byte, kSlotSizeBytes> kEmpty{};
  return for_each_pair(0, size, [&](uint64_t position, ByteSpan bytes) -> Status {
    const Pair pair = decode_pair(bytes);
    for (size_t i = 0; i < pair.slots.size(); ++i) {
      const StoredSlot& stored = pair.slots[i];
      if (stored.state != SlotState::valid || stored.slot.epoch <= epoch) continue;
      TRY(write(offset_of(position) + i * kSlotSizeBytes, kEmpty));
    }
    return {};
  });
}

Status DiskTable::write_anew(uint64_t begin, uint64_t end, uint64_t epoch, const HeadOf& head_of) {
  CHECK(end <= size(), "positions of the table");
  Bytes bytes;
  while (begin < end) {
    const uint64_t count = std::min(end - begin, kBatchPositions);
    bytes.assign(offset_of(count), std::byte{0});
    for (uint64_t i = 0; i < count; ++i) {
      const auto head = head_of(static_cast<uint32_t>(begin + i));
      if (!head) continue;
      encode_slot(MutableByteSpan(bytes).subspan(offset_of(i), kSlotSizeBytes), {epoch, *head, 0});
      heads_sum_ += head_summand(begin + i, *head);
    }
    TRY(is_blank_ ? write_where_heads_are(begin, bytes) : write(offset_of(begin), bytes));
    begin += count;
  }
  return {};
}

Status DiskTable::forget_heads(uint64_t begin, uint64_t end) {
  return for_each_pair(begin, end, [&](uint64_t position, ByteSpan bytes) -> Status {
    const Pair pair = decode_pair(bytes);
    if (pair.is_damaged() || pair.head() == nullptr) return {};
    heads_sum_ -= head_summand(position, pair.head()->head);
    return {};
  });
}

Status DiskTable::write_where_heads_are(uint64_t begin, ByteSpan bytes) {
  constexpr size_t kGroupBytes = kBlankGroupPositions * kPairSizeBytes;
  const auto is_empty = [&](size_t at) {
    const ByteSpan group = bytes.subspan(at, std::min(kGroupBytes, bytes.size() - at));
    return std::ranges::all_of(group, [](std::byte byte) { return byte == std::byte{0}; });
  };
  for (size_t at = 0; at < bytes.size(); at += kGroupBytes) {
    if (is_empty(at)) continue;
    const size_t first = at;
    while (at < bytes.size() && !is_empty(at))
      at += kGroupBytes;
    TRY(write(offset_of(begin) + first, bytes.subspan(first, std::min(at, bytes.size()) - first)));
  }
  return {};
}

}  // namespace firn::freezer
