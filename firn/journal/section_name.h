// SPDX-License-Identifier: Apache-2.0
//
// How sections are named: the blob of a section is its number as eight big-endian bytes.
#pragma once

#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/storage.h"

namespace firn::journal {

[[nodiscard]] Bytes section_name(Section section);
[[nodiscard]] std::string section_hex(Section section);

// The sections of a partition, ascending. Errc::corrupt for a blob whose name is not a section.
[[nodiscard]] Result<std::vector<Section>> scan_sections(Storage& storage,
                                                         const std::string& partition);

// Makes removals durable that a killed process may have left undone: what the scan did not find
// must not come back.
[[nodiscard]] Status settle_removals(Storage& storage, const std::string& partition);

// Durably removes the blobs of these sections, in this order.
[[nodiscard]] Status remove_sections(Storage& storage, const std::string& partition,
                                     const std::vector<Section>& sections);

}  // namespace firn::journal
