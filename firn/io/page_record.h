// SPDX-License-Identifier: Apache-2.0
//
// PageRecord: the 12 bytes at the end of every page of a paged blob (FORMAT.md, section 2).
//
//   | len1 u16 | crc1 u32 | len2 u16 | crc2 u32 |      crcN = CRC-32C of payload bytes [0, lenN)
//
// The slot with the larger length is authoritative, slot 1 on a tie. If its checksum fails, the
// other slot counts: that is how a page survives a torn update of one slot.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "firn/base/bytes.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"

namespace firn {

inline constexpr size_t kPageSlotSize = 6;
inline constexpr size_t kPageRecordSize = 2 * kPageSlotSize;
inline constexpr uint32_t kPageSizeMax = 65535;
static_assert(kPageSizeMax <= UINT16_MAX, "a slot's length is 16 bits");

struct PageSlot {
  uint16_t size_bytes = 0;  // payload bytes covered; 0: unused
  uint32_t crc = 0;

  bool operator==(const PageSlot&) const = default;
};

struct PageRecord {
  std::array<PageSlot, 2> slots;

  [[nodiscard]] size_t authoritative() const {
    return slots[0].size_bytes >= slots[1].size_bytes ? 0 : 1;
  }
  bool operator==(const PageRecord&) const = default;
};

// Requires: kPageSlotSize writable bytes.
inline void encode_page_slot(std::byte* target, PageSlot slot) {
  store_big_endian<uint16_t>(target, slot.size_bytes);
  store_big_endian<uint32_t>(target + 2, slot.crc);
}

// Requires: kPageRecordSize writable bytes.
inline void encode_page_record(std::byte* target, const PageRecord& record) {
  encode_page_slot(target, record.slots[0]);
  encode_page_slot(target + kPageSlotSize, record.slots[1]);
}

// Requires: kPageRecordSize readable bytes.
[[nodiscard]] inline PageRecord decode_page_record(const std::byte* source) {
  PageRecord record;
  for (PageSlot& slot : record.slots) {
    slot = {load_big_endian<uint16_t>(source), load_big_endian<uint32_t>(source + 2)};
    source += kPageSlotSize;
  }
  return record;
}

struct ValidPage {
  PageRecord record;  // as stored; after a fallback the invalid slot is zero
  size_t slot = 0;    // the valid one that counts
  bool fell_back = false;

  [[nodiscard]] PageSlot counting_slot() const { return record.slots[slot]; }
  [[nodiscard]] uint32_t size_bytes() const { return record.slots[slot].size_bytes; }
};

[[nodiscard]] inline bool is_valid_slot(PageSlot slot, ByteSpan payload) {
  return slot.size_bytes > 0 && slot.size_bytes <= payload.size() &&
         crc32c(payload.first(slot.size_bytes)) == slot.crc;
}

// Checks one physical page (payload and record). nullopt if neither slot is valid; a page whose
// authoritative length is zero (an all-zero page) is not valid.
[[nodiscard]] inline std::optional<ValidPage> validate_page(ByteSpan physical_page) {
  if (physical_page.size() <= kPageRecordSize) return std::nullopt;
  const ByteSpan payload = physical_page.first(physical_page.size() - kPageRecordSize);
  ValidPage page;
  page.record = decode_page_record(physical_page.data() + payload.size());
  page.slot = page.record.authoritative();
  if (is_valid_slot(page.counting_slot(), payload)) return page;
  page.record.slots[page.slot] = {};
  page.slot = 1 - page.slot;
  page.fell_back = true;
  if (is_valid_slot(page.counting_slot(), payload)) return page;
  return std::nullopt;
}

}  // namespace firn
