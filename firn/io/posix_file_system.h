// SPDX-License-Identifier: Apache-2.0
//
// The FileSystem of Linux: a directory, its sub-directories and their files. Every path is resolved
// from the root's descriptor, one step at a time and without following symbolic links below it;
// files get mode 0600, directories 0700. Whether the root itself is writable by other users is not
// checked: keep it in a directory that is not.
//
// A new file is written and synced as new.tmp in the root, then renamed to its place: after a crash
// a name has its whole content or does not exist. What a crash leaves of that is replaced by the
// next creation and means nothing. Only one process may create files at a time: see lock().
#pragma once

#include <memory>
#include <string>

#include "firn/base/result.h"
#include "firn/io/file_system.h"

namespace firn {

struct PosixOptions {
  bool create = false;     // make the directory, and its parents, if missing
  bool read_only = false;  // refuse everything that changes the disk
  // Let values be read in place, through a mapping: several times faster when they are in the page
  // cache. The price: a read error of the device kills the process (SIGBUS) instead of being
  // reported, so it is off unless asked for.
  bool map_reads = false;
};

// Errors: not_found (missing, without `create`), invalid_argument (not a directory), io.
[[nodiscard]] Result<std::unique_ptr<FileSystem>> open_posix_file_system(
    const std::string& path, const PosixOptions& options);

}  // namespace firn
