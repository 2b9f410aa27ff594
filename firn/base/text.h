// SPDX-License-Identifier: Apache-2.0
//
// concat and counted: build error messages from pieces. gcc 12 has no <format>, and the library
// itself does not link fmt.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "firn/base/strong_id.h"

namespace firn {
namespace text {

inline void add(std::string& out, std::string_view piece) {
  out.append(piece);
}

inline void add(std::string& out, char character) {
  out.push_back(character);
}

template <std::integral T>
void add(std::string& out, T number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

template <class Tag>
void add(std::string& out, StrongId<Tag> id) {
  add(out, id.value);
}

}  // namespace text

template <class... Pieces>
[[nodiscard]] std::string concat(const Pieces&... pieces) {
  std::string out;
  (text::add(out, pieces), ...);
  return out;
}

// "1 item", "2 items".
template <std::integral T>
[[nodiscard]] std::string counted(T count, std::string_view noun) {
  return concat(count, ' ', noun, count == 1 ? "" : "s");
}

}  // namespace firn
