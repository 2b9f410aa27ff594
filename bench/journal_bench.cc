// SPDX-License-Identifier: Apache-2.0
//
// firn_bench_journal: appends, random reads and replay of the journals, against the raw system
// calls. Records of 32 bytes in pages of 8 KiB, values of 1 KiB and 64 KiB.
#include <cstdio>
#include <filesystem>

#include "bench/machine_floor.h"
#include "bench/report.h"
#include "firn/base/random.h"
#include "firn/io/posix_storage.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/value_log.h"

namespace firn::bench {
namespace {

constexpr uint32_t kRecordSizeBytes = 32;

template <class T>
T value_of(Result<T> result) {
  if (!result) give_up(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::unique_ptr<Storage> open_storage(const Arguments& arguments) {
  return value_of(open_posix_storage(arguments.directory + "/store", {.create = true}));
}

FixedJournalOptions journal_options(PageCache& cache) {
  FixedJournalOptions options;
  options.partition = "journal";
  options.record_size_bytes = kRecordSizeBytes;
  options.page_size_bytes = 8192 - 12;
  options.cache = &cache;
  return options;
}

struct Figures {
  std::vector<double> append, floor, read, replay;
};

// Appends, reads at random and replays `count` records in one section.
void run_fixed(const Arguments& arguments, size_t count, size_t reads, Figures& figures) {
  const auto storage = open_storage(arguments);
  PageCache cache(count * kRecordSizeBytes * 2);
  RecoveryLog recovery(*storage, false);
  const auto journal = value_of(FixedJournal::open(*storage, journal_options(cache), recovery));
  std::byte record[kRecordSizeBytes] = {};
  figures.append.push_back(1e3 * seconds_of([&] {
                             for (size_t i = 0; i < count; ++i)
                               value_of(journal->append(Section(0), record));
                             value_of(journal->sync_all());
                           }));
  figures.floor.push_back(
      1e3 * raw_sequential_write(arguments.directory, 1 << 20, (count * kRecordSizeBytes) >> 20));
  Random random(1);
  const auto read_all = [&] {
    for (size_t i = 0; i < reads; ++i)
      value_of(journal->read(Section(0), Position(random.below(count)), record));
  };
  read_all();
  figures.read.push_back(1e9 / static_cast<double>(reads) * seconds_of(read_all));
  const double replay_seconds = seconds_of([&] {
    auto replay = value_of(journal->replay());
    size_t seen = 0;
    while (value_of(replay.next()))
      ++seen;
    if (seen != count) give_up("replay lost records");
  });
  figures.replay.push_back(static_cast<double>(count * kRecordSizeBytes) / 1e9 / replay_seconds);
  value_of(journal->destroy());
}

double append_values(const Arguments& arguments, size_t value_size, size_t count) {
  const auto storage = open_storage(arguments);
  RecoveryLog recovery(*storage, false);
  ValueLogOptions options;
  options.partition = "values";
  const auto log = value_of(ValueLog::open(*storage, options, recovery));
  const Bytes value = Random(3).bytes(value_size);
  const double seconds = seconds_of([&] {
    for (size_t i = 0; i < count; ++i)
      value_of(log->append(Section(0), value));
    value_of(log->sync_all());
  });
  value_of(log->destroy());
  return static_cast<double>(value_size * count) / 1e6 / seconds;
}

void measure_values(Report& report, const Arguments& arguments, size_t value_size,
                    size_t total_bytes, int repetitions, const std::string& phase) {
  std::vector<double> ours;
  std::vector<double> raw;
  for (int i = 0; i < repetitions; ++i) {
    raw.push_back(static_cast<double>(total_bytes) / 1e6 /
                  raw_sequential_write(arguments.directory, 1 << 20, total_bytes >> 20));
    ours.push_back(append_values(arguments, value_size, total_bytes / value_size));
  }
  report.add({phase, "MB/s", Better::higher, median(ours), median(raw), {}, {}});
}

int run(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv, "journal");
  const int repetitions = arguments.quick ? 3 : 5;
  const size_t count = arguments.quick ? 1'000'000 : 5'000'000;
  const size_t total = arguments.quick ? 128u << 20 : 512u << 20;
  Report report("journal");
  Figures figures;
  for (int i = 0; i < repetitions; ++i)
    run_fixed(arguments, count, 1'000'000, figures);
  const double records = static_cast<double>(count);
  report.add({"append 32 B records + one sync",
              "ms",
              Better::lower,
              median(figures.append),
              median(figures.floor),
              {},
              {{"records", records}}});
  report.add({"random read 32 B, warm",
              "ns",
              Better::lower,
              median(figures.read),
              std::nullopt,
              {},
              {{"records", records}}});
  report.add({"replay, warm",
              "GB/s",
              Better::higher,
              median(figures.replay),
              std::nullopt,
              {},
              {{"records", records}}});
  measure_values(report, arguments, 1024, total, repetitions, "append 1 KiB values + one sync");
  measure_values(report, arguments, 65536, total, repetitions, "append 64 KiB values + one sync");
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
