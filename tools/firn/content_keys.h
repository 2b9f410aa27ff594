// SPDX-License-Identifier: Apache-2.0
//
// Whether each key is the SHA-256 of its content, as an import makes them. That finds what no
// checksum does: values in each other's place, to which the formats give no name.
#pragma once

#include <cstdint>

#include "firn/archive/prunable_archive.h"
#include "firn/base/result.h"
#include "firn/freezer/freezer.h"
#include "firn/io/recovery_report.h"

namespace firn::command {

[[nodiscard]] Status require_content_keys(uint32_t key_size_bytes);

// Of all items, also of those behind damage: notes those that differ, and returns how many were
// compared. What cannot be read is for others to tell; a note says that not all were compared.
[[nodiscard]] Result<uint64_t> check_contents(const PrunableArchive& archive,
                                              RecoveryLog& findings);
[[nodiscard]] Result<uint64_t> check_contents(const Freezer& freezer, RecoveryLog& findings);

}  // namespace firn::command
