// SPDX-License-Identifier: Apache-2.0
//
// FixedJournal::Batch and ValueLog::Batch: reads of many records or values that are in the cache,
// each while the memory of those behind it is loaded. What is not there is to be read by itself.
//
// Threads: one, which is in a ReadSection as long as a batch lives, so that it should not live
// long. Cost: what a hit of PageCache costs, and an allocation for each 16 values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "firn/base/bytes.h"
#include "firn/base/read_section.h"
#include "firn/base/strong_id.h"
#include "firn/base/value.h"
#include "firn/io/cached_reads.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/value_log.h"

namespace firn {

// No rewind may run meanwhile.
class FixedJournal::Batch {
 public:
  explicit Batch(const FixedJournal& journal);

  // Calls visit(number, record) for some of those that were pushed, in order. The bytes go when it
  // returns.
  template <class Visit>
  void push(Section section, Position position, size_t number, Visit&& visit) {
    const PageCache::Wanted record = wanted(section, position);
    if (record.size_bytes > 0) reads_.push(record, number, visitor(visit));
  }
  // For the others.
  template <class Visit>
  void finish(Visit&& visit) {
    reads_.finish(visitor(visit));
  }

 private:
  [[nodiscard]] PageCache::Wanted wanted(Section section, Position position);

  template <class Visit>
  [[nodiscard]] auto visitor(Visit& visit) {
    return [this, &visit](size_t number, const PageCache::Wanted& record) {
      const ByteSpan found = reads_.cache().find(record, memory_.mutable_bytes());
      if (!found.empty()) visit(number, found);
    };
  }

  const ReadSection reading_;
  const FixedJournal& journal_;
  CachedReads<size_t> reads_;
  Buffer memory_;  // of a record that is in several pages
  std::optional<Section> section_;
  const PagedSection* open_ = nullptr;  // that section
  uint64_t count_ = 0;                  // of its records
};

// What is not correct stays without a value, too, and so do all where values are compressed. About
// 16 values share memory, which lives as long as any of them: 64 KiB at most.
class ValueLog::Batch {
 public:
  explicit Batch(const ValueLog& log);

  // The value is read to `value` now or later, in finish() at the latest.
  void push(Section section, ValueLocation location, std::optional<Value>& value);
  void finish();

 private:
  void take(const PageCache::Wanted& wanted, std::optional<Value>& value);

  const ReadSection reading_;
  const ValueLog& log_;
  std::optional<CachedReads<std::optional<Value>*>> reads_;
  std::optional<Section> section_;
  const journal::ValueSegment* segment_ = nullptr;  // of that section
  uint64_t end_ = 0;                                // of what may be in the cache of it
  std::shared_ptr<std::byte[]> memory_;
  MutableByteSpan free_;  // of the memory
};

}  // namespace firn
