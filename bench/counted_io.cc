// SPDX-License-Identifier: Apache-2.0
#include "bench/counted_io.h"

#include <filesystem>
#include <fstream>
#include <functional>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bench/report.h"

namespace firn::bench {
namespace {

uint64_t process_counter(const std::string& wanted) {
  std::ifstream counters("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (counters >> name >> value)
    if (name == wanted) return value;
  return 0;
}

const std::string kControllers[] = {"memory", "blkio"};

std::string path_of(const std::string& controller, const std::string& group) {
  return "/sys/fs/cgroup/" + controller + "/" + group;
}

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return static_cast<bool>(file);
}

std::string device_of(const std::string& directory) {
  struct stat status{};
  ::stat(directory.c_str(), &status);
  return std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
}

uint64_t device_counter(const std::string& group, const std::string& counter,
                        const std::string& operation) {
  std::ifstream counters(path_of("blkio", group) + "/blkio.throttle." + counter);
  uint64_t sum = 0;
  std::string word;
  while (counters >> word)
    if (uint64_t count = 0; word == operation && counters >> count) sum += count;
  return sum;
}

void for_each_file(const std::string& directory, const std::function<void(int)>& visit) {
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    if (!file.is_regular_file()) continue;
    const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    visit(fd);
    ::close(fd);
  }
}

}  // namespace

uint64_t bytes_read() {
  return process_counter("read_bytes:");
}

void flush_files(const std::string& directory) {
  for_each_file(directory, [](int fd) { ::fdatasync(fd); });
}

void drop_from_page_cache(const std::string& directory) {
  for_each_file(directory, [](int fd) {
    ::fdatasync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  });
}

ProcessGroup::ProcessGroup(const std::string& directory, std::optional<uint64_t> limit_bytes)
    : name_("firn-bench-" + std::to_string(::getpid())) {
  std::error_code failed;
  for (const std::string& controller : kControllers)
    std::filesystem::create_directory(path_of(controller, name_), failed);
  // The kernel counts where there is a limit; this one is out of reach.
  const std::string unlimited = device_of(directory) + " 1000000000000";
  (void)write_text(path_of("blkio", name_) + "/blkio.throttle.read_bps_device", unlimited);
  (void)write_text(path_of("blkio", name_) + "/blkio.throttle.write_bps_device", unlimited);
  const std::string limit = path_of("memory", name_) + "/memory.limit_in_bytes";
  if (failed || (limit_bytes && !write_text(limit, std::to_string(*limit_bytes)))) {
    remove();
    name_.clear();
  }
}

ProcessGroup::~ProcessGroup() {
  if (!name_.empty()) remove();
}

void ProcessGroup::remove() {
  std::error_code ignored;
  for (const std::string& controller : kControllers)
    std::filesystem::remove(path_of(controller, name_), ignored);
}

void join_group(const std::string& name) {
  for (const std::string& controller : kControllers)
    if (!write_text(path_of(controller, name) + "/cgroup.procs", std::to_string(::getpid())))
      give_up("cannot join the control group " + name);
}

uint64_t reads_of_group(const std::string& name) {
  return device_counter(name, "io_serviced", "Read");
}

uint64_t bytes_written_by_group(const std::string& name) {
  return device_counter(name, "io_service_bytes", "Write");
}

}  // namespace firn::bench
