// SPDX-License-Identifier: Apache-2.0
//
// PageSalvage: the pages of a blob, each on its own, whatever the others are like. A page has a
// computable place (FORMAT.md, section 2), so reading goes on behind a damaged one.
//
// Threads: one. Cost: pages are read in large runs; going back reads a run again.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "firn/base/bytes.h"
#include "firn/io/page_record.h"
#include "firn/io/storage.h"

namespace firn::io {

class PageSalvage {
 public:
  // `pages_back`: how many pages before the current one are looked at again.
  PageSalvage(Blob& blob, uint32_t page_size, uint64_t pages_back, std::string what);

  // Whole pages on disk.
  [[nodiscard]] uint64_t pages() const { return pages_; }
  // The payload under a checksum that holds; empty if there is none. Valid until the next call that
  // needs another run.
  [[nodiscard]] ByteSpan payload(uint64_t page);
  // Why payload() is empty or shorter than the page, for messages.
  [[nodiscard]] std::string problem(uint64_t page);
  // The page may have held more than payload(): the record that counts is invalid.
  [[nodiscard]] bool fell_back(uint64_t page);
  // Copies bytes of the stream; false if a page on the way is not valid up to there.
  [[nodiscard]] bool read(uint64_t offset, MutableByteSpan out);

  [[nodiscard]] uint64_t physical_offset(uint64_t page) const { return page * physical_size_; }

 private:
  [[nodiscard]] ByteSpan physical(uint64_t page);
  void load(uint64_t page);

  Blob& blob_;
  const uint64_t page_size_;
  const uint64_t physical_size_;
  const uint64_t pages_back_;
  const std::string what_;
  const uint64_t pages_;
  Buffer run_;
  uint64_t run_begin_ = 0;
  uint64_t run_count_ = 0;
  std::vector<uint32_t> valid_;                 // bytes of each page of the run
  std::map<uint64_t, std::string> unreadable_;  // pages of the run that the device does not give
};

}  // namespace firn::io
