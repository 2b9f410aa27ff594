// SPDX-License-Identifier: Apache-2.0
//
// What the machine can do at best, measured in the same run: the raw system calls, nothing else.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "firn/base/random.h"

namespace firn::bench {

// Seconds to write `count` chunks of `chunk_bytes` to a new file and flush it.
[[nodiscard]] double raw_sequential_write(const std::string& directory, size_t chunk_bytes,
                                          size_t count);

// Seconds of one append of `size_bytes` plus fdatasync: the median of `count`.
[[nodiscard]] double raw_append_and_flush(const std::string& directory, size_t size_bytes,
                                          size_t count);

// A file that was written before: an overwrite of a part of it needs no more than the device.
class RawFile {
 public:
  RawFile(const std::string& directory, size_t size_bytes);
  ~RawFile();
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  // Overwrites `size_bytes` somewhere, and flushes.
  void overwrite_and_flush(size_t size_bytes);

 private:
  std::string path_;
  std::vector<char> content_;
  Random random_{5};
  int fd_ = -1;
};

// Two files that grow: what a store with two journals asks of the device for a durable put.
class RawPair {
 public:
  explicit RawPair(const std::string& directory);
  ~RawPair();
  RawPair(const RawPair&) = delete;
  RawPair& operator=(const RawPair&) = delete;

  // Appends to one file and flushes it, then to the other.
  void append_and_flush(size_t first_bytes, size_t second_bytes);

 private:
  std::string paths_[2];
  int fds_[2] = {-1, -1};
};

// Seconds to copy `size_bytes` from a random place and to checksum the copy, over `total_bytes`.
[[nodiscard]] double raw_checked_copy(size_t size_bytes, size_t total_bytes);

// Seconds to read the files below `directory` in pieces of 1 MiB and to checksum them.
[[nodiscard]] double raw_checked_read(const std::string& directory);

// Bytes of resident memory of this process.
[[nodiscard]] size_t resident_bytes();

}  // namespace firn::bench
