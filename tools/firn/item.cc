// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/item.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sodium/utils.h>

#include "firn/codec/varint.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

constexpr size_t kFileLineMaxBytes = 64 << 10;  // a path has at most 4096 bytes
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

template <class T>
bool parse_number(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::string to_base64(ByteSpan bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminating zero
  return text;
}

// The opposite of time_text.
std::optional<timespec> parse_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t dot = text.find('.');
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
  if (dot == std::string_view::npos || text.size() - dot != 10 || text.starts_with('-') ||
      text[dot + 1] == '-' || !parse_number(text.substr(0, dot), seconds) ||
      !parse_number(text.substr(dot + 1), nanoseconds))
    return std::nullopt;
  if (negative) {
    seconds = -seconds;
    if (nanoseconds > 0) {
      --seconds;
      nanoseconds = kNanosecondsPerSecond - nanoseconds;
    }
  }
  return timespec{seconds, nanoseconds};
}

std::optional<FileInfo> parse_file_line(std::string_view line) {
  const auto json = ordered_json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto path = json.find("path");
  const auto path_hex = json.find("path_hex");
  const auto mode = json.find("mode");
  const auto mtime = json.find("mtime");
  const auto size = json.find("size");
  if (path == json.end() || !path->is_string() || mode == json.end() ||
      !mode->is_number_unsigned() || mtime == json.end() || !mtime->is_string() ||
      size == json.end() || !size->is_number_unsigned())
    return std::nullopt;
  FileInfo file;
  file.path = path->get_ref<const std::string&>();
  if (path_hex != json.end()) {
    if (!path_hex->is_string()) return std::nullopt;
    const auto bytes = from_hex(path_hex->get_ref<const std::string&>());
    if (!bytes) return std::nullopt;
    file.path = as_text(*bytes);
  }
  const auto bits = mode->get<uint64_t>();
  const auto time = parse_time(mtime->get_ref<const std::string&>());
  if (bits > 07777 || !time) return std::nullopt;
  file.mode = static_cast<uint32_t>(bits);
  file.mtime = *time;
  file.size_bytes = size->get<uint64_t>();
  return file;
}

}  // namespace

Item decode_item(ByteSpan stored) {
  Item item;
  item.whole = stored;
  const VarintRead length = read_varint<uint32_t>(stored);
  if (length.outcome == VarintOutcome::complete && length.value == stored.size() - length.size)
    item.whole = stored.subspan(length.size);
  item.content = item.whole;

  const std::string_view text = as_text(item.whole);
  if (!text.starts_with("{\"path\":")) return item;
  const size_t end = text.substr(0, kFileLineMaxBytes).find('\n');
  if (end == std::string_view::npos) return item;
  auto file = parse_file_line(text.substr(0, end));
  if (!file || file->size_bytes != text.size() - end - 1) return item;
  item.content = item.whole.subspan(end + 1);
  item.file = std::move(file);
  return item;
}

std::string encode_file_line(const FileInfo& file) {
  ordered_json json;
  json["path"] = file.path;
  if (!is_utf8(file.path)) json["path_hex"] = to_hex(as_bytes(file.path));
  json["mode"] = file.mode;
  json["mtime"] = time_text(file.mtime);
  json["size"] = file.size_bytes;
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string time_text(timespec time) {
  int64_t seconds = time.tv_sec;
  int64_t nanoseconds = time.tv_nsec;
  const bool negative = seconds < 0;
  if (negative && nanoseconds > 0) {
    ++seconds;
    nanoseconds = kNanosecondsPerSecond - nanoseconds;
  }
  const uint64_t magnitude =
      negative ? uint64_t{0} - static_cast<uint64_t>(seconds) : static_cast<uint64_t>(seconds);
  return fmt::format("{}{}.{:09}", negative ? "-" : "", magnitude, nanoseconds);
}

bool is_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](size_t offset) -> uint32_t {
      return at + offset < text.size() ? static_cast<unsigned char>(text[at + offset]) : 0;
    };
    const uint32_t lead = byte(0);
    const size_t size = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
    if (size == 0) return false;
    for (size_t i = 1; i < size; ++i)
      if ((byte(i) & 0xC0) != 0x80) return false;
    const uint32_t second = byte(1);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
      return false;
    at += size;
  }
  return true;
}

std::string portable_path(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const std::string_view component = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(component.size() + 1, path.size()));
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      result.clear();
      continue;
    }
    if (!result.empty()) result += '/';
    result += component;
  }
  return result;
}

void describe_file(const FileInfo& file, ordered_json& object) {
  object["path"] = file.path;
  if (!is_utf8(file.path)) object["path_hex"] = to_hex(as_bytes(file.path));
}

void describe_content(ByteSpan content, ordered_json& object) {
  const bool is_text = is_utf8(as_text(content));
  object["encoding"] = is_text ? "utf-8" : "base64";
  object["content"] = is_text ? std::string(as_text(content)) : to_base64(content);
}

}  // namespace firn::command
