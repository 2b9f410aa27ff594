// SPDX-License-Identifier: Apache-2.0
//
// What the number of keys changes: loading with a sync every 1,000 puts, the bytes that this
// writes, opening after a clean close and after a kill, reads, and reads that find nothing in
// memory.
#include <filesystem>
#include <iterator>
#include <optional>
#include <sstream>

#include "bench/counted_io.h"
#include "bench/freezer_phases.h"
#include "bench/machine_floor.h"

namespace firn::bench {
namespace {

constexpr size_t kKeySizeBytes = 32;
constexpr size_t kValueSizeBytes = 100;
constexpr size_t kPutsPerSync = 1'000;
constexpr size_t kGets = 200'000;
constexpr int kOpens = 3;

std::string label_of(size_t items) {
  return std::to_string(items / 1'000'000) + " M";
}

// Loads a store in a process of its own: microseconds a put, and device bytes written a byte stored
// before and after it is closed.
std::vector<double> load(const NamedKeyEngine& named, const std::string& place, const Items& items,
                         size_t puts_per_sync, const std::string& group) {
  std::filesystem::create_directories(place);
  std::istringstream said(run_child(
      {"load", named.name, place, std::to_string(items.count), std::to_string(items.key_size_bytes),
       std::to_string(items.value_size_bytes), group, std::to_string(puts_per_sync)}));
  std::vector<double> figures{std::istream_iterator<double>(said), {}};
  if (figures.size() != 3) give_up(named.name + " could not load");
  return figures;
}

double open_and_get_ms(const NamedKeyEngine& named, KeyEngine& engine, const std::string& place,
                       const KeyEngineOptions& options, const Items& items) {
  return 1e3 * seconds_of([&] {
           engine.open(place, options);
           require(engine.get(items.key(1)) == sum_words(items.value(1)), named.name);
         });
}

void open_after_kill(const NamedKeyEngine& named, const std::string& place,
                     const KeyEngineOptions& options, const Items& items, const std::string& label,
                     Samples& samples) {
  std::filesystem::remove_all(place);
  std::filesystem::create_directories(place);
  const std::string said =
      run_child({"fill-and-die", named.name, place, std::to_string(items.count),
                 std::to_string(kKeySizeBytes), std::to_string(kValueSizeBytes)});
  require(said == "synced\n", named.name + " in its own process");
  const auto engine = named.make();
  samples[label + " open after a kill"][named.name].push_back(
      open_and_get_ms(named, *engine, place, options, items));
  const uint64_t last = items.count - 1;
  require(engine->get(items.key(last)) == sum_words(items.value(last)), named.name);
  engine->close();
}

void run_engine(const NamedKeyEngine& named, const std::string& directory, const std::string& group,
                Items& items, const Items& absent, const std::string& label, Samples& samples,
                std::map<std::string, double>& counters) {
  const std::string place = directory + "/" + named.name;
  const KeyEngineOptions options{.key_size_bytes = kKeySizeBytes,
                                 .items_expected = items.count,
                                 .cache_bytes = items.count * 256};
  const std::vector<double> loaded = load(named, place, items, kPutsPerSync, group);
  samples[label + " put, synced"][named.name].push_back(loaded[0]);
  if (!group.empty()) {
    samples[label + " written a byte, synced"][named.name].push_back(loaded[1]);
    samples[label + " written a byte, closed"][named.name].push_back(loaded[2]);
  }

  auto engine = named.make();
  for (int i = 0; i < kOpens; ++i) {
    engine = named.make();
    samples[label + " open"][named.name].push_back(
        open_and_get_ms(named, *engine, place, options, items));
    if (named.name == "firn")
      samples[label + " open"]["floor"].push_back(1e3 * raw_checked_read(place + "/index"));
    if (i + 1 < kOpens) engine->close();
  }
  measure_gets(*engine, named.name, items, absent, kGets, label, samples);
  if (named.name == "firn") counters = engine->counters();
  engine->close();
  open_after_kill(named, place, options, items, label, samples);
  std::filesystem::remove_all(place);
}

}  // namespace

void measure_scale(Report& report, const Arguments& arguments, size_t items_wanted) {
  const std::string label = label_of(items_wanted);
  Items items(items_wanted, kKeySizeBytes, kValueSizeBytes, 1);
  const Items absent(kGets, kKeySizeBytes, 0, 2);
  Samples samples;
  std::map<std::string, double> counters;
  const ProcessGroup group(arguments.directory, std::nullopt);
  measure_get_floors(items, label, samples);
  for (const NamedKeyEngine& named : key_engines())
    run_engine(named, arguments.directory, group.name(), items, absent, label, samples, counters);
  report.add(row_of(samples, label + " put, synced", "us/put", Better::lower));
  for (const char* phase : {" written a byte, synced", " written a byte, closed"})
    if (samples.contains(label + phase))
      report.add(row_of(samples, label + phase, "B", Better::lower));
  report_gets(report, samples, label);
  for (const char* phase : {" open", " open after a kill"})
    report.add(row_of(samples, label + phase, "ms", Better::lower));
  Row memory{label + " memory a record",
             "B",
             Better::lower,
             counters.at("memory bytes a record"),
             std::nullopt,
             {},
             counters};
  report.add(std::move(memory));
}

void measure_cold(Report& report, const Arguments& arguments, size_t count, int repetitions) {
  constexpr size_t kColdValueSizeBytes = 400;
  constexpr size_t kColdPutsPerSync = 50'000;
  const Items items(count, kKeySizeBytes, kColdValueSizeBytes, 1);
  const uint64_t limit_bytes = items.total_bytes() / 4;
  const ProcessGroup group(arguments.directory, limit_bytes);
  const std::string phases[] = {"cold get", "cold get, reads", "cold get, KiB", "cold miss",
                                "cold miss, reads"};
  Samples samples;
  for (const NamedKeyEngine& named : key_engines()) {
    if (named.name == "firn-mapped") continue;  // nothing to map: each page is read once
    const std::string place = arguments.directory + "/" + named.name;
    (void)load(named, place, items, kColdPutsPerSync, "");
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      drop_from_page_cache(place);
      std::istringstream said(run_child(
          {"cold", named.name, place, std::to_string(count), std::to_string(kKeySizeBytes),
           std::to_string(kColdValueSizeBytes), group.name(), std::to_string(limit_bytes)}));
      double figure = 0;
      for (const std::string& phase : phases)
        if (said >> figure) samples[phase][named.name].push_back(figure);
      if (named.name == "firn" && said >> figure) samples["cold get"]["floor"].push_back(figure);
    }
    std::filesystem::remove_all(place);
  }
  for (const std::string& phase : phases) {
    const char* const unit = phase.ends_with("KiB") ? "KiB" : phase.ends_with("reads") ? "" : "us";
    Row row = row_of(samples, phase, unit, Better::lower);
    row.counters = {{"store MiB", static_cast<double>(items.total_bytes() >> 20)},
                    {!group.name().empty() ? "memory limit MiB" : "no memory limit: not permitted",
                     static_cast<double>(limit_bytes >> 20)}};
    report.add(std::move(row));
  }
}

}  // namespace firn::bench
