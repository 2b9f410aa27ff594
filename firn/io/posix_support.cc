// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_support.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firn/base/text.h"
#include "firn/io/storage.h"

namespace firn {

size_t default_open_blobs_max() {
  constexpr rlim_t kMost = 128;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return kMost;
  return std::clamp<rlim_t>(files.rlim_cur / 8, 1, kMost);
}

}  // namespace firn

namespace firn::io {

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::unexpected<Error> posix_failure(int error_number, std::string_view operation,
                                     std::string_view what) {
  const auto with = [&](Errc code, std::string_view advice) {
    return fail(code, concat("cannot ", operation, " ", what, ": ",
                             std::generic_category().message(error_number), advice));
  };
  switch (error_number) {
    case ENOENT: return with(Errc::not_found, "");
    case EEXIST: return with(Errc::invalid_argument, "");
    case ENOTDIR:
      return with(Errc::invalid_argument, " (a file or a symbolic link is in its place)");
    case ENAMETOOLONG: return with(Errc::invalid_argument, "");
    case ENOSPC:
    case EDQUOT: return with(Errc::no_space, "; free space, then reopen");
    case EFBIG:
      return with(Errc::no_space, "; the limit is the file system's or the process's (ulimit -f)");
    case EACCES:
    case EPERM: return with(Errc::io, "; check the owner and the mode of the path");
    case EROFS: return with(Errc::io, "; the file system is mounted read-only");
    case EMFILE:
    case ENFILE: return with(Errc::io, "; raise the limit of open files (ulimit -n)");
    case ELOOP:
      return with(Errc::corrupt,
                  "; a symbolic link is in the place of a regular file: move it away");
    case EISDIR:
      return with(Errc::corrupt, "; a directory is in the place of a regular file: move it away");
    case ENXIO:
      return with(Errc::corrupt,
                  "; a socket or a device is in the place of a regular file: move it away");
    default: return with(Errc::io, "");
  }
}

Descriptor open_at(int directory_fd, const std::string& name, int flags) {
  constexpr mode_t kOwnerReadsAndWrites = 0600;
  return Descriptor(repeat_after_signals([&] {
    return ::openat(directory_fd, name.c_str(),
                    flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, kOwnerReadsAndWrites);
  }));
}

Status check_regular_file(int fd, std::string_view what) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return posix_failure(errno, "examine", what);
  // To read it, a directory opens.
  if (S_ISDIR(status.st_mode)) return posix_failure(EISDIR, "open", what);
  if (!S_ISREG(status.st_mode))
    return fail(Errc::corrupt, concat(what, " is not a regular file; move it away"));
  return {};
}

Status sync_descriptor(int fd, std::string_view what) {
  if (::fsync(fd) != 0) return posix_failure(errno, "sync", what);
  return {};
}

}  // namespace firn::io
