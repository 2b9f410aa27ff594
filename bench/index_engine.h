// SPDX-License-Identifier: Apache-2.0
//
// IndexEngine: a map from keys of 64 bits to values of 42 bits, as the benchmark of indexes drives
// it. A call is a whole loop, so that the operations in it are inlined, not called through a table.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/index_workload.h"
#include "bench/latency_histogram.h"

namespace firn::bench {

// How long each operation took while an index grew. Those in which the system took the processor
// away, or gave it to another thread, are counted apart.
struct OperationLatency {
  LatencyHistogram all;
  LatencyHistogram undisturbed;
};

class IndexEngine {
 public:
  IndexEngine() = default;
  virtual ~IndexEngine() = default;
  IndexEngine(const IndexEngine&) = delete;
  IndexEngine& operator=(const IndexEngine&) = delete;

  [[nodiscard]] virtual bool has_threads() const { return true; }

  // Puts items `first` to `first + count - 1`.
  virtual void fill(uint64_t first, uint64_t count) = 0;
  // Each returns how many keys were found.
  virtual size_t gets(std::span<const uint64_t> keys) = 0;
  // The same, but each key depends on what the get before it answered.
  virtual size_t dependent_gets(std::span<const uint64_t> keys) = 0;
  virtual size_t run(std::span<const Operation> operations) = 0;

  // fill from item 1 on with the time of each put; `filled` follows.
  virtual void fill_timed(uint64_t count, std::atomic<uint64_t>& filled,
                          OperationLatency& latency) = 0;
  // Random gets of what is filled until `stop`, with the time of each.
  virtual void gets_timed(const std::atomic<uint64_t>& filled, const std::atomic<bool>& stop,
                          OperationLatency& latency) = 0;
};

struct NamedIndexEngine {
  std::string name;
  std::unique_ptr<IndexEngine> (*make)();
};

// firn first.
[[nodiscard]] const std::vector<NamedIndexEngine>& index_engines();

[[nodiscard]] std::unique_ptr<IndexEngine> make_firn_index();
[[nodiscard]] std::unique_ptr<IndexEngine> make_tbb_index();
[[nodiscard]] std::unique_ptr<IndexEngine> make_cuckoo_index();
[[nodiscard]] std::unique_ptr<IndexEngine> make_absl_index();
[[nodiscard]] std::unique_ptr<IndexEngine> make_unordered_index();
[[nodiscard]] std::unique_ptr<IndexEngine> make_emdb_index();

}  // namespace firn::bench
