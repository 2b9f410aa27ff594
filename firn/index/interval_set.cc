// SPDX-License-Identifier: Apache-2.0
#include "firn/index/interval_set.h"

#include <algorithm>
#include <limits>

namespace firn {
namespace {

constexpr size_t kChunkRangesMax = 256;
constexpr size_t kChunkRangesMerged = 192;  // below the maximum, so that a merge is not undone soon
constexpr size_t kChunkGrowthRanges = 32;   // bounds the slack of a chunk
constexpr size_t kMapNodeOverheadBytes = 48;
constexpr uint64_t kIndexMax = std::numeric_limits<uint64_t>::max();

// Modulo 2^64: the full range counts as 0.
uint64_t length(IndexRange range) {
  return range.end - range.start + 1;
}

// The position of the first range with start > index.
size_t position_after(const std::vector<IndexRange>& chunk, uint64_t index) {
  const auto after = std::ranges::upper_bound(chunk, index, {}, &IndexRange::start);
  return static_cast<size_t>(after - chunk.begin());
}

void insert_at(std::vector<IndexRange>& chunk, size_t position, IndexRange range) {
  if (chunk.size() == chunk.capacity() && chunk.capacity() >= kChunkGrowthRanges)
    chunk.reserve(std::min(kChunkRangesMax, chunk.capacity() + kChunkGrowthRanges));
  chunk.insert(chunk.begin() + static_cast<std::ptrdiff_t>(position), range);
}

}  // namespace

IntervalSet::Iterator& IntervalSet::Iterator::operator++() {
  if (++position_ == chunk_->second.size()) {
    ++chunk_;
    position_ = 0;
  }
  return *this;
}

IntervalSet::Iterator IntervalSet::Iterator::operator++(int) {
  Iterator before = *this;
  ++*this;
  return before;
}

IntervalSet::Iterator& IntervalSet::Iterator::operator--() {
  if (position_ == 0) {
    --chunk_;
    position_ = chunk_->second.size();
  }
  --position_;
  return *this;
}

IntervalSet::Iterator IntervalSet::Iterator::operator--(int) {
  Iterator before = *this;
  --*this;
  return before;
}

IntervalSet::Iterator IntervalSet::first_after(uint64_t index) const {
  auto chunk = chunks_.upper_bound(index);
  if (chunk == chunks_.begin()) return {chunk, 0};
  const auto before = std::prev(chunk);
  const size_t position = position_after(before->second, index);
  if (position == before->second.size()) return {chunk, 0};
  return {before, position};
}

IntervalSet::Iterator IntervalSet::last_at_or_before(uint64_t index) const {
  Iterator after = first_after(index);
  if (after == begin()) return end();
  return --after;
}

IntervalSet::Place IntervalSet::mutable_place(const Iterator& iterator) {
  // Erasing nothing is how a const map iterator becomes a mutable one in constant time.
  return {chunks_.erase(iterator.chunk_, iterator.chunk_), iterator.position_};
}

// The chunk where a range that starts at `start` belongs. Requires: not empty.
IntervalSet::Chunks::iterator IntervalSet::chunk_for_start(uint64_t start) {
  const auto after = chunks_.upper_bound(start);
  if (after != chunks_.begin()) return std::prev(after);
  auto first = chunks_.extract(chunks_.begin());
  first.key() = 0;
  return chunks_.insert(std::move(first)).position;
}

// Adds a range that touches no other.
void IntervalSet::add(IndexRange range) {
  ++range_count_;
  item_count_ += length(range);
  if (chunks_.empty()) {
    chunks_[0].push_back(range);
    return;
  }
  auto place = chunk_for_start(range.start);
  Chunk& chunk = place->second;
  const size_t position = position_after(chunk, range.start);
  if (chunk.size() < kChunkRangesMax) {
    insert_at(chunk, position, range);
    return;
  }
  if (position == chunk.size()) {
    // Ascending inserts leave full chunks behind.
    chunks_.emplace_hint(std::next(place), range.start, Chunk{range});
    return;
  }
  const auto middle = chunk.begin() + kChunkRangesMax / 2;
  Chunk upper(middle, chunk.end());
  chunk.erase(middle, chunk.end());
  chunk.shrink_to_fit();
  if (position <= chunk.size())
    insert_at(chunk, position, range);
  else
    insert_at(upper, position - kChunkRangesMax / 2, range);
  const uint64_t key = upper.front().start;
  chunks_.emplace_hint(std::next(place), key, std::move(upper));
}

// Joins a chunk that became small with a neighbour, so that removals give memory back.
void IntervalSet::merge_small(Chunks::iterator chunk) {
  const auto join = [this](Chunks::iterator left, Chunks::iterator right) {
    left->second.insert(left->second.end(), right->second.begin(), right->second.end());
    chunks_.erase(right);
  };
  const auto next = std::next(chunk);
  if (next != chunks_.end() && chunk->second.size() + next->second.size() <= kChunkRangesMerged) {
    join(chunk, next);
  } else if (chunk != chunks_.begin()) {
    const auto before = std::prev(chunk);
    if (before->second.size() + chunk->second.size() <= kChunkRangesMerged) join(before, chunk);
  }
}

// Erases the ranges whose start lies in [start, end], a chunk at a time.
void IntervalSet::erase_starts_between(uint64_t start, uint64_t end) {
  const Iterator first = start == 0 ? begin() : first_after(start - 1);
  if (first == this->end()) return;
  auto [chunk, from] = mutable_place(first);
  auto survivor = chunks_.end();
  while (chunk != chunks_.end()) {
    Chunk& ranges = chunk->second;
    const size_t to = position_after(ranges, end);
    if (to <= from) break;
    for (size_t i = from; i < to; ++i)
      item_count_ -= length(ranges[i]);
    range_count_ -= to - from;
    const bool reached_end = to < ranges.size();
    ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(from),
                 ranges.begin() + static_cast<std::ptrdiff_t>(to));
    if (ranges.empty()) {
      chunk = chunks_.erase(chunk);
    } else {
      survivor = chunk;
      ++chunk;
    }
    from = 0;
    if (reached_end) break;
  }
  if (survivor != chunks_.end()) merge_small(survivor);
}

bool IntervalSet::insert(uint64_t index) {
  const Iterator before = last_at_or_before(index);
  const bool has_before = before != end();
  if (has_before && before->end >= index) return false;
  const bool joins_before = has_before && before->end == index - 1;
  const Iterator after = has_before ? std::next(before) : begin();
  const bool joins_after = after != end() && after->start == index + 1;

  if (!joins_before && !joins_after) {
    add({index, index});
    return true;
  }
  const uint64_t new_end = joins_after ? after->end : index;
  if (joins_before) {
    const auto [chunk, position] = mutable_place(before);
    chunk->second[position].end = new_end;
    item_count_ += new_end - (index - 1);
    if (joins_after) erase_starts_between(index + 1, index + 1);
  } else if (index >= after.chunk_->first) {
    const auto [chunk, position] = mutable_place(after);
    chunk->second[position].start = index;
    ++item_count_;
  } else {
    erase_starts_between(index + 1, index + 1);
    add({index, new_end});
  }
  return true;
}

void IntervalSet::insert_range(uint64_t start, uint64_t end) {
  if (start > end) return;
  // The touching neighbours are swallowed, then one range covers everything.
  if (const Iterator before = last_at_or_before(start); before != this->end()) {
    if (before->end >= end) return;
    if (before->end >= start || before->end == start - 1) start = before->start;
  }
  const uint64_t touching = end == kIndexMax ? end : end + 1;
  if (const Iterator last = last_at_or_before(touching); last != this->end())
    if (last->start >= start) end = std::max(end, last->end);
  erase_starts_between(start, end);
  add({start, end});
}

void IntervalSet::remove(uint64_t start, uint64_t end) {
  if (start > end) return;
  const Iterator before = last_at_or_before(start);
  if (before != this->end() && before->start < start && before->end >= start) {
    const uint64_t old_end = before->end;
    const auto [chunk, position] = mutable_place(before);
    chunk->second[position].end = start - 1;
    item_count_ -= old_end - start + 1;
    if (old_end > end) add({end + 1, old_end});
    if (old_end >= end) return;
  }
  // Of the ranges that start inside, only the last can reach beyond the end.
  const Iterator last = last_at_or_before(end);
  if (last == this->end() || last->start < start) return;
  const uint64_t last_end = last->end;
  erase_starts_between(start, end);
  if (last_end > end) add({end + 1, last_end});
}

void IntervalSet::clear() {
  chunks_.clear();
  range_count_ = 0;
  item_count_ = 0;
}

std::optional<IndexRange> IntervalSet::find(uint64_t index) const {
  const Iterator range = last_at_or_before(index);
  if (range == end() || range->end < index) return std::nullopt;
  return *range;
}

std::optional<uint64_t> IntervalSet::first_index() const {
  if (empty()) return std::nullopt;
  return begin()->start;
}

std::optional<uint64_t> IntervalSet::last_index() const {
  if (empty()) return std::nullopt;
  return std::prev(end())->end;
}

IndexGap IntervalSet::next_gap(uint64_t index) const {
  IndexGap gap;
  const Iterator after = first_after(index);
  if (after != end()) gap.next_start = after->start;
  if (after != begin()) {
    const Iterator before = std::prev(after);
    if (before->end >= index) gap.current_end = before->end;
  }
  return gap;
}

std::vector<uint64_t> IntervalSet::missing_items(uint64_t start, size_t max) const {
  std::vector<uint64_t> missing;
  uint64_t candidate = start;
  for (const IndexRange& range : ranges_from(start)) {
    for (; candidate < range.start && missing.size() < max; ++candidate)
      missing.push_back(candidate);
    if (missing.size() >= max || range.end == kIndexMax) break;
    candidate = range.end + 1;
  }
  return missing;
}

IntervalSet::Ranges IntervalSet::ranges_from(uint64_t from) const {
  const Iterator range = last_at_or_before(from);
  if (range != end() && range->end >= from) return {range, end()};
  return {first_after(from), end()};
}

std::optional<IndexRange> IntervalSet::range_before(uint64_t index) const {
  if (index == 0) return std::nullopt;
  const Iterator range = last_at_or_before(index - 1);
  if (range == end()) return std::nullopt;
  return *range;
}

uint64_t IntervalSet::item_count() const {
  return item_count_ == 0 && !empty() ? kIndexMax : item_count_;
}

size_t IntervalSet::memory_bytes() const {
  size_t total = 0;
  for (const auto& [key, chunk] : chunks_)
    total +=
        sizeof(Chunks::value_type) + kMapNodeOverheadBytes + chunk.capacity() * sizeof(IndexRange);
  return total;
}

}  // namespace firn
