// SPDX-License-Identifier: Apache-2.0
//
// A file system on which every read takes a while, for tests of what a user sees meanwhile: loaded
// before the C library (LD_PRELOAD), it waits before each pread of the program. How long a test
// reads then depends on what it reads and no longer on how fast or how loaded the machine is.
#include <chrono>
#include <thread>

#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr auto kTimeOfARead = std::chrono::milliseconds(10);

ssize_t read_slowly(int fd, void* out, size_t size, off_t offset) {
  std::this_thread::sleep_for(kTimeOfARead);
  return ::syscall(SYS_pread64, fd, out, size, offset);
}

}  // namespace

// The C library has both names; which one a program calls is a matter of how it was compiled.
extern "C" ssize_t pread(int fd, void* out, size_t size, off_t offset) {
  return read_slowly(fd, out, size, offset);
}
extern "C" ssize_t pread64(int fd, void* out, size_t size, off_t offset) {
  return read_slowly(fd, out, size, offset);
}
