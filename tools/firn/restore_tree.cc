// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/restore_tree.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>

#include "firn/base/text.h"
#include "tools/firn/file_walk.h"
#include "tools/firn/store_access.h"

namespace firn::command {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
const std::string kTemporaryName = concat(".firn-export-", ::getpid());

Status check_path(std::string_view path) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::corrupt, concat("the path '", path, "' is refused: ", why,
                                      "; read the item with 'firn archive get'"));
  };
  if (path.empty()) return refuse("it is empty");
  if (path.front() == '/') return refuse("it is absolute");
  if (path.find('\0') != std::string_view::npos) return refuse("it holds a zero byte");
  while (true) {
    const std::string_view component = path.substr(0, path.find('/'));
    if (component.empty() || component == "." || component == "..")
      return refuse("it has an empty component, '.' or '..'");
    if (component.size() == path.size()) return {};
    path.remove_prefix(component.size() + 1);
  }
}

Status write_all(int fd, ByteSpan bytes, const std::string& shown) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_failure("write", shown);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

// Fills the temporary file: content first, then the time, which writing changes.
Status fill(int fd, const FileInfo& file, ByteSpan content, const std::string& shown) {
  TRY(write_all(fd, content, shown));
  if (::fchmod(fd, file.mode & 0777) != 0) return system_failure("set the mode of", shown);
  const timespec times[2] = {{0, UTIME_OMIT}, file.mtime};
  if (::futimens(fd, times) != 0) return system_failure("set the time of", shown);
  return {};
}

bool is_same_directory(int fd, const struct stat& other) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && status.st_dev == other.st_dev &&
         status.st_ino == other.st_ino;
}

}  // namespace

Result<RestoreTree> RestoreTree::open(const std::string& directory, const std::string& store) {
  TRY(check_outside_store(store, directory, "the directory to export to"));
  struct stat store_status;
  if (::stat(store.c_str(), &store_status) != 0) return system_failure("read", store);
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  Descriptor root(::open(directory.c_str(), kDirectoryFlags));
  if (!root.is_open() && failed) errno = failed.value();  // why it is not there
  if (!root.is_open()) return system_failure("make or open the directory", directory);
  return RestoreTree(directory, std::move(root), store_status);
}

Result<int> RestoreTree::open_parent(std::string_view parent, const std::string& shown) {
  if (parent.empty()) return root_.get();
  if (last_.is_open() && parent == last_parent_) return last_.get();
  Descriptor current;
  std::string_view rest = parent;
  while (!rest.empty()) {
    const std::string component(rest.substr(0, rest.find('/')));
    rest.remove_prefix(std::min(component.size() + 1, rest.size()));
    const int above = current.is_open() ? current.get() : root_.get();
    if (::mkdirat(above, component.c_str(), 0777) != 0 && errno != EEXIST)
      return system_failure("make the directories of", shown);
    Descriptor next(::openat(above, component.c_str(), kDirectoryFlags | O_NOFOLLOW));
    if (!next.is_open()) {
      if (errno != ENOTDIR && errno != ELOOP) return system_failure("open the directory of", shown);
      return fail(Errc::io, concat("cannot restore '", shown, "': '", component,
                                   "' is there and no directory (links are not followed)"));
    }
    if (is_same_directory(next.get(), store_)) {
      return fail(Errc::invalid_argument,
                  concat("'", shown,
                         "' is not restored: it would lie in the store itself; export "
                         "to another directory"));
    }
    current = std::move(next);
  }
  last_ = std::move(current);
  last_parent_ = parent;
  return last_.get();
}

Status RestoreTree::restore(const FileInfo& file, ByteSpan content) {
  TRY(check_path(file.path));
  const std::string shown = concat(directory_, "/", file.path);
  const size_t slash = file.path.rfind('/');
  const std::string_view path = file.path;
  TRY_INTO(const int parent,
           open_parent(slash == std::string::npos ? "" : path.substr(0, slash), shown));
  const std::string name(slash == std::string::npos ? path : path.substr(slash + 1));

  ::unlinkat(parent, kTemporaryName.c_str(), 0);  // of an export that was killed
  const Descriptor target(::openat(parent, kTemporaryName.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target.is_open()) return system_failure("make", shown);
  Status outcome = fill(target.get(), file, content, shown);
  if (outcome && ::renameat(parent, kTemporaryName.c_str(), parent, name.c_str()) != 0)
    outcome = system_failure("put in place", shown);
  if (!outcome) ::unlinkat(parent, kTemporaryName.c_str(), 0);
  return outcome;
}

}  // namespace firn::command
