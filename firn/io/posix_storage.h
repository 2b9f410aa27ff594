// SPDX-License-Identifier: Apache-2.0
//
// A store in a directory of Linux: FileStorage over the posix file system. What most programs open.
//
//   open_posix_storage("/data/blocks", {.create = true})
//
// Take lock() before using it: structures of this library do that when they open.
#pragma once

#include <memory>
#include <string>

#include "firn/base/result.h"
#include "firn/io/posix_file_system.h"
#include "firn/io/storage.h"

namespace firn {

// limits().open_blobs_max is half of the process's limit of open files; limits().durable is false
// on tmpfs and ramfs.
[[nodiscard]] Result<std::unique_ptr<Storage>> open_posix_storage(const std::string& path,
                                                                  const PosixOptions& options);

}  // namespace firn
