// SPDX-License-Identifier: Apache-2.0
//
// firn_bench_freezer: the freezer against RocksDB, LMDB, Tkrzw's HashDBM and Kyoto Cabinet's
// HashDB. Durability: every "put" phase ends with one sync that survives power loss. Keys and
// values are random bytes, no compression anywhere. firn, RocksDB and Tkrzw check checksums on
// every read; LMDB and Kyoto Cabinet have none. Every get reads the whole value. The column
// firn-mapped is firn with PosixOptions::map_reads, as all peers but RocksDB read.
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "bench/freezer_phases.h"
#include "bench/machine_floor.h"
#include "bench/random_loads.h"

namespace firn::bench {

namespace {

constexpr size_t kKeySizeBytes = 64;
constexpr size_t kValueSizeBytes = 128;
constexpr size_t kItems = 250'000;
constexpr size_t kGets = 100'000;

// Keys of random items, one behind the other in memory, and the sum of their values.
struct KeysInOrder {
  KeysInOrder(Items& items, size_t count) : bytes(count * items.key_size_bytes) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t index = items.random.below(items.count);
      const size_t begin = i * items.key_size_bytes;
      copy_bytes(MutableByteSpan(bytes).subspan(begin, items.key_size_bytes), items.key(index));
      keys.push_back(ByteSpan(bytes).subspan(begin, items.key_size_bytes));
      expected += sum_words(items.value(index));
    }
  }

  Bytes bytes;
  std::vector<ByteSpan> keys;
  uint64_t expected = 0;
};

double checked_copy_us(const Items& items) {
  return 1e6 * raw_checked_copy(items.value_size_bytes, items.total_bytes());
}

// Puts everything, syncs once, reads it in every way, and opens it again.
void run_engine(const NamedKeyEngine& named, const std::string& directory, Items& items,
                const Items& absent, const std::string& label, Samples& samples) {
  const std::string place = directory + "/" + named.name;
  std::filesystem::create_directories(place);
  const KeyEngineOptions options{.key_size_bytes = kKeySizeBytes, .items_expected = kItems};
  const auto engine = named.make();
  engine->open(place, options);
  const std::clock_t processor = std::clock();
  samples[label + " put, one sync"][named.name].push_back(
      1e3 * seconds_of([&] {
        for (uint64_t i = 0; i < items.count; ++i)
          engine->put(items.key(i), items.value(i));
        engine->sync();
      }));
  samples[label + " put, processor"][named.name].push_back(
      1e3 * static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC);
  engine->settle();
  measure_gets(*engine, named.name, items, absent, kGets, label, samples);
  engine->close();

  const auto reopened = named.make();
  samples[label + " open"][named.name].push_back(
      1e3 * seconds_of([&] {
        reopened->open(place, options);
        require(reopened->get(items.key(1)) == sum_words(items.value(1)), named.name);
      }));
  reopened->close();
  if (named.name == "firn")
    samples[label + " open"]["floor"].push_back(1e3 * raw_checked_read(place + "/index"));
  std::filesystem::remove_all(place);
}

// Each repetition begins with another engine: the first one pays for memory never touched.
void compare(Report& report, const Arguments& arguments, int repetitions) {
  const std::string label = "250 k";
  Samples samples;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const auto seed = static_cast<uint64_t>(repetition);
    Items items(kItems, kKeySizeBytes, kValueSizeBytes, 2 * seed + 1);
    const Items absent(kGets, kKeySizeBytes, 0, 2 * seed + 2);
    samples[label + " put, one sync"]["floor"].push_back(
        1e3 * raw_sequential_write(arguments.directory, 1 << 20, items.total_bytes() >> 20));
    measure_get_floors(items, label, samples);
    for (size_t turn = 0; turn < key_engines().size(); ++turn) {
      const size_t place = (turn + seed) % key_engines().size();
      run_engine(key_engines()[place], arguments.directory, items, absent, label, samples);
    }
  }
  report.add(row_of(samples, label + " put, one sync", "ms", Better::lower));
  report.add(row_of(samples, label + " put, processor", "ms", Better::lower));
  report_gets(report, samples, label);
  report.add(row_of(samples, label + " open", "ms", Better::lower));
}

// One put and one sync at a time. Engines take turns with the floor, so that a busy moment of the
// machine is one for both.
void compare_durable_put(Report& report, const Arguments& arguments, int repetitions) {
  constexpr size_t kPuts = 100;
  const std::string phase = "durable put";
  Samples samples;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const Items items(kPuts, kKeySizeBytes, kValueSizeBytes, static_cast<uint64_t>(repetition) + 1);
    for (const NamedKeyEngine& named : key_engines()) {
      const std::string place = arguments.directory + "/" + named.name;
      std::filesystem::create_directories(place);
      RawPair raw(arguments.directory);
      const auto engine = named.make();
      engine->open(place, {});
      std::vector<double> durable;
      std::vector<double> floor;
      for (uint64_t i = 0; i < kPuts; ++i) {
        durable.push_back(1e6 * seconds_of([&] {
                            engine->put(items.key(i), items.value(i));
                            engine->sync();
                          }));
        floor.push_back(1e6 *
                        seconds_of([&] { raw.append_and_flush(kValueSizeBytes, kKeySizeBytes); }));
      }
      engine->close();
      samples[phase][named.name].push_back(median(std::move(durable)));
      if (named.name == "firn") samples[phase]["floor"].push_back(median(std::move(floor)));
      std::filesystem::remove_all(place);
    }
  }
  report.add(row_of(samples, phase, "us", Better::lower));
}

int run(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv, "freezer");
  const int repetitions = arguments.quick ? 3 : 5;
  Report report("freezer");
  compare_durable_put(report, arguments, repetitions);
  compare(report, arguments, repetitions);
  measure_scale(report, arguments, 1'000'000);
  if (!arguments.quick) measure_scale(report, arguments, 4'000'000);
  measure_cold(report, arguments, arguments.quick ? 1'000'000 : 5'000'000, repetitions);
  std::filesystem::remove_all(arguments.directory);
  if (arguments.json_path.empty() || report.write_json(arguments.json_path)) return 0;
  std::fprintf(stderr, "cannot write %s\n", arguments.json_path.c_str());
  return 1;
}

}  // namespace

void measure_gets(KeyEngine& engine, const std::string& name, Items& items, const Items& absent,
                  size_t count, const std::string& label, Samples& samples) {
  // In the order in which they are asked for, as a caller has just made or received them: otherwise
  // each get would wait for its caller's key, too.
  const KeysInOrder keys(items, count);
  std::vector<ByteSpan> missing;
  for (size_t i = 0; i < count; ++i)
    missing.push_back(absent.key(i % absent.count));
  const auto one_by_one = [&](std::span<const ByteSpan> wanted) {
    uint64_t sum = 0;
    for (const ByteSpan key : wanted)
      sum += engine.get(key);
    return sum;
  };
  const auto batches = [&](std::span<const ByteSpan> wanted) {
    uint64_t sum = 0;
    for (size_t from = 0; from < wanted.size(); from += kBatchKeys)
      sum += engine.get_many(wanted.subspan(from, std::min(kBatchKeys, wanted.size() - from)));
    return sum;
  };
  const auto measure = [&](const std::string& phase, uint64_t sum,
                           const std::function<uint64_t()>& read) {
    require(read() == sum, name + phase);  // warms up
    const double seconds = processor_seconds_of([&] { require(read() == sum, name + phase); });
    samples[label + phase][name].push_back(1e6 * seconds / static_cast<double>(count));
  };
  measure(" get", keys.expected, [&] { return one_by_one(keys.keys); });
  measure(" get_many", keys.expected, [&] { return batches(keys.keys); });
  measure(" miss", 0, [&] { return one_by_one(missing); });
  measure(" miss, get_many", 0, [&] { return batches(missing); });
}

void measure_get_floors(const Items& items, const std::string& label, Samples& samples) {
  constexpr size_t kLoads = 200'000;
  const RandomLoads loads(items.total_bytes());
  std::vector<uint64_t> places(kLoads);
  Random random(3);
  for (uint64_t& place : places)
    place = random.next();
  uint64_t sum = 0;
  const auto each = [&](const std::function<uint64_t()>& load) {
    return 1e6 / kLoads * processor_seconds_of([&] { sum += load(); });
  };
  const double copy = checked_copy_us(items);
  const double dependent = each([&] { return loads.dependent(kLoads); });
  const double prefetched = each([&] { return loads.prefetched(places); });
  const double copies = each([&] { return loads.checked_copies(places, items.value_size_bytes); });
  require(sum != 1, "a sum of addresses");  // it is used
  samples[label + " get"]["floor"].push_back(dependent + copy);
  samples[label + " get_many"]["floor"].push_back(prefetched + copies);
  samples[label + " miss"]["floor"].push_back(dependent);
  samples[label + " miss, get_many"]["floor"].push_back(prefetched);
}

void report_gets(Report& report, const Samples& samples, const std::string& label) {
  for (const char* phase : {" get", " get_many", " miss", " miss, get_many"})
    report.add(row_of(samples, label + phase, "us/get", Better::lower));
}

}  // namespace firn::bench

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], firn::bench::kChildFlag) == 0)
    firn::bench::freezer_child({argv + 2, argv + argc});
  return firn::bench::run(argc, argv);
}
