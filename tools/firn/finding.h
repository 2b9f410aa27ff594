// SPDX-License-Identifier: Apache-2.0
//
// How verify and salvage tell of something that is wrong with a file: in the same words.
#pragma once

#include <string>
#include <string_view>

#include "firn/io/recovery_report.h"

namespace firn::command {

// The path of the blob, or of the partition if no blob is named.
[[nodiscard]] std::string file_of(const BlobRange& range, const std::string& store);
// Where the range begins in its file; 0: the file as a whole.
[[nodiscard]] uint64_t offset_of(const BlobRange& range);
// "LABEL: FILE at file offset N, N bytes: REASON". One of two copies is labelled as such.
[[nodiscard]] std::string finding_text(std::string_view label, const BlobRange& range,
                                       const std::string& store);

}  // namespace firn::command
