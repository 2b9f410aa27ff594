// SPDX-License-Identifier: Apache-2.0
//
// firn_bench_metadata: a map of 10,000 values of 100 bytes, of which some change before each sync,
// and the time to open it. The floor of a sync is one raw overwrite of the changed bytes and a
// flush, or a raw write of the whole image and a flush; "rename" is what programs do without a
// store: write a new file, flush it, rename it, flush the directory.
#include <cstdio>
#include <filesystem>

#include "bench/machine_floor.h"
#include "bench/map_engine.h"
#include "bench/report.h"
#include "firn/base/random.h"

namespace firn::bench {
namespace {

constexpr size_t kValueSizeBytes = 100;
constexpr uint64_t kKeys = 10'000;
constexpr size_t kImageSizeBytes = 12 + kKeys * (8 + 1 + kValueSizeBytes);

struct OpenMap {
  std::string name;
  std::unique_ptr<MapEngine> engine;
  Random random{11};  // the same keys and values for every engine
  uint64_t next_key = kKeys;
};

std::vector<OpenMap> open_and_fill(const std::string& directory, uint64_t keys) {
  std::vector<OpenMap> maps;
  for (const NamedMapEngine& named : map_engines()) {
    OpenMap& map = maps.emplace_back();
    map.name = named.name;
    map.engine = named.make();
    map.engine->open(directory + "/" + named.name);
    for (uint64_t key = 0; key < keys; ++key)
      map.engine->put(key, map.random.bytes(kValueSizeBytes));
    map.engine->sync();
    map.engine->sync();  // firn: the second copy
  }
  return maps;
}

struct Phase {
  std::string name;
  size_t syncs = 0;
  size_t raw_bytes = 0;  // that the floor overwrites
  std::function<void(OpenMap&)> change;
};

using Samples = std::map<std::string, std::vector<double>>;

void add_row(Report& report, std::string name, std::string unit, Samples samples, uint64_t keys) {
  Row row{std::move(name), std::move(unit), Better::lower, 0, std::nullopt, {}, {}};
  for (auto& [engine, values] : samples) {
    const double middle = median(std::move(values));
    if (engine == "firn")
      row.firn = middle;
    else if (engine == "floor")
      row.floor = middle;
    else
      row.peers[engine] = middle;
  }
  row.counters["keys"] = static_cast<double>(keys);
  report.add(std::move(row));
}

// Engines take turns, and each takes turns with the floor after every sync, so that a busy moment
// of the machine is one for both. The medians of the repetitions' medians.
void measure(Report& report, std::vector<OpenMap>& maps, const Phase& phase, RawFile& raw,
             size_t repetitions) {
  Samples medians;
  for (size_t repetition = 0; repetition < repetitions; ++repetition) {
    for (OpenMap& map : maps) {
      Samples samples;
      for (size_t i = 0; i < phase.syncs; ++i) {
        phase.change(map);
        const auto sync = [&] {
          samples[map.name].push_back(1e6 * seconds_of([&] { map.engine->sync(); }));
        };
        if (i % 2 == 0) sync();
        samples["floor"].push_back(1e6 *
                                   seconds_of([&] { raw.overwrite_and_flush(phase.raw_bytes); }));
        if (i % 2 == 1) sync();
      }
      for (auto& [name, values] : samples)
        if (name == map.name || map.name == "firn") medians[name].push_back(median(values));
    }
  }
  add_row(report, phase.name, "us", std::move(medians), kKeys);
}

std::function<void(OpenMap&)> change_some(uint64_t count) {
  return [count](OpenMap& map) {
    for (uint64_t i = 0; i < count; ++i)
      map.engine->put(count == kKeys ? i : map.random.below(kKeys),
                      map.random.bytes(kValueSizeBytes));
  };
}

void measure_syncs(Report& report, const Arguments& arguments, size_t repetitions) {
  std::vector<OpenMap> maps = open_and_fill(arguments.directory, kKeys);
  RawFile raw(arguments.directory, kImageSizeBytes);
  const size_t many = arguments.quick ? 100 : 300;
  const Phase phases[] = {
      {"sync, 1 of 10,000 changed", many, kValueSizeBytes, change_some(1)},
      {"sync, 100 of 10,000 changed", many / 5, kValueSizeBytes, change_some(100)},
      {"sync, all of 10,000 changed", 10, kImageSizeBytes, change_some(kKeys)},
      {"sync, a new key in 10,000", 20, kImageSizeBytes,
       [](OpenMap& map) { map.engine->put(map.next_key++, map.random.bytes(kValueSizeBytes)); }},
  };
  for (const Phase& phase : phases)
    measure(report, maps, phase, raw, repetitions);
  for (OpenMap& map : maps)
    map.engine->close();
}

void measure_opening(Report& report, const Arguments& arguments, uint64_t keys,
                     size_t repetitions) {
  const std::string directory = arguments.directory + "/open";
  std::vector<OpenMap> maps = open_and_fill(directory, keys);
  Samples samples;
  for (OpenMap& map : maps) {
    map.engine->close();
    for (size_t i = 0; i < repetitions; ++i) {
      samples[map.name].push_back(1e3 * seconds_of([&] {
                                    map.engine->open(directory + "/" + map.name);
                                    if (map.engine->value_size(keys - 1) != kValueSizeBytes)
                                      give_up(map.name + " lost a key");
                                  }));
      map.engine->close();
    }
  }
  add_row(report, "open, 100,000 keys, get one", "ms", std::move(samples), keys);
}

int run(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv, "metadata");
  const size_t repetitions = arguments.quick ? 3 : 5;
  Report report("metadata");
  measure_syncs(report, arguments, repetitions);
  measure_opening(report, arguments, 100'000, repetitions);
  std::filesystem::remove_all(arguments.directory);
  if (arguments.json_path.empty() || report.write_json(arguments.json_path)) return 0;
  std::fprintf(stderr, "cannot write %s\n", arguments.json_path.c_str());
  return 1;
}

}  // namespace
}  // namespace firn::bench

int main(int argc, char** argv) {
  return firn::bench::run(argc, argv);
}
