// SPDX-License-Identifier: Apache-2.0
//
// Scheduler: runs several functions as fibers on one thread and decides at each access to shared
// memory which of them goes on, from a seed. It draws one of two strategies: fully random, or
// priorities with a few changes (probabilistic concurrency testing, Burckhardt and others), which
// finds bugs that need few, but certain, switches. Each fiber has a store buffer, as x86-64 has:
// stores that are not sequentially consistent wait there and become visible later, in their order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

#include "firn/base/random.h"

namespace firn::schedules {

class Scheduler {
 public:
  explicit Scheduler(uint64_t seed);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // The one that runs now, or null: then words are accessed directly.
  static Scheduler* current();

  void add(std::function<void()> body);
  // Until all have ended; false if they do not seem to: each waits for another.
  bool run();

  uint64_t load(const uint64_t& word);
  void store(uint64_t& word, uint64_t value, bool ordered);
  bool compare_exchange(uint64_t& word, uint64_t& expected, uint64_t desired);
  uint64_t exchange(uint64_t& word, uint64_t value);
  uint64_t fetch_add(uint64_t& word, uint64_t value);
  // What membarrier(2) does: all stores of all fibers are seen.
  void drain_all();
  // The running fiber can do nothing until others have gone on.
  void wait();
  // Between pairs of calls nobody else runs: a mutex is held.
  void hold() { ++held_; }
  void release() { --held_; }

  [[nodiscard]] uint64_t steps() const { return steps_; }

 private:
  struct Waiting {
    uint64_t* word;
    uint64_t value;
  };
  struct Fiber {
    std::function<void()> body;
    ucontext_t context{};
    std::unique_ptr<std::byte[]> stack;
    std::deque<Waiting> buffer;
    uint64_t priority = 0;
    bool ended = false;
  };

  static void enter();
  void step();
  void switch_to_next();
  void drain_some();
  static void drain(Fiber& fiber, size_t count);

  Random random_;
  const bool by_priority_;
  const uint64_t drains_one_in_;   // how long stores wait
  std::vector<uint64_t> changes_;  // steps at which the running fiber falls behind all others
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* running_ = nullptr;
  ucontext_t outside_{};
  uint64_t lowest_ = UINT64_MAX / 2;
  uint64_t steps_ = 0;
  uint64_t held_ = 0;
  bool stuck_ = false;
};

}  // namespace firn::schedules
