// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_lock.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <span>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firn/base/bytes.h"
#include "firn/base/owner_process.h"
#include "firn/base/text.h"
#include "firn/io/posix_file.h"
#include "firn/io/posix_support.h"

namespace firn::io {
namespace {

constexpr size_t kHolderMaxBytes = 1024;
constexpr int kReplacedRetriesMax = 16;
constexpr int kDyingTriesMax = 100;
constexpr std::chrono::milliseconds kDyingPause(1);

// Byte 0 parts writers from each other and from shared readers. A writer has byte 1, too, until it
// is settled. Byte 2 parts followers from what would disturb them. Of a directory, byte 3 is that
// of whoever keeps followers out, see part_followers.
constexpr off_t kRecoveringByte = 1;
constexpr off_t kFollowersByte = 2;
constexpr off_t kNoFollowersByte = 3;
constexpr off_t kLockedBytes = 4;

struct flock lock_bytes(off_t start, off_t count, short type) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = count;
  return lock;
}

// A descriptor that unlocks what was locked by it. Closing alone would leave the locks to children
// that were forked meanwhile: they have copies. They never unlock, because the locks are their
// parent's.
class LockedDescriptor {
 public:
  LockedDescriptor() = default;
  explicit LockedDescriptor(Descriptor file) : file_(std::move(file)) {}
  LockedDescriptor(LockedDescriptor&&) = default;
  LockedDescriptor& operator=(LockedDescriptor&&) = delete;
  ~LockedDescriptor();

  [[nodiscard]] int get() const { return file_.get(); }
  [[nodiscard]] bool is_open() const { return file_.is_open(); }
  [[nodiscard]] const OwnerProcess& owner() const { return owner_; }

 private:
  OwnerProcess owner_;
  Descriptor file_;
};

LockedDescriptor::~LockedDescriptor() {
  if (!owner_.is_this() || !file_.is_open()) return;
  struct flock unlock = lock_bytes(0, kLockedBytes, F_UNLCK);
  static_cast<void>(::fcntl(file_.get(), F_OFD_SETLK, &unlock));
  static_cast<void>(::flock(file_.get(), LOCK_UN));
}

class PosixLock final : public StorageLock {
 public:
  PosixLock(LockedDescriptor file, LockedDescriptor root, std::string what)
      : file_(std::move(file)), root_(std::move(root)), what_(std::move(what)) {}
  [[nodiscard]] Status settle() override;

 private:
  // LOCK is let go last, because whoever gets it demands the directory next.
  const LockedDescriptor file_;
  const LockedDescriptor root_;
  const std::string what_;  // for messages
};

bool is_about_followers(LockMode mode) {
  return mode == LockMode::follower || mode == LockMode::no_followers;
}

struct flock lock_bytes(LockMode mode) {
  const short type = is_for_writing(mode) ? F_WRLCK : F_RDLCK;
  if (is_about_followers(mode)) return lock_bytes(kFollowersByte, 1, type);
  return lock_bytes(0, mode == LockMode::exclusive ? 2 : 1, type);
}

// No other lock is touched, and none can be in the way.
Status PosixLock::settle() {
  TRY(file_.owner().check());
  struct flock unlock = lock_bytes(kRecoveringByte, 1, F_UNLCK);
  if (root_.is_open()) static_cast<void>(::fcntl(root_.get(), F_OFD_SETLK, &unlock));
  if (!file_.is_open()) return {};
  const auto settle_file = [&] { return ::fcntl(file_.get(), F_OFD_SETLK, &unlock); };
  if (repeat_after_signals(settle_file) == 0) return {};
  return posix_failure(errno, "unlock a byte of", what_);
}

// The start of a small file of the system, up to its first line's end; empty if unreadable.
std::string read_line(const char* path) {
  const Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text;
  const ssize_t got = file.is_open() ? ::read(file.get(), text.data(), text.size()) : 0;
  const std::string_view all(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  return std::string(all.substr(0, all.find('\n')));
}

std::string this_host() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

std::string describe_this_process() {
  return concat("pid=", ::getpid(), "\nhost=", this_host(),
                "\nboot_id=", read_line("/proc/sys/kernel/random/boot_id"),
                "\nprogram=", read_line("/proc/self/comm"), "\n");
}

// The value of `key` in lines of key=value. The file may hold anything, and the value goes to
// somebody's terminal: control characters are masked and the length is bounded.
std::string holder_field(std::string_view text, std::string_view key) {
  constexpr size_t kShownMaxBytes = 64;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != '=') continue;
    std::string value(line.substr(key.size() + 1, kShownMaxBytes));
    for (char& c : value)
      if (c < ' ' || c > '~') c = '?';
    if (!value.empty()) return value;
  }
  return "unknown";
}

std::string describe_holder(int fd) {
  std::array<char, kHolderMaxBytes> buffer;
  const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), 0);
  const std::string_view text(buffer.data(), got > 0 ? static_cast<size_t>(got) : 0);
  const std::string pid = holder_field(text, "pid");
  const std::string host = holder_field(text, "host");
  const bool is_this_process = pid == concat(::getpid()) && host == this_host();
  return concat(is_this_process ? "this process: " : "another process: ", "pid ", pid, " on host ",
                host, ", program '", holder_field(text, "program"), "'");
}

std::unexpected<Error> followers_are_kept_out(const std::string& root_path) {
  return fail(Errc::locked, concat("the writer of store '", root_path,
                                   "' is taking away what readers may be reading (a rewind, or "
                                   "the removal of the store): try again"));
}

// `used`: the path that the readers have open.
std::unexpected<Error> open_for_reading(const std::string& root_path, const std::string& used) {
  return fail(Errc::locked, concat("store '", root_path,
                                   "' is open for reading in at least one other place; "
                                   "close the readers first ('fuser ",
                                   used, "' lists them)"));
}

std::unexpected<Error> locked_by_another(int fd, const std::string& root_path, LockMode mode) {
  if (mode == LockMode::follower) return followers_are_kept_out(root_path);
  struct flock probe = lock_bytes(mode);
  const bool probed = ::fcntl(fd, F_OFD_GETLK, &probe) == 0;
  if (probed && probe.l_type == F_RDLCK)
    return open_for_reading(root_path, concat(root_path, "/", kLockFileName));
  return fail(Errc::locked,
              concat("store '", root_path, "' is open for writing in ", describe_holder(fd),
                     "; close it there, or wait until it ends (the lock goes with its process; "
                     "never delete ",
                     kLockFileName, ")"));
}

// A directory has no such locks for writing, but one for reading can be seen. So each side marks a
// byte of its own and then looks for the other's: of two at once, one at least gives way.
Status part_followers(const LockedDescriptor& root, const std::string& root_path, LockMode mode) {
  const bool follows = mode == LockMode::follower;
  struct flock mark = lock_bytes(follows ? kFollowersByte : kNoFollowersByte, 1, F_RDLCK);
  struct flock other = lock_bytes(follows ? kNoFollowersByte : kFollowersByte, 1, F_WRLCK);
  if (::fcntl(root.get(), F_OFD_SETLK, &mark) != 0 ||
      ::fcntl(root.get(), F_OFD_GETLK, &other) != 0 || other.l_type == F_UNLCK)
    return {};
  if (follows) return followers_are_kept_out(root_path);
  return open_for_reading(root_path, root_path);
}

std::unexpected<Error> root_locked_by_another(const LockedDescriptor& root,
                                              const std::string& root_path) {
  struct flock probe = lock_bytes(0, 2, F_WRLCK);
  const bool has_writer = ::fcntl(root.get(), F_OFD_GETLK, &probe) != 0 || probe.l_type != F_UNLCK;
  if (!has_writer) return open_for_reading(root_path, root_path);
  return fail(Errc::locked,
              concat("store '", root_path,
                     "' is open in another place, which holds a lock on the directory itself: was ",
                     kLockFileName, " deleted? ('fuser ", root_path, "' lists who has it open)"));
}

// LOCK can be deleted, and a second writer would then lock a file of its own; or there is none, and
// a reader makes none. The directory of the store is always there, so it is locked as well, where
// the file system knows how. A writer's bytes 0 and 1 are there, too, for find_writer_of_root.
Result<LockedDescriptor> lock_root(int root_fd, const std::string& root_path, LockMode mode) {
  LockedDescriptor root(open_at(root_fd, ".", O_RDONLY | O_DIRECTORY));
  if (!root.is_open()) return posix_failure(errno, "open directory", concat("'", root_path, "'"));
  if (is_about_followers(mode)) {
    TRY(part_followers(root, root_path, mode));
    return root;
  }
  int attempt = 0;
  while (::flock(root.get(), (is_for_writing(mode) ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return LockedDescriptor();
    if (++attempt == kDyingTriesMax) return root_locked_by_another(root, root_path);
    std::this_thread::sleep_for(kDyingPause);  // who dies lets go of LOCK a moment before
  }
  struct flock mark = lock_bytes(0, 2, F_RDLCK);
  if (is_for_writing(mode)) static_cast<void>(::fcntl(root.get(), F_OFD_SETLK, &mark));
  return root;
}

// An open LOCK file, made by writers only; a descriptor that is not open if a reader finds none.
Result<LockedDescriptor> open_lock_file(int root_fd, const std::string& what, LockMode mode) {
  const int flags = is_for_writing(mode) ? O_RDWR | O_CREAT : O_RDONLY;
  LockedDescriptor file(open_at(root_fd, std::string(kLockFileName), flags));
  if (!file.is_open() && errno == ENOENT && !is_for_writing(mode)) return file;
  if (!file.is_open()) return posix_failure(errno, "open", what);
  TRY(check_regular_file(file.get(), what));
  return file;
}

enum class LockFile : uint8_t { current, replaced };

// Whether LOCK still is the file that was opened, or somebody removed or replaced it meanwhile.
Result<LockFile> examine_lock_file(int root_fd, const LockedDescriptor& file,
                                   const std::string& what) {
  const std::string name(kLockFileName);
  struct stat at_path;
  struct stat opened;
  const bool is_there = ::fstatat(root_fd, name.c_str(), &at_path, AT_SYMLINK_NOFOLLOW) == 0;
  if (!is_there && errno == ENOENT) return LockFile::replaced;
  if (!is_there || ::fstat(file.get(), &opened) != 0) return posix_failure(errno, "examine", what);
  const bool is_same = at_path.st_ino == opened.st_ino && at_path.st_dev == opened.st_dev;
  return is_same ? LockFile::current : LockFile::replaced;
}

Status lock_file(const LockedDescriptor& file, const std::string& what,
                 const std::string& root_path, LockMode mode) {
  struct flock request = lock_bytes(mode);
  const auto lock = [&] { return ::fcntl(file.get(), F_OFD_SETLK, &request); };
  if (repeat_after_signals(lock) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) return locked_by_another(file.get(), root_path, mode);
  return posix_failure(errno, "lock", what);
}

// A writer that does not hold LOCK: it was deleted, or replaced by another file.
std::optional<StorageWriter> find_writer_of_root(int root_fd) {
  const Descriptor root = open_at(root_fd, ".", O_RDONLY | O_DIRECTORY);
  struct flock probe = lock_bytes(0, 2, F_WRLCK);
  if (!root.is_open() || ::fcntl(root.get(), F_OFD_GETLK, &probe) != 0 || probe.l_type == F_UNLCK)
    return std::nullopt;
  return StorageWriter{.name = concat("another place that ", kLockFileName,
                                      " does not name: was it deleted or replaced?"),
                       .is_settled = probe.l_len == 1};
}

Status write_holder(int fd, const std::string& what) {
  const std::string text = describe_this_process();
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = repeat_after_signals([&] {
      return ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    });
    if (put <= 0) return posix_failure(put < 0 ? errno : EIO, "write to", what);
    done += static_cast<size_t>(put);
  }
  const auto cut = [&] { return ::ftruncate(fd, static_cast<off_t>(text.size())); };
  if (repeat_after_signals(cut) != 0) return posix_failure(errno, "resize", what);
  return {};
}

}  // namespace

Result<std::unique_ptr<StorageLock>> take_posix_lock(int root_fd, const std::string& root_path,
                                                     LockMode mode) {
  const std::string what = concat("lock file '", root_path, "/", kLockFileName, "'");
  for (int attempt = 0; attempt < kReplacedRetriesMax; ++attempt) {
    TRY_INTO(LockedDescriptor file, open_lock_file(root_fd, what, mode));
    if (file.is_open()) {
      TRY(lock_file(file, what, root_path, mode));
      TRY_INTO(const LockFile found, examine_lock_file(root_fd, file, what));
      if (found == LockFile::replaced) continue;
    }
    TRY_INTO(LockedDescriptor root, lock_root(root_fd, root_path, mode));
    if (mode == LockMode::exclusive) TRY(write_holder(file.get(), what));
    return std::make_unique<PosixLock>(std::move(file), std::move(root), what);
  }
  return fail(Errc::io, concat(what, " is being replaced again and again; find out by whom"));
}

Result<std::optional<StorageWriter>> find_posix_writer(int root_fd, const std::string& root_path) {
  const std::string what = concat("lock file '", root_path, "/", kLockFileName, "'");
  const Descriptor file = open_at(root_fd, std::string(kLockFileName), O_RDONLY);
  if (!file.is_open()) {
    if (errno == ENOENT) return find_writer_of_root(root_fd);
    return posix_failure(errno, "open", what);
  }
  TRY(check_regular_file(file.get(), what));
  struct flock probe = lock_bytes(0, 2, F_RDLCK);
  if (::fcntl(file.get(), F_OFD_GETLK, &probe) != 0) return posix_failure(errno, "ask for", what);
  if (probe.l_type != F_UNLCK)
    return StorageWriter{.name = describe_holder(file.get()), .is_settled = probe.l_len == 1};
  return find_writer_of_root(root_fd);
}

}  // namespace firn::io
