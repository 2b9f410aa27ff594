// SPDX-License-Identifier: Apache-2.0
//
// FixedJournal: how a reader keeps up with the writer of another process.
#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/journal/fixed_journal.h"

namespace firn {

Status FixedJournal::check_still_retained(Section section) const {
  if (!read_only_ || options_.floors == nullptr) return {};
  TRY_INTO(const Section boundary, options_.floors->reload_boundary());
  for (uint64_t known = boundary_; known < boundary.value;)
    if (boundary_.compare_exchange_weak(known, boundary.value)) break;
  return check_retained(section);
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
  return grown;
}

}  // namespace firn
