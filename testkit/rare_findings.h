// SPDX-License-Identifier: Apache-2.0
//
// RareFindings: how often recoveries reported a rare state, by a phrase of the report. A scenario
// that never meets such a state has not tested the code behind it. The reports of recovery name
// these states anyway, so the library needs no counters for its tests.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "firn/io/recovery_report.h"
#include "testkit/crash_harness.h"

namespace firn::testkit {

class RareFindings {
 public:
  using Phrases = std::initializer_list<std::string_view>;

  RareFindings(Phrases phrases) { add(phrases); }
  // Those of checksummed pages, and more.
  [[nodiscard]] static RareFindings of_pages(Phrases more) {
    RareFindings found = {"is invalid", "which is partial", "longer record of page",
                          "a fraction of a record"};
    found.add(more);
    return found;
  }
  // Those of pages whose records refer to values, and more.
  [[nodiscard]] static RareFindings of_values(Phrases more) {
    RareFindings found = of_pages({"value bytes that no entry refers to",
                                   "written ahead of their entries", "which has no index"});
    found.add(more);
    return found;
  }

  // Each phrase counts once a report.
  void count(const RecoveryReport& report) {
    for (auto& [phrase, count] : counts_)
      count += says(report, phrase);
  }

  [[nodiscard]] const Scenario::Reached& counts() const { return counts_; }

 private:
  void add(Phrases phrases) {
    for (const std::string_view phrase : phrases)
      counts_.emplace(phrase, 0);
  }
  static bool says(const RecoveryReport& report, std::string_view phrase) {
    const auto has = [&](const std::string& sentence) { return sentence.contains(phrase); };
    return std::ranges::any_of(report.cuts,
                               [&](const CutRange& cut) { return has(cut.range.reason); }) ||
           std::ranges::any_of(report.damage, has, &BlobRange::reason) ||
           std::ranges::any_of(report.notes, has);
  }

  Scenario::Reached counts_;
};

}  // namespace firn::testkit
