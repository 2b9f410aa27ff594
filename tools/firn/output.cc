// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/output.h"

#include <cerrno>
#include <cstring>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "firn/base/text.h"

namespace firn::command {
namespace {

constexpr size_t kOutputBufferBytes = 64 << 10;

Status write_all(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return fail(errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? Errc::no_space : Errc::io,
                  concat("cannot write to standard output: ", std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

std::string dump(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// For programs: stable, while errc_name is for people.
std::string_view code_name(Errc code) {
  switch (code) {
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::out_of_range: return "out_of_range";
    case Errc::pruned: return "pruned";
    case Errc::not_found: return "not_found";
    case Errc::corrupt: return "corrupt";
    case Errc::unsupported_version: return "unsupported_version";
    case Errc::locked: return "locked";
    case Errc::no_space: return "no_space";
    case Errc::io: return "io";
    case Errc::poisoned: return "poisoned";
  }
  return "unknown";
}

// Control characters as \x1b; with `keeps_lines`, all but the ends of lines.
std::string mask(std::string_view text, bool keeps_lines) {
  std::string masked;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_control = byte < ' ' || byte == 0x7F;
    if (is_control && !(keeps_lines && c == '\n'))
      masked += fmt::format("\\x{:02x}", byte);
    else
      masked += c;
  }
  return masked;
}

void write_to_standard_error(const std::string& text) {
  (void)write_all(STDERR_FILENO, as_bytes(mask_line(text) + '\n'));
}

nlohmann::ordered_json describe(const Error& error) {
  return {{"code", code_name(error.code)}, {"message", error.message}};
}

}  // namespace

std::string mask_line(std::string_view text) {
  return mask(text, false);
}

Status Output::write(ByteSpan bytes) {
  if (buffer_.size() + bytes.size() < kOutputBufferBytes) {
    buffer_.append(as_text(bytes));
    return {};
  }
  TRY(flush());
  return write_out(bytes);
}

Status Output::line(std::string_view text) {
  TRY(write(text));
  return write("\n");
}

Status Output::object(const nlohmann::ordered_json& object) {
  return line(dump(object));
}

Status Output::flush() {
  const std::string pending = std::exchange(buffer_, {});
  return write_out(as_bytes(pending));
}

Status Output::write_out(ByteSpan bytes) {
  Status written = write_all(STDOUT_FILENO, bytes);
  if (!written && errno == EPIPE) has_reader_ = false;
  return written;
}

Status Output::result(nlohmann::ordered_json object, std::string_view text, Status outcome) {
  if (json_) {
    if (!outcome) object["error"] = describe(outcome.error());
    TRY(this->object(object));
    failure_shown_ = !outcome;
  } else {
    TRY(write(mask(text, true)));
  }
  TRY(flush());
  return outcome;
}

void Output::failure(std::string_view verb, const Error& error) {
  // What cannot be written here was a failure of standard output itself, or does not matter more
  // than the failure that is being reported.
  if (json_ && !failure_shown_) {
    if (object({{"error", describe(error)}})) (void)flush();
  } else {
    (void)flush();
  }
  write_to_standard_error(concat("firn: ", verb, ": ", error.message));
}

void warn(std::string_view verb, std::string_view text) {
  write_to_standard_error(concat("firn: ", verb, ": note: ", text));
}

}  // namespace firn::command
