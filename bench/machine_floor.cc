// SPDX-License-Identifier: Apache-2.0
#include "bench/machine_floor.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "bench/report.h"
#include "firn/base/bytes.h"
#include "firn/base/crc32c.h"

namespace firn::bench {
namespace {

int create_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) give_up("cannot create " + path);
  return fd;
}

void write_all(int fd, const std::vector<char>& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (written <= 0) give_up("raw write failed");
    done += static_cast<size_t>(written);
  }
}

}  // namespace

double raw_sequential_write(const std::string& directory, size_t chunk_bytes, size_t count) {
  const std::string path = directory + "/raw";
  const std::vector<char> chunk(chunk_bytes, 'x');
  const int fd = create_file(path);
  const double seconds = seconds_of([&] {
    for (size_t i = 0; i < count; ++i)
      write_all(fd, chunk);
    if (::fdatasync(fd) != 0) give_up("raw fdatasync failed");
  });
  ::close(fd);
  ::unlink(path.c_str());
  return seconds;
}

double raw_append_and_flush(const std::string& directory, size_t size_bytes, size_t count) {
  const std::string path = directory + "/raw";
  const std::vector<char> record(size_bytes, 'x');
  const int fd = create_file(path);
  std::vector<double> samples;
  for (size_t i = 0; i < count; ++i) {
    samples.push_back(seconds_of([&] {
      write_all(fd, record);
      if (::fdatasync(fd) != 0) give_up("raw fdatasync failed");
    }));
  }
  ::close(fd);
  ::unlink(path.c_str());
  return median(std::move(samples));
}

RawFile::RawFile(const std::string& directory, size_t size_bytes)
    : path_(directory + "/raw"), content_(size_bytes, 'x'), fd_(create_file(path_)) {
  write_all(fd_, content_);
  if (::fsync(fd_) != 0) give_up("raw fsync failed");
}

RawFile::~RawFile() {
  ::close(fd_);
  ::unlink(path_.c_str());
}

void RawFile::overwrite_and_flush(size_t size_bytes) {
  const auto offset = static_cast<off_t>(random_.below(content_.size() - size_bytes + 1));
  if (::pwrite(fd_, content_.data(), size_bytes, offset) != static_cast<ssize_t>(size_bytes) ||
      ::fdatasync(fd_) != 0)
    give_up("raw overwrite failed");
}

RawPair::RawPair(const std::string& directory)
    : paths_{directory + "/raw-1", directory + "/raw-2"},
      fds_{create_file(paths_[0]), create_file(paths_[1])} {}

RawPair::~RawPair() {
  for (size_t i = 0; i < 2; ++i) {
    ::close(fds_[i]);
    ::unlink(paths_[i].c_str());
  }
}

void RawPair::append_and_flush(size_t first_bytes, size_t second_bytes) {
  const size_t sizes[] = {first_bytes, second_bytes};
  for (size_t i = 0; i < 2; ++i) {
    write_all(fds_[i], std::vector<char>(sizes[i], 'x'));
    if (::fdatasync(fds_[i]) != 0) give_up("raw fdatasync failed");
  }
}

double raw_checked_copy(size_t size_bytes, size_t total_bytes) {
  constexpr size_t kCopies = 200'000;
  Random random(7);
  const Bytes pool = random.bytes(total_bytes + size_bytes);
  Bytes copy(size_bytes);
  uint32_t sum = 0;
  const double seconds = processor_seconds_of([&] {
    for (size_t i = 0; i < kCopies; ++i) {
      std::memcpy(copy.data(), pool.data() + random.below(total_bytes), size_bytes);
      sum ^= crc32c(copy);
    }
  });
  if (sum == 1) give_up("an unlikely sum");  // it is used
  return seconds / kCopies;
}

double raw_checked_read(const std::string& directory) {
  Bytes buffer(1 << 20);
  uint32_t sum = 0;
  return seconds_of([&] {
    for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
      if (!file.is_regular_file()) continue;
      const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
      ssize_t read = 0;
      while ((read = ::read(fd, buffer.data(), buffer.size())) > 0)
        sum ^= crc32c(ByteSpan(buffer).first(static_cast<size_t>(read)));
      ::close(fd);
    }
    if (sum == 1) give_up("an unlikely sum");
  });
}

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace firn::bench
