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

// Bytes of resident memory of this process.
[[nodiscard]] size_t resident_bytes();

}  // namespace firn::bench
