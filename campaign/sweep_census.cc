// SPDX-License-Identifier: Apache-2.0
#include "campaign/sweep_census.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "campaign/unused_bytes.h"
#include "firn/base/hash.h"
#include "firn/base/random.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr uint64_t kStoresForList = 40;

}  // namespace

void Census::add_outcome(std::string_view kind, const Reading& reading) {
  uint64_t hash = hash64(as_bytes(kind), reading.is_open() ? 1 : 2);
  for (const Answer& answer : reading.answers)
    hash = split_mix64(hash) + static_cast<uint64_t>(answer.outcome);
  trace_ = split_mix64(trace_) + hash;
}

void Census::report(Stage& stage) const {
  std::printf("bytes whose flip changes nothing, and how many flips did that:\n");
  const std::vector<UnusedBytes>& list = unused_bytes();
  for (size_t row = 0; row < list.size(); ++row) {
    std::printf("  %s: %s: %s\n", std::string(list[row].partition).c_str(),
                std::string(list[row].what).c_str(), std::string(list[row].why).c_str());
    for (const auto& [kind, stores] : stores_) {
      const auto found = met_.find({row, kind});
      const uint64_t flips = found == met_.end() ? 0 : found->second;
      const bool is_listed = std::ranges::find(list[row].kinds, kind) != list[row].kinds.end();
      if (flips > 0)
        std::printf("    %-20s %10llu\n", kind.c_str(), static_cast<unsigned long long>(flips));
      if ((flips > 0 && !is_listed) || (flips == 0 && is_listed && stores >= kStoresForList))
        stage.add_violation(kind, stage.arguments().seed,
                            concat("the list of unused bytes says ", is_listed ? "" : "not ",
                                   "that it has: ", list[row].what));
    }
  }
  std::printf("trace %016llx\n", static_cast<unsigned long long>(trace_));
  report_limits(stage);
}

void Census::report_limits(Stage& stage) const {
  for (const SweptKind& kind : swept_kinds()) {
    const auto stores = stores_.find(std::string(kind.name));
    if (stores == stores_.end() || stores->second < kStoresForList) continue;
    for (const Limit& limit : kind.limits)
      if (!limit.is_rare && !unseen_.contains({stores->first, &limit}))
        stage.add_violation(
            stores->first, stage.arguments().seed,
            concat("nothing went unseen with: ", limit.damage, " in ", limit.partition));
  }
}

}  // namespace firn::campaign
