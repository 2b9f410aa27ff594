// SPDX-License-Identifier: Apache-2.0
#include <barrier>
#include <thread>

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/index_firn.h"
#include "bench/index_phases.h"
#include "bench/machine_floor.h"
#include "bench/random_loads.h"

namespace firn::bench {
namespace {

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct GrowthLatency {
  OperationLatency put;
  OperationLatency get;
};

// Fills an engine on this thread, while another one gets what is there.
void grow(IndexEngine& engine, uint64_t items, GrowthLatency& latency) {
  std::atomic<uint64_t> filled = 0;
  std::atomic<bool> stop = false;
  const auto get = [&] {
    pin_to_processor(1);
    engine.gets_timed(filled, stop, latency.get);
  };
  std::jthread reader;
  if (engine.has_threads()) reader = std::jthread(get);
  engine.fill_timed(items, filled, latency.put);
  stop = true;
}

// What the clock and the machine alone take: a loop that times nothing.
void watch_nothing(uint64_t items, OperationLatency& latency) {
  Stopwatch watch(latency);
  for (uint64_t i = 0; i < items; ++i)
    watch.lap();
}

struct Percentile {
  const char* name;
  double share;
};
constexpr Percentile kPercentiles[] = {
    {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};

void add_latency_rows(Report& report, const std::string& phase,
                      const std::vector<std::pair<std::string, const OperationLatency*>>& all,
                      const OperationLatency& floor) {
  for (const auto& [name, share] : kPercentiles) {
    Row row{phase + ", " + name, "us", Better::lower, 0, {}, {}, {}};
    row.floor = floor.undisturbed.percentile(share) / 1e3;
    for (const auto& [engine, latency] : all) {
      const double figure = latency->undisturbed.percentile(share) / 1e3;
      (engine == "firn" ? row.firn : row.peers[engine]) = figure;
      if (engine != "firn") continue;
      row.counters["disturbed included"] = latency->all.percentile(share) / 1e3;
      row.counters["samples"] = static_cast<double>(latency->undisturbed.count());
    }
    report.add(std::move(row));
  }
}

// In a process of its own: writes a MemoryPoint whenever there are 3 % more items.
void grow_and_tell(const NamedIndexEngine& named, uint64_t items, int pipe) {
  const size_t before = resident_bytes();
  const auto engine = named.make();
  for (MemoryPoint point{.items = 1000}; point.items < items;) {
    const uint64_t further = std::min(items, point.items + point.items / 32);
    if (point.bytes == 0) engine->fill(1, point.items);
    engine->fill(point.items + 1, further - point.items);
    point = {.items = further, .bytes = resident_bytes() - before};
    if (::write(pipe, &point, sizeof(point)) != sizeof(point)) ::_exit(1);
  }
  ::_exit(0);
}

MemoryCurve memory_of(const NamedIndexEngine& named, uint64_t items) {
  int ends[2];
  if (::pipe(ends) != 0) give_up("no pipe");
  const pid_t child = ::fork();
  if (child < 0) give_up("no process");
  if (child == 0) grow_and_tell(named, items, ends[1]);
  ::close(ends[1]);
  MemoryCurve curve{.engine = named.name, .points = {}};
  for (MemoryPoint point; ::read(ends[0], &point, sizeof(point)) == sizeof(point);)
    curve.points.push_back(point);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) give_up("an engine ended early while it grew");
  return curve;
}

// The mean over sizes, all factors of growth counting alike, or the peak.
double bytes_an_entry(const MemoryCurve& curve, uint64_t from, uint64_t to, bool peak) {
  std::vector<double> each;
  for (const MemoryPoint& point : curve.points) {
    if (point.items >= from && point.items <= to)
      each.push_back(static_cast<double>(point.bytes) / static_cast<double>(point.items));
  }
  double sum = 0;
  double most = 0;
  for (const double bytes : each) {
    sum += bytes;
    most = std::max(most, bytes);
  }
  return peak ? most : sum / static_cast<double>(each.size());
}

}  // namespace

void pin_to_processor(unsigned number) {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  CPU_SET(number, &processors);
  // Refused where there is only one; then all threads share it.
  ::pthread_setaffinity_np(::pthread_self(), sizeof(processors), &processors);
}

ThreadTimes time_threads(unsigned threads, const std::function<void(unsigned thread)>& work) {
  std::vector<double> processor(threads);
  std::barrier begin(static_cast<std::ptrdiff_t>(threads));
  const auto run = [&](unsigned thread) {
    begin.arrive_and_wait();
    const double before = processor_seconds();
    work(thread);
    processor[thread] = processor_seconds() - before;
  };
  ThreadTimes times;
  times.wall = seconds_of([&] {
    std::vector<std::jthread> others;
    for (unsigned thread = 1; thread < threads; ++thread) {
      others.emplace_back([&run, thread] {
        pin_to_processor(thread);
        run(thread);
      });
    }
    run(0);
  });
  times.processor = *std::ranges::max_element(processor);
  return times;
}

std::string size_name(uint64_t items) {
  constexpr uint64_t kMillion = 1'000'000;
  if (items >= kMillion) return std::to_string(items / kMillion) + "M";
  return std::to_string(items / 1000) + "k";
}

void measure_growth(const IndexPhases& phases, uint64_t items, bool with_peers) {
  std::vector<std::unique_ptr<GrowthLatency>> latencies;
  std::vector<std::pair<std::string, const OperationLatency*>> puts;
  std::vector<std::pair<std::string, const OperationLatency*>> gets;
  for (const NamedIndexEngine& named : index_engines()) {
    if (!with_peers && named.name != "firn") continue;
    GrowthLatency& latency = *latencies.emplace_back(std::make_unique<GrowthLatency>());
    const auto engine = named.make();
    grow(*engine, items, latency);
    puts.emplace_back(named.name, &latency.put);
    if (engine->has_threads()) gets.emplace_back(named.name, &latency.get);
  }
  const auto floor = std::make_unique<OperationLatency>();
  watch_nothing(items, *floor);
  const std::string name = size_name(items);
  add_latency_rows(phases.report, "put, growing to " + name, puts, *floor);
  add_latency_rows(phases.report, "get beside it, " + name, gets, *floor);
}

void measure_batched_puts(const IndexPhases& phases, uint64_t items) {
  std::vector<double> growing;
  std::vector<double> presized;
  std::vector<double> floor;
  const auto each = [&](const ThreadTimes& times) {
    return times.processor * 1e9 / static_cast<double>(items);
  };
  std::vector<uint64_t> keys(items / RandomLoads::kGroup * RandomLoads::kGroup);
  for (size_t i = 0; i < keys.size(); ++i)
    keys[i] = key_of(i + 1);
  uint64_t sum = 0;
  for (int repetition = 0; repetition < phases.repetitions; ++repetition) {
    FirnIndex grown;
    growing.push_back(each(time_threads(1, [&](unsigned) { grown.fill_batched(1, items); })));
    RandomLoads loads(grown.statistics().bytes_live);
    floor.push_back(each(time_threads(1, [&](unsigned) { sum += loads.prefetched_stores(keys); })));
    FirnIndex reserved(items);
    presized.push_back(each(time_threads(1, [&](unsigned) { reserved.fill_batched(1, items); })));
  }
  if (sum == 0) give_up("the floor did nothing");
  const std::string name = ", " + size_name(items);
  phases.report.add({"put_many(128), presized" + name,
                     "ns",
                     Better::lower,
                     median(presized),
                     median(floor),
                     {},
                     {}});
  phases.report.add({"put_many(128), growing" + name,
                     "ns",
                     Better::lower,
                     median(growing),
                     median(floor),
                     {},
                     {}});
}

std::vector<MemoryCurve> measure_memory(const IndexPhases& phases, uint64_t items_of_firn,
                                        uint64_t items_of_peers) {
  std::vector<MemoryCurve> curves;
  for (const NamedIndexEngine& named : index_engines())
    curves.push_back(memory_of(named, named.name == "firn" ? items_of_firn : items_of_peers));
  for (const uint64_t to : {items_of_peers, items_of_firn}) {
    for (const bool peak : {false, true}) {
      constexpr uint64_t kFrom = 1'000'000;
      Row row{std::string("memory, ") + (peak ? "peak " : "mean ") + size_name(kFrom) + " to " +
                  size_name(to),
              "B/entry",
              Better::lower,
              0,
              {},
              {},
              {}};
      for (const MemoryCurve& curve : curves) {
        const double figure = bytes_an_entry(curve, kFrom, to, peak);
        if (curve.engine == "firn")
          row.firn = figure;
        else if (to == items_of_peers)
          row.peers[curve.engine] = figure;
      }
      phases.report.add(std::move(row));
    }
  }
  return curves;
}

}  // namespace firn::bench
