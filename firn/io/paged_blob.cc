// SPDX-License-Identifier: Apache-2.0
#include "firn/io/paged_blob.h"

#include <algorithm>
#include <array>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_record.h"
#include "firn/io/page_scan.h"

namespace firn {
namespace {

constexpr uint64_t kStreamSizeMaxBytes = UINT64_MAX / 4;
constexpr size_t kIdleTipMaxBytes = size_t{64} * 1024;
constexpr std::array<std::byte, kPageSlotSize> kUnusedSlot = {};

}  // namespace

PagedBlob::PagedBlob(std::unique_ptr<Blob> blob, const PagedBlobOptions& options)
    : blob_(std::move(blob)),
      options_(options),
      page_size_(options.page_size),
      capacity_(std::max<uint64_t>(options.write_buffer_bytes, 2 * page_size_)) {}

PagedBlob::~PagedBlob() = default;

uint64_t PagedBlob::size() const {
  return size_.load(std::memory_order_acquire);
}

uint64_t PagedBlob::durable_size() const {
  return durable_size_.load(std::memory_order_acquire);
}

bool PagedBlob::append_would_write(size_t size_bytes) const {
  const uint64_t buffered = end_ - tip_offset_.load(std::memory_order_relaxed);
  return size_bytes > capacity_ || buffered + size_bytes > capacity_;
}

std::string PagedBlob::where(uint64_t page) const {
  return concat("blob ", options_.partition, "/", options_.blob_name, ": page ", page,
                " at file offset ", file_offset(page * physical_size()));
}

Status PagedBlob::check_healthy() const {
  if (!first_failure_) return {};
  return fail(Errc::poisoned,
              concat("blob ", options_.partition, "/", options_.blob_name,
                     ": an earlier change failed, reopen to recover: ", first_failure_->message));
}

Status PagedBlob::poison(Status failure) {
  first_failure_ = failure.error();
  return failure;
}

const PagedBlob::ProtectedSlot* PagedBlob::protected_slot_of(uint64_t page) const {
  const uint64_t durable = durable_size_.load(std::memory_order_relaxed);
  const bool is_durable_partial = durable % page_size_ != 0 && durable / page_size_ == page;
  return is_durable_partial && protected_ ? &*protected_ : nullptr;
}

uint32_t PagedBlob::page_crc(uint64_t page, ByteSpan payload) {
  if (running_.page != page) running_ = {page, 0, crc32c({})};
  CHECK(running_.size_bytes <= payload.size(), "a page grows until a cut forgets its checksum");
  const uint32_t crc = extend_crc32c(running_.crc, payload.subspan(running_.size_bytes));
  running_ = {page, static_cast<uint32_t>(payload.size()), crc};
  return crc;
}

// ---------------------------------------------------------------------------------------- append

Status PagedBlob::append(ByteSpan bytes) {
  TRY(check_healthy());
  if (bytes.size() > kStreamSizeMaxBytes - end_)
    return fail(Errc::invalid_argument,
                concat("blob ", options_.partition, "/", options_.blob_name, ": append of ",
                       bytes.size(), " bytes at ", end_, " exceeds the largest stream"));
  while (!bytes.empty()) {
    const uint64_t buffered = end_ - tip_offset_.load(std::memory_order_relaxed);
    const size_t room = static_cast<size_t>(capacity_ + page_size_ - buffered);
    const ByteSpan piece = bytes.first(std::min(room, bytes.size()));
    copy_to_tip(piece);
    bytes = bytes.subspan(piece.size());
    if (buffered + piece.size() <= capacity_) continue;
    if (auto written = write_tip(false); !written) return poison(pass_on(written));
  }
  size_.store(end_, std::memory_order_release);
  return {};
}

void PagedBlob::copy_to_tip(ByteSpan bytes) {
  MutexLock lock(mutex_);
  uint64_t at = end_ - tip_offset_.load(std::memory_order_relaxed);
  const uint64_t pages_needed = divide_rounding_up(at + bytes.size(), page_size_);
  if (tip_.size() < pages_needed * physical_size()) {
    const uint64_t doubled =
        std::min(2 * tip_.size(), (capacity_ / page_size_ + 2) * physical_size());
    Buffer grown(static_cast<size_t>(std::max(pages_needed * physical_size(), doubled)));
    const uint64_t used_pages = divide_rounding_up(at, page_size_);
    copy_bytes(grown.mutable_bytes(), tip_.bytes().first(used_pages * physical_size()));
    tip_ = std::move(grown);
  }
  end_ += bytes.size();
  while (!bytes.empty()) {
    const uint64_t in_page = at % page_size_;
    const size_t count = std::min<size_t>(page_size_ - in_page, bytes.size());
    copy_bytes(tip_.mutable_bytes().subspan(at / page_size_ * physical_size() + in_page),
               bytes.first(count));
    bytes = bytes.subspan(count);
    at += count;
  }
}

// ------------------------------------------------------------------------------------------ sync

Status PagedBlob::sync() {
  TRY(check_healthy());
  if (!unsynced_ && end_ == durable_size_.load(std::memory_order_relaxed)) return {};
  auto written = write_tip(true);
  if (!written) return poison(pass_on(written));
  if (Status synced = blob_->sync(); !synced) return poison(std::move(synced));
  unsynced_ = false;
  protected_ = *written;
  durable_size_.store(end_, std::memory_order_release);
  release_idle_tip();
  return {};
}

// Writes the full pages of the tip, which then leave it, and with `with_partial` the last, partial
// one, whose new record is returned.
Result<std::optional<PagedBlob::ProtectedSlot>> PagedBlob::write_tip(bool with_partial) {
  const uint64_t tip_offset = tip_offset_.load(std::memory_order_relaxed);
  const uint64_t first_page = tip_offset / page_size_;
  const uint64_t full = (end_ - tip_offset) / page_size_;
  const size_t rest = static_cast<size_t>((end_ - tip_offset) % page_size_);
  const ProtectedSlot* old = protected_slot_of(first_page);
  const bool writes_partial = with_partial && rest > 0;
  const uint64_t pages = full + (writes_partial ? 1 : 0);
  if (pages == 0) return std::nullopt;

  MutableByteSpan image;
  {
    // Only this thread moves the tip, and readers never look at padding or records.
    MutexLock lock(mutex_);
    image = tip_.mutable_bytes().first(pages * physical_size());
  }
  std::optional<ProtectedSlot> partial_slot;
  for (uint64_t i = 0; i < pages; ++i) {
    const MutableByteSpan page = image.subspan(i * physical_size(), physical_size());
    const size_t size = i < full ? page_size_ : rest;
    std::fill(page.begin() + static_cast<ptrdiff_t>(size),
              page.begin() + static_cast<ptrdiff_t>(page_size_), std::byte{0});
    const PageSlot fresh{static_cast<uint16_t>(size), page_crc(first_page + i, page.first(size))};
    PageRecord record;
    size_t slot = 0;
    if (i == 0 && old != nullptr) {
      record.slots[old->slot] = {static_cast<uint16_t>(old->size_bytes), old->crc};
      slot = 1 - old->slot;
    }
    record.slots[slot] = fresh;
    encode_page_record(&page[page_size_], record);
    if (i >= full) partial_slot = ProtectedSlot{slot, fresh.size_bytes, fresh.crc};
  }
  unsynced_ = true;
  TRY(write_image(first_page, image, old));
  drop_full_pages(full);
  return partial_slot;
}

// A protected slot and the payload that it covers lie in the first page; nothing of them is
// written.
Status PagedBlob::write_image(uint64_t first_page, ByteSpan image,
                              const ProtectedSlot* protected_slot) {
  const uint64_t base = first_page * physical_size();
  if (protected_slot == nullptr) return blob_->write_at(base, image);
  const size_t kept = protected_slot->size_bytes;
  if (protected_slot->slot == 0) {
    const size_t second_slot = page_size_ + kPageSlotSize;
    TRY(blob_->write_at(base + kept, image.subspan(kept, page_size_ - kept)));
    return blob_->write_at(base + second_slot, image.subspan(second_slot));
  }
  TRY(blob_->write_at(base + kept, image.subspan(kept, page_size_ + kPageSlotSize - kept)));
  if (image.size() == physical_size()) return {};
  return blob_->write_at(base + physical_size(), image.subspan(physical_size()));
}

void PagedBlob::drop_full_pages(uint64_t pages) {
  if (pages == 0) return;
  MutexLock lock(mutex_);
  const uint64_t tip_offset = tip_offset_.load(std::memory_order_relaxed) + pages * page_size_;
  const size_t rest = static_cast<size_t>(end_ - tip_offset);
  // The rest is shorter than a page, so the ranges do not overlap.
  copy_bytes(tip_.mutable_bytes(), tip_.bytes().subspan(pages * physical_size(), rest));
  tip_offset_.store(tip_offset, std::memory_order_release);
}

// After a sync less than a page is left: an idle blob pins no more of a large buffer.
void PagedBlob::release_idle_tip() {
  MutexLock lock(mutex_);
  const size_t rest = static_cast<size_t>(end_ - tip_offset_.load(std::memory_order_relaxed));
  if (rest == 0) {
    tip_ = Buffer();
  } else if (tip_.size() > kIdleTipMaxBytes) {
    Buffer small(physical_size());
    copy_bytes(small.mutable_bytes(), tip_.bytes().first(rest));
    tip_ = std::move(small);
  }
}

// -------------------------------------------------------------------------------------- truncate

Status PagedBlob::truncate(uint64_t size) {
  TRY(check_healthy());
  if (size > end_)
    return fail(Errc::invalid_argument,
                concat("blob ", options_.partition, "/", options_.blob_name, ": truncation to ",
                       size, " bytes, beyond its size of ", end_));
  if (size == end_) return {};
  const bool is_in_memory = size >= tip_offset_.load(std::memory_order_relaxed) &&
                            size >= durable_size_.load(std::memory_order_relaxed);
  if (is_in_memory) {
    running_ = {};
    end_ = size;
    MutexLock lock(mutex_);
    size_.store(size, std::memory_order_release);
    return {};
  }
  TRY_INTO(const KeptPage kept, load_kept_page(size));
  publish_cut(size, kept);
  if (Status cut = cut_file(kept); !cut) return poison(std::move(cut));
  return {};
}

Status PagedBlob::cut_view(uint64_t size) {
  CHECK(size <= end_, "a view is cut to a part of it");
  TRY_INTO(const KeptPage kept, load_kept_page(size));
  publish_cut(size, kept);
  return {};
}

// What truncate keeps of the page that `size` falls into.
Result<PagedBlob::KeptPage> PagedBlob::load_kept_page(uint64_t size) {
  KeptPage kept;
  kept.page = size / page_size_;
  kept.payload.resize(static_cast<size_t>(size % page_size_));
  if (kept.payload.empty()) return kept;
  if (const ProtectedSlot* slot = protected_slot_of(kept.page)) kept.durable_slot = *slot;
  if (kept.page * page_size_ >= tip_offset_.load(std::memory_order_relaxed)) {
    MutexLock lock(mutex_);
    copy_bytes(kept.payload, tip_.bytes().first(kept.payload.size()));
    return kept;
  }
  TRY_INTO(const ByteSpan physical,
           io::read_page_run(*blob_, kept.page, 1, physical_size(), where(kept.page)));
  const std::optional<ValidPage> valid = validate_page(physical);
  if (!valid || valid->size_bytes() != page_size_)
    return fail(Errc::corrupt, concat(where(kept.page), ": cannot cut inside a page that is not ",
                                      "valid: ", io::describe_invalid_page(physical)));
  copy_bytes(kept.payload, physical.first(kept.payload.size()));
  if (kept.page < durable_size_.load(std::memory_order_relaxed) / page_size_)
    kept.durable_slot = {valid->slot, valid->size_bytes(), valid->counting_slot().crc};
  return kept;
}

// Makes readers see the shorter stream, before the file changes.
void PagedBlob::publish_cut(uint64_t size, const KeptPage& kept) {
  running_ = {};
  end_ = size;
  MutexLock lock(mutex_);
  if (tip_.size() < kept.payload.size()) tip_ = Buffer(physical_size());
  copy_bytes(tip_.mutable_bytes(), kept.payload);
  size_.store(size, std::memory_order_release);
  const uint64_t tip_offset = kept.page * page_size_;
  if (tip_offset < tip_offset_.load(std::memory_order_relaxed)) {
    tip_offset_.store(tip_offset, std::memory_order_release);
    options_.cache->evict_from(options_.cache_id, kept.page);
  }
  if (size < durable_size_.load(std::memory_order_relaxed))
    durable_size_.store(size, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

// Cuts the file to what is kept. The durable slot of the kept page stays untouched until a record
// of the shorter length is durable in the other one; a power cut finds the old length or the new
// one.
Status PagedBlob::cut_file(const KeptPage& kept) {
  const bool keeps_page = kept.durable_slot.has_value();
  const uint64_t physical_end = (kept.page + (keeps_page ? 1 : 0)) * physical_size();
  if (blob_->size() > physical_end) TRY(blob_->resize(physical_end));
  if (!keeps_page) {
    TRY(blob_->sync());
    unsynced_ = false;
    protected_.reset();
    durable_size_.store(kept.page * page_size_, std::memory_order_release);
    return {};
  }
  const ProtectedSlot durable = *kept.durable_slot;
  const uint64_t record = kept.page * physical_size() + page_size_;
  const size_t free_slot = 1 - durable.slot;
  const uint32_t size = static_cast<uint32_t>(kept.payload.size());
  ProtectedSlot shorter = durable;
  std::array<std::byte, kPageSlotSize> encoded = kUnusedSlot;
  if (size != durable.size_bytes) {
    shorter = {free_slot, size, page_crc(kept.page, kept.payload)};
    encode_page_slot(encoded.data(), {static_cast<uint16_t>(size), shorter.crc});
  }
  TRY(blob_->write_at(record + free_slot * kPageSlotSize, encoded));
  TRY(blob_->sync());
  if (size < durable.size_bytes) {
    TRY(blob_->write_at(record + durable.slot * kPageSlotSize, kUnusedSlot));
    TRY(blob_->sync());
  }
  unsynced_ = false;
  protected_ = shorter;
  durable_size_.store(kept.page * page_size_ + size, std::memory_order_release);
  return {};
}

// ----------------------------------------------------------------------------------------- reads

Status PagedBlob::read_at(uint64_t offset, MutableByteSpan out) const {
  return read(offset, out, true);
}

bool PagedBlob::read_cached(uint64_t offset, MutableByteSpan out) const {
  const uint64_t generation = generation_.load(std::memory_order_acquire);
  // An append that writes pages moves the tip before it counts.
  const uint64_t end =
      std::min(tip_offset_.load(std::memory_order_acquire), size_.load(std::memory_order_acquire));
  if (out.empty() || offset > end || out.size() > end - offset) return false;
  return options_.cache->read_range(options_.cache_id, page_size_, offset, out) &&
         generation_.load(std::memory_order_seq_cst) == generation;
}

PageCache::Wanted PagedBlob::wanted(uint64_t offset, uint32_t size_bytes) const {
  const uint64_t below_tip = tip_offset_.load(std::memory_order_acquire);
  if (offset > below_tip || size_bytes > below_tip - offset) return {};
  return {options_.cache_id, static_cast<uint32_t>(page_size_), offset, size_bytes};
}

Status PagedBlob::read_sequential(uint64_t offset, MutableByteSpan out) const {
  return read(offset, out, false);
}

Status PagedBlob::read(uint64_t offset, MutableByteSpan out, bool use_cache) const {
  const auto check_range = [&] {
    const uint64_t size = size_.load(std::memory_order_acquire);
    if (offset <= size && out.size() <= size - offset) return Status();
    return Status(fail(Errc::out_of_range,
                       concat("blob ", options_.partition, "/", options_.blob_name, ": read of ",
                              out.size(), " bytes at ", offset, " beyond its size of ", size)));
  };
  while (true) {
    const uint64_t generation = generation_.load(std::memory_order_acquire);
    TRY(check_range());
    const uint64_t end = offset + out.size();
    MutableByteSpan below_tip = out;
    if (end > tip_offset_.load(std::memory_order_acquire)) {
      MutexLock lock(mutex_);
      TRY(check_range());
      const uint64_t tip_offset = tip_offset_.load(std::memory_order_relaxed);
      below_tip = out.first(static_cast<size_t>(std::clamp(tip_offset, offset, end) - offset));
      uint64_t at = std::max(tip_offset, offset) - tip_offset;
      for (MutableByteSpan left = out.subspan(below_tip.size()); !left.empty();) {
        const uint64_t in_page = at % page_size_;
        const size_t count = std::min<size_t>(page_size_ - in_page, left.size());
        copy_bytes(left, tip_.bytes().subspan(at / page_size_ * physical_size() + in_page, count));
        left = left.subspan(count);
        at += count;
      }
    }
    Status read = read_full_pages(offset, below_tip, use_cache, generation);
    // Pages were found by loads that acquire, or read by a system call: this load cannot come
    // before that, and a page that was found does not change.
    if (generation_.load(std::memory_order_seq_cst) == generation) return read;
  }
}

// Reads a range below the tip. A page that lost its full length still gives its valid bytes.
Status PagedBlob::read_full_pages(uint64_t offset, MutableByteSpan out, bool use_cache,
                                  uint64_t generation) const {
  PageCache& cache = *options_.cache;
  while (!out.empty()) {
    uint64_t page = offset / page_size_;
    uint64_t in_page = offset % page_size_;
    size_t count = std::min<size_t>(page_size_ - in_page, out.size());
    if (use_cache && cache.read(options_.cache_id, page, in_page, out.first(count))) {
      out = out.subspan(count);
      offset += count;
      continue;
    }
    const uint64_t pages_left = divide_rounding_up(in_page + out.size(), page_size_);
    const size_t run =
        static_cast<size_t>(std::min<uint64_t>(io::pages_in_run(physical_size()), pages_left));
    TRY_INTO(const ByteSpan physical,
             io::read_page_run(*blob_, page, run, physical_size(), where(page)));
    for (size_t i = 0; i < run; ++i, ++page) {
      const ByteSpan one = physical.subspan(i * physical_size(), physical_size());
      const std::optional<ValidPage> valid = validate_page(one);
      in_page = offset % page_size_;
      count = std::min<size_t>(page_size_ - in_page, out.size());
      if (!valid || in_page + count > valid->size_bytes())
        return fail(Errc::corrupt,
                    concat(where(page), ": expected ", page_size_, " valid bytes, found ",
                           valid ? valid->size_bytes() : 0u, " (", io::describe_invalid_page(one),
                           "): restore the blob"));
      copy_bytes(out, one.subspan(in_page, count));
      out = out.subspan(count);
      offset += count;
      if (!use_cache || valid->size_bytes() != page_size_) continue;
      // Under the mutex, so that a page cut meanwhile cannot enter the cache after its eviction.
      MutexLock lock(mutex_);
      if (generation_.load(std::memory_order_relaxed) == generation)
        cache.insert(options_.cache_id, page, one.first(page_size_));
    }
  }
  return {};
}

Status PagedBlob::verify(RecoveryLog& findings) const {
  const uint64_t durable = durable_size();
  const uint64_t pages = divide_rounding_up(durable, page_size_);
  const uint64_t pages_on_disk = std::min(pages, blob_->size() / physical_size());
  const auto note = [&](uint64_t page, uint64_t page_count, std::string reason) {
    findings.note_damage({options_.partition, options_.blob_name, page * physical_size(),
                          page_count * physical_size(), std::move(reason)});
  };
  for (uint64_t page = 0; page < pages_on_disk;) {
    const uint64_t run =
        std::min<uint64_t>(io::pages_in_run(physical_size()), pages_on_disk - page);
    TRY_INTO(const ByteSpan physical, io::read_page_run(*blob_, page, static_cast<size_t>(run),
                                                        physical_size(), where(page)));
    for (uint64_t i = 0; i < run; ++i, ++page) {
      const ByteSpan bytes = physical.subspan(i * physical_size(), physical_size());
      io::FoundPage found{bytes, validate_page(bytes)};
      const uint64_t needed = std::min(page_size_, durable - page * page_size_);
      if (!found.holds(needed) && page + 1 == pages) {
        TRY_INTO(found, io::read_last_page(*blob_, page, needed, physical_size(), where(page)));
      }
      if (!found.holds(needed))
        note(page, 1,
             concat("page ", page, ": expected ", needed,
                    " valid bytes: ", io::describe_invalid_page(found.physical)));
    }
  }
  if (pages_on_disk < pages)
    note(pages_on_disk, pages - pages_on_disk,
         concat("pages ", pages_on_disk, " to ", pages - 1, " are missing"));
  return {};
}

}  // namespace firn
