// SPDX-License-Identifier: Apache-2.0
#include "bench/machine_floor.h"

#include <fstream>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "bench/report.h"

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

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace firn::bench
