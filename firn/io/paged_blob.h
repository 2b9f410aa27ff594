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
//     Above it the stream ends before the first page that is missing or invalid, or behind the
//     first partial one (a sync may have made that durable after the floor was noted); what follows
//     is saved, cut, and reported.
//   floor unknown: the trailing run of invalid pages is saved, cut and reported; an invalid or
//     partial page before a valid one, if it is among the last kUnknownFloorScanBytes, is reported
//     as damage and stays (reading past its valid bytes fails).
//   A blob none of whose pages can be adopted, but whose first page is valid under another page
//   size, is refused with Errc::invalid_argument, naming the size that fits.
// What was adopted above the floor is synced before open returns. read_only changes nothing on
// disk.
//
// Threads. One writer (append, sync, truncate: serialised by the caller). read_at and size run
// concurrently with each other and with the writer, and never wait for a flush.
//
// Cost. append: a copy. sync: at most 2 writes and 1 flush. read_at: one cache probe a page; a miss
// reads and checks one page. Buffer bound: write_buffer_bytes, at least two pages.
#pragma once

#include <atomic>
#include <cstddef>
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

// The largest write buffer that stores take.
inline constexpr uint64_t kWriteBufferBytesMax = uint64_t{1} << 30;

struct PagedBlobOptions {
  std::string partition = {};                    // for messages and the recovery report
  std::string blob_name = {};                    // hexadecimal
  uint32_t page_size = 4084;                     // payload bytes a page, 1..65535
  size_t write_buffer_bytes = 1 << 20;           // raised to two pages
  PageCache* cache = nullptr;                    // required; outlives the blob
  uint64_t cache_id = 0;                         // from PageCache::new_blob_id
  std::optional<uint64_t> floor = std::nullopt;  // payload bytes known durable
  // Read-only: the stream is what the floor says. What follows is somebody else's, who may be at
  // work on it, also on the rest of the last page. Requires: a floor.
  bool ends_at_floor = false;
  // Bytes become part of the stream in whole records of this size only: open cuts a trailing
  // fraction above the floor. 1: no records.
  uint32_t record_size = 1;
};

// With an unknown floor, open looks for damaged pages this far before the last valid page.
inline constexpr uint64_t kUnknownFloorScanBytes = 64u << 20;

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
  // Drops everything from `size` on, durably. Errc::invalid_argument beyond size(). What is kept
  // stays durable if it was; bytes that no sync covered may stay unsynced.
  [[nodiscard]] Status truncate(uint64_t size);
  // The same of what this object shows of a blob that is only read: nothing changes on disk. A
  // writer may cut the file to that size, and append to it, meanwhile. Requires: not beyond size().
  [[nodiscard]] Status cut_view(uint64_t size);

  // Fills `out` from `offset`. Errc::out_of_range beyond size(), Errc::corrupt for a bad page.
  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) const;

  // The same from the page cache alone, without a lock or a system call. False if not all of it is
  // there, and for the tip.
  [[nodiscard]] bool read_cached(uint64_t offset, MutableByteSpan out) const;

  // What the page cache is to be asked for the same read; nothing if it is of the tip. Whoever uses
  // it sees pages that are cut off meanwhile.
  [[nodiscard]] PageCache::Wanted wanted(uint64_t offset, uint32_t size_bytes) const;

  // Reads [offset, offset + out.size()) without the cache, many pages per I/O, checking each: for
  // replay. Same errors as read_at.
  [[nodiscard]] Status read_sequential(uint64_t offset, MutableByteSpan out) const;

  // Saves the pages from the one that holds `size` on to lost-found, before the owner truncates to
  // `size` what it cannot adopt. Requires: everything is on disk, as after open.
  [[nodiscard]] Status save_before_cut(uint64_t size, std::string reason,
                                       RecoveryLog& recovery) const;

  // Checks every page on disk below durable_size() and notes each damaged one. Serialised with the
  // writer by the caller.
  [[nodiscard]] Status verify(RecoveryLog& findings) const;

 private:
  // The record slot that must not be touched: it holds the durable length of a partial page.
  struct ProtectedSlot {
    size_t slot = 0;
    uint32_t size_bytes = 0;
    uint32_t crc = 0;
  };
  // The checksum of a prefix of one page, so that a sync does not start from the page's front.
  struct RunningCrc {
    uint64_t page = UINT64_MAX;
    uint32_t size_bytes = 0;
    uint32_t crc = 0;
  };
  // A page that truncate keeps the front of.
  struct KeptPage {
    uint64_t page = 0;
    Bytes payload;                              // the kept bytes
    std::optional<ProtectedSlot> durable_slot;  // of the page on disk; none: nothing is durable
  };
  PagedBlob(std::unique_ptr<Blob> blob, const PagedBlobOptions& options);

  [[nodiscard]] Status check_healthy() const;
  [[nodiscard]] Status poison(Status failure);
  // Takes over a stream that is on disk: its size and the bytes and record of its partial page.
  void adopt(uint64_t size, ByteSpan partial_payload, std::optional<ProtectedSlot> slot);

  void copy_to_tip(ByteSpan bytes);
  [[nodiscard]] Result<std::optional<ProtectedSlot>> write_tip(bool with_partial);
  [[nodiscard]] Status write_image(uint64_t first_page, ByteSpan image,
                                   const ProtectedSlot* protected_slot);
  [[nodiscard]] const ProtectedSlot* protected_slot_of(uint64_t page) const;
  [[nodiscard]] uint32_t page_crc(uint64_t page, ByteSpan payload);
  void drop_full_pages(uint64_t pages);
  void release_idle_tip();

  [[nodiscard]] Result<KeptPage> load_kept_page(uint64_t size);
  void publish_cut(uint64_t size, const KeptPage& kept);
  [[nodiscard]] Status cut_file(const KeptPage& kept);

  [[nodiscard]] Status read(uint64_t offset, MutableByteSpan out, bool use_cache) const;
  [[nodiscard]] Status read_full_pages(uint64_t offset, MutableByteSpan out, bool use_cache,
                                       uint64_t generation) const;
  [[nodiscard]] std::string where(uint64_t page) const;

  [[nodiscard]] uint64_t physical_size() const { return page_size_ + uint64_t{12}; }

  // Constant after open.
  const std::unique_ptr<Blob> blob_;
  const PagedBlobOptions options_;
  const uint64_t page_size_;
  const uint64_t capacity_;  // payload bytes buffered before full pages are written

  // The writer's own.
  uint64_t end_ = 0;                        // size() once the current call succeeds
  bool unsynced_ = false;                   // something was written since the last successful sync
  std::optional<ProtectedSlot> protected_;  // of page durable_size / page_size
  RunningCrc running_;
  std::optional<Error> first_failure_;

  // The tip: the stream from tip_offset_, a page boundary, in physical layout, so that full pages
  // leave in one write. Only the writer moves or grows it, under the mutex; readers copy under it.
  mutable Mutex mutex_;
  Buffer tip_ GUARDED_BY(mutex_);

  // Stored under the mutex by the writer, loaded by anyone. A cut stores generation_ last: a read
  // that saw the same generation before and after saw no cut.
  std::atomic<uint64_t> size_ = 0;
  std::atomic<uint64_t> tip_offset_ = 0;
  std::atomic<uint64_t> durable_size_ = 0;
  std::atomic<uint64_t> generation_ = 0;
};

}  // namespace firn
