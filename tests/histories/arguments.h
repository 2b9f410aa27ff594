// SPDX-License-Identifier: Apache-2.0
//
// The flags, the loop, the threads and the report that the programs of histories share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "firn/base/check.h"

namespace firn::histories {

inline constexpr const char* kUsage =
    " [--operations N] [--duration SECONDS] [--seed N] [--json FILE]\n"
    "  --operations  how many in all (default 1000000)\n"
    "  --duration    stop after so many seconds instead\n";

struct Arguments {
  uint64_t operations = 1'000'000;
  uint64_t duration = 0;
  uint64_t seed = 1;
  const char* json = nullptr;
};

inline std::optional<Arguments> parse(int argc, char** argv) {
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

// The exit code of a program that was asked how it is used, or misunderstood.
inline int print_usage(int argc, char** argv) {
  const bool is_asked = argc == 2 && std::string_view(argv[1]) == "--help";
  std::fprintf(is_asked ? stdout : stderr, "usage: %s%s", argv[0], kUsage);
  return is_asked ? 0 : 2;
}

// Runs work(thread, wait) in so many threads, which call wait() before their first operation: it
// returns when all of them have.
inline void run_together(
    size_t thread_count,
    const std::function<void(size_t thread, const std::function<void()>& wait)>& work) {
  std::atomic<size_t> ready = 0;
  const auto wait = [&] {
    for (++ready; ready < thread_count;)
      std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < thread_count; ++thread)
    threads.emplace_back([&, thread] { work(thread, wait); });
  for (std::thread& thread : threads)
    thread.join();
}

// Runs histories of `operations_each`, one for each seed, until enough are done or three were
// violated. `run` says what was wrong. Returns the exit code.
inline int run_histories(const std::string& program, const Arguments& arguments,
                         uint64_t operations_each,
                         const std::function<std::optional<std::string>(uint64_t seed)>& run) {
  constexpr uint64_t kViolationsMax = 3;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const auto printable = [](uint64_t number) { return static_cast<unsigned long long>(number); };
  uint64_t done = 0;
  uint64_t violations = 0;
  uint64_t seed = arguments.seed;
  const auto wants_more = [&] {
    if (violations == kViolationsMax) return false;
    if (arguments.duration != 0) return seconds() < static_cast<double>(arguments.duration);
    return done < arguments.operations;
  };
  for (; wants_more(); ++seed) {
    const auto violation = run(seed);
    done += operations_each;
    if (!violation) continue;
    ++violations;
    std::fprintf(stderr, "%s\nreplay: %s --seed %llu --operations 1\n", violation->c_str(),
                 program.c_str(), printable(seed));
  }
  std::printf(
      "%llu operations in %llu histories, %llu not linearizable, %.1f s, seeds %llu to %llu\n",
      printable(done), printable(seed - arguments.seed), printable(violations), seconds(),
      printable(arguments.seed), printable(seed - 1));
  if (arguments.json != nullptr) {
    FILE* const file = std::fopen(arguments.json, "w");
    CHECK(file != nullptr, "the report can be written");
    std::fprintf(file,
                 "{\"stage\":\"threads\",\"cases\":%llu,\"violations\":%llu,"
                 "\"seconds\":%.0f,\"seed\":%llu}\n",
                 printable(done), printable(violations), seconds(), printable(arguments.seed));
    std::fclose(file);
  }
  return violations == 0 ? 0 : 1;
}

}  // namespace firn::histories
