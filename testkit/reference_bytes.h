// SPDX-License-Identifier: Apache-2.0
//
// The bytes of FORMAT.md read naively: numbers, checksums, blobs and pages. For references of
// recovery, which must share no code with what they judge.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "testkit/store_files.h"

namespace firn::testkit::reference {

// Big-endian, of all these bytes.
[[nodiscard]] uint64_t number_of(ByteSpan bytes);
// Bit by bit.
[[nodiscard]] uint32_t checksum_of(ByteSpan bytes);
// Whether the last four bytes are the checksum of those before them.
[[nodiscard]] bool ends_in_checksum(ByteSpan bytes);

// FORMAT.md, section 1.
struct BlobBytes {
  enum class State : uint8_t { missing, damaged, whole };
  State state = State::missing;
  ByteSpan content = {};  // behind the header; of a whole one
};
[[nodiscard]] BlobBytes blob_of(const StoreFiles& files, std::string_view partition, ByteSpan name);
[[nodiscard]] Bytes section_name(uint64_t section);

// FORMAT.md, section 2: how many bytes of page `page` are valid; 0: it is invalid, or not there.
[[nodiscard]] uint64_t valid_bytes(ByteSpan content, uint64_t page_size, uint64_t page);

}  // namespace firn::testkit::reference
