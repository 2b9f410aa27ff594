// SPDX-License-Identifier: Apache-2.0
//
// Phases that need a process of their own: one that is killed, and one whose memory is limited.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/counted_io.h"
#include "bench/freezer_phases.h"

namespace firn::bench {
namespace {

constexpr size_t kUnsyncedPuts = 1'000;
constexpr size_t kColdGets = 3'000;
constexpr size_t kBlock = 4096;

struct Task {
  std::string engine;
  std::string place;
  size_t items = 0;
  size_t key_size_bytes = 0;
  size_t value_size_bytes = 0;
};

// The parent's items, in an empty store.
[[noreturn]] void load(const Task& task, const std::string& group, size_t puts_per_sync) {
  const Items items(task.items, task.key_size_bytes, task.value_size_bytes, 1);
  if (!group.empty()) join_group(group);
  const uint64_t before = bytes_written_by_group(group);
  const auto written_a_byte = [&] {
    return static_cast<double>(bytes_written_by_group(group) - before) /
           static_cast<double>(items.total_bytes());
  };
  const KeyEngineOptions options{.key_size_bytes = task.key_size_bytes,
                                 .items_expected = task.items};
  const auto engine = key_engine_of(task.engine).make();
  engine->open(task.place, options);
  const double seconds = seconds_of([&] {
    for (uint64_t i = 0; i < items.count; ++i) {
      engine->put(items.key(i), items.value(i));
      if ((i + 1) % puts_per_sync == 0) engine->sync();
    }
    engine->sync();
  });
  flush_files(task.place);
  const double synced = written_a_byte();
  engine->close();
  flush_files(task.place);
  std::printf("%g %g %g\n", 1e6 * seconds / static_cast<double>(items.count), synced,
              written_a_byte());
  engine->open(task.place, options);
  engine->settle();
  engine->close();
  std::exit(0);
}

[[noreturn]] void fill_and_die(const Task& task) {
  const auto engine = key_engine_of(task.engine).make();
  const Items items(task.items, task.key_size_bytes, task.value_size_bytes, 1);
  const Items more(kUnsyncedPuts, task.key_size_bytes, task.value_size_bytes, 5);
  engine->open(task.place, {.key_size_bytes = task.key_size_bytes, .items_expected = task.items});
  for (uint64_t i = 0; i < items.count; ++i) {
    engine->put(items.key(i), items.value(i));
    if ((i + 1) % 20'000 == 0) engine->sync();
  }
  engine->sync();
  for (uint64_t i = 0; i < more.count; ++i)
    engine->put(more.key(i), more.value(i));
  std::puts("synced");
  std::fflush(stdout);
  ::kill(::getpid(), SIGKILL);
  std::abort();
}

std::string largest_file(const std::string& directory) {
  std::string largest;
  uintmax_t size = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    if (!file.is_regular_file() || file.file_size() <= size) continue;
    size = file.file_size();
    largest = file.path();
  }
  return largest;
}

// Microseconds of two reads of a block, one after the other, past the page cache.
double two_raw_reads_us(const std::string& directory) {
  const std::string path = largest_file(directory);
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) give_up("cannot open " + path);
  const uint64_t blocks = std::filesystem::file_size(path) / kBlock;
  alignas(kBlock) static char buffer[kBlock];
  Random random(9);
  const double seconds = seconds_of([&] {
    for (size_t i = 0; i < 2 * kColdGets; ++i) {
      const auto offset = static_cast<off_t>(random.below(blocks) * kBlock);
      if (::pread(fd, buffer, kBlock, offset) != kBlock) give_up("raw read failed");
    }
  });
  ::close(fd);
  return 1e6 * seconds / kColdGets;
}

struct ColdFigures {
  double microseconds = 0;
  double reads = 0;
  double kibibytes = 0;
};

ColdFigures measure(KeyEngine& engine, const std::string& group, std::span<const ByteSpan> keys,
                    uint64_t expected) {
  const uint64_t reads = reads_of_group(group);
  const uint64_t bytes = bytes_read();
  uint64_t sum = 0;
  const double seconds = seconds_of([&] {
    for (const ByteSpan key : keys)
      sum += engine.get(key);
  });
  if (sum != expected) give_up("a wrong answer");
  const auto count = static_cast<double>(keys.size());
  return {1e6 * seconds / count, static_cast<double>(reads_of_group(group) - reads) / count,
          static_cast<double>(bytes_read() - bytes) / 1024 / count};
}

[[noreturn]] void read_cold(const Task& task, const std::string& group, size_t limit_bytes) {
  Items items(task.items, task.key_size_bytes, task.value_size_bytes, 1);
  // The items are not the store's memory: what is read of them is kept, the rest returned.
  Random random(static_cast<uint64_t>(::getpid()));
  Bytes wanted;
  uint64_t expected = 0;
  for (size_t i = 0; i < kColdGets; ++i) {
    const uint64_t index = random.below(items.count);
    wanted.insert(wanted.end(), items.key(index).begin(), items.key(index).end());
    expected += sum_words(items.value(index));
  }
  items.keys = Bytes();
  const Items absent(kColdGets, task.key_size_bytes, 0, 77);
  std::vector<ByteSpan> keys;
  std::vector<ByteSpan> missing;
  for (size_t i = 0; i < kColdGets; ++i) {
    keys.push_back(ByteSpan(wanted).subspan(i * task.key_size_bytes, task.key_size_bytes));
    missing.push_back(absent.key(i));
  }
  if (!group.empty()) join_group(group);
  const auto engine = key_engine_of(task.engine).make();
  engine->open(task.place, {.key_size_bytes = task.key_size_bytes,
                            .items_expected = task.items,
                            .cache_bytes = limit_bytes / 8,
                            .exceeds_memory = true});
  drop_from_page_cache(task.place);
  const ColdFigures hit = measure(*engine, group, keys, expected);
  const ColdFigures miss = measure(*engine, group, missing, 0);
  std::printf("%g %g %g %g %g %g\n", hit.microseconds, hit.reads, hit.kibibytes, miss.microseconds,
              miss.reads, two_raw_reads_us(task.place));
  engine->close();
  std::exit(0);
}

}  // namespace

std::string run_child(const std::vector<std::string>& arguments) {
  std::string command = "exec '" + std::filesystem::read_symlink("/proc/self/exe").string() + "' ";
  command += kChildFlag;
  for (const std::string& argument : arguments)
    command += " '" + argument + "'";
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) give_up("cannot run " + command);
  std::string said;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe))
    said += static_cast<char>(c);
  ::pclose(pipe);
  return said;
}

void freezer_child(const std::vector<std::string>& arguments) {
  const auto number = [&](size_t i) { return std::stoull(arguments.at(i)); };
  const Task task{arguments.at(1), arguments.at(2), number(3), number(4), number(5)};
  if (arguments.front() == "fill-and-die") fill_and_die(task);
  if (arguments.front() == "load") load(task, arguments.at(6), number(7));
  read_cold(task, arguments.at(6), number(7));
}

}  // namespace firn::bench
