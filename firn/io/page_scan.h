// SPDX-License-Identifier: Apache-2.0
//
// Page scans: reading runs of physical pages, finding where a stream of pages ends after a crash,
// and guessing the page size of a blob that was written with another one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/page_record.h"
#include "firn/io/paged_blob.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn::io {

// Bytes that one read of a scan fetches at most (but at least one page).
inline constexpr size_t kScanRunBytes = size_t{256} * 1024;

// How many pages one read of a scan covers.
[[nodiscard]] size_t pages_in_run(uint64_t physical_page_size);

// Reads `count` whole pages from `first_page` into memory of this thread, valid until the next call
// on it. Errc::corrupt if the blob ends before that. Requires: count <= pages_in_run, or 1.
[[nodiscard]] Result<ByteSpan> read_page_run(Blob& blob, uint64_t first_page, size_t count,
                                             uint64_t physical_page_size, const std::string& what);

struct FoundPage {
  ByteSpan physical;
  std::optional<ValidPage> valid;

  [[nodiscard]] bool holds(uint64_t needed) const { return valid && valid->size_bytes() >= needed; }
};

// Reads the page in which the stream of a reader ends, after `needed` bytes; see read_page_run. A
// writer of another process may be at work on the rest of it: it changes neither those bytes nor
// the record that covers them, but may replace what was read before the rest was. So the page is
// read again, a few times, until it holds them.
[[nodiscard]] Result<FoundPage> read_last_page(Blob& blob, uint64_t page, uint64_t needed,
                                               uint64_t physical_page_size,
                                               const std::string& what);

// Why validate_page refused a page, for messages.
[[nodiscard]] std::string describe_invalid_page(ByteSpan physical_page);

struct StreamEnd {
  uint64_t pages = 0;             // that belong to the stream
  std::optional<ValidPage> last;  // the last of them
  Bytes last_payload;             // its valid bytes, if it is partial
  std::string cut_reason;         // why the stream ends there, if more bytes follow
};

// Where the stream ends, by the rules of PagedBlob. Changes nothing; notes damage.
[[nodiscard]] Result<StreamEnd> find_stream_end(Blob& blob, const PagedBlobOptions& options,
                                                RecoveryLog& recovery);

// The page size other than `refused_page_size` under which `front`, the first bytes of a blob of
// `blob_size` bytes, starts with a valid page.
[[nodiscard]] std::optional<uint32_t> find_page_size(ByteSpan front, uint64_t blob_size,
                                                     uint32_t refused_page_size);

}  // namespace firn::io
