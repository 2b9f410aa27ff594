// SPDX-License-Identifier: Apache-2.0
//
// FixedReplay: the records of a FixedJournal, one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"

namespace firn {

class FixedJournal;

inline constexpr size_t kReplayBufferBytes = 256 << 10;

// Reads the records of a journal in order, from a snapshot of the section sizes, in large reads
// that bypass the page cache. An error ends its section: it is returned once, and the next call
// goes on with the next section. Must not outlive the journal. One thread.
class FixedReplay {
 public:
  struct Item {
    Section section;
    Position position;
    ByteSpan record;  // valid until the next call
  };

  // nullopt at the end.
  [[nodiscard]] Result<std::optional<Item>> next();

  // How many records the snapshot holds, the ones already handed out included.
  [[nodiscard]] uint64_t record_count() const;

  // After next() failed: the section that it failed in.
  [[nodiscard]] Section failed_section() const { return failed_section_; }
  // After next() failed with Errc::corrupt: go on in the same section, after the damaged page.
  void skip_damaged_page();

 private:
  friend class FixedJournal;
  struct Range {
    Section section;
    uint64_t begin = 0;  // bytes
    uint64_t end = 0;
    std::optional<Error> damage = std::nullopt;  // nothing of the section can be read
  };

  FixedReplay(const FixedJournal& journal, std::vector<Range> ranges, size_t buffer_bytes);
  [[nodiscard]] Status fill(const Range& range);
  [[nodiscard]] uint64_t end_of_damaged_page();

  const FixedJournal* journal_;
  std::vector<Range> ranges_;
  size_t current_ = 0;  // index into ranges_
  Section failed_section_;
  uint64_t failed_offset_ = 0;
  uint64_t offset_ = 0;  // next byte of the current range to hand out
  Bytes buffer_;
  uint64_t buffer_offset_ = 0;
  size_t buffer_size_ = 0;
};

}  // namespace firn
