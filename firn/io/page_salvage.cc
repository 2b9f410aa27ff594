// SPDX-License-Identifier: Apache-2.0
#include "firn/io/page_salvage.h"

#include <algorithm>
#include <utility>

#include "firn/base/text.h"
#include "firn/io/page_scan.h"

namespace firn::io {

PageSalvage::PageSalvage(Blob& blob, uint32_t page_size, uint64_t pages_back, std::string what)
    : blob_(blob),
      page_size_(page_size),
      physical_size_(uint64_t{page_size} + kPageRecordSize),
      pages_back_(pages_back),
      what_(std::move(what)),
      pages_(blob.size() / physical_size_) {
  run_ = Buffer((pages_back_ + pages_in_run(physical_size_)) * physical_size_);
}

void PageSalvage::load(uint64_t page) {
  run_begin_ = page - std::min(page, pages_back_);
  run_count_ = std::min<uint64_t>(run_.size() / physical_size_, pages_ - run_begin_);
  unreadable_.clear();
  const MutableByteSpan all = run_.mutable_bytes().first(run_count_ * physical_size_);
  if (!blob_.read_at(run_begin_ * physical_size_, all)) {
    // One bad sector must not cost its neighbours.
    for (uint64_t i = 0; i < run_count_; ++i) {
      const MutableByteSpan one = all.subspan(i * physical_size_, physical_size_);
      const Status read = blob_.read_at((run_begin_ + i) * physical_size_, one);
      if (read) continue;
      std::ranges::fill(one, std::byte{0});
      unreadable_[run_begin_ + i] = read.error().message;
    }
  }
  valid_.assign(run_count_, 0);
  for (uint64_t i = 0; i < run_count_; ++i)
    if (const auto valid = validate_page(all.subspan(i * physical_size_, physical_size_)))
      valid_[i] = valid->size_bytes();
}

ByteSpan PageSalvage::physical(uint64_t page) {
  if (page < run_begin_ || page >= run_begin_ + run_count_) load(page);
  return run_.bytes().subspan((page - run_begin_) * physical_size_, physical_size_);
}

ByteSpan PageSalvage::payload(uint64_t page) {
  const ByteSpan bytes = physical(page);
  return bytes.first(valid_[page - run_begin_]);
}

std::string PageSalvage::problem(uint64_t page) {
  const ByteSpan bytes = physical(page);
  if (const auto failed = unreadable_.find(page); failed != unreadable_.end())
    return failed->second;
  const auto valid = validate_page(bytes);
  if (!valid) return concat(what_, ": page ", page, ": ", describe_invalid_page(bytes));
  if (valid->fell_back) {
    return concat(what_, ": page ", page, ": its longer record is invalid, the other one covers ",
                  valid->size_bytes(), " of ", page_size_, " bytes");
  }
  return concat(what_, ": page ", page, " holds only ", valid->size_bytes(), " of ", page_size_,
                " bytes");
}

bool PageSalvage::fell_back(uint64_t page) {
  const auto valid = validate_page(physical(page));
  return valid && valid->fell_back && valid->size_bytes() < page_size_;
}

bool PageSalvage::read(uint64_t offset, MutableByteSpan out) {
  while (!out.empty()) {
    const uint64_t page = offset / page_size_;
    if (page >= pages_) return false;
    const ByteSpan bytes = payload(page);
    const uint64_t skipped = offset % page_size_;
    const uint64_t wanted = std::min<uint64_t>(out.size(), page_size_ - skipped);
    if (bytes.size() < skipped + wanted) return false;
    copy_bytes(out, bytes.subspan(skipped, wanted));
    out = out.subspan(wanted);
    offset += wanted;
  }
  return true;
}

}  // namespace firn::io
