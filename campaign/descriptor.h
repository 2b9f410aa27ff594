// SPDX-License-Identifier: Apache-2.0
//
// Descriptor: closes a file descriptor at the end of its life. What errno says, as an Error.
#pragma once

#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "firn/base/result.h"
#include "firn/base/text.h"

namespace firn::campaign {

[[nodiscard]] inline std::unexpected<Error> system_failure(std::string_view what) {
  return fail(Errc::io, concat(what, ": ", std::strerror(errno)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

}  // namespace firn::campaign
