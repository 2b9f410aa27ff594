// SPDX-License-Identifier: Apache-2.0
//
// What SimulatedFileSystem hands out. The verbs themselves are members of the file system, under
// its mutex; a handle only remembers what it was opened on, and in which life of the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "firn/io/file_system.h"
#include "testkit/simulated_file_system.h"

namespace firn::testkit {

// How messages name a file or, without a name, a directory.
[[nodiscard]] std::string simulated_path(std::string_view directory, std::string_view name);

class SimulatedFile final : public File {
 public:
  SimulatedFile(SimulatedFileSystem& system, std::shared_ptr<SimulatedInode> inode,
                uint64_t generation, bool writable, std::string_view directory,
                std::string_view name)
      : system_(system),
        inode_(std::move(inode)),
        generation_(generation),
        writable_(writable),
        directory_(directory),
        name_(name) {}

  [[nodiscard]] Result<uint64_t> size() override { return system_.size_of(*this); }
  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override {
    return system_.read(*this, offset, out);
  }
  [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    return system_.write(*this, offset, buffers);
  }
  [[nodiscard]] Status resize(uint64_t size) override { return system_.resize(*this, size); }
  [[nodiscard]] Status sync() override { return system_.sync(*this); }
  [[nodiscard]] Result<std::unique_ptr<Mapping>> map(uint64_t size) override {
    return system_.map(*this, size);
  }

 private:
  friend class SimulatedFileSystem;

  SimulatedFileSystem& system_;
  std::shared_ptr<SimulatedInode> inode_;
  uint64_t generation_;
  bool writable_;
  std::string directory_;
  std::string name_;
};

class SimulatedLock final : public StorageLock {
 public:
  SimulatedLock(SimulatedFileSystem& system, LockMode mode, uint64_t generation)
      : system_(system), mode_(mode), generation_(generation) {}
  SimulatedLock(const SimulatedLock&) = delete;
  SimulatedLock& operator=(const SimulatedLock&) = delete;
  ~SimulatedLock() override { system_.release(*this); }
  [[nodiscard]] Status settle() override {
    system_.settle(*this);
    return {};
  }

 private:
  friend class SimulatedFileSystem;

  SimulatedFileSystem& system_;
  LockMode mode_;
  uint64_t generation_;
};

}  // namespace firn::testkit
