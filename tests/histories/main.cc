// SPDX-License-Identifier: Apache-2.0
//
// firn_histories: threads race on a few keys of a LocationIndex that starts with one bucket, and
// every history is checked for linearizability.
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "firn/base/text.h"
#include "firn/index/location_index_internals.h"
#include "tests/histories/arguments.h"
#include "tests/histories/worker.h"

namespace firn::histories {
namespace {

// Gives the processor away at one point in 64, so that threads stop inside of critical sections.
struct YieldingPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static void reach(LocationPoint) {
    static thread_local uint64_t state = std::hash<std::thread::id>()(std::this_thread::get_id());
    state = state * 6364136223846793005 + 1442695040888963407;
    if (state >> 58 == 0) std::this_thread::yield();
  }
};

// Where the system has no barrier for all threads.
struct InOrderPolicy : YieldingPolicy {
  static void announce(Word& word, uint64_t value) { announce_in_order(word, value); }
  static void order_announcements() {}
};

Config config_of(uint64_t seed) {
  Random random(seed);
  Config config{.seed = seed};
  config.threads = 2 + random.below(3);
  constexpr uint32_t kKeys[] = {1, 2, 4, 8, 64};
  config.keys = kKeys[random.below(std::size(kKeys))];
  config.layout = kLayouts[random.below(std::size(kLayouts))];
  config.moves = random.one_in(2);
  config.skewed = random.one_in(2);
  config.shards = random.one_in(2);
  config.observes = random.one_in(2);
  config.compares = seed % 2 == 0;
  if (!random.one_in(8)) return config;
  // All keys in the chain of one home, so that most inserts are displaced.
  config.drifts = true;
  config.keys = kKeys[std::size(kKeys) - 1];
  config.layout = kLayouts[random.below(3)];
  return config;
}

// What happened inside of all histories.
struct Moves {
  uint64_t growths = 0;
  uint64_t rebuilds = 0;  // to smaller tables, or to empty ones
  uint64_t drifts = 0;    // rebuilds against drift
};
Moves g_moves;

// One index, from empty to the check of its history.
template <class Policy>
std::optional<std::string> run(const Config& config, uint64_t operations) {
  BasicEpochDomain<Policy> domain;
  const unsigned shard_bits = config.shards ? 1 : 0;
  auto index = BasicLocationIndex<Policy>::open(domain, {.shard_bits = shard_bits});
  CHECK(index.has_value(), "an empty index opens");
  History history(config.threads, config.keys);
  if (config.drifts) {
    BasicEpochSession<Policy> session(domain);
    constexpr uint64_t kEntries[] = {353, 500};  // within 64 buckets a shard, the least that drift
    CHECK((*index)->reserve(session, kEntries[shard_bits]) == LocationStatus::done, "has room");
  }
  run_together(config.threads, [&](size_t thread, const std::function<void()>& wait) {
    Worker<Policy> worker(**index, domain, history, thread, config, history_time);
    wait();
    for (uint64_t i = 0; i < operations / config.threads; ++i)
      worker.step();
  });

  History nothing(1, config.keys);
  Worker<Policy> after(**index, domain, nothing, 0, config, history_time);
  std::vector<uint64_t> final;
  uint64_t present = 0;
  for (uint32_t key = 0; key < config.keys; ++key) {
    final.push_back(after.find_now(key).value);
    if (final.back() != 0) ++present;
  }
  if (after.count_now() != present || (*index)->size() != present)
    return std::to_string(present) + " keys are present, " + std::to_string(after.count_now()) +
           " entries are listed, the size is " + std::to_string((*index)->size());
  BasicEpochSession<Policy> session(domain);
  CHECK((*index)->maintain(session) == LocationStatus::done, "what was begun ends");
  const LocationIndexStatistics statistics = (*index)->statistics(session);
  CHECK(statistics.entries == present && statistics.shards_growing == 0 &&
            statistics.bytes_retired == 0,
        "figures are exact when nobody writes");
  g_moves.growths += statistics.growths;
  (config.drifts ? g_moves.drifts : g_moves.rebuilds) += statistics.rebuilds;
  return history.violation(final);
}

constexpr uint64_t kOperations = 60'000;

std::optional<std::string> run_seed(uint64_t seed) {
  const Config config = config_of(seed);
  const auto run_it = seed % 4 == 0   ? run<LocationPolicy>
                      : seed % 4 == 1 ? run<InOrderPolicy>
                                      : run<YieldingPolicy>;
  const auto violation = run_it(config, kOperations);
  if (!violation) return std::nullopt;
  return concat(config.threads, " threads, ", config.keys, " keys, hashes ",
                kLayoutNames[static_cast<size_t>(config.layout)], config.shards ? ", 2 shards" : "",
                config.drifts ? ", drifting" : "", config.moves ? ", moving: " : ": ", *violation);
}

// False if something never happened that should have.
bool report_moves(uint64_t operations) {
  std::printf("inside of them %llu growths, %llu rebuilds against drift, %llu others\n",
              static_cast<unsigned long long>(g_moves.growths),
              static_cast<unsigned long long>(g_moves.drifts),
              static_cast<unsigned long long>(g_moves.rebuilds));
  constexpr uint64_t kEnough = 10'000'000;
  const bool all = g_moves.growths != 0 && g_moves.drifts != 0 && g_moves.rebuilds != 0;
  if (operations >= kEnough && !all) std::fprintf(stderr, "one of them never happened\n");
  return operations < kEnough || all;
}

}  // namespace
}  // namespace firn::histories

int main(int argc, char** argv) {
  const auto arguments = firn::histories::parse(argc, argv);
  if (!arguments) return firn::histories::print_usage(argc, argv);
  const int result = firn::histories::run_histories(
      "firn_histories", *arguments, firn::histories::kOperations, firn::histories::run_seed);
  return firn::histories::report_moves(arguments->operations) ? result : 1;
}
