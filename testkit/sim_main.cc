// SPDX-License-Identifier: Apache-2.0
#include "testkit/sim_main.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "firn/base/text.h"

namespace firn::testkit {
namespace {

constexpr std::string_view kUsage =
    R"(Cuts the power under simulated stores and checks what they recover.

  --scenario NAME   only this one (default: all; --list names them)
  --mode MODE       exhaustive: a script crashed and failed at every call, then its recovery
                    bounded: all workloads of --operations operations, every subset of what
                    was pending
                    random: long random lives; the default is all three
  --seed N          first seed (default 1); random run i uses N + i
  --cuts N          random: crashes per scenario (default 20000)
  --duration S      random: runs for S seconds in all instead
  --steps N         exhaustive: operations of the script (default: 12, fewer where one
                    operation is many calls)
  --nesting N       exhaustive: recoveries in a row crashed at every call (default 1)
  --operations N    bounded: longest workload (default 2)
  --json FILE       writes {"stage","cases","violations","seconds","seed","trace"}

The column `nested` counts crashes inside recovery, inside the recovery after that one, inside the
third, and deeper. Indented lines count rare states: each scenario has some, and 20000 random cuts
must have met each of them.
`trace` is a hash of all calls: the same arguments give the same one.
)";

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Arguments {
  std::string scenario;
  std::string mode = "all";
  std::string json;
  uint64_t seed = 1;
  uint64_t cuts = 20'000;
  uint64_t steps = 0;  // the scenario's own
  uint64_t operations = 2;
  uint64_t nesting = 1;
  uint64_t duration_seconds = 0;
  bool list = false;
  bool help = false;
};

// The flag's place in `arguments`, or nullptr for an unknown flag.
std::string* text_flag(Arguments& arguments, std::string_view flag) {
  if (flag == "--scenario") return &arguments.scenario;
  if (flag == "--mode") return &arguments.mode;
  if (flag == "--json") return &arguments.json;
  return nullptr;
}

uint64_t* number_flag(Arguments& arguments, std::string_view flag) {
  if (flag == "--seed") return &arguments.seed;
  if (flag == "--cuts") return &arguments.cuts;
  if (flag == "--steps") return &arguments.steps;
  if (flag == "--operations") return &arguments.operations;
  if (flag == "--nesting") return &arguments.nesting;
  if (flag == "--duration") return &arguments.duration_seconds;
  return nullptr;
}

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--help" || flag == "--list") {
      (flag == "--help" ? arguments.help : arguments.list) = true;
      continue;
    }
    std::string* const text = text_flag(arguments, flag);
    uint64_t* const number = number_flag(arguments, flag);
    if (text == nullptr && number == nullptr)
      return fail(Errc::invalid_argument, concat("unknown flag ", flag));
    if (++i == argc) return fail(Errc::invalid_argument, concat(flag, " needs a value"));
    const std::string_view value = argv[i];
    if (text != nullptr) {
      *text = value;
      continue;
    }
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), *number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size())
      return fail(Errc::invalid_argument, concat(flag, " needs a number, not ", value));
  }
  for (const std::string_view mode : {"all", "exhaustive", "bounded", "random"})
    if (arguments.mode == mode) return arguments;
  return fail(Errc::invalid_argument, concat("unknown mode ", arguments.mode));
}

class Simulation {
 public:
  explicit Simulation(const Arguments& arguments) : arguments_(arguments) {}

  int run(const std::vector<SimScenario>& scenarios) {
    std::printf("%-28s %-11s %10s %10s %10s %23s %9s %10s  %-16s  %s\n", "scenario", "mode", "runs",
                "cuts", "faults", "nested", "seconds", "cuts/s", "trace", "result");
    for (const SimScenario& scenario : scenarios) {
      if (wants("exhaustive")) run_once(scenario, "exhaustive", run_exhaustive);
      if (wants("bounded")) run_once(scenario, "bounded", run_bounded_exhaustive);
    }
    if (wants(kRandom)) run_all_random(scenarios);
    const double seconds = seconds_since(start_);
    std::printf("%llu cases, %llu violations, %.1f s, trace %016llx\n", as_printable(total_.cuts),
                as_printable(violations_), seconds, as_printable(total_.trace_hash));
    if (!arguments_.json.empty() && !write_json(seconds)) return 1;
    return violations_ == 0 ? 0 : 1;
  }

 private:
  static constexpr std::string_view kRandom = "random";
  // So many cuts meet whatever a scenario says that it reaches, under any seed.
  static constexpr uint64_t kCutsThatMeetAll = 20'000;

  using Mode = HarnessResult (*)(const ScenarioFactory&, const HarnessOptions&);

  static unsigned long long as_printable(uint64_t number) { return number; }

  [[nodiscard]] bool wants(std::string_view mode) const {
    return arguments_.mode == "all" || arguments_.mode == mode;
  }

  [[nodiscard]] HarnessOptions options_for(const SimScenario& scenario) const {
    HarnessOptions options;
    options.scenario = scenario.name;
    options.seed = arguments_.seed;
    options.cuts = arguments_.cuts;
    options.steps = arguments_.steps > 0 ? arguments_.steps : scenario.steps;
    options.max_operations = arguments_.operations;
    options.nesting = arguments_.nesting;
    return options;
  }

  void run_once(const SimScenario& scenario, const char* mode, Mode function) {
    const auto start = Clock::now();
    const HarnessResult result = function(scenario.factory, options_for(scenario));
    print(scenario, mode, result, seconds_since(start));
  }

  // In turns, so that every scenario gets its part of the time.
  void run_all_random(const std::vector<SimScenario>& scenarios) {
    struct Progress {
      HarnessResult total;
      double seconds = 0;
    };
    constexpr uint64_t kCutsPerTurn = 2000;
    std::vector<Progress> progress(scenarios.size());
    for (bool more = true; more;) {
      more = false;
      for (size_t i = 0; i < scenarios.size(); ++i) {
        Progress& mine = progress[i];
        const bool enough =
            arguments_.duration_seconds > 0
                ? seconds_since(start_) >= static_cast<double>(arguments_.duration_seconds)
                : mine.total.cuts >= arguments_.cuts;
        if (mine.total.violation || enough) continue;
        HarnessOptions options = options_for(scenarios[i]);
        options.seed += mine.total.runs;
        options.cuts = arguments_.duration_seconds > 0
                           ? kCutsPerTurn
                           : std::min(kCutsPerTurn, arguments_.cuts - mine.total.cuts);
        const auto start = Clock::now();
        const HarnessResult result = run_random(scenarios[i].factory, options);
        mine.seconds += seconds_since(start);
        mine.total.add(result);
        more = true;
      }
    }
    for (size_t i = 0; i < scenarios.size(); ++i)
      print(scenarios[i], kRandom, progress[i].total, progress[i].seconds);
  }

  void print(const SimScenario& scenario, std::string_view mode, const HarnessResult& result,
             double seconds) {
    total_.add(result);
    if (result.violation) ++violations_;
    std::string nested;
    for (const uint64_t cuts : result.recovery_cuts)
      nested += concat(nested.empty() ? "" : "/", cuts);
    const double rate = seconds > 0 ? static_cast<double>(result.cuts) / seconds : 0;
    std::printf("%-28s %-11s %10llu %10llu %10llu %23s %9.1f %10.0f  %016llx  %s\n",
                scenario.name.c_str(), std::string(mode).c_str(), as_printable(result.runs),
                as_printable(result.cuts), as_printable(result.faults), nested.c_str(), seconds,
                rate, as_printable(result.trace_hash), result.violation ? "VIOLATED" : "ok");
    print_reached(mode, result);
    if (result.violation) std::printf("\n%s\n", result.violation->c_str());
    std::fflush(stdout);
  }

  // What is never met is not tested.
  void print_reached(std::string_view mode, const HarnessResult& result) {
    if (result.runs > 0 && result.reached.empty()) {
      ++violations_;
      std::printf("  VIOLATED: the scenario names no rare state\n");
    }
    for (const auto& [what, count] : result.reached) {
      const bool is_missed = count == 0 && mode == kRandom && result.cuts >= kCutsThatMeetAll;
      if (is_missed) ++violations_;
      std::printf("  %s: %llu%s\n", what.c_str(), as_printable(count),
                  is_missed ? " VIOLATED: it is never met any more" : "");
    }
  }

  [[nodiscard]] bool write_json(double seconds) const {
    std::FILE* const file = std::fopen(arguments_.json.c_str(), "w");
    if (file == nullptr) {
      std::fprintf(stderr, "cannot write %s\n", arguments_.json.c_str());
      return false;
    }
    std::fprintf(file,
                 "{\"stage\":\"sim\",\"cases\":%llu,\"violations\":%llu,\"seconds\":%.3f,"
                 "\"seed\":%llu,\"trace\":\"%016llx\"}\n",
                 as_printable(total_.cuts), as_printable(violations_), seconds,
                 as_printable(arguments_.seed), as_printable(total_.trace_hash));
    return std::fclose(file) == 0;
  }

  const Arguments& arguments_;
  Clock::time_point start_ = Clock::now();
  HarnessResult total_;
  uint64_t violations_ = 0;
};

}  // namespace

int sim_main(int argc, char** argv, const std::vector<SimScenario>& scenarios) {
  const Result<Arguments> arguments = parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "%s; --help lists the flags\n", arguments.error().message.c_str());
    return 2;
  }
  if (arguments->help) {
    std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
    return 0;
  }
  std::vector<SimScenario> chosen;
  for (const SimScenario& scenario : scenarios) {
    if (arguments->list) std::printf("%s\n", scenario.name.c_str());
    if (arguments->scenario.empty() || arguments->scenario == scenario.name)
      chosen.push_back(scenario);
  }
  if (arguments->list) return 0;
  if (chosen.empty()) {
    std::fprintf(stderr, "no scenario %s; --list names them\n", arguments->scenario.c_str());
    return 2;
  }
  return Simulation(*arguments).run(chosen);
}

}  // namespace firn::testkit
