// SPDX-License-Identifier: Apache-2.0
//
// The loops of an IndexEngine over a Map, which is a class with
//   Access access();                              what a thread needs to use it, made once a loop
//   uint64_t Access::get(uint64_t key);           0 if it is absent
//   void Access::put(uint64_t key, uint64_t value);
//   void Access::remove(uint64_t key);
//   static constexpr bool kThreads;
#pragma once

#include <chrono>
#include <utility>

#include <sys/resource.h>

#include "bench/index_engine.h"

namespace firn::bench {

// The moments of a loop, and whether the thread lost the processor between two of them.
class Stopwatch {
 public:
  explicit Stopwatch(OperationLatency& latency) : latency_(latency) {}

  // Begins to time an operation anew.
  void restart() { last_ = Clock::now(); }

  // Adds the time since the last call.
  void lap() {
    const Clock::time_point now = Clock::now();
    const auto nanoseconds = static_cast<uint64_t>((now - last_).count());
    last_ = now;
    latency_.all.add(nanoseconds);
    // Nothing that short holds a switch to another thread and back.
    constexpr uint64_t kShort = 4000;
    if (nanoseconds >= kShort) [[unlikely]] {
      const long switches = switches_now();
      const bool disturbed = std::exchange(switches_, switches) != switches;
      last_ = Clock::now();
      if (disturbed) return;
    }
    latency_.undisturbed.add(nanoseconds);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static long switches_now() {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw + usage.ru_nvcsw;
  }

  OperationLatency& latency_;
  Clock::time_point last_ = Clock::now();
  long switches_ = switches_now();
};

template <class Map>
class IndexEngineOf : public IndexEngine {
 public:
  template <class... Arguments>
  explicit IndexEngineOf(Arguments&&... arguments) : map_(std::forward<Arguments>(arguments)...) {}

  [[nodiscard]] bool has_threads() const override { return Map::kThreads; }

  void fill(uint64_t first, uint64_t count) override {
    auto&& access = map_.access();
    for (uint64_t item = first; item < first + count; ++item)
      access.put(key_of(item), item);
  }

  size_t gets(std::span<const uint64_t> keys) override {
    auto&& access = map_.access();
    size_t found = 0;
    for (const uint64_t key : keys)
      found += access.get(key) != 0;
    return found;
  }

  size_t dependent_gets(std::span<const uint64_t> keys) override {
    auto&& access = map_.access();
    size_t found = 0;
    uint64_t value = 0;
    for (const uint64_t key : keys) {
      // A value has 42 bits, so that this adds nothing; the processor does not know.
      value = access.get(key + (value >> 42));
      found += value != 0;
    }
    return found;
  }

  size_t run(std::span<const Operation> operations) override {
    auto&& access = map_.access();
    size_t found = 0;
    for (const Operation& operation : operations) {
      if (operation.value == Operation::kGet)
        found += access.get(operation.key) != 0;
      else if (operation.value == Operation::kRemove)
        access.remove(operation.key);
      else
        access.put(operation.key, operation.value);
    }
    return found;
  }

  void fill_timed(uint64_t count, std::atomic<uint64_t>& filled,
                  OperationLatency& latency) override {
    auto&& access = map_.access();
    Stopwatch watch(latency);
    for (uint64_t item = 1; item <= count; ++item) {
      access.put(key_of(item), item);
      filled.store(item, std::memory_order_relaxed);
      watch.lap();
    }
  }

  void gets_timed(const std::atomic<uint64_t>& filled, const std::atomic<bool>& stop,
                  OperationLatency& latency) override {
    auto&& access = map_.access();
    Random random(1);
    Stopwatch watch(latency);
    while (!stop.load(std::memory_order_relaxed)) {
      const uint64_t items = filled.load(std::memory_order_acquire);
      if (items == 0) continue;
      const uint64_t key = key_of(1 + random.below(items));
      watch.restart();
      if (access.get(key) == 0) ++missed_;
      watch.lap();
    }
  }

 protected:
  Map map_;

 private:
  // Kept, so that the gets are.
  std::atomic<uint64_t> missed_ = 0;
};

}  // namespace firn::bench
