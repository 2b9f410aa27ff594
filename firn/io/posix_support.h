// SPDX-License-Identifier: Apache-2.0
//
// What the posix backend's files share: an owned descriptor, and the only place where errno becomes
// an Error.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "firn/base/result.h"

namespace firn::io {

// Closes on destruction, ignoring errors: whatever matters was synced before.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The failure of `operation` ("open", "write 10 bytes at offset 8 of") on `what` ("'/data/a/01'").
[[nodiscard]] std::unexpected<Error> posix_failure(int error_number, std::string_view operation,
                                                   std::string_view what);

// Calls again while a signal interrupts it. Not for flushes: a failed one is never repeated.
template <class Call>
[[nodiscard]] auto repeat_after_signals(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR)
    result = call();
  return result;
}

// openat that repeats after signals. Always adds O_CLOEXEC, O_NOFOLLOW, O_NOCTTY and O_NONBLOCK
// (a planted FIFO or device must not hang the open; regular files ignore it). Check errno.
[[nodiscard]] Descriptor open_at(int directory_fd, const std::string& name, int flags);

// Fails with Errc::corrupt unless the descriptor is a regular file.
[[nodiscard]] Status check_regular_file(int fd, std::string_view what);

// fsync of a directory or file.
[[nodiscard]] Status sync_descriptor(int fd, std::string_view what);

}  // namespace firn::io
