// SPDX-License-Identifier: Apache-2.0
//
// The phases of the benchmark of indexes. All of one size are measured in turns: floor, firn and
// peers, and again. Times of one thread are those of its processor clock, so that other programs
// count little; figures of two threads are by the wall clock, with the processor's beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/report.h"

namespace firn::bench {

struct IndexPhases {
  Report& report;
  const Arguments& arguments;
  int repetitions;
};

// Seconds of the slowest of `threads`, each on a processor of its own.
struct ThreadTimes {
  double wall = 0;
  double processor = 0;
};
[[nodiscard]] ThreadTimes time_threads(unsigned threads,
                                       const std::function<void(unsigned thread)>& work);
inline void run_threads(unsigned threads, const std::function<void(unsigned thread)>& work) {
  static_cast<void>(time_threads(threads, work));
}
// This thread stays on the processor of that number.
void pin_to_processor(unsigned number);

// "1M"
[[nodiscard]] std::string size_name(uint64_t items);

// Gets, mixes and churn, by one thread and by two, over an index of so many items. Returns the
// medians of ns a get: for the chart.
struct GetFigures {
  double floor = 0;
  double firn = 0;
  double batched = 0;
  double tbb = 0;
};
GetFigures measure_operations(const IndexPhases& phases, uint64_t items);
// Filling with room made beforehand and without, in batches.
void measure_batched_puts(const IndexPhases& phases, uint64_t items);
// Families of similar keys against random ones.
void measure_key_patterns(const IndexPhases& phases, uint64_t items);
// The slowest puts while an index grows from nothing, and the slowest gets beside them.
void measure_growth(const IndexPhases& phases, uint64_t items, bool with_peers);

// Writing a snapshot, loading it, and using it in place, through the page cache.
void measure_snapshots(const IndexPhases& phases, uint64_t items);

// Bytes an entry while an index grows.
struct MemoryPoint {
  uint64_t items = 0;
  uint64_t bytes = 0;
};
struct MemoryCurve {
  std::string engine;
  std::vector<MemoryPoint> points;
};
// Each engine grows in a process of its own. Call it before there are threads.
[[nodiscard]] std::vector<MemoryCurve> measure_memory(const IndexPhases& phases,
                                                      uint64_t items_of_firn,
                                                      uint64_t items_of_peers);

}  // namespace firn::bench
