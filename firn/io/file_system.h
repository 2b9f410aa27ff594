// SPDX-License-Identifier: Apache-2.0
//
// FileSystem and File: the few operating-system verbs that FileStorage is built on. FileStorage
// holds the durability protocol (header first, file sync, directory sync); this seam lets the test
// kit run that protocol on a simulated device with power cuts, and keeps every syscall in
// posix_file_system.cc.
//
// A store is a root directory with one level of sub-directories (partitions). An empty directory
// name means the root itself. Paths are never built above this interface.
//
// Durability, as on Linux: File::sync settles one file's bytes and size; sync_directory settles the
// entries of one directory; nothing else settles anything. Removal and creation are directory
// entries. Errors carry the operation and the file's name; Errc::not_found means ENOENT and nothing
// else, Errc::no_space means ENOSPC, EDQUOT or EFBIG.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/storage.h"

namespace firn {

class File {
 public:
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] virtual Result<uint64_t> size() = 0;
  // Fills `out` completely; Errc::out_of_range when the file ends before that.
  [[nodiscard]] virtual Status read_at(uint64_t offset, MutableByteSpan out) = 0;
  // Writes all of the buffers back to back, or fails after writing any part of them.
  [[nodiscard]] virtual Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) = 0;
  [[nodiscard]] virtual Status resize(uint64_t size) = 0;
  [[nodiscard]] virtual Status sync() = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<Mapping>> map(uint64_t size) {
    (void)size;
    return std::unique_ptr<Mapping>();
  }

 protected:
  File() = default;
};

struct DirectoryEntry {
  std::string name;
  enum class Kind : uint8_t { file, directory, other } kind = Kind::file;
};

enum class FileMode : uint8_t {
  read_only,
  read_write,
  create_exclusive,  // Errc::invalid_argument if it exists
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  [[nodiscard]] virtual Result<std::unique_ptr<File>> open(std::string_view directory,
                                                           std::string_view name,
                                                           FileMode mode) = 0;
  // Creates a file that holds `content`, synced, and opens it for reading and writing. The content
  // is durable before the name can be: no crash shows the name with anything else behind it. The
  // name itself is durable after sync_directory. Errc::invalid_argument if it exists. A failure
  // leaves no name behind, or its code is Errc::poisoned. This default cannot keep the promise
  // about crashes: the name may appear before the content.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> create_file(std::string_view directory,
                                                                  std::string_view name,
                                                                  ByteSpan content);
  // An existing directory is fine.
  [[nodiscard]] virtual Status make_directory(std::string_view directory) = 0;
  [[nodiscard]] virtual Status remove_file(std::string_view directory, std::string_view name) = 0;
  [[nodiscard]] virtual Status remove_directory(std::string_view directory) = 0;  // must be empty
  [[nodiscard]] virtual Result<std::vector<DirectoryEntry>> list(std::string_view directory) = 0;
  [[nodiscard]] virtual Status sync_directory(std::string_view directory) = 0;
  // See Storage::lock. The lock file lives in the root and is never removed.
  [[nodiscard]] virtual Result<std::unique_ptr<StorageLock>> lock(LockMode mode) = 0;
  [[nodiscard]] virtual Result<std::optional<StorageWriter>> find_writer() = 0;
  // See Storage::random_seed.
  [[nodiscard]] virtual uint64_t random_seed();
  [[nodiscard]] virtual std::string description() const = 0;

 protected:
  FileSystem() = default;
};

}  // namespace firn
