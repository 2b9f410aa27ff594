// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/file_walk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include <fcntl.h>
#include <fts.h>
#include <unistd.h>

#include "firn/base/text.h"
#include "tools/firn/descriptor.h"

namespace firn::command {
namespace {

constexpr size_t kFirstReadBytes = 64 << 10;

struct CloseWalk {
  void operator()(FTS* walk) const { ::fts_close(walk); }
};

int by_name(const FTSENT** a, const FTSENT** b) {
  return std::strcmp((*a)->fts_name, (*b)->fts_name);
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Status check_path(const std::string& path, bool special_files) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return system_failure("read", path);
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return {};
  if (special_files) return {};
  if (S_ISLNK(status.st_mode)) {
    return fail(Errc::invalid_argument,
                concat("'", path,
                       "' is a symbolic link, and links are not followed: name its "
                       "target"));
  }
  return fail(Errc::invalid_argument, concat("'", path, "' is neither a file nor a directory"));
}

Status walk(const std::string& path, const std::optional<struct stat>& except, bool special_files,
            FoundFiles& found) {
  std::string root = path;
  char* roots[] = {root.data(), nullptr};
  const std::unique_ptr<FTS, CloseWalk> entries(
      ::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name));
  if (entries == nullptr) return system_failure("read", path);
  while (true) {
    errno = 0;
    FTSENT* const entry = ::fts_read(entries.get());
    if (entry == nullptr) break;
    const auto note_failure = [&] {
      found.failures.push_back(
          concat("cannot read '", entry->fts_path, "': ", std::strerror(entry->fts_errno)));
    };
    switch (entry->fts_info) {
      case FTS_D:
        if (except && is_same_file(*except, *entry->fts_statp))
          ::fts_set(entries.get(), entry, FTS_SKIP);
        break;
      case FTS_F:
        found.files.push_back({entry->fts_path, static_cast<uint64_t>(entry->fts_statp->st_size)});
        found.total_bytes += found.files.back().size_bytes;
        break;
      case FTS_SL:
      case FTS_SLNONE:
      case FTS_DEFAULT:  // a pipe, a device, a socket
        if (special_files && entry->fts_level == FTS_ROOTLEVEL)
          found.files.push_back({entry->fts_path, 0});
        else
          ++found.special_count;
        break;
      case FTS_DNR:
      case FTS_ERR:
      case FTS_NS: note_failure(); break;
      default: break;
    }
  }
  if (errno != 0) return system_failure("read", path);
  return {};
}

}  // namespace

std::unexpected<Error> system_failure(std::string_view operation, const std::string& path) {
  const int number = errno;
  Errc code = Errc::io;
  if (number == ENOENT) code = Errc::not_found;
  if (number == ENOSPC || number == EDQUOT || number == EFBIG) code = Errc::no_space;
  return fail(code, concat("cannot ", operation, " '", path, "': ", std::strerror(number)));
}

namespace {

Status read_rest(int file, const std::string& path, uint64_t expected, uint64_t size_max_bytes,
                 Bytes& content) {
  size_t size = 0;
  // One byte more than the file should have, so that one read finds the end.
  if (expected <= size_max_bytes) content.resize(std::max<size_t>(expected + 1, kFirstReadBytes));
  while (true) {
    if (expected > size_max_bytes || size > size_max_bytes) {
      return fail(Errc::invalid_argument,
                  concat("'", path, "' has more than ", size_max_bytes,
                         " bytes, which is the most that an item can have"));
    }
    if (size == content.size()) content.resize(content.size() * 2);
    const ssize_t got = ::read(file, content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure("read", path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  content.resize(size);
  return {};
}

}  // namespace

Result<FoundFiles> find_files(const std::vector<std::string>& paths, const std::string& except,
                              bool special_files) {
  for (const std::string& path : paths)
    TRY(check_path(path, special_files));
  std::optional<struct stat> excepted;
  if (struct stat status; ::stat(except.c_str(), &status) == 0) excepted = status;
  FoundFiles found;
  for (const std::string& path : paths)
    TRY(walk(path, excepted, special_files, found));
  return found;
}

Status read_file(const std::string& path, uint64_t size_max_bytes, Bytes& content,
                 struct stat& status) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open()) return system_failure("open", path);
  if (::fstat(file.get(), &status) != 0) return system_failure("read", path);
  if (!S_ISREG(status.st_mode))
    return fail(Errc::io, concat("'", path, "' is no regular file any more"));
  return read_rest(file.get(), path, static_cast<uint64_t>(status.st_size), size_max_bytes,
                   content);
}

Result<Bytes> read_input(const std::string& path, uint64_t size_max_bytes) {
  const Descriptor file(path == "-" ? ::dup(STDIN_FILENO)
                                    : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return system_failure("open", path);
  Bytes content;
  TRY(read_rest(file.get(), path, 0, size_max_bytes, content));
  return content;
}

}  // namespace firn::command
