// SPDX-License-Identifier: Apache-2.0
#include "firn/io/page_scan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/per_thread.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"

namespace firn::io {
namespace {

// How often a page is read again that a writer may have been at work on.
constexpr int kTornReadsMax = 64;

// Scratch memory of a thread for one run of pages; kept, so that a read does not allocate.
MutableByteSpan thread_scratch(size_t size) {
  thread_local constinit PerThread<Buffer> kept;
  Buffer& scratch = kept.get();
  if (scratch.size() < size) scratch = Buffer(std::max(size, kScanRunBytes));
  return scratch.mutable_bytes().first(size);
}

std::string invalid_pages(uint64_t count) {
  return count == 1 ? "an invalid last page" : concat("the last ", count, " pages are all invalid");
}

std::string describe_slot(std::string_view name, PageSlot slot, ByteSpan payload) {
  if (slot.size_bytes == 0) return concat(name, " is unused");
  if (slot.size_bytes > payload.size())
    return concat(name, " claims ", slot.size_bytes, " of ", payload.size(), " bytes");
  return concat(name, " expects checksum ", slot.crc, " of ", slot.size_bytes, " bytes, found ",
                crc32c(payload.first(slot.size_bytes)));
}

class EndFinder {
 public:
  EndFinder(Blob& blob, const PagedBlobOptions& options, RecoveryLog& recovery)
      : blob_(blob),
        options_(options),
        recovery_(recovery),
        physical_size_(uint64_t{options.page_size} + kPageRecordSize),
        blob_size_(blob.size()),
        pages_on_disk_(blob_size_ / physical_size_),
        what_(concat("blob ", options.partition, "/", options.blob_name)) {}

  Result<StreamEnd> run() {
    if (options_.ends_at_floor) {
      TRY(look_at_floor(*options_.floor));
      return std::move(end_);
    }
    if (options_.floor) {
      TRY(scan_forward(*options_.floor));
    } else {
      TRY(scan_backward());
    }
    if (end_.pages == 0 && blob_size_ > 0) TRY(refuse_other_page_size());
    if (end_.pages == pages_on_disk_ && blob_size_ % physical_size_ != 0)
      end_.cut_reason = concat("fraction of a page behind page ", end_.pages);
    return std::move(end_);
  }

 private:
  Result<ByteSpan> read_run(uint64_t first_page, uint64_t count) {
    return read_page_run(blob_, first_page, static_cast<size_t>(count), physical_size_, what_);
  }

  void keep(uint64_t page, const ValidPage& valid, ByteSpan physical) {
    end_.pages = page + 1;
    end_.last = valid;
    end_.last_payload.clear();
    if (valid.size_bytes() < options_.page_size)
      end_.last_payload = to_bytes(physical.first(valid.size_bytes()));
  }

  // The page that holds the byte before the floor must be valid and reach the floor.
  Status check_floor_page(uint64_t floor, uint64_t page, const std::optional<ValidPage>& valid,
                          ByteSpan physical) {
    const uint64_t needed = floor - page * options_.page_size;
    if (valid && valid->size_bytes() >= needed) return {};
    TRY(refuse_other_page_size());
    return fail(Errc::corrupt, concat(what_, ": page ", page, " at file offset ",
                                      file_offset(page * physical_size_), " must hold ", needed,
                                      " bytes that are known durable, found ",
                                      valid ? concat(valid->size_bytes(), " valid bytes")
                                            : describe_invalid_page(physical)));
  }

  Status check_floor_pages(uint64_t floor, uint64_t floor_pages) {
    if (floor_pages <= pages_on_disk_) return {};
    TRY(refuse_other_page_size());
    return fail(Errc::corrupt,
                concat(what_, ": ends at file offset ", file_offset(blob_size_), ", but ", floor,
                       " payload bytes are known durable, which take ", floor_pages,
                       " pages, up to file offset ", file_offset(floor_pages * physical_size_)));
  }

  Status look_at_floor(uint64_t floor) {
    const uint64_t pages = divide_rounding_up(floor, options_.page_size);
    TRY(check_floor_pages(floor, pages));
    if (pages == 0) return {};
    const uint64_t needed = floor - (pages - 1) * options_.page_size;
    TRY_INTO(const FoundPage last, read_last_page(blob_, pages - 1, needed, physical_size_, what_));
    TRY(check_floor_page(floor, pages - 1, last.valid, last.physical));
    if (needed < options_.page_size) end_.last_payload = to_bytes(last.physical.first(needed));
    return {};
  }

  Status scan_forward(uint64_t floor) {
    const uint64_t floor_pages = divide_rounding_up(floor, options_.page_size);
    TRY(check_floor_pages(floor, floor_pages));
    uint64_t page = floor_pages == 0 ? 0 : floor_pages - 1;
    while (page < pages_on_disk_) {
      const uint64_t count =
          std::min<uint64_t>(pages_in_run(physical_size_), pages_on_disk_ - page);
      TRY_INTO(const ByteSpan run, read_run(page, count));
      for (uint64_t i = 0; i < count; ++i, ++page) {
        const ByteSpan physical = run.subspan(i * physical_size_, physical_size_);
        const std::optional<ValidPage> valid = validate_page(physical);
        if (page + 1 == floor_pages) TRY(check_floor_page(floor, page, valid, physical));
        if (!valid) {
          end_.cut_reason = concat("page ", page, " is invalid: ", describe_invalid_page(physical));
          return {};
        }
        keep(page, *valid, physical);
        if (valid->size_bytes() < options_.page_size) {
          end_.cut_reason = concat("bytes behind page ", page, ", which is partial");
          return {};
        }
      }
    }
    return {};
  }

  Status scan_backward() {
    uint64_t end = pages_on_disk_;
    while (end > 0 && end_.pages == 0) {
      // The last page is nearly always valid: one page first, then whole runs.
      const uint64_t count =
          end == pages_on_disk_ ? 1 : std::min<uint64_t>(pages_in_run(physical_size_), end);
      TRY_INTO(const ByteSpan run, read_run(end - count, count));
      for (uint64_t i = count; i-- > 0 && end_.pages == 0; --end) {
        const ByteSpan physical = run.subspan(i * physical_size_, physical_size_);
        if (const std::optional<ValidPage> valid = validate_page(physical))
          keep(end - 1, *valid, physical);
      }
    }
    if (end_.pages < pages_on_disk_) end_.cut_reason = invalid_pages(pages_on_disk_ - end_.pages);
    return note_damage_before_end();
  }

  Status note_damage_before_end() {
    if (end_.pages <= 1) return {};
    const uint64_t last = end_.pages - 1;
    uint64_t page = last - std::min(last, kUnknownFloorScanBytes / physical_size_);
    while (page < last) {
      const uint64_t count = std::min<uint64_t>(pages_in_run(physical_size_), last - page);
      TRY_INTO(const ByteSpan run, read_run(page, count));
      for (uint64_t i = 0; i < count; ++i, ++page) {
        const ByteSpan physical = run.subspan(i * physical_size_, physical_size_);
        const std::optional<ValidPage> valid = validate_page(physical);
        if (valid && valid->size_bytes() == options_.page_size) continue;
        recovery_.note_damage(
            {options_.partition, options_.blob_name, page * physical_size_, physical_size_,
             valid ? concat("page ", page, " has only ", valid->size_bytes(),
                            " valid bytes, and pages follow it")
                   : concat("page ", page, ": ", describe_invalid_page(physical))});
      }
    }
    return {};
  }

  Status refuse_other_page_size() {
    Bytes front(static_cast<size_t>(
        std::min<uint64_t>(blob_size_, uint64_t{kPageSizeMax} + kPageRecordSize)));
    TRY(blob_.read_at(0, front));
    const std::optional<uint32_t> fitting = find_page_size(front, blob_size_, options_.page_size);
    if (!fitting) return {};
    return fail(Errc::invalid_argument,
                concat(what_, ": page size ", options_.page_size,
                       " does not fit; its first page is valid with page size ", *fitting,
                       ": open it with that one. Nothing was changed"));
  }

  Blob& blob_;
  const PagedBlobOptions& options_;
  RecoveryLog& recovery_;
  const uint64_t physical_size_;
  const uint64_t blob_size_;
  const uint64_t pages_on_disk_;
  const std::string what_;
  StreamEnd end_;
};

}  // namespace

size_t pages_in_run(uint64_t physical_page_size) {
  return static_cast<size_t>(std::max<uint64_t>(1, kScanRunBytes / physical_page_size));
}

Result<ByteSpan> read_page_run(Blob& blob, uint64_t first_page, size_t count,
                               uint64_t physical_page_size, const std::string& what) {
  DCHECK(count == 1 || count <= pages_in_run(physical_page_size), "a run is bounded");
  const MutableByteSpan scratch = thread_scratch(count * physical_page_size);
  Status read = blob.read_at(first_page * physical_page_size, scratch);
  if (!read && read.error().code == Errc::out_of_range)
    return fail(Errc::corrupt, concat(what, ": pages ", first_page, " to ", first_page + count - 1,
                                      " must be on disk: ", read.error().message));
  TRY(std::move(read));
  return ByteSpan(scratch);
}

Result<FoundPage> read_last_page(Blob& blob, uint64_t page, uint64_t needed,
                                 uint64_t physical_page_size, const std::string& what) {
  for (int attempt = 1;; ++attempt) {
    TRY_INTO(const ByteSpan physical, read_page_run(blob, page, 1, physical_page_size, what));
    const FoundPage found{physical, validate_page(physical)};
    if (found.holds(needed) || attempt == kTornReadsMax) return found;
  }
}

std::string describe_invalid_page(ByteSpan physical_page) {
  const ByteSpan payload = physical_page.first(physical_page.size() - kPageRecordSize);
  const PageRecord record = decode_page_record(payload.data() + payload.size());
  return concat(describe_slot("slot 1", record.slots[0], payload), ", ",
                describe_slot("slot 2", record.slots[1], payload));
}

Result<StreamEnd> find_stream_end(Blob& blob, const PagedBlobOptions& options,
                                  RecoveryLog& recovery) {
  return EndFinder(blob, options, recovery).run();
}

namespace {

// Whether the slot at this place can be one of pages of the refused size, whose bytes a crash may
// have torn. It proves nothing about another size then, even if it fits the first bytes of the
// blob: pages often begin alike.
bool is_slot_of(size_t at, PageSlot slot, uint32_t page_size) {
  const size_t place = at % (page_size + kPageRecordSize);
  return slot.size_bytes <= page_size && (place == page_size || place == page_size + kPageSlotSize);
}

}  // namespace

std::optional<uint32_t> find_page_size(ByteSpan front, uint64_t blob_size,
                                       uint32_t refused_page_size) {
  if (front.size() <= kPageRecordSize) return std::nullopt;
  const size_t largest = std::min<size_t>(front.size() - kPageRecordSize, kPageSizeMax);
  // One checksum a prefix, so that trying every size costs one pass.
  std::vector<uint32_t> prefix_crcs(largest + 1);
  for (size_t i = 0; i < largest; ++i)
    prefix_crcs[i + 1] = extend_crc32c(prefix_crcs[i], front.subspan(i, 1));
  // A slot of the true size can look like the other slot of a neighbouring size, so a size that
  // divides the blob into whole pages goes before one that does not.
  std::optional<uint32_t> fitting;
  for (size_t size = 1; size <= largest; ++size) {
    const PageRecord record = decode_page_record(front.data() + size);
    bool is_valid = false;
    for (size_t i = 0; i < record.slots.size(); ++i) {
      const PageSlot slot = record.slots[i];
      const size_t at = size + i * kPageSlotSize;
      if (is_slot_of(at, slot, refused_page_size)) continue;
      is_valid = is_valid || (slot.size_bytes > 0 && slot.size_bytes <= size &&
                              prefix_crcs[slot.size_bytes] == slot.crc);
    }
    if (!is_valid) continue;
    if (blob_size % (size + kPageRecordSize) == 0) return static_cast<uint32_t>(size);
    if (!fitting) fitting = static_cast<uint32_t>(size);
  }
  return fitting;
}

}  // namespace firn::io
