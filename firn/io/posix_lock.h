// SPDX-License-Identifier: Apache-2.0
//
// The lock of a store on disk: an open-file-description lock on the file LOCK in its root. The
// process that took it drops it; if it dies, the kernel does when the last copy of the descriptor
// closes (a forked child holds one until it executes another program or exits). It excludes a
// second open in the same process too. The holder writes who it is into the file, for messages
// only. The file is never removed: two processes could then each lock a file of their own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/result.h"
#include "firn/io/storage.h"

namespace firn::io {

inline constexpr std::string_view kLockFileName = "LOCK";

// Takes the lock or fails with Errc::locked. Only a writer makes the file LOCK. If there is none,
// a reader's lock is one on the directory of the store, and none at all where directories have no
// locks.
[[nodiscard]] Result<std::unique_ptr<StorageLock>> take_posix_lock(int root_fd,
                                                                   const std::string& root_path,
                                                                   LockMode mode);

// See Storage::find_writer.
[[nodiscard]] Result<std::optional<StorageWriter>> find_posix_writer(int root_fd,
                                                                     const std::string& root_path);

}  // namespace firn::io
