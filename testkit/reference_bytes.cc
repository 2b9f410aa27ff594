// SPDX-License-Identifier: Apache-2.0
#include "testkit/reference_bytes.h"

#include <algorithm>

namespace firn::testkit::reference {

uint64_t number_of(ByteSpan bytes) {
  uint64_t number = 0;
  for (const std::byte byte : bytes)
    number = number << 8 | std::to_integer<uint64_t>(byte);
  return number;
}

uint32_t checksum_of(ByteSpan bytes) {
  uint32_t crc = UINT32_MAX;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

bool ends_in_checksum(ByteSpan bytes) {
  return bytes.size() >= 4 &&
         checksum_of(bytes.first(bytes.size() - 4)) == number_of(bytes.last(4));
}

BlobBytes blob_of(const StoreFiles& files, std::string_view partition, ByteSpan name) {
  const auto found = files.find({std::string(partition), to_bytes(name)});
  if (found == files.end()) return {};
  const ByteSpan file = found->second;
  if (file.size() < 8) return {BlobBytes::State::whole};  // new, or torn while it was made
  constexpr uint64_t kHeader = 0x4357494300000000;
  if (number_of(file.first(8)) != kHeader) return {BlobBytes::State::damaged};
  return {BlobBytes::State::whole, file.subspan(8)};
}

Bytes section_name(uint64_t section) {
  Bytes name;
  for (int shift = 56; shift >= 0; shift -= 8)
    name.push_back(static_cast<std::byte>(section >> shift));
  return name;
}

uint64_t valid_bytes(ByteSpan content, uint64_t page_size, uint64_t page) {
  const uint64_t whole = page_size + 12;
  if (page >= content.size() / whole) return 0;
  const ByteSpan bytes = content.subspan(page * whole, whole);
  uint64_t longest = 0;
  for (const uint64_t slot : {page_size, page_size + 6}) {
    const uint64_t length = number_of(bytes.subspan(slot, 2));
    if (length > page_size) continue;
    if (checksum_of(bytes.first(length)) == number_of(bytes.subspan(slot + 2, 4)))
      longest = std::max(longest, length);
  }
  return longest;
}

}  // namespace firn::testkit::reference
