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
  static void announce(Word& word, uint64_t value) {
    store(word, value, std::memory_order_release);
  }
  static void order_announcements() {
    if (Scheduler* const scheduler = Scheduler::current()) scheduler->drain_all();
  }
  static void pause(unsigned /*turn*/) {
    if (Scheduler* const scheduler = Scheduler::current()) scheduler->wait();
  }
};

using Index = BasicLocationIndex<SimulatedPolicy>;
using Worker = histories::Worker<SimulatedPolicy>;

// What the fibers do, one string each, after `before`; see Worker::step.
struct Script {
  const char* before;
  std::array<const char*, 3> fibers;
};

constexpr const char* kFullBucket = "p1 p2 p3 p4 p5 p6 p7";
constexpr const char* kFullChain = "p1 p2 p3 p4 p5 p6 p7 p8 p9 p10 p11 p12 p13 p14 p15";
constexpr const char* kBeyondAllChains = "F p1 p2";  // with equal hashes; the table is not full
// The scenarios of firn/index/model, and the same beside full buckets and full chains.
constexpr Script kScripts[] = {
    {"", {"p0 f1", "p1 f0", ""}},
    {"", {"p0", "p0", "f0 f0"}},
    {"p0", {"p0", "r0", "f0 f0"}},
    {"p0", {"p1 f1", "r0", "f0 f1"}},
    {"p0", {"r1", "p0 f0", ""}},
    {"p0", {"x0", "p0", "f0 f0"}},
    {"p0", {"r0 p1 r1 p0", "f0 f0", ""}},
    {"p0", {"r0 p1 r1 p0", "p0 f0", "f0 f0"}},
    {"p0", {"p0 f0", "G", "f0 f0"}},
    {"", {"p0 r0", "G", "f0 f0"}},
    {"p0", {"r0 p0", "G", "f0 f0"}},
    {"", {"p0", "p0", "G"}},
    {"p0 p1", {"p1", "G", "r0 f1"}},
    {"p0", {"x0", "G", "p0 f0"}},
    {"p0", {"G p0", "G r0", "f0 f0"}},
    {"p0", {"G S G", "f0 f0", "f0"}},
    {"p0", {"G S G", "p0 f0", "f0"}},
    {"", {"G S", "p0", "p0 f0"}},
    {"p0", {"p0 f0", "C", "f0"}},
    {"p0", {"C f0", "G", "f0"}},
    {"p0", {"C f0", "G p0", "f0"}},
    {"p0", {"C f0", "C p0 f0", ""}},
    {"p0 p1", {"C f0", "p1 f1", "x0"}},
    {"", {"p0 r0 p0", "C Z", "Z Z Z"}},
    {"p0 p1 p2", {"W", "G S", "p0 r1"}},
    {"p0 p1 p2", {"W W", "r0 p3 p0", "G"}},
    {"p0", {"m0 f1", "r0 p1", "f0 f1"}},
    {"", {"m0", "m1", "G"}},
    {"p0 p1", {"m0", "G S", "r1 f0"}},
    {"p0 p1", {"m0", "C f1", "f0 p1"}},
    {kFullBucket, {"m0 f0", "m1 r3", "G"}},
    {kFullBucket, {"r1 p1 r2", "C Z", "Z p2 Z"}},
    {kFullBucket, {"r1 m0", "p0 f1", "S G"}},
    {kFullBucket, {"p0", "p0", "f0 f0"}},
    {kFullBucket, {"r1 p0", "p1 f1", "f0 f0"}},
    {kFullBucket, {"p0 f8", "p8 f0", ""}},
    {kFullBucket, {"p0 f0", "G", "r1"}},
    {kFullBucket, {"p0 p8", "p9 f0", "G f8"}},
    {kFullBucket, {"r0 r1 p0", "G f1", "p1 f0"}},
    {kFullChain, {"p0", "p0", "f0 f0"}},
    {kFullChain, {"p0 f16", "p16 f0", "G"}},
    {kFullChain, {"r1 p0 r0", "p0 f0", "S f1"}},
    {kFullChain, {"p16 f16", "C p0", "f0 p1"}},
    {kFullChain, {"W", "G", "r1 p1 f1"}},
    {"p1 p2 p3 p4 p5 p6 p7 p8", {"W W", "r8 p9 r9 p8", ""}},
    {"p1 p2 p3 p4 p5 p6 p7 p8", {"G", "r8 p9 r9 p8", "f8 f9"}},
    {kBeyondAllChains, {"p0", "p0", "f0 f0"}},
    {kBeyondAllChains, {"p0 f0", "G", "r250 p1"}},
    {kBeyondAllChains, {"r251 p251", "G f250", "p0 p251"}},
    {kBeyondAllChains, {"W", "p0 r0 p1", "f251 C"}},
};

struct Totals {
  uint64_t runs = 0;
  uint64_t steps = 0;
};

void follow(Worker& worker, std::string_view script) {
  while (!script.empty()) {
    const size_t end = std::min(script.find(' '), script.size());
    worker.step(script.substr(0, end));
    script.remove_prefix(std::min(end + 1, script.size()));
  }
}

histories::Config draw_config(Random& random, uint64_t seed, const Script* script) {
  constexpr uint32_t kKeys[] = {1, 2, 2, 3, 9, 20};
  histories::Config config{.threads = 2 + random.below(2), .seed = seed};
  config.keys = kKeys[random.below(std::size(kKeys))];
  config.layout = histories::kLayouts[random.below(std::size(histories::kLayouts))];
  config.moves = !random.one_in(3);
  config.skewed = random.one_in(2);
  if (script == nullptr) return config;
  config.keys = script->before == kBeyondAllChains ? 252 : 17;
  config.threads = script->fibers.size();
  return config;
}

std::optional<std::string> check(Index& index, Worker& alone, uint32_t keys,
                                 const History& history) {
  std::vector<uint64_t> final;
  uint64_t present = 0;
  for (uint32_t key = 0; key < keys; ++key) {
    final.push_back(alone.find_now(key).value);
    if (final.back() != 0) ++present;
  }
  if (const uint64_t listed = alone.count_now(); listed != present || index.size() != present)
    return std::to_string(present) + " keys are present, " + std::to_string(listed) +
           " entries are listed, the size is " + std::to_string(index.size());
  return history.violation(final);
}

// Random operations, or one of the scripts.
std::optional<std::string> run(uint64_t seed, Totals& totals) {
  Random random(seed);
  const Script* const script =
      random.one_in(3) ? nullptr : &kScripts[random.below(std::size(kScripts))];
  const histories::Config config = draw_config(random, seed, script);
  BasicEpochDomain<SimulatedPolicy> domain;
  auto index = Index::open(domain, {.shard_bits = 0});
  CHECK(index.has_value(), "an empty index opens");
  History history(config.threads + 1, config.keys);
  const auto clock = [] { return ++g_now; };
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t thread = 0; thread <= config.threads; ++thread)
    workers.push_back(std::make_unique<Worker>(**index, domain, history, thread, config, clock));
  Worker& alone = *workers.back();
  if (script != nullptr) {
    follow(alone, script->before);
  } else {
    for (uint64_t i = random.below(2 * config.keys + 2); i > 0; --i)
      alone.step();
  }

  Scheduler scheduler(random.next());
  for (size_t thread = 0; thread < config.threads; ++thread)
    scheduler.add([&, thread, count = 1 + random.below(7)] {
      if (script != nullptr) return follow(*workers[thread], script->fibers[thread]);
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
  return check(**index, alone, config.keys, history);
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
  uint64_t runs = 120'000;
  uint64_t duration = 0;
  uint64_t seed = 1;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    uint64_t* const option = name == "--runs"       ? &runs
                             : name == "--duration" ? &duration
                             : name == "--seed"     ? &seed
                                                    : nullptr;
    if (i + 1 == argc || option == nullptr) {
      const bool is_asked = name == "--help";
      std::fputs("usage: firn_schedules [--runs N] [--duration SECONDS] [--seed N]\n",
                 is_asked ? stdout : stderr);
      return is_asked ? 0 : 2;
    }
    *option = std::strtoull(argv[i + 1], nullptr, 10);
  }
  return firn::schedules::run_all(runs, duration, seed);
}
