// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_storage.h"

#include <algorithm>
#include <utility>

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "firn/io/file_storage.h"

namespace firn {
namespace {

size_t half_of_open_files_limit() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return std::max<size_t>(16, limit.rlim_cur / 2);
}

bool is_in_memory(const std::string& path) {
  struct statfs status;
  if (::statfs(path.c_str(), &status) != 0) return false;
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

}  // namespace

Result<std::unique_ptr<Storage>> open_posix_storage(const std::string& path,
                                                    const PosixOptions& options) {
  TRY_INTO(auto file_system, open_posix_file_system(path, options));
  StorageLimits limits;
  limits.open_blobs_max = half_of_open_files_limit();
  limits.durable = !is_in_memory(path);
  return std::make_unique<FileStorage>(std::move(file_system), limits);
}

}  // namespace firn
