// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_file_system.h"

#include <cerrno>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firn/base/mutex.h"
#include "firn/base/owner_process.h"
#include "firn/base/text.h"
#include "firn/io/posix_file.h"
#include "firn/io/posix_lock.h"
#include "firn/io/posix_support.h"

namespace firn {
namespace {

using io::Descriptor;
using io::posix_failure;

constexpr mode_t kOwnerOnlyDirectory = 0700;
constexpr char kStagedFileName[] = "new.tmp";  // no partition can have this name

class PosixFileSystem final : public FileSystem {
 public:
  PosixFileSystem(Descriptor root, std::string path, const PosixOptions& options)
      : root_(std::move(root)),
        path_(std::move(path)),
        read_only_(options.read_only),
        map_reads_(options.map_reads) {}

  [[nodiscard]] Result<std::unique_ptr<File>> open(std::string_view directory,
                                                   std::string_view name, FileMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<File>> create_file(std::string_view directory,
                                                          std::string_view name,
                                                          ByteSpan content) override
      EXCLUDES(staging_);
  [[nodiscard]] Status make_directory(std::string_view directory) override;
  [[nodiscard]] Status remove_file(std::string_view directory, std::string_view name) override;
  [[nodiscard]] Status remove_directory(std::string_view directory) override;
  [[nodiscard]] Result<std::vector<DirectoryEntry>> list(std::string_view directory) override;
  [[nodiscard]] Status sync_directory(std::string_view directory) override;
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override;
  [[nodiscard]] Result<std::optional<StorageWriter>> find_writer() override;
  [[nodiscard]] std::string description() const override { return path_; }

 private:
  // For messages: '<root>/<directory>/<name>'.
  [[nodiscard]] std::string shown(std::string_view directory, std::string_view name = {}) const;
  [[nodiscard]] Status check_component(std::string_view component) const;
  [[nodiscard]] Status check_writable(std::string_view directory, std::string_view name) const;
  [[nodiscard]] Result<Descriptor> open_directory(std::string_view directory, int flags) const;

  const OwnerProcess owner_;
  const Descriptor root_;
  const std::string path_;
  const bool read_only_;
  const bool map_reads_;
  Mutex staging_;  // held while the staged file is in use
};

std::string PosixFileSystem::shown(std::string_view directory, std::string_view name) const {
  return concat("'", path_, directory.empty() ? "" : "/", directory, name.empty() ? "" : "/", name,
                "'");
}

// One step below a directory: nothing that would leave it or name it.
Status PosixFileSystem::check_component(std::string_view component) const {
  if (!component.empty() && component != "." && component != ".." &&
      component.find('/') == std::string_view::npos &&
      component.find('\0') == std::string_view::npos)
    return {};
  return fail(Errc::invalid_argument,
              concat("'", component, "' cannot name an entry of a directory in ", shown({})));
}

Status PosixFileSystem::check_writable(std::string_view directory, std::string_view name) const {
  TRY(owner_.check());
  if (!read_only_) return {};
  return fail(Errc::invalid_argument,
              concat("cannot change ", shown(directory, name), ": the store is open read-only"));
}

// Links are not followed below the root, so one in the place of a partition hides its blobs:
// damage, as a missing file is.
std::unexpected<Error> no_directory(const std::string& what) {
  return fail(Errc::corrupt,
              concat(what,
                     " is not a directory: a file or a symbolic link is in the place of the "
                     "partition, and firn follows no links below a store; move it away and put the "
                     "directory itself there"));
}

// Also checks the name. An empty one is the root.
Result<Descriptor> PosixFileSystem::open_directory(std::string_view directory, int flags) const {
  TRY(owner_.check());
  if (!directory.empty()) TRY(check_component(directory));
  Descriptor descriptor =
      io::open_at(root_.get(), directory.empty() ? std::string(".") : std::string(directory),
                  flags | O_DIRECTORY);
  const bool is_other = errno == ENOTDIR || errno == ELOOP;
  if (!descriptor.is_open() && is_other && !directory.empty())
    return no_directory(shown(directory));
  if (!descriptor.is_open()) return posix_failure(errno, "open directory", shown(directory));
  return descriptor;
}

Result<std::unique_ptr<File>> PosixFileSystem::open(std::string_view directory,
                                                    std::string_view name, FileMode mode) {
  TRY(check_component(name));
  if (mode != FileMode::read_only) TRY(check_writable(directory, name));
  TRY_INTO(const Descriptor parent, open_directory(directory, O_PATH));
  int flags = O_RDONLY;
  if (mode == FileMode::read_write) flags = O_RDWR;
  if (mode == FileMode::create_exclusive) flags = O_RDWR | O_CREAT | O_EXCL;
  const std::string what = shown(directory, name);
  Descriptor file = io::open_at(parent.get(), std::string(name), flags);
  if (!file.is_open())
    return posix_failure(errno, mode == FileMode::create_exclusive ? "create" : "open", what);
  TRY(io::check_regular_file(file.get(), what));
  // After a sync that failed the kernel serves, as clean, pages that never reached the device, and
  // only that one sync said so. A writer must not build on them. Unwritten pages stay.
  if (mode == FileMode::read_write)
    static_cast<void>(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED));
  return std::make_unique<io::PosixFile>(std::move(file), what, mode == FileMode::create_exclusive,
                                         map_reads_);
}

// Gives the staged file its final name, which must not exist.
Status publish(int root_fd, int directory_fd, const std::string& name, const std::string& what) {
  if (::renameat2(root_fd, kStagedFileName, directory_fd, name.c_str(), RENAME_NOREPLACE) == 0)
    return {};
  const bool unsupported = errno == EINVAL || errno == ENOSYS;
  if (!unsupported) return posix_failure(errno, "create", what);
  // A file system without such a rename: for a moment the file has both names.
  if (::linkat(root_fd, kStagedFileName, directory_fd, name.c_str(), 0) != 0)
    return posix_failure(errno, "create", what);
  static_cast<void>(::unlinkat(root_fd, kStagedFileName, 0));
  return {};
}

Result<std::unique_ptr<File>> PosixFileSystem::create_file(std::string_view directory,
                                                           std::string_view name,
                                                           ByteSpan content) {
  TRY(check_component(name));
  TRY(check_writable(directory, name));
  TRY_INTO(const Descriptor parent, open_directory(directory, O_PATH));
  const std::string what = shown(directory, name);
  MutexLock lock(staging_);
  // What is left of an interrupted creation is removed, never reused: it may be a second name of a
  // file that is in use.
  if (::unlinkat(root_.get(), kStagedFileName, 0) != 0 && errno != ENOENT)
    return posix_failure(errno, "remove", shown({}, kStagedFileName));
  Descriptor staged = io::open_at(root_.get(), kStagedFileName, O_RDWR | O_CREAT | O_EXCL);
  if (!staged.is_open()) return posix_failure(errno, "create", shown({}, kStagedFileName));
  auto file = std::make_unique<io::PosixFile>(std::move(staged), what, true, map_reads_);
  Status done = file->write_at(0, std::span(&content, 1));
  if (done) done = file->sync();
  if (done) done = publish(root_.get(), parent.get(), std::string(name), what);
  if (done) return file;
  static_cast<void>(::unlinkat(root_.get(), kStagedFileName, 0));
  return pass_on(done);
}

Status PosixFileSystem::make_directory(std::string_view directory) {
  TRY(check_component(directory));
  TRY(check_writable(directory, {}));
  if (directory == io::kLockFileName)
    return fail(Errc::invalid_argument, concat(shown(directory), " is the name of the lock file"));
  const std::string name(directory);
  if (::mkdirat(root_.get(), name.c_str(), kOwnerOnlyDirectory) == 0) return {};
  if (errno != EEXIST) return posix_failure(errno, "make directory", shown(directory));
  struct stat status;
  if (::fstatat(root_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return posix_failure(errno, "examine", shown(directory));
  if (!S_ISDIR(status.st_mode)) return no_directory(shown(directory));
  return {};
}

Status PosixFileSystem::remove_file(std::string_view directory, std::string_view name) {
  TRY(check_component(name));
  TRY(check_writable(directory, name));
  TRY_INTO(const Descriptor parent, open_directory(directory, O_PATH));
  if (::unlinkat(parent.get(), std::string(name).c_str(), 0) != 0)
    return posix_failure(errno, "remove", shown(directory, name));
  return {};
}

Status PosixFileSystem::remove_directory(std::string_view directory) {
  TRY(check_component(directory));
  TRY(check_writable(directory, {}));
  if (::unlinkat(root_.get(), std::string(directory).c_str(), AT_REMOVEDIR) != 0)
    return posix_failure(errno, "remove directory", shown(directory));
  return {};
}

// The kind of an entry, asking the file where the directory does not tell.
Result<DirectoryEntry::Kind> kind_of(int directory_fd, const dirent& entry,
                                     const std::string& what) {
  if (entry.d_type == DT_REG) return DirectoryEntry::Kind::file;
  if (entry.d_type == DT_DIR) return DirectoryEntry::Kind::directory;
  if (entry.d_type != DT_UNKNOWN) return DirectoryEntry::Kind::other;
  struct stat status;
  if (::fstatat(directory_fd, entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
    return posix_failure(errno, "examine", what);
  if (S_ISREG(status.st_mode)) return DirectoryEntry::Kind::file;
  if (S_ISDIR(status.st_mode)) return DirectoryEntry::Kind::directory;
  return DirectoryEntry::Kind::other;
}

Result<std::vector<DirectoryEntry>> PosixFileSystem::list(std::string_view directory) {
  TRY_INTO(const Descriptor descriptor, open_directory(directory, O_RDONLY));
  // The stream closes the descriptor that it is given, so it gets one of its own.
  const int copy = ::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return posix_failure(errno, "list", shown(directory));
  const auto close_stream = [](DIR* stream) { ::closedir(stream); };
  const std::unique_ptr<DIR, decltype(close_stream)> stream(::fdopendir(copy));
  if (stream == nullptr) {
    const int error_number = errno;
    ::close(copy);
    return posix_failure(error_number, "list", shown(directory));
  }
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    auto kind = kind_of(descriptor.get(), *entry, shown(directory, name));
    if (!kind && kind.error().code == Errc::not_found) continue;  // removed meanwhile
    if (!kind) return pass_on(kind);
    entries.push_back({std::string(name), *kind});
  }
  if (errno != 0) return posix_failure(errno, "list", shown(directory));
  return entries;
}

Status PosixFileSystem::sync_directory(std::string_view directory) {
  TRY(check_writable(directory, {}));
  TRY_INTO(const Descriptor descriptor, open_directory(directory, O_RDONLY));
  return io::sync_descriptor(descriptor.get(), shown(directory));
}

Result<std::unique_ptr<StorageLock>> PosixFileSystem::lock(LockMode mode) {
  TRY(owner_.check());
  if (is_for_writing(mode)) TRY(check_writable({}, io::kLockFileName));
  return io::take_posix_lock(root_.get(), path_, mode);
}

Result<std::optional<StorageWriter>> PosixFileSystem::find_writer() {
  TRY(owner_.check());
  return io::find_posix_writer(root_.get(), path_);
}

Descriptor open_path(const std::string& path, int flags) {
  return Descriptor(io::repeat_after_signals(
      [&] { return ::open(path.c_str(), flags | O_DIRECTORY | O_CLOEXEC); }));
}

// Makes the entry of the directory at `path` durable.
Status sync_entry_of(const std::string& path, bool made_by_us) {
  const Descriptor parent = open_path(path + "/..", O_RDONLY);
  if (parent.is_open())
    return io::sync_descriptor(parent.get(), concat("the parent of '", path, "'"));
  // Without the right to look into its parent this user did not make the directory either.
  if (!made_by_us && (errno == EACCES || errno == EPERM)) return {};
  return posix_failure(errno, "open the parent of", concat("'", path, "'"));
}

// Makes `path` and what is missing above it, each entry durable before the next one. The entry of
// the directory that is already there is synced as well: whoever made it may have died before.
Status make_path(const std::string& path) {
  std::vector<std::string> missing;
  std::string existing = path;
  while (!open_path(existing, O_PATH).is_open()) {
    if (errno != ENOENT) return posix_failure(errno, "open directory", concat("'", existing, "'"));
    missing.push_back(existing);
    existing.resize(existing.find_last_not_of('/') + 1);
    const size_t slash = existing.find_last_of('/');
    if (slash == std::string::npos)
      existing.assign(1, '.');
    else
      existing.resize(slash == 0 ? 1 : slash);
  }
  TRY(sync_entry_of(existing, false));
  for (auto next = missing.rbegin(); next != missing.rend(); ++next) {
    if (::mkdir(next->c_str(), kOwnerOnlyDirectory) != 0 && errno != EEXIST)
      return posix_failure(errno, "make directory", concat("'", *next, "'"));
    if (!open_path(*next, O_PATH).is_open() && errno == ENOENT) {
      return fail(Errc::invalid_argument,
                  concat("'", *next,
                         "' is a symbolic link that leads nowhere: remove it, or make "
                         "the directory that it names"));
    }
    TRY(sync_entry_of(*next, true));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<FileSystem>> open_posix_file_system(const std::string& path,
                                                           const PosixOptions& options) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return fail(Errc::invalid_argument, "the path of a store must not be empty or hold a NUL byte");
  if (options.create && options.read_only)
    return fail(Errc::invalid_argument,
                concat("store '", path, "': 'create' and 'read_only' exclude each other"));
  if (options.create) TRY(make_path(path));
  Descriptor root = open_path(path, O_RDONLY);
  if (!root.is_open()) return posix_failure(errno, "open store", concat("'", path, "'"));
  if (!options.create && !options.read_only) TRY(sync_entry_of(path, false));
  return std::make_unique<PosixFileSystem>(std::move(root), path, options);
}

}  // namespace firn
