// SPDX-License-Identifier: Apache-2.0
#include "testkit/system_calls.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <utility>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "firn/base/check.h"
#include "firn/base/text.h"

namespace {

using firn::concat;
using firn::testkit::SystemCall;
using firn::testkit::SystemCallHook;

SystemCallHook* active_hook = nullptr;

std::string path_of(int fd) {
  std::string path(4096, '\0');
  const ssize_t size = ::readlink(concat("/proc/self/fd/", fd).c_str(), path.data(), path.size());
  path.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return path;
}

std::string path_in(int directory_fd, const char* name) {
  return *name == '/' || directory_fd == AT_FDCWD ? name : concat(path_of(directory_fd), "/", name);
}

// False if the call must fail, with errno set.
bool admit(SystemCall call, const auto& describe) {
  if (active_hook == nullptr) return true;
  // The hook may call the system itself. A reference, so that nothing is allocated here.
  SystemCallHook* const hook = std::exchange(active_hook, nullptr);
  const int error_number = hook->intercept(call, std::ref(describe));
  active_hook = hook;
  if (error_number == 0) return true;
  errno = error_number;
  return false;
}

size_t transfer_of(size_t size) {
  return active_hook == nullptr ? size : std::min(size, active_hook->transfer_max());
}

int call(long number, auto... arguments) {
  return static_cast<int>(::syscall(number, arguments...));
}

int open_admitted(int directory_fd, const char* name, int flags, mode_t mode) {
  return admit(SystemCall::open, [&] { return concat("open ", path_in(directory_fd, name)); })
             ? call(SYS_openat, directory_fd, name, flags, mode)
             : -1;
}

// What stands behind a function that is more than its system call, or that a sanitizer watches.
template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// Locks of files, to take and to ask for; and the copy that a listing consumes.
SystemCall kind_of_control(int command) {
  if (command == F_OFD_SETLK) return SystemCall::lock;
  return command == F_OFD_GETLK ? SystemCall::examine : SystemCall::list;
}

}  // namespace

void firn::testkit::set_system_call_hook(SystemCallHook* hook) {
  active_hook = hook;
}

extern "C" {

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_admitted(AT_FDCWD, path, flags, mode);
}

int openat(int fd, const char* name, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_admitted(fd, name, flags, mode);
}

// Whatever a close says, the descriptor is gone. Who tries again closes another file of the
// program.
int close(int fd) {
  const bool is_admitted = admit(SystemCall::close, [&] { return concat("close ", path_of(fd)); });
  const int error_number = errno;
  const int result = call(SYS_close, fd);
  CHECK(active_hook == nullptr || result == 0 || errno != EBADF, "a file is closed once");
  if (is_admitted) return result;
  errno = error_number;
  return -1;
}

ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  if (!admit(SystemCall::read, [&] { return concat("read ", path_of(fd), " at ", offset); }))
    return -1;
  return ::syscall(SYS_pread64, fd, bytes, transfer_of(size), offset);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (!admit(SystemCall::write, [&] { return concat("write ", path_of(fd), " at ", offset); }))
    return -1;
  return ::syscall(SYS_pwrite64, fd, bytes, transfer_of(size), offset);
}

ssize_t pwritev(int fd, const iovec* vectors, int count, off_t offset) {
  if (!admit(SystemCall::write, [&] { return concat("write ", path_of(fd), " at ", offset); }))
    return -1;
  if (const size_t part = transfer_of(vectors[0].iov_len); part < vectors[0].iov_len) {
    const iovec first = {vectors[0].iov_base, part};
    return ::syscall(SYS_pwritev, fd, &first, 1, offset, 0);
  }
  return ::syscall(SYS_pwritev, fd, vectors, count, offset, 0);
}

int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
  return admit(SystemCall::write_out,
               [&] { return concat("write out ", path_of(fd), " at ", offset, "+", size); })
             ? call(SYS_sync_file_range, fd, offset, size, flags)
             : -1;
}

int fsync(int fd) {
  return admit(SystemCall::sync, [&] { return concat("fsync ", path_of(fd)); })
             ? call(SYS_fsync, fd)
             : -1;
}

int fdatasync(int fd) {
  return admit(SystemCall::sync, [&] { return concat("fdatasync ", path_of(fd)); })
             ? call(SYS_fdatasync, fd)
             : -1;
}

int ftruncate(int fd, off_t size) noexcept {
  return admit(SystemCall::resize, [&] { return concat("resize ", path_of(fd), " ", size); })
             ? call(SYS_ftruncate, fd, size)
             : -1;
}

int posix_fadvise(int fd, off_t offset, off_t size, int advice) noexcept {
  if (!admit(SystemCall::drop, [&] { return concat("drop ", path_of(fd)); })) return errno;
  return call(SYS_fadvise64, fd, offset, size, advice) == 0 ? 0 : errno;
}

int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  return admit(SystemCall::rename,
               [&] { return concat("rename ", path_in(from_fd, from), " ", path_in(to_fd, to)); })
             ? call(SYS_renameat2, from_fd, from, to_fd, to, flags)
             : -1;
}

int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
  return admit(SystemCall::link,
               [&] { return concat("link ", path_in(from_fd, from), " ", path_in(to_fd, to)); })
             ? call(SYS_linkat, from_fd, from, to_fd, to, flags)
             : -1;
}

int unlinkat(int fd, const char* name, int flags) noexcept {
  return admit(SystemCall::unlink, [&] { return concat("unlink ", path_in(fd, name)); })
             ? call(SYS_unlinkat, fd, name, flags)
             : -1;
}

int mkdirat(int fd, const char* name, mode_t mode) noexcept {
  return admit(SystemCall::mkdir, [&] { return concat("mkdir ", path_in(fd, name)); })
             ? call(SYS_mkdirat, fd, name, mode)
             : -1;
}

int mkdir(const char* path, mode_t mode) noexcept {
  return admit(SystemCall::mkdir, [&] { return concat("mkdir ", path); })
             ? call(SYS_mkdirat, AT_FDCWD, path, mode)
             : -1;
}

int flock(int fd, int operation) noexcept {
  return admit(SystemCall::lock, [&] { return concat("lock ", path_of(fd)); })
             ? call(SYS_flock, fd, operation)
             : -1;
}

int fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void* const argument = va_arg(more, void*);
  va_end(more);
  const SystemCall kind = kind_of_control(command);
  const char* const verb = kind == SystemCall::lock      ? "lock "
                           : kind == SystemCall::examine ? "examine "
                                                         : "list ";
  return admit(kind, [&] { return concat(verb, path_of(fd)); })
             ? call(SYS_fcntl, fd, command, argument)
             : -1;
}

int fstat(int fd, struct stat* status) noexcept {
  return admit(SystemCall::examine, [&] { return concat("examine ", path_of(fd)); })
             ? call(SYS_newfstatat, fd, "", status, AT_EMPTY_PATH)
             : -1;
}

int fstatat(int fd, const char* name, struct stat* status, int flags) noexcept {
  return admit(SystemCall::examine, [&] { return concat("examine ", path_in(fd, name)); })
             ? call(SYS_newfstatat, fd, name, status, flags)
             : -1;
}

int statfs(const char* path, struct statfs* status) noexcept {
  return admit(SystemCall::examine, [&] { return concat("examine ", path); })
             ? call(SYS_statfs, path, status)
             : -1;
}

DIR* fdopendir(int fd) {
  static auto* const system = next<DIR*(int)>("fdopendir");
  return admit(SystemCall::list, [&] { return concat("list ", path_of(fd)); }) ? system(fd)
                                                                               : nullptr;
}

dirent* readdir(DIR* stream) {
  static auto* const system = next<dirent*(DIR*)>("readdir");
  return admit(SystemCall::list, [&] { return concat("list ", path_of(::dirfd(stream))); })
             ? system(stream)
             : nullptr;
}

#if !defined(__SANITIZE_THREAD__)  // its runtime maps memory before it can note that it is called
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  static auto* const system = next<void*(void*, size_t, int, int, int, off_t)>("mmap");
  const SystemCall kind = fd < 0 ? SystemCall::reserve : SystemCall::map;
  const auto describe = [&] {
    return fd < 0 ? concat("reserve ", size) : concat("map ", path_of(fd));
  };
  if (!admit(kind, describe)) return MAP_FAILED;
  return system(address, size, protection, flags, fd, offset);
}
#endif

}  // extern "C"
