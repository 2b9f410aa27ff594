// SPDX-License-Identifier: Apache-2.0
//
// PagedBlob: an append-only stream of bytes over a Blob, in pages that carry their own checksums.
//
//   page k at [k*Q, (k+1)*Q), Q = page_size + 12:
//   +------------------------------+------+------+------+------+
//   | payload, zeros beyond `len`  | len1 | crc1 | len2 | crc2 |     FORMAT.md, section 2
//   +------------------------------+------+------+------+------+
//
// Crash argument. A page's record has two slots; the valid one with the larger length counts.
//   append   -> memory only; full pages may reach the file when the buffer overflows.
//   sync     -> a page that was durable as partial keeps its durable slot and the payload below it
//               untouched; the new length goes to the other slot, until the sync succeeded. A power
//               cut at any byte leaves the old length or the new one.
//   truncate -> the file is cut and the shorter length written to the free slot (flush), then the
//               longer slot is zeroed (flush). Every state in between is the old or the new tail.
// The protected slot is the last one known durable, not the last one written.
//
// Opening. `floor` is the size that the owner knows to be durable; unknown for stores without a
// manifest. Pages are validated from the floor forward.
//   floor known: at or below it nothing is cut; a page there that is missing or invalid is
//     Errc::corrupt (checked for the page that holds the floor; earlier ones when they are read).
//     Above it the stream ends before the first page that is missing, invalid, or partial without
//     being last; what follows is saved, cut, and reported.
//   floor unknown: the trailing run of invalid pages is saved, cut and reported; an invalid page
//     before a valid one is reported as damage and stays (reading it fails). A blob whose pages
//     are all invalid under this page size but valid under another one is refused with
//     Errc::invalid_argument, naming the size that fits.
// What was adopted above the floor is synced before open returns. read_only changes nothing on disk.
//
// Threads. One writer (append, sync, truncate: serialised by the caller). read_at and size run
// concurrently with each other and with the writer, and never wait for a flush.
//
// Cost. append: a copy. sync: at most 2 writes and 1 flush. read_at: one cache probe a page; a miss
// reads and checks one page. Buffer bound: write_buffer_bytes, at least two pages.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/io/page_cache.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn {

struct PagedBlobOptions {
  std::string partition;               // for messages and the recovery report
  std::string blob_name;               // hexadecimal
  uint32_t page_size = 4084;           // payload bytes a page, 1..65535
  size_t write_buffer_bytes = 1 << 20;  // raised to two pages
  PageCache* cache = nullptr;          // required; outlives the blob
  uint64_t cache_id = 0;               // from PageCache::new_blob_id
  std::optional<uint64_t> floor;       // payload bytes known durable
  // Bytes become part of the stream in whole records of this size only: open cuts a trailing
  // fraction above the floor. 1: no records.
  uint32_t record_size = 1;
};

class PagedBlob {
 public:
  [[nodiscard]] static Result<std::unique_ptr<PagedBlob>> open(std::unique_ptr<Blob> blob,
                                                               const PagedBlobOptions& options,
                                                               RecoveryLog& recovery);
  ~PagedBlob();  // does not sync: destroying is what a crash does

  // Payload bytes, buffered ones included.
  [[nodiscard]] uint64_t size() const;
  // Payload bytes that a successful sync (or open) covered.
  [[nodiscard]] uint64_t durable_size() const;
  // True if appending `size_bytes` more would write pages to the file.
  [[nodiscard]] bool append_would_write(size_t size_bytes) const;

  [[nodiscard]] Status append(ByteSpan bytes);
  [[nodiscard]] Status sync();
  // Drops everything from `size` on, durably. Requires: size <= this->size().
  [[nodiscard]] Status truncate(uint64_t size);

  // Fills `out` from `offset`. Errc::out_of_range beyond size(), Errc::corrupt for a bad page.
  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) const;

  // Reads [offset, offset + out.size()) without the cache, many pages per I/O, checking each: for
  // replay. Same errors as read_at.
  [[nodiscard]] Status read_sequential(uint64_t offset, MutableByteSpan out) const;

  // Checks every page on disk below durable_size() and notes each damaged one.
  [[nodiscard]] Status verify(RecoveryLog& findings) const;

 private:
  PagedBlob();
};

}  // namespace firn
