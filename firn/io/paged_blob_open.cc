// SPDX-License-Identifier: Apache-2.0
//
// How a PagedBlob opens: find where the stream ends, save and cut what follows, make the rest
// durable.
#include <algorithm>
#include <array>
#include <utility>

#include "firn/base/text.h"
#include "firn/io/page_record.h"
#include "firn/io/page_scan.h"
#include "firn/io/paged_blob.h"

namespace firn {
namespace {

Status check_options(const PagedBlobOptions& options) {
  if (options.page_size == 0 || options.page_size > kPageSizeMax)
    return fail(Errc::invalid_argument,
                concat("page size ", options.page_size, ": expected 1 to ", kPageSizeMax));
  if (options.record_size == 0)
    return fail(Errc::invalid_argument, "record size 0: expected at least 1");
  if (options.ends_at_floor && !options.floor)
    return fail(Errc::invalid_argument, "a paged blob that ends at its floor needs one");
  if (options.cache == nullptr)
    return fail(Errc::invalid_argument, "a paged blob needs a page cache (of 0 bytes, if none)");
  return {};
}

// What recovery takes away from the end of a blob, and why.
struct Cut {
  uint64_t physical_begin = UINT64_MAX;  // the first byte worth saving
  std::string reason;

  void add(uint64_t begin, const std::string& why) {
    physical_begin = std::min(physical_begin, begin);
    reason = reason.empty() ? why : concat(reason, "; ", why);
  }
};

}  // namespace

Result<std::unique_ptr<PagedBlob>> PagedBlob::open(std::unique_ptr<Blob> blob,
                                                   const PagedBlobOptions& options,
                                                   RecoveryLog& recovery) {
  TRY(check_options(options));
  TRY_INTO(const io::StreamEnd end, io::find_stream_end(*blob, options, recovery));
  if (options.ends_at_floor) {
    std::unique_ptr<PagedBlob> paged(new PagedBlob(std::move(blob), options));
    paged->adopt(*options.floor, end.last_payload, std::nullopt);
    return paged;
  }
  const uint64_t physical_page = uint64_t{options.page_size} + kPageRecordSize;
  const uint64_t physical_end = end.pages * physical_page;
  const uint64_t blob_size = blob->size();
  const uint64_t floor = options.floor.value_or(0);
  const uint64_t found =
      end.last ? (end.pages - 1) * options.page_size + end.last->size_bytes() : 0;
  const uint64_t kept =
      found > floor ? std::max(floor, found - found % options.record_size) : found;

  Cut cut;
  if (blob_size > physical_end) cut.add(physical_end, end.cut_reason);
  const bool fell_back = end.last && end.last->fell_back;
  if (fell_back)
    cut.add(physical_end - physical_page,
            concat("the longer record of page ", end.pages - 1,
                   " is invalid, its other one covers ", end.last->size_bytes(), " bytes"));
  if (kept < found)
    cut.add(kept / options.page_size * physical_page,
            concat("the last ", found - kept, " payload bytes are a fraction of a record of ",
                   options.record_size));
  if (!cut.reason.empty())
    TRY(recovery.save_before_cut(*blob, {options.partition, options.blob_name, cut.physical_begin,
                                         blob_size - cut.physical_begin, cut.reason}));

  if (!recovery.read_only()) {
    if (blob_size > physical_end) TRY(blob->resize(physical_end));
    if (fell_back) {
      // Only one slot is valid: the other one is zeroed, so that the next open has nothing to cut.
      const std::array<std::byte, kPageSlotSize> unused = {};
      TRY(blob->write_at(physical_end - kPageRecordSize + (1 - end.last->slot) * kPageSlotSize,
                         unused));
    }
    if (!cut.reason.empty() || found > floor) TRY(blob->sync());
  }

  std::unique_ptr<PagedBlob> paged(new PagedBlob(std::move(blob), options));
  std::optional<ProtectedSlot> slot;
  if (!end.last_payload.empty())
    slot = {end.last->slot, end.last->size_bytes(), end.last->counting_slot().crc};
  paged->adopt(found, end.last_payload, slot);
  if (kept < found) TRY(recovery.read_only() ? paged->cut_view(kept) : paged->truncate(kept));
  return paged;
}

void PagedBlob::adopt(uint64_t size, ByteSpan partial_payload, std::optional<ProtectedSlot> slot) {
  const uint64_t page = size / page_size_;
  end_ = size;
  protected_ = slot;
  if (slot) running_ = {page, slot->size_bytes, slot->crc};
  MutexLock lock(mutex_);
  if (!partial_payload.empty()) tip_ = Buffer(physical_size());
  copy_bytes(tip_.mutable_bytes(), partial_payload);
  tip_offset_.store(page * page_size_, std::memory_order_release);
  durable_size_.store(size, std::memory_order_release);
  size_.store(size, std::memory_order_release);
}

Status PagedBlob::save_before_cut(uint64_t size, std::string reason, RecoveryLog& recovery) const {
  const uint64_t begin = size / page_size_ * physical_size();
  return recovery.save_before_cut(*blob_, {options_.partition, options_.blob_name, begin,
                                           blob_->size() - begin, std::move(reason)});
}

}  // namespace firn
