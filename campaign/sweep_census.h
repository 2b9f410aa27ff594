// SPDX-License-Identifier: Apache-2.0
//
// Census: of all stores that a sweep made: how often a byte of the list of unused ones was met, and
// what became of each damage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "campaign/stage.h"
#include "campaign/swept_stores.h"

namespace firn::campaign {

class Census {
 public:
  void add_store(const std::string& kind) { ++stores_[kind]; }
  void add_unused(const std::string& kind, size_t row) { ++met_[{row, kind}]; }
  void add_unseen(const std::string& kind, const Limit& limit) { unseen_.insert({kind, &limit}); }
  void add_outcome(std::string_view kind, const Reading& reading);

  // Prints the list, with what was met of it. Once there were enough stores, each entry must have
  // been, and so must what is said to be beyond the promise.
  void report(Stage& stage) const;

 private:
  void report_limits(Stage& stage) const;

  std::map<std::string, uint64_t> stores_;
  std::set<std::pair<std::string, const Limit*>> unseen_;
  std::map<std::pair<size_t, std::string>, uint64_t> met_;
  uint64_t trace_ = 0;
};

}  // namespace firn::campaign
