// SPDX-License-Identifier: Apache-2.0
#include "firn/archive/position_map.h"

#include <algorithm>

#include "firn/base/check.h"

namespace firn::archive {

void PositionMap::insert(uint64_t index, uint32_t position) {
  ++size_;
  const auto after = std::ranges::upper_bound(runs_, index, {}, &Run::index);
  if (after != runs_.begin()) {
    Run& before = *std::prev(after);
    CHECK(index - before.index >= before.length, "an index is inserted once");
    const bool extends = index - before.index == before.length &&
                         position - before.position == before.length && before.length < UINT32_MAX;
    if (extends) {
      ++before.length;
      return;
    }
  }
  runs_.insert(after, Run{index, position, 1});
}

std::optional<uint32_t> PositionMap::find(uint64_t index) const {
  const auto after = std::ranges::upper_bound(runs_, index, {}, &Run::index);
  if (after == runs_.begin()) return std::nullopt;
  const Run& run = *std::prev(after);
  if (index - run.index >= run.length) return std::nullopt;
  return run.position + static_cast<uint32_t>(index - run.index);
}

}  // namespace firn::archive
