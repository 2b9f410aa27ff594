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
  return check_not_hiding(first, last);
}

Result<std::vector<IndexedValue>> PrunableArchive::get_many(const IndexRange& range,
                                                            size_t max) const {
  std::vector<IndexedValue> values;
  auto index = range.start > range.end ? std::nullopt : next_index(range.start);
  uint64_t last = range.end;
  while (index && *index <= range.end && values.size() < max) {
    last = *index;
    for (const Locator& locator : locate(*index)) {
      gets_.fetch_add(1, std::memory_order_relaxed);
      auto location = log_->location_at(locator.section, locator.position.value);
      auto value = location ? read_value(locator.section, *location, *index)
                            : Result<Value>(std::unexpected(location.error()));
      const bool is_gone = !value && was_pruned(locator.section);
      if (!is_gone) values.push_back({*index, std::move(value)});
    }
    index = last == range.end ? std::nullopt : next_index(last + 1);
  }
  TRY(check_not_hiding(range.start, values.size() < max ? range.end : last));
  return values;
}

Status PrunableArchive::check_not_hiding(uint64_t first, uint64_t last) const {
  const auto* damage = damaged_.empty() || first > last ? nullptr : hiding_section(first, last);
  if (damage == nullptr) return {};
  return fail(Errc::corrupt,
              concat("items of section ", damage->first,
                     " may be missing, because its index is damaged: ", damage->second.message));
}

std::vector<Section> PrunableArchive::damaged_sections() const {
  const Section oldest(oldest_allowed());
  std::vector<Section> sections;
  for (auto damaged = damaged_.lower_bound(oldest); damaged != damaged_.end(); ++damaged)
    sections.push_back(damaged->first);
  return sections;
}

// What is hidden in damaged sections counts as there.
IndexGap PrunableArchive::next_gap(uint64_t index) const {
  const uint64_t last_of_section = items_per_section_ - 1;
  const auto end_of = [&](Section section) {
    const uint64_t first = section_of(section.value).value;
    return first + std::min(last_of_section, UINT64_MAX - first);
  };
  IndexGap gap;
  uint64_t at = index;
  while (true) {
    const auto* hidden = damaged_.empty() ? nullptr : hiding_section(at, at);
    ReaderLock lock(state_);
    const IndexGap known = intervals_.next_gap(at);
    gap.next_start = known.next_start;
    if (hidden == nullptr && !known.current_end) break;
    gap.current_end =
        std::max(known.current_end.value_or(0), hidden == nullptr ? 0 : end_of(hidden->first));
    if (*gap.current_end == UINT64_MAX) return {UINT64_MAX, std::nullopt};
    at = *gap.current_end + 1;
  }
  if (const auto* hidden = damaged_.empty() ? nullptr : hiding_section(at, UINT64_MAX))
    gap.next_start = std::min(gap.next_start.value_or(UINT64_MAX), hidden->first.value);
  return gap;
}

std::vector<uint64_t> PrunableArchive::missing_items(uint64_t start, size_t max) const {
  const auto may_be_there = [this](uint64_t index) {
    return !damaged_.empty() && hiding_section(index, index) != nullptr;
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
