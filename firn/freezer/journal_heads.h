// SPDX-License-Identifier: Apache-2.0
//
// JournalHeads: what the table on disk must be, told by the key journal alone. It needs memory for
// a window of the table only: one pass over the key journal for each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/format.h"
#include "firn/freezer/resident_table.h"
#include "firn/journal/indexed_value_log.h"

namespace firn::freezer {

// What the key journal has, whatever the manifest says. Opens every section.
[[nodiscard]] Result<uint64_t> count_records(const IndexedValueLog& log);

class JournalHeads {
 public:
  explicit JournalHeads(const IndexedValueLog& log) : log_(log) {}

  // Positions of a window: 32 MiB of memory.
  static constexpr uint64_t kWindowPositions = 1 << 20;

  // Writes the positions of the window that begins at `begin` anew. Returns the size of the table
  // that its chains need, which may be kNoTableSize.
  [[nodiscard]] Result<uint64_t> write_window(DiskTable& table, uint64_t begin, uint64_t epoch);
  // The record that needs that; set if it is more than 1.
  [[nodiscard]] const std::optional<BrokenLink>& widest_link() const { return widest_; }
  // Why lookups in the table would not find every record; empty: they do.
  [[nodiscard]] Result<std::string> find_misfit(const DiskTable& table);
  // Why the journal, of which these are the heads, cannot be the one whose heads had that sum;
  // empty: nothing says so. The table on disk, which had them, may lead to a head by way of newer
  // records of another position; some of it is read, and only where the sum is another one.
  [[nodiscard]] std::string find_stranger(const DiskTable& table, const ResidentTable& heads,
                                          uint64_t sum) const;

 private:
  struct Head {
    RecordPlace place;
    uint32_t hash = 0;
    bool exists = false;
  };

  [[nodiscard]] Result<uint64_t> gather(uint64_t table_size, uint64_t begin);
  [[nodiscard]] bool leads_to(RecordPlace from, RecordPlace to) const;
  [[nodiscard]] Result<std::optional<RecordPlace>> follow(RecordPlace from, RecordPlace to) const;

  const IndexedValueLog& log_;
  std::vector<Head> heads_;           // of a window
  std::optional<BrokenLink> widest_;  // as far as was gathered
};

}  // namespace firn::freezer
