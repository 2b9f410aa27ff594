// SPDX-License-Identifier: Apache-2.0
//
// Checks an archive that does not open, blob by blob: each index page, and each value that a
// readable entry refers to. Nothing is assumed to be consistent, and nothing changes.
#pragma once

#include <cstdint>
#include <functional>

#include "firn/archive/prunable_archive.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn::command {

struct ScanGeometry {
  std::string index_partition;
  std::string values_partition;
  uint32_t key_size_bytes = 32;
  uint32_t page_size_bytes = 4084;
  std::optional<int> compression_level;
  uint64_t oldest_section = 0;  // what lies below is pruned
};

// What is damaged goes into `findings`; only what ends the scan is an error.
[[nodiscard]] Status scan_archive(Storage& storage, const ScanGeometry& geometry, bool values,
                                  RecoveryLog& findings,
                                  const std::function<void(uint64_t)>& progress);

}  // namespace firn::command
