// SPDX-License-Identifier: Apache-2.0
//
// firn_bench_archive: the prunable archive against LMDB, RocksDB (BlobDB for large values) and
// SQLite. Durability: every "put" phase ends with one sync that survives power loss. Keys are 64
// random bytes, values random (incompressible), no compression anywhere. firn and RocksDB check
// checksums on every read; LMDB and SQLite have none. Every get reads the whole value. The column
// firn-mapped is firn with PosixOptions::map_reads.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "bench/engine.h"
#include "bench/items.h"
#include "bench/machine_floor.h"
#include "bench/report.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"

namespace firn::bench {
namespace {

constexpr size_t kKeySizeBytes = 64;
constexpr size_t kBatch = 128;

const std::vector<NamedEngine>& engines() {
  static const std::vector<NamedEngine> all = {{"firn", make_firn_engine},
                                               {"firn-mapped", make_mapped_firn_engine},
                                               {"lmdb", make_lmdb_engine},
                                               {"rocksdb", make_rocksdb_engine},
                                               {"sqlite", make_sqlite_engine}};
  return all;
}

// One engine's turn: put everything, then read it in every way, into `samples`.
void run_engine(const NamedEngine& named, const std::string& directory, Items& work,
                const std::string& label, size_t read_count, Samples& samples) {
  const std::string place = directory + "/" + named.name;
  std::filesystem::create_directories(place);
  EngineOptions options;
  options.large_values = work.value_size_bytes >= 16384;
  const auto engine = named.make();
  engine->open(place, options);
  const double put_seconds = seconds_of([&] {
    for (uint64_t i = 0; i < work.count; ++i)
      engine->put(i, work.key(i), work.value(i));
    engine->sync();
  });
  const auto megabytes = static_cast<double>(work.total_bytes()) / 1e6;
  samples[label + " put"][named.name].push_back(megabytes / put_seconds);

  std::vector<uint64_t> order(read_count);
  for (uint64_t& index : order)
    index = work.random.below(work.count);
  std::vector<ByteSpan> keys;
  for (const uint64_t index : order)
    keys.push_back(work.key(index));
  uint64_t expected = 0;
  for (const uint64_t index : order)
    expected += sum_words(work.value(index));

  const auto measure = [&](const std::string& phase, const std::function<uint64_t()>& read) {
    require(read() == expected, named.name + " " + phase);  // warms up
    double microseconds = 0;
    microseconds = 1e6 * seconds_of([&] { require(read() == expected, named.name); });
    samples[label + " " + phase][named.name].push_back(microseconds /
                                                       static_cast<double>(read_count));
  };
  measure("get by index", [&] {
    uint64_t sum = 0;
    for (const uint64_t index : order)
      sum += engine->get(index);
    return sum;
  });
  measure("get by key", [&] {
    uint64_t sum = 0;
    for (const ByteSpan key : keys)
      sum += engine->get(key);
    return sum;
  });
  const auto batches = [&](auto items) {
    uint64_t sum = 0;
    for (size_t from = 0; from < items.size(); from += kBatch)
      sum += engine->get_many(items.subspan(from, std::min(kBatch, items.size() - from)));
    return sum;
  };
  measure("get_many by index", [&] { return batches(std::span<const uint64_t>(order)); });
  measure("get_many by key", [&] { return batches(std::span<const ByteSpan>(keys)); });
  engine->close();

  const auto reopened = named.make();
  const double open_seconds = seconds_of([&] { reopened->open(place, options); });
  samples[label + " open"][named.name].push_back(open_seconds * 1e3);
  require(reopened->get(uint64_t{1}) == sum_words(work.value(1)), named.name + " reopened");
  reopened->close();
  std::filesystem::remove_all(place);
}

void compare(Report& report, const Arguments& arguments, size_t count, size_t value_size,
             size_t read_count, int repetitions, const std::string& label) {
  Samples samples;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    Items work(count, kKeySizeBytes, value_size, static_cast<uint64_t>(repetition) + 1);
    samples[label + " put"]["floor"].push_back(
        static_cast<double>(work.total_bytes()) / 1e6 /
        raw_sequential_write(arguments.directory, 1 << 20, work.total_bytes() >> 20));
    // Each repetition begins with another engine: the first one pays for memory never touched.
    for (size_t turn = 0; turn < engines().size(); ++turn) {
      const size_t place = (turn + static_cast<size_t>(repetition)) % engines().size();
      run_engine(engines()[place], arguments.directory, work, label, read_count, samples);
    }
  }
  report.add(row_of(samples, label + " put", "MB/s", Better::higher));
  for (const char* phase : {"get by index", "get by key", "get_many by index", "get_many by key"})
    report.add(row_of(samples, label + " " + phase, "us/get", Better::lower));
  report.add(row_of(samples, label + " open", "ms", Better::lower));
}

// One put and one sync at a time: what an acknowledged write costs.
void compare_durable_put(Report& report, const Arguments& arguments, int repetitions) {
  constexpr size_t kPuts = 300;
  Samples samples;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    Items work(kPuts, kKeySizeBytes, 150, static_cast<uint64_t>(repetition) + 1);
    samples["durable put 150 B"]["floor"].push_back(
        1e6 * raw_append_and_flush(arguments.directory, 150 + kKeySizeBytes, kPuts));
    for (const NamedEngine& named : engines()) {
      const std::string place = arguments.directory + "/" + named.name;
      std::filesystem::create_directories(place);
      const auto engine = named.make();
      engine->open(place, {});
      std::vector<double> each;
      for (uint64_t i = 0; i < kPuts; ++i) {
        each.push_back(1e6 * seconds_of([&] {
                         engine->put(i, work.key(i), work.value(i));
                         engine->sync();
                       }));
      }
      samples["durable put 150 B"][named.name].push_back(median(std::move(each)));
      engine->close();
      std::filesystem::remove_all(place);
    }
  }
  report.add(row_of(samples, "durable put 150 B", "us", Better::lower));
}

// Memory an item and restart time, without peers: figures that the issue of size asks for.
void measure_memory(Report& report, size_t count) {
  MemoryStorage storage;
  PrunableArchiveOptions options;
  options.key_size_bytes = 8;
  options.page_cache_bytes = 0;
  auto archive = PrunableArchive::open(storage, options);
  if (!archive) give_up(archive.error().message);
  Random random(7);
  for (uint64_t i = 0; i < count; ++i) {
    if (!(*archive)->put(i, random.bytes(8), ByteSpan())) give_up("put failed");
    if (i % 100'000 == 0 && !(*archive)->sync()) give_up("sync failed");
  }
  const ArchiveStatistics statistics = (*archive)->statistics();
  const double bytes = static_cast<double>(statistics.memory_bytes) / static_cast<double>(count);
  report.add({"memory an item, 8-byte tokens",
              "B",
              Better::lower,
              bytes,
              std::nullopt,
              {},
              {{"items", static_cast<double>(count)}}});

  if (!(*archive)->close()) give_up("close failed");
  archive->reset();
  std::vector<double> samples;
  for (int i = 0; i < 3; ++i) {
    samples.push_back(1e9 / static_cast<double>(count) * seconds_of([&] {
                        auto reopened = PrunableArchive::open(storage, options);
                        if (!reopened || !(*reopened)->close()) give_up("reopen failed");
                      }));
  }
  report.add({"open, per item",
              "ns",
              Better::lower,
              median(samples),
              std::nullopt,
              {},
              {{"items", static_cast<double>(count)}}});
}

int run(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv, "archive");
  const int repetitions = arguments.quick ? 3 : 5;
  Report report("archive");
  compare_durable_put(report, arguments, repetitions);
  compare(report, arguments, arguments.quick ? 200'000 : 1'000'000, 150, 200'000, repetitions,
          "150 B");
  compare(report, arguments, arguments.quick ? 2'000 : 10'000, 65'536, 2'000, repetitions,
          "64 KiB");
  measure_memory(report, 500'000);
  measure_memory(report, arguments.quick ? 2'000'000 : 10'000'000);
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
