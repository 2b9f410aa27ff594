// SPDX-License-Identifier: Apache-2.0
//
// Output: standard output, buffered, with every failed write reported (a closed pipe, a full disk).
// Standard error is for people: messages, warnings, progress.
//
// With --json standard output holds JSON only, one object a line. A verb that fails adds a line
// {"error":{"code","message"}}, or, if it has one result, a member "error" of it.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "firn/base/bytes.h"
#include "firn/base/result.h"

namespace firn::command {

class Output {
 public:
  explicit Output(bool json) : json_(json) {}

  [[nodiscard]] bool json() const { return json_; }

  [[nodiscard]] Status write(ByteSpan bytes);
  [[nodiscard]] Status write(std::string_view text) { return write(as_bytes(text)); }
  [[nodiscard]] Status line(std::string_view text);
  [[nodiscard]] Status object(const nlohmann::ordered_json& object);
  [[nodiscard]] Status flush();

  // Prints the one result of a verb, as `object` or as `text`, and hands `outcome` on. Control
  // characters of the text are masked, but for the ends of its lines.
  [[nodiscard]] Status result(nlohmann::ordered_json object, std::string_view text, Status outcome);

  // Says on standard error, and with --json here, why the command failed.
  void failure(std::string_view verb, const Error& error);

  // False once a write met a pipe that nobody reads any more.
  [[nodiscard]] bool has_reader() const { return has_reader_; }

 private:
  Status write_out(ByteSpan bytes);

  const bool json_;
  bool has_reader_ = true;
  bool failure_shown_ = false;  // as a member of the result
  std::string buffer_;
};

// A line for a terminal: control characters as \x1b. Names of files and what a store says of itself
// go into lines, and may hold anything.
[[nodiscard]] std::string mask_line(std::string_view text);

// A line on standard error: "firn: VERB: note: TEXT".
void warn(std::string_view verb, std::string_view text);

}  // namespace firn::command
