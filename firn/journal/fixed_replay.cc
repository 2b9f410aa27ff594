// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/fixed_replay.h"

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/journal/fixed_journal.h"

namespace firn {

Result<FixedReplay> FixedJournal::replay(Section section, Position position,
                                         size_t buffer_bytes) const {
  std::vector<FixedReplay::Range> ranges;
  for (const Section candidate : table_.sections()) {
    if (candidate < section) continue;
    const auto found = size(candidate);
    if (!found) {
      if (found.error().code == Errc::pruned) continue;
      if (found.error().code != Errc::corrupt)
        return fail(found.error().code, found.error().message);
      ranges.push_back({.section = candidate, .damage = found.error()});
      continue;
    }
    const uint64_t end = *found;
    uint64_t begin = 0;
    if (candidate == section) {
      const uint64_t count = end / options_.record_size_bytes;
      if (position.value > count) {
        return fail(Errc::out_of_range,
                    concat("section ", section, " of partition ", options_.partition, " holds ",
                           count, " records; replay cannot start at ", position));
      }
      begin = position.value * options_.record_size_bytes;
    }
    ranges.push_back({.section = candidate, .begin = begin, .end = end});
  }
  return FixedReplay(*this, std::move(ranges), buffer_bytes);
}

Result<FixedReplay> FixedJournal::replay_section(Section section, Position position) const {
  TRY_INTO(const uint64_t end, size(section));
  const uint64_t begin = position.value * options_.record_size_bytes;
  CHECK(begin <= end, "a position in the section");
  return FixedReplay(*this, {{.section = section, .begin = begin, .end = end}}, kReplayBufferBytes);
}

FixedReplay::FixedReplay(const FixedJournal& journal, std::vector<Range> ranges,
                         size_t buffer_bytes)
    : journal_(&journal), ranges_(std::move(ranges)) {
  const size_t record = journal.record_size_bytes();
  buffer_.resize(std::max<size_t>(buffer_bytes / record, 1) * record);
  if (!ranges_.empty()) offset_ = ranges_[0].begin;
}

Result<std::optional<FixedReplay::Item>> FixedReplay::next() {
  const size_t record = journal_->record_size_bytes();
  while (current_ < ranges_.size()) {
    Range& range = ranges_[current_];
    if (range.damage) {
      failed_section_ = range.section;
      return std::unexpected(*std::exchange(range.damage, std::nullopt));
    }
    const bool buffered =
        offset_ >= buffer_offset_ && offset_ + record <= buffer_offset_ + buffer_size_;
    if (offset_ + record <= range.end && !buffered) {
      Status filled = fill(range);
      if (!filled) {
        failed_section_ = range.section;
        failed_offset_ = std::exchange(offset_, range.end);
        return pass_on(filled);
      }
    }
    if (offset_ + record <= range.end) {
      const ByteSpan bytes(buffer_.data() + (offset_ - buffer_offset_), record);
      const Item item{range.section, Position(offset_ / record), bytes};
      offset_ += record;
      return std::optional(item);
    }
    ++current_;
    buffer_size_ = 0;
    if (current_ < ranges_.size()) offset_ = ranges_[current_].begin;
  }
  return std::optional<Item>();
}

uint64_t FixedReplay::record_count() const {
  uint64_t bytes = 0;
  for (const Range& range : ranges_)
    bytes += range.end - range.begin;
  return bytes / journal_->record_size_bytes();
}

void FixedReplay::skip_damaged_page() {
  if (current_ >= ranges_.size() || ranges_[current_].section != failed_section_) return;
  const uint64_t record = journal_->record_size_bytes();
  const uint64_t next_page = end_of_damaged_page();
  offset_ = std::max(failed_offset_ + record, divide_rounding_up(next_page, record) * record);
  buffer_size_ = 0;
}

// Of the first page that lacks bytes of the record that failed. It lacks all bytes behind them,
// too, but the next page, to which the record may reach, can have everything.
uint64_t FixedReplay::end_of_damaged_page() {
  const uint64_t record = journal_->record_size_bytes();
  const uint64_t page = journal_->options_.page_size_bytes;
  const Position position(failed_offset_ / record);
  uint64_t at = failed_offset_;
  while (true) {
    const uint64_t page_end = (at / page + 1) * page;
    const uint64_t part = std::min(page_end, failed_offset_ + record) - at;
    const bool is_last = page_end >= failed_offset_ + record;
    const auto offset = static_cast<uint32_t>(at - failed_offset_);
    const MutableByteSpan bytes = MutableByteSpan(buffer_).first(part);
    if (is_last || !journal_->read_part(failed_section_, position, offset, bytes)) return page_end;
    at = page_end;
  }
}

Status FixedReplay::fill(const Range& range) {
  TRY_INTO(const auto handle, journal_->find_retained(range.section));
  if (handle == nullptr) {
    return fail(Errc::out_of_range, concat("section ", range.section, " of partition ",
                                           journal_->options_.partition, " was removed"));
  }
  // Records before a damaged page are still delivered: halve the read until it succeeds.
  const size_t record = journal_->record_size_bytes();
  buffer_offset_ = offset_;
  buffer_size_ = std::min<uint64_t>(buffer_.size(), range.end - offset_);
  while (true) {
    Status filled =
        handle->blob->read_sequential(offset_, MutableByteSpan(buffer_).first(buffer_size_));
    if (filled) return {};
    if (buffer_size_ <= record || filled.error().code != Errc::corrupt) {
      buffer_size_ = 0;
      return filled;
    }
    buffer_size_ = std::max<size_t>(buffer_size_ / 2 / record, 1) * record;
  }
}

}  // namespace firn
