// SPDX-License-Identifier: Apache-2.0
//
// firn_schedules: the code of LocationIndex under schedules drawn from seeds, with store buffers.
// A run is a few operations of two or three fibers on an index of one bucket, and its history must
// be linearizable. A seed repeats its run exactly.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/index/location_index_internals.h"
#include "tests/histories/worker.h"
#include "tests/schedules/scheduler.h"

namespace firn::schedules {
namespace {

constexpr size_t kPoints = static_cast<size_t>(LocationPoint::waiting) + 1;
std::array<uint64_t, kPoints> g_reached;
uint64_t g_now = 0;

struct SimulatedPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static uint64_t load(const Word& word, std::memory_order /*order*/) {
    Scheduler* const scheduler = Scheduler::current();
    return scheduler == nullptr ? word : scheduler->load(word);
  }
  static void store(Word& word, uint64_t value, std::memory_order order) {
    if (Scheduler* const scheduler = Scheduler::current())
      return scheduler->store(word, value, order == std::memory_order_seq_cst);
    word = value;
  }
  static bool compare_exchange(Word& word, uint64_t& expected, uint64_t desired) {
    if (Scheduler* const scheduler = Scheduler::current())
      return scheduler->compare_exchange(word, expected, desired);
    return LocationPolicy::compare_exchange(word, expected, desired);
  }
  static uint64_t exchange(Word& word, uint64_t value) {
    if (Scheduler* const scheduler = Scheduler::current()) return scheduler->exchange(word, value);
    return std::exchange(word, value);
  }
  static uint64_t fetch_add(Word& word, uint64_t value) {
    if (Scheduler* const scheduler = Scheduler::current()) return scheduler->fetch_add(word, value);
    return std::exchange(word, word + value);
  }
  static void reach(LocationPoint point) { ++g_reached[static_cast<size_t>(point)]; }
  static void pause(unsigned /*turn*/) {
    if (Scheduler* const scheduler = Scheduler::current()) scheduler->wait();
  }
};

using Index = BasicLocationIndex<SimulatedPolicy>;
using Worker = histories::Worker<SimulatedPolicy>;

struct Totals {
  uint64_t runs = 0;
  uint64_t steps = 0;
};

std::optional<std::string> run(uint64_t seed, Totals& totals) {
  constexpr uint32_t kKeys[] = {1, 2, 3, 9, 20};
  Random random(seed);
  histories::Config config{.threads = 2 + random.below(2), .seed = seed};
  config.keys = kKeys[random.below(std::size(kKeys))];
  config.layout = histories::kLayouts[random.below(std::size(histories::kLayouts))];
  config.moves = !random.one_in(3);
  config.skewed = random.one_in(2);

  BasicEpochDomain<SimulatedPolicy> domain;
  auto index = Index::open(domain, {.shard_bits = 0});
  CHECK(index.has_value(), "an empty index opens");
  History history(config.threads + 1, config.keys);
  const auto clock = [] { return ++g_now; };
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t thread = 0; thread <= config.threads; ++thread)
    workers.push_back(std::make_unique<Worker>(**index, domain, history, thread, config, clock));
  Worker& alone = *workers.back();
  for (uint64_t i = random.below(2 * config.keys + 2); i > 0; --i)
    alone.step();

  Scheduler scheduler(random.next());
  for (size_t thread = 0; thread < config.threads; ++thread)
    scheduler.add([&, thread, count = 1 + random.below(5)] {
      for (uint64_t i = 0; i < count; ++i)
        workers[thread]->step();
    });
  const bool ended = scheduler.run();
  ++totals.runs;
  totals.steps += scheduler.steps();
  if (!ended) {
    std::fprintf(stderr, "no progress: each waits for another\nreplay: --seed %llu --runs 1\n",
                 static_cast<unsigned long long>(seed));
    std::exit(1);
  }
  std::vector<uint64_t> final;
  uint64_t present = 0;
  for (uint32_t key = 0; key < config.keys; ++key) {
    final.push_back(alone.find_now(key).value);
    if (final.back() != 0) ++present;
  }
  if (const uint64_t listed = alone.count_now(); listed != present || (*index)->size() != present)
    return std::to_string(present) + " keys are present, " + std::to_string(listed) +
           " entries are listed, the size is " + std::to_string((*index)->size());
  return history.violation(final);
}

int run_all(uint64_t runs, uint64_t duration, uint64_t first) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  Totals totals;
  for (uint64_t seed = first;
       duration != 0 ? seconds() < static_cast<double>(duration) : totals.runs < runs; ++seed) {
    if (const auto violation = run(seed, totals)) {
      std::fprintf(stderr, "%s\nreplay: firn_schedules --seed %llu --runs 1\n", violation->c_str(),
                   static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  std::printf("%llu schedules, %llu steps, all linearizable, %.1f s\n",
              static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.steps), seconds());
  constexpr uint64_t kEnough = 10'000;
  for (size_t point = 0; point < kPoints && totals.runs >= kEnough; ++point)
    if (g_reached[point] == 0) {
      std::fprintf(stderr, "point %zu of LocationPoint was never reached\n", point);
      return 1;
    }
  return 0;
}

}  // namespace
}  // namespace firn::schedules

int main(int argc, char** argv) {
  uint64_t runs = 300'000;
  uint64_t duration = 0;
  uint64_t seed = 1;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    uint64_t* const option = name == "--runs"       ? &runs
                             : name == "--duration" ? &duration
                             : name == "--seed"     ? &seed
                                                    : nullptr;
    if (i + 1 == argc || option == nullptr) {
      std::fputs("usage: firn_schedules [--runs N] [--duration SECONDS] [--seed N]\n", stderr);
      return 2;
    }
    *option = std::strtoull(argv[i + 1], nullptr, 10);
  }
  return firn::schedules::run_all(runs, duration, seed);
}
