// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: which indices there are, in order.
#include <algorithm>
#include <iterator>
#include <ranges>

#include "firn/archive/prunable_archive.h"
#include "firn/base/text.h"

namespace firn {

std::optional<uint64_t> PrunableArchive::next_index(uint64_t index) const {
  ReaderLock lock(state_);
  if (intervals_.contains(index)) return index;
  return intervals_.next_gap(index).next_start;
}

std::optional<uint64_t> PrunableArchive::previous_index(uint64_t index) const {
  ReaderLock lock(state_);
  if (intervals_.contains(index)) return index;
  const auto range = intervals_.range_before(index);
  if (!range) return std::nullopt;
  return range->end;
}

Status PrunableArchive::visit(uint64_t first, uint64_t last, bool reverse,
                              const Visitor& visitor) const {
  if (first > last) return {};
  const uint64_t stop = reverse ? first : last;
  auto index = reverse ? previous_index(last) : next_index(first);
  while (index && (reverse ? *index >= first : *index <= last)) {
    for (const Locator& locator : locate(*index)) {
      TRY_INTO(const auto item, read_item(locator));
      if (item && !visitor(*item)) return {};
    }
    if (*index == stop) break;
    index = reverse ? previous_index(*index - 1) : next_index(*index + 1);
  }
  for (const Section damaged : damaged_) {
    if (section_of(first) <= damaged && damaged.value <= last) {
      return fail(Errc::corrupt, concat("items of section ", damaged,
                                        " may be missing: its index is damaged; run verify"));
    }
  }
  return {};
}

IndexGap PrunableArchive::next_gap(uint64_t index) const {
  ReaderLock lock(state_);
  return intervals_.next_gap(index);
}

std::vector<uint64_t> PrunableArchive::missing_items(uint64_t start, size_t max) const {
  const auto may_be_there = [this](uint64_t index) {
    return std::ranges::binary_search(damaged_, section_of(index));
  };
  std::vector<uint64_t> missing;
  ReaderLock lock(state_);
  while (missing.size() < max) {
    const size_t wanted = max - missing.size();
    const std::vector<uint64_t> found = intervals_.missing_items(start, wanted);
    std::ranges::remove_copy_if(found, std::back_inserter(missing), may_be_there);
    if (found.size() < wanted || found.back() == UINT64_MAX) break;
    start = found.back() + 1;
  }
  return missing;
}

std::vector<IndexRange> PrunableArchive::ranges(uint64_t from, size_t max) const {
  std::vector<IndexRange> result;
  ReaderLock lock(state_);
  for (const IndexRange& range : intervals_.ranges_from(from)) {
    if (result.size() == max) break;
    result.push_back(range);
  }
  return result;
}

std::optional<uint64_t> PrunableArchive::first_index() const {
  ReaderLock lock(state_);
  return intervals_.first_index();
}

std::optional<uint64_t> PrunableArchive::last_index() const {
  ReaderLock lock(state_);
  return intervals_.last_index();
}

uint64_t PrunableArchive::oldest_allowed() const {
  ReaderLock lock(state_);
  return oldest_allowed_;
}

}  // namespace firn
