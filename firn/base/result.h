// SPDX-License-Identifier: Apache-2.0
//
// Result, Status and Error: how every fallible call of firn reports its outcome.
//
// A failure is a value. Errc is chosen by what the caller does next, not by what broke; the message
// says what was attempted, on which blob, at which offset, what was expected and what was found.
// Absence is not a failure: lookups return Result<std::optional<T>>. Corruption is always a failure
// and never an assertion. The idea of choosing codes by the caller's next move is absl::Status's.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace firn {

enum class Errc : uint8_t {
  invalid_argument,     // fix the call or the configuration; nothing was changed
  out_of_range,         // asked beyond the end of what is stored
  pruned,               // asked for something that was deliberately dropped
  not_found,            // the named store, partition or blob does not exist
  corrupt,              // stored bytes are damaged: restore, or salvage what is readable
  unsupported_version,  // written by a newer format: use a newer firn
  locked,               // another process holds the store
  no_space,             // free space, then reopen
  io,                   // the device or the operating system failed: look at it, then reopen
  poisoned,             // an earlier mutation failed: this handle is read-only, reopen to recover
};

// The name of a code as users see it ("corrupt").
[[nodiscard]] std::string_view errc_name(Errc code);

struct Error {
  Errc code;
  std::string message;
};

// A discarded std::expected compiles without a warning on gcc 12 and clang 19; this shell does not.
template <class T>
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
};

using Status = Result<void>;

[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

// Hands the error of a failed result of one type on as the error of another.
template <class T>
[[nodiscard]] std::unexpected<Error> pass_on(Result<T>& failed) {
  return std::unexpected<Error>(std::move(failed.error()));
}

}  // namespace firn

#define FIRN_CONCAT_INNER(a, b) a##b
#define FIRN_CONCAT(a, b) FIRN_CONCAT_INNER(a, b)

// TRY(call): returns the error of `call` from the enclosing function, if it failed.
#define TRY(...)                                                \
  do {                                                          \
    if (auto firn_try_result = (__VA_ARGS__); !firn_try_result) \
      return ::firn::pass_on(firn_try_result);                  \
  } while (false)

// TRY_INTO(declaration, call): declares or assigns from the value of `call`, or returns its error.
// It expands to several statements: never the body of an unbraced `if`.
#define TRY_INTO(target, ...)                                                                      \
  auto FIRN_CONCAT(firn_try_, __LINE__) = (__VA_ARGS__);                                           \
  if (!FIRN_CONCAT(firn_try_, __LINE__)) return ::firn::pass_on(FIRN_CONCAT(firn_try_, __LINE__)); \
  target = std::move(*FIRN_CONCAT(firn_try_, __LINE__))
