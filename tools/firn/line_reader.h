// SPDX-License-Identifier: Apache-2.0
//
// LineReader: the lines of a file, a pipe or standard input, of any length, without their newlines.
// A last line that has no newline counts; empty lines are lines. Memory: the longest line.
#pragma once

#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "tools/firn/descriptor.h"

namespace firn::command {

class LineReader {
 public:
  // "-" is standard input.
  [[nodiscard]] static Result<LineReader> open(const std::string& path);

  // nullopt at the end. The bytes are valid until the next call.
  [[nodiscard]] Result<std::optional<ByteSpan>> next();

 private:
  LineReader(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  Descriptor file_;
  Bytes buffer_;
  size_t begin_ = 0;  // of the line that is being read
  size_t end_ = 0;    // of what was read
  bool at_end_ = false;
};

}  // namespace firn::command
