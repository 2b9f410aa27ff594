// SPDX-License-Identifier: Apache-2.0
//
// RareFindings: how often recoveries reported a rare state, by a phrase of the report. A scenario
// that never meets such a state has not tested the code behind it. The reports of recovery name
// these states anyway, so the library needs no counters for its tests. Other states are met() where
// the scenario sees them, or counted by the harness.
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
  static constexpr std::string_view kFullInClose = "the disk is full in a close";

  // With what every structure can meet.
  RareFindings(Phrases phrases) {
    add({rare::kGhostTaken, rare::kFullInRecovery, rare::kRecoveryRepeated});
    add(phrases);
  }
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
  // One of the states, in another way.
  void met(std::string_view what) { ++counts_.at(std::string(what)); }
  // What a close answered: a full disk there is one of the states.
  [[nodiscard]] Status watch_close(Status outcome) {
    if (!outcome && outcome.error().code == Errc::no_space) met(kFullInClose);
    return outcome;
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
