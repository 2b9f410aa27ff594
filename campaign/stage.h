// SPDX-License-Identifier: Apache-2.0
//
// What the programs of the campaign share: their flags, the table of what was done, and the report.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/result.h"

namespace firn::campaign {

struct StageArguments {
  std::string firn = {};           // the program
  std::string directory = {};      // for stores and images of disks
  bool has_own_directory = false;  // made by this run, which removes it unless something is in it
  std::string only = {};           // one row of the table; all if empty
  std::string json = {};
  uint64_t seed = 1;
  uint64_t cases = 1000;
  uint64_t runs = 0;              // of seeds, instead of `cases`
  uint64_t duration_seconds = 0;  // instead of `cases`
};

// What a stage runs on: it has the flags for that and no others. Unless told otherwise, the command
// is that of its own build tree, and stores are in a new directory, in memory if that is possible.
enum class StageNeeds : uint8_t { nothing, directory, firn_and_directory };

template <class Rows>
[[nodiscard]] std::vector<std::string> names_of(const Rows& rows) {
  std::vector<std::string> names;
  for (const auto& row : rows)
    names.emplace_back(row.name);
  return names;
}

class Stage {
 public:
  // SIGINT and SIGTERM end it after the run at hand.
  Stage(std::string name, const StageArguments& arguments);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  [[nodiscard]] const StageArguments& arguments() const { return arguments_; }
  // True while row `row` has less than its share of cases or runs, or of the time if that is
  // limited, and is not given up. A row is after its first violations, or if none of its first runs
  // was a case: what always fails, or never happens, would have no end.
  [[nodiscard]] bool wants_more(const std::string& row) const;
  // Calls run(row, seed) for one row after another, each time with the row's next seed, until none
  // wants more. The row with the fewest cases is the next one, so that all get as many; one that
  // adds few cases a run gets at most so many more runs.
  template <class Rows, class Run>
  void run_in_turns(const Rows& rows, const Run& run) {
    constexpr uint64_t kRunsForACaseMax = 4;
    while (true) {
      const typename Rows::value_type* next = nullptr;
      uint64_t fewest = UINT64_MAX;
      for (const auto& row : rows) {
        if (!wants_more(std::string(row.name))) continue;
        const Row& known = rows_[std::string(row.name)];
        const uint64_t done = std::max(known.cases, known.runs / kRunsForACaseMax);
        if (done >= fewest) continue;
        fewest = done;
        next = &row;
      }
      if (next == nullptr) return;
      const std::string name(next->name);
      const uint64_t seed = arguments_.seed + rows_[name].runs;
      run(*next, seed);
      ++rows_[name].runs;
      if (rows_[name].is_fruitless()) add_violation(name, seed, "none of its runs was a case");
    }
  }
  void add_case(const std::string& row) { ++rows_[row].cases; }
  void add_note(const std::string& row, const std::string& what) { ++rows_[row].notes[what]; }
  // What is never met is not tested: it is a violation if so many cases of a row lack a note.
  void demand_note(const std::string& row, const std::string& what, uint64_t cases);
  // Prints it, if it is one of the row's first. Run `seed` alone repeats it.
  void add_violation(const std::string& row, uint64_t seed, const std::string& what);
  // Prints the table and writes the report. Returns the exit code.
  [[nodiscard]] int finish() const;

 private:
  static constexpr uint64_t kViolationsOfRowMax = 10;
  static constexpr uint64_t kRunsWithoutCaseMax = 1000;

  struct Row {
    uint64_t runs = 0;
    uint64_t cases = 0;
    uint64_t violations = 0;
    std::map<std::string, uint64_t> notes;

    [[nodiscard]] bool is_fruitless() const { return cases == 0 && runs >= kRunsWithoutCaseMax; }
    [[nodiscard]] bool is_given_up() const {
      return violations >= kViolationsOfRowMax || is_fruitless();
    }
  };
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

  const std::string name_;
  const StageArguments& arguments_;
  const Clock::time_point start_ = Clock::now();
  std::map<std::string, Row> rows_;
};

struct StageProgram {
  std::string name;               // of the stage; the program is firn_NAME
  std::vector<std::string> rows;  // the names of those that there are
  StageNeeds needs = StageNeeds::firn_and_directory;
};

// The main() of a stage's program: reads its flags, calls `run`, prints the table and writes the
// report. A failure of `run` is what is missing here. Returns the exit code.
[[nodiscard]] int stage_main(int argc, char** argv, const StageProgram& program,
                             const std::function<Status(Stage&)>& run);

}  // namespace firn::campaign
