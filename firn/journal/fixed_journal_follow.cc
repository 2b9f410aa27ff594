// SPDX-License-Identifier: Apache-2.0
//
// FixedJournal: how a reader keeps up with the writer of another process.
#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/journal/fixed_journal.h"

namespace firn {

Error FixedJournal::explain_missing(Section section, const Error& not_found) const {
  if (read_only_ && options_.floors != nullptr) {
    const auto boundary = options_.floors->reload_boundary();
    if (!boundary) return boundary.error();
    // Of two threads the lower one may win: who misses a blob next looks again.
    boundary_ = std::max(boundary_.load(), boundary->value);
    if (const Status retained = check_retained(section, boundary->value); !retained)
      return retained.error();
  }
  return {Errc::corrupt, concat(not_found.message, ", although section ", section,
                                " was there before and is not pruned: restore it")};
}

Result<std::vector<Section>> FixedJournal::follow() {
  CHECK(read_only_ && options_.floors != nullptr, "a reader follows the floors");
  boundary_ = std::max(boundary_.load(), options_.floors->boundary().value);
  for (const Section section : table_.sections()) {
    if (section.value >= boundary_) break;
    options_.cache->evict_from(table_.erase(section), 0);
  }
  std::vector<Section> grown;
  for (const Section section : options_.floors->sections()) {
    if (section.value < boundary_) continue;
    const uint64_t floor = options_.floors->floor(section);
    if (floor % options_.record_size_bytes != 0)
      return fail(Errc::corrupt, concat("section ", section, " of partition ", options_.partition,
                                        ": its floor ", floor, " is no whole number of records"));
    const auto growth =
        table_.grow(section, floor, [this] { return options_.cache->new_blob_id(); });
    if (growth == Table::Growth::longer) grown.push_back(section);
  }
  table_.collect();  // what other reads were in when it was dropped
  return grown;
}

}  // namespace firn
