// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/journal_heads.h"

#include <algorithm>
#include <optional>

#include "firn/base/crc32c.h"
#include "firn/base/text.h"

namespace firn::freezer {
namespace {

// What is read of a table on disk, to find out whether it is that of a key journal.
constexpr uint32_t kComparedMax = 1 << 16;

}  // namespace

Result<uint64_t> count_records(const IndexedValueLog& log) {
  uint64_t records = 0;
  for (const Section section : log.sections()) {
    TRY_INTO(const uint64_t count, advise(log.entry_count(section)));
    records += count;
  }
  return records;
}

// The newest record of each position of the window.
Result<uint64_t> JournalHeads::gather(uint64_t table_size, uint64_t begin) {
  const uint64_t end = std::min(table_size, begin + kWindowPositions);
  heads_.assign(end - begin, {});
  uint64_t needed = 1;
  TRY_INTO(FixedReplay replay, log_.replay());
  while (true) {
    TRY_INTO(const auto item, advise(replay.next()));
    if (!item) return needed;
    const uint32_t hash = crc32c(key_of(item->record));
    const uint64_t position = hash & (table_size - 1);
    if (position < begin || position >= end) continue;
    const RecordPlace place{item->section, item->position};
    const auto next = next_of(item->record);
    bool is_there = !next || *next < place;
    if (next && next->section < place.section) {
      TRY_INTO(const uint64_t count, log_.entry_count(next->section));
      is_there = next->position.value < count;
    }
    if (!is_there) {
      widest_ = {place, next, std::nullopt};
      return kNoTableSize;
    }
    Head& head = heads_[position - begin];
    // See ResidentTable: a record that leaves out the one before it was put with a larger table.
    if (head.exists && (!next || *next < head.place)) {
      const uint64_t size = size_to_part(head.hash, hash);
      if (size > needed) widest_ = {place, next, head.place};
      needed = std::max(needed, size);
      if (needed == kNoTableSize) return needed;
    }
    head = {place, hash, true};
  }
}

Result<uint64_t> JournalHeads::write_window(DiskTable& table, uint64_t begin, uint64_t epoch) {
  TRY_INTO(const uint64_t needed, gather(table.size(), begin));
  const auto head_of = [&](uint32_t position) -> std::optional<RecordPlace> {
    const Head& head = heads_[position - begin];
    if (!head.exists) return std::nullopt;
    return head.place;
  };
  TRY(table.write_anew(begin, begin + heads_.size(), epoch, head_of));
  return needed;
}

Result<std::string> JournalHeads::find_misfit(const DiskTable& table) {
  for (uint64_t begin = 0; begin < table.size(); begin += kWindowPositions) {
    TRY_INTO(const uint64_t needed, gather(table.size(), begin));
    if (needed > table.size())
      return std::string("the key journal was written with a larger table");
    for (uint64_t i = 0; i < heads_.size(); ++i) {
      if (!heads_[i].exists) continue;
      TRY_INTO(const Pair pair, table.read(begin + i));
      std::optional<RecordPlace> found;
      if (pair.head() != nullptr) {
        TRY_INTO(found, follow(pair.head()->head, heads_[i].place));
      }
      if (found != heads_[i].place)
        return concat("position ", begin + i, " does not lead to its newest record");
    }
  }
  return std::string();
}

std::string JournalHeads::find_stranger(const DiskTable& table, const ResidentTable& heads,
                                        uint64_t sum) const {
  uint64_t own_sum = 0;
  for (uint32_t position = 0; position < heads.size(); ++position)
    if (const auto head = heads.head_of_position(position))
      own_sum += head_summand(position, *head);
  if (own_sum == sum) return std::string();
  const uint32_t end = std::min(heads.size(), kComparedMax);
  bool is_whole = end == heads.size();
  uint64_t table_sum = 0;
  uint64_t differing = 0;
  uint64_t strange = 0;
  std::string first;
  for (uint32_t position = 0; position < end; ++position) {
    const auto pair = table.read(position);
    is_whole = is_whole && pair;
    if (!pair) continue;  // of it verify tells
    const Slot* const slot = pair->head();
    if (slot != nullptr) table_sum += head_summand(position, slot->head);
    const auto head = heads.head_of_position(position);
    if (!head || (slot != nullptr && slot->head == *head)) continue;
    ++differing;
    if (slot != nullptr && leads_to(slot->head, *head)) continue;
    if (++strange == 1)
      first = concat("position ", position, " of the table leads to ",
                     slot == nullptr ? "nothing" : describe(log_, slot->head), ", and not to ",
                     describe(log_, *head));
  }
  if (strange > differing / 2) return first;
  if (!is_whole || table_sum == sum) return std::string();
  return "the manifest tells of other records than the table has";
}

bool JournalHeads::leads_to(RecordPlace from, RecordPlace to) const {
  const auto reached = follow(from, to);
  return reached && *reached == to;
}

// A head may be a newer record of another position, which leads to the wanted one. Returns where
// the chain gets to that is not newer than `to`; nullopt if it ends before.
Result<std::optional<RecordPlace>> JournalHeads::follow(RecordPlace from, RecordPlace to) const {
  Bytes record(log_.index().record_size_bytes());
  while (from > to) {
    TRY(log_.read_entry(from.section, from.position, record));
    const RecordPlace next = next_of(record).value_or(from);
    if (next >= from) return std::optional<RecordPlace>();
    from = next;
  }
  return std::optional(from);
}

}  // namespace firn::freezer
