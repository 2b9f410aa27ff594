// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/finding.h"

#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn::command {

std::string file_of(const BlobRange& range, const std::string& store) {
  return concat(store, "/", range.partition, range.blob.empty() ? "" : "/", range.blob);
}

uint64_t offset_of(const BlobRange& range) {
  return range.size_bytes == 0 ? 0 : file_offset(range.offset);
}

std::string finding_text(std::string_view label, const BlobRange& range, const std::string& store) {
  if (range.copy != BlobRange::Copy::none) label = "damaged copy";
  return concat(label, ": ", store, "/", describe(range));
}

}  // namespace firn::command
