// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/index_firn.h"
#include "bench/index_phases.h"

namespace firn::bench {
namespace {

int open_or_give_up(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) give_up("cannot open " + path);
  return fd;
}

class FileSink : public SnapshotSink {
 public:
  explicit FileSink(const std::string& path)
      : fd_(open_or_give_up(path, O_CREAT | O_TRUNC | O_WRONLY)) {}
  ~FileSink() override { ::close(fd_); }

  Status write(ByteSpan bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written <= 0) return fail(Errc::io, "cannot write the snapshot");
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return {};
  }
  uint64_t log_end() override { return 1; }

 private:
  int fd_;
};

class FileSource : public SnapshotSource {
 public:
  explicit FileSource(const std::string& path)
      : fd_(open_or_give_up(path, O_RDONLY)),
        size_(static_cast<uint64_t>(::lseek(fd_, 0, SEEK_END))) {}
  ~FileSource() override { ::close(fd_); }

  [[nodiscard]] uint64_t size() const override { return size_; }
  Status read(uint64_t offset, MutableByteSpan target) override {
    while (!target.empty()) {
      const ssize_t got = ::pread(fd_, target.data(), target.size(), static_cast<off_t>(offset));
      if (got <= 0) return fail(Errc::io, "cannot read the snapshot");
      offset += static_cast<uint64_t>(got);
      target = target.subspan(static_cast<size_t>(got));
    }
    return {};
  }

 private:
  int fd_;
  uint64_t size_;
};

// A private mapping of a whole file: writers get copies of its pages.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int fd = open_or_give_up(path, O_RDONLY);
    size_ = static_cast<size_t>(::lseek(fd, 0, SEEK_END));
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (memory_ == MAP_FAILED) give_up("cannot map " + path);
  }
  ~Mapping() { ::munmap(memory_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] MutableByteSpan bytes() const { return {static_cast<std::byte*>(memory_), size_}; }

 private:
  void* memory_;
  size_t size_;
};

double processor_seconds(const std::function<void()>& work) {
  return time_threads(1, [&](unsigned) { work(); }).processor;
}

// Seconds to read a file into memory that is new to the process, and nothing else.
double time_plain_read(const std::string& path) {
  FileSource source(path);
  return processor_seconds([&] {
    constexpr size_t kChunk = size_t{1} << 20;
    Bytes all(source.size());
    for (size_t at = 0; at < all.size(); at += kChunk) {
      const auto target = MutableByteSpan(all).subspan(at, std::min(kChunk, all.size() - at));
      if (!source.read(at, target)) give_up("cannot read " + path);
    }
  });
}

// Seconds of `load`, after which items must be there.
template <class Load>
double time_load(FirnIndex& index, uint64_t items, Load&& load) {
  const double seconds = processor_seconds([&] {
    if (const auto range = load(); !range) give_up(range.error().message);
  });
  constexpr size_t kSample = 10'000;
  Picker picker(Distribution::uniform, items, 1);
  if (index.gets(make_gets(picker, kSample)) != kSample) give_up("the snapshot lost items");
  return seconds;
}

}  // namespace

void measure_snapshots(const IndexPhases& phases, uint64_t items) {
  const std::string path = phases.arguments.directory + "/snapshot";
  std::vector<double> written;
  std::vector<double> loaded;
  std::vector<double> loaded_in_place;
  std::vector<double> floor;
  FirnIndex index(items);
  index.fill_batched(1, items);
  for (int repetition = 0; repetition < phases.repetitions; ++repetition) {
    written.push_back(processor_seconds([&] {
      FileSink sink(path);
      if (const auto range = index.snapshot(sink); !range) give_up(range.error().message);
    }));
    floor.push_back(time_plain_read(path));
    {
      FirnIndex other;
      FileSource source(path);
      loaded.push_back(time_load(other, items, [&] { return other.load(source); }));
    }
    const Mapping mapping(path);
    FirnIndex other;
    loaded_in_place.push_back(
        time_load(other, items, [&] { return other.load_in_place(mapping.bytes()); }));
  }
  const std::map<std::string, double> counters = {
      {"B/entry", static_cast<double>(FileSource(path).size()) / static_cast<double>(items)}};
  const std::string name = ", " + size_name(items);
  const double read = median(floor) * 1e3;
  const auto add = [&](const std::string& phase, const std::vector<double>& seconds) {
    phases.report.add(
        {phase + name, "ms", Better::lower, median(seconds) * 1e3, read, {}, counters});
  };
  add("snapshot to page cache", written);
  add("load from page cache", loaded);
  add("load in place", loaded_in_place);
  ::unlink(path.c_str());
}

}  // namespace firn::bench
