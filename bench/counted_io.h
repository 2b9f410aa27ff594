// SPDX-License-Identifier: Apache-2.0
//
// What a process reads from and writes to the device: figures that neighbours do not disturb.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace firn::bench {

// Bytes that this process had the device read, read-ahead included.
[[nodiscard]] uint64_t bytes_read();

// Flushes the files below `directory`.
void flush_files(const std::string& directory);

// Takes the files below `directory` out of the kernel's page cache. Requires: nothing unflushed.
void drop_from_page_cache(const std::string& directory);

// A control group (version 1) for one process at a time: limits memory, page cache included, and
// counts reads and writes of the device that `directory` is on. Needs to be allowed to make one.
class ProcessGroup {
 public:
  ProcessGroup(const std::string& directory, std::optional<uint64_t> limit_bytes);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Empty: not permitted.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void remove();

  std::string name_;
};

// For the process that the group is made for.
void join_group(const std::string& name);
// What the processes of the group asked of the device. Requires: it exists.
[[nodiscard]] uint64_t reads_of_group(const std::string& name);
[[nodiscard]] uint64_t bytes_written_by_group(const std::string& name);

}  // namespace firn::bench
