// SPDX-License-Identifier: Apache-2.0
//
// Report: the rows of a benchmark, as a table for people and as JSON for programs. Every row holds
// our figure, each peer's from the same run, and what the machine can do at best (the floor).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace firn::bench {

enum class Better { lower, higher };

struct Row {
  std::string phase;
  std::string unit;
  Better better = Better::lower;
  double firn = 0;
  std::optional<double> floor;
  std::map<std::string, double> peers;
  std::map<std::string, double> counters;
};

class Report {
 public:
  explicit Report(std::string area) : area_(std::move(area)) {}

  // Adds a row and prints it.
  void add(Row row);
  // Returns false if the file cannot be written.
  [[nodiscard]] bool write_json(const std::string& path) const;

 private:
  std::string area_;
  std::vector<Row> rows_;
};

// Figures of a phase by engine: "firn", "floor" and the peers.
using Samples = std::map<std::string, std::map<std::string, std::vector<double>>>;

// The medians of a phase.
[[nodiscard]] Row row_of(const Samples& samples, const std::string& phase, std::string unit,
                         Better better);

[[nodiscard]] double median(std::vector<double> values);

// Seconds that `work` took.
[[nodiscard]] double seconds_of(const std::function<void()>& work);

// Seconds that this thread was on a processor for `work`: for work that never waits.
[[nodiscard]] double processor_seconds_of(const std::function<void()>& work);

struct Arguments {
  bool quick = false;
  std::string json_path;
  std::string directory;  // scratch space; removed at the end
};

// Parses --quick, --json FILE, --directory DIR; prints usage and exits for anything else.
[[nodiscard]] Arguments parse_arguments(int argc, char** argv, const std::string& area);

// Ends the program with a message: a benchmark whose engine fails has no figures.
[[noreturn]] void give_up(const std::string& message);
// Gives up unless an engine answered right.
void require(bool is_right, const std::string& engine);

}  // namespace firn::bench
