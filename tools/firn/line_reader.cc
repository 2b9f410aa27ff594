// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/line_reader.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>

#include "firn/base/text.h"
#include "tools/firn/file_walk.h"

namespace firn::command {
namespace {

constexpr size_t kLineBufferBytes = 1 << 20;
constexpr size_t kLineMaxBytes = size_t{4} << 30;  // beyond the size of any value

}  // namespace

Result<LineReader> LineReader::open(const std::string& path) {
  const bool is_standard_input = path == "-";
  Descriptor file(is_standard_input ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                    : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return system_failure("open", path);
  return LineReader(is_standard_input ? "standard input" : path, std::move(file));
}

Result<std::optional<ByteSpan>> LineReader::next() {
  size_t searched = begin_;
  while (true) {
    const auto* const from = buffer_.data() + searched;
    const void* const newline =
        searched == end_ ? nullptr : std::memchr(from, '\n', end_ - searched);
    if (newline != nullptr || (at_end_ && begin_ < end_)) {
      const size_t end =
          newline == nullptr
              ? end_
              : static_cast<size_t>(static_cast<const std::byte*>(newline) - buffer_.data());
      const ByteSpan line = ByteSpan(buffer_).subspan(begin_, end - begin_);
      begin_ = newline == nullptr ? end_ : end + 1;
      return std::optional(line);
    }
    if (at_end_) return std::optional<ByteSpan>();

    // The unfinished line moves to the front, and the rest of the buffer is filled.
    if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    searched = end_;
    if (end_ > kLineMaxBytes)
      return fail(Errc::invalid_argument, concat("a line of '", path_, "' is longer than 4 GiB"));
    if (end_ == buffer_.size()) buffer_.resize(std::max(kLineBufferBytes, buffer_.size() * 2));
    const ssize_t got = ::read(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure("read", path_);
    end_ += static_cast<size_t>(got);
    at_end_ = got == 0;
  }
}

}  // namespace firn::command
