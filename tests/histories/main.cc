// SPDX-License-Identifier: Apache-2.0
//
// firn_histories: threads race on a few keys of a LocationIndex that starts with one bucket, and
// every history is checked for linearizability.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "firn/index/location_index_internals.h"
#include "tests/histories/worker.h"

namespace firn::histories {
namespace {

constexpr const char* kUsage =
    "usage: firn_histories [--operations N] [--duration SECONDS] [--seed N] [--json FILE]\n"
    "  --operations  how many in all (default 1000000)\n"
    "  --duration    stop after so many seconds instead\n";

// Gives the processor away at one point in 64, so that threads stop inside of critical sections.
struct YieldingPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static void reach(LocationPoint) {
    static thread_local uint64_t state = std::hash<std::thread::id>()(std::this_thread::get_id());
    state = state * 6364136223846793005 + 1442695040888963407;
    if (state >> 58 == 0) std::this_thread::yield();
  }
};

struct Arguments {
  uint64_t operations = 1'000'000;
  uint64_t duration = 0;
  uint64_t seed = 1;
  const char* json = nullptr;
};

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments result;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--json") {
      result.json = argv[i + 1];
      continue;
    }
    char* end = nullptr;
    const uint64_t number = std::strtoull(argv[i + 1], &end, 10);
    if (*end != '\0') return std::nullopt;
    if (name == "--operations") {
      result.operations = number;
    } else if (name == "--duration") {
      result.duration = number;
    } else if (name == "--seed") {
      result.seed = number;
    } else {
      return std::nullopt;
    }
  }
  if (argc % 2 == 0) return std::nullopt;
  return result;
}

Config config_of(uint64_t seed) {
  Random random(seed);
  Config config{.seed = seed};
  config.threads = 2 + random.below(3);
  constexpr uint32_t kKeys[] = {1, 2, 4, 8, 64};
  config.keys = kKeys[random.below(std::size(kKeys))];
  config.layout = kLayouts[random.below(std::size(kLayouts))];
  config.moves = random.one_in(2);
  config.skewed = random.one_in(2);
  return config;
}

// One index, from empty to the check of its history.
template <class Policy>
std::optional<std::string> run(const Config& config, uint64_t operations) {
  BasicEpochDomain<Policy> domain;
  auto index = BasicLocationIndex<Policy>::open(domain, {.shard_bits = 0});
  CHECK(index.has_value(), "an empty index opens");
  History history(config.threads, config.keys);
  std::atomic<size_t> ready = 0;
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < config.threads; ++thread)
    threads.emplace_back([&, thread] {
      Worker<Policy> worker(**index, domain, history, thread, config, history_time);
      for (++ready; ready < config.threads;)
        std::this_thread::yield();
      for (uint64_t i = 0; i < operations / config.threads; ++i)
        worker.step();
    });
  for (std::thread& thread : threads)
    thread.join();

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
  return history.violation(final);
}

int run_all(const Arguments& arguments) {
  constexpr uint64_t kRound = 60'000;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  uint64_t done = 0;
  uint64_t violations = 0;
  uint64_t seed = arguments.seed;
  for (; arguments.duration != 0 ? seconds() < static_cast<double>(arguments.duration)
                                 : done < arguments.operations;
       ++seed) {
    const Config config = config_of(seed);
    const auto violation =
        seed % 4 == 0 ? run<LocationPolicy>(config, kRound) : run<YieldingPolicy>(config, kRound);
    done += kRound;
    if (!violation) continue;
    ++violations;
    std::fprintf(stderr,
                 "%zu threads, %u keys, hashes %s%s: %s\nreplay: %s --seed %llu --operations 1\n",
                 config.threads, config.keys, kLayoutNames[static_cast<size_t>(config.layout)],
                 config.moves ? ", moving" : "", violation->c_str(), "firn_histories",
                 static_cast<unsigned long long>(seed));
    if (violations == 3) break;
  }
  std::printf(
      "%llu operations in %llu histories, %llu not linearizable, %.1f s, seeds %llu to "
      "%llu\n",
      static_cast<unsigned long long>(done), static_cast<unsigned long long>(seed - arguments.seed),
      static_cast<unsigned long long>(violations), seconds(),
      static_cast<unsigned long long>(arguments.seed), static_cast<unsigned long long>(seed - 1));
  if (arguments.json != nullptr) {
    FILE* const file = std::fopen(arguments.json, "w");
    CHECK(file != nullptr, "the report can be written");
    std::fprintf(file,
                 "{\"stage\":\"threads\",\"cases\":%llu,\"violations\":%llu,"
                 "\"seconds\":%.0f,\"seed\":%llu}\n",
                 static_cast<unsigned long long>(done), static_cast<unsigned long long>(violations),
                 seconds(), static_cast<unsigned long long>(arguments.seed));
    std::fclose(file);
  }
  return violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace firn::histories

int main(int argc, char** argv) {
  const auto arguments = firn::histories::parse(argc, argv);
  if (!arguments) {
    std::fputs(firn::histories::kUsage, stderr);
    return 2;
  }
  return firn::histories::run_all(*arguments);
}
