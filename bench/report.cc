// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

namespace firn::bench {

void Report::add(Row row) {
  if (rows_.empty())
    std::printf("%-34s %-8s %10s %10s %8s   peers (ratio: how many times firn is better)\n",
                "phase", "unit", "firn", "floor", "firn/fl");
  std::printf("%-34s %-8s %10.3f ", row.phase.c_str(), row.unit.c_str(), row.firn);
  if (row.floor)
    std::printf("%10.3f %8.2f  ", *row.floor, row.firn / *row.floor);
  else
    std::printf("%10s %8s  ", "-", "-");
  for (const auto& [name, value] : row.peers) {
    const double ratio = row.better == Better::lower ? value / row.firn : row.firn / value;
    std::printf(" %s %.3f (%.2fx)", name.c_str(), value, ratio);
  }
  for (const auto& [name, value] : row.counters)
    std::printf("  [%s %.6g]", name.c_str(), value);
  std::printf("\n");
  std::fflush(stdout);
  rows_.push_back(std::move(row));
}

bool Report::write_json(const std::string& path) const {
  auto all = nlohmann::json::array();
  for (const Row& row : rows_) {
    all.push_back({{"area", area_},
                   {"phase", row.phase},
                   {"unit", row.unit},
                   {"better", row.better == Better::lower ? "lower" : "higher"},
                   {"firn", row.firn},
                   {"floor", row.floor ? nlohmann::json(*row.floor) : nlohmann::json()},
                   {"peers", row.peers},
                   {"counters", row.counters}});
  }
  std::ofstream file(path);
  file << all.dump(2) << '\n';
  return static_cast<bool>(file);
}

Row row_of(const Samples& samples, const std::string& phase, std::string unit, Better better) {
  Row row{phase, std::move(unit), better, 0, std::nullopt, {}, {}};
  for (const auto& [engine, values] : samples.at(phase)) {
    if (engine == "firn")
      row.firn = median(values);
    else if (engine == "floor")
      row.floor = median(values);
    else
      row.peers[engine] = median(values);
  }
  return row;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double processor_seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double begin = now();
  work();
  return now() - begin;
}

Arguments parse_arguments(int argc, char** argv, const std::string& area) {
  Arguments arguments;
  arguments.directory = "build/bench/data-" + area;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--quick") {
      arguments.quick = true;
    } else if (flag == "--json" && i + 1 < argc) {
      arguments.json_path = argv[++i];
    } else if (flag == "--directory" && i + 1 < argc) {
      arguments.directory = argv[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--quick] [--json FILE] [--directory DIR]\n", argv[0]);
      std::exit(1);
    }
  }
  std::filesystem::remove_all(arguments.directory);
  std::filesystem::create_directories(arguments.directory);
  return arguments;
}

void give_up(const std::string& message) {
  std::fprintf(stderr, "benchmark failed: %s\n", message.c_str());
  std::exit(1);
}

void require(bool is_right, const std::string& engine) {
  if (!is_right) give_up(engine + " gave a wrong answer");
}

}  // namespace firn::bench
