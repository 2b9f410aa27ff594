// SPDX-License-Identifier: Apache-2.0
//
// Which files an import reads: every regular file below the given paths, in an order that depends
// on nothing but their names. Symbolic links are not followed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "firn/base/bytes.h"
#include "firn/base/result.h"

namespace firn::command {

struct FoundFile {
  std::string path;
  uint64_t size_bytes = 0;
};

struct FoundFiles {
  std::vector<FoundFile> files;
  uint64_t total_bytes = 0;
  uint64_t special_count = 0;         // links, pipes, devices and sockets, which are no items
  std::vector<std::string> failures;  // directories that cannot be read, one sentence each
};

// The order: that of `paths`, and below each by name, byte by byte. The directory `except` is left
// out: the store itself, which may lie below a path. With `special_files` a path may be a pipe or a
// device. Errors: not_found (a path), invalid_argument (a path that is no file and no directory).
[[nodiscard]] Result<FoundFiles> find_files(const std::vector<std::string>& paths,
                                            const std::string& except, bool special_files);

// Replaces `content` by what is in the file, and `status` by what fstat says. Errors: not_found,
// invalid_argument (no regular file, longer than `size_max_bytes`), io.
[[nodiscard]] Status read_file(const std::string& path, uint64_t size_max_bytes, Bytes& content,
                               struct stat& status);

// Everything that is in a file, a pipe or, for "-", standard input. Errors as read_file.
[[nodiscard]] Result<Bytes> read_input(const std::string& path, uint64_t size_max_bytes);

// The failure of an operation of the system, from errno: "cannot OPERATION 'PATH': reason".
[[nodiscard]] std::unexpected<Error> system_failure(std::string_view operation,
                                                    const std::string& path);

}  // namespace firn::command
