// SPDX-License-Identifier: Apache-2.0
//
// What `import` puts into a value, and how the other verbs read it.
//
//   stored value = varint u32 length | whole           the original's encoding of a byte vector
//   whole of a line = its bytes, without the newline
//   whole of a file = {"path":...,"mode":...,"mtime":...,"size":...} \n content
//
//   path   relative, without "." and ".."; see portable_path. If it is no UTF-8, the bytes that are
//          none are replaced and the member "path_hex" has all of them.
//   mode   permission bits, as an integer
//   mtime  seconds since 1970 with nine decimals, as a string: a double would lose nanoseconds
//   size   bytes of the content
//
// Values that other programs put are shown as they are. They pass for a file only if they begin
// with such a line and its size is that of the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>
#include <sys/types.h>

#include "firn/base/bytes.h"

namespace firn::command {

struct FileInfo {
  std::string path;  // as bytes
  uint32_t mode = 0;
  timespec mtime{};
  uint64_t size_bytes = 0;
};

struct Item {
  ByteSpan whole;    // without the length
  ByteSpan content;  // without the JSON line
  std::optional<FileInfo> file;
};

// `stored` must outlive the item.
[[nodiscard]] Item decode_item(ByteSpan stored);

// The JSON line of a file, newline included.
[[nodiscard]] std::string encode_file_line(const FileInfo& file);

// "1700000000.000000001"
[[nodiscard]] std::string time_text(timespec time);

[[nodiscard]] bool is_utf8(std::string_view text);

// Adds the path of a file.
void describe_file(const FileInfo& file, nlohmann::ordered_json& object);

// Adds the members "encoding" and "content": text as it is, other bytes in base64.
void describe_content(ByteSpan content, nlohmann::ordered_json& object);

// The path under which a file is stored, as tar makes it: no leading "/", no "." and nothing up to
// the last ".."; empty if nothing is left.
[[nodiscard]] std::string portable_path(std::string_view path);

}  // namespace firn::command
