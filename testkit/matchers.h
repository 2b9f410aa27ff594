// SPDX-License-Identifier: Apache-2.0
//
// Matchers for Result and Status, so that a failed expectation prints the error's message.
//
//   EXPECT_OK(journal->sync());
//   ASSERT_OK_INTO(auto value, archive->get(7));
//   EXPECT_THAT(journal->append(bytes), FailsWith(Errc::poisoned));
#pragma once

#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/result.h"

namespace firn {

void PrintTo(Errc code, std::ostream* out);
void PrintTo(const Error& error, std::ostream* out);

template <class T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  if (result)
    *out << "success";
  else
    PrintTo(result.error(), out);
}

namespace testkit {

MATCHER(IsOk, negation ? "is a failure" : "is a success") {
  (void)result_listener;
  return arg.has_value();
}

MATCHER_P(FailsWith, code, "fails with " + std::string(errc_name(code))) {
  if (arg.has_value()) {
    *result_listener << "which succeeded";
    return false;
  }
  return arg.error().code == code;
}

MATCHER_P2(FailsWith, code, part,
           "fails with " + std::string(errc_name(code)) + " and a message containing '" +
               std::string(part) + "'") {
  if (arg.has_value()) {
    *result_listener << "which succeeded";
    return false;
  }
  return arg.error().code == code && arg.error().message.find(part) != std::string::npos;
}

}  // namespace testkit
}  // namespace firn

#define EXPECT_OK(...) EXPECT_THAT((__VA_ARGS__), ::firn::testkit::IsOk())
#define ASSERT_OK(...) ASSERT_THAT((__VA_ARGS__), ::firn::testkit::IsOk())

#define ASSERT_OK_INTO(target, ...)                                                      \
  auto FIRN_CONCAT(ok_, __LINE__) = (__VA_ARGS__);                                       \
  ASSERT_TRUE(FIRN_CONCAT(ok_, __LINE__)) << FIRN_CONCAT(ok_, __LINE__).error().message; \
  target = std::move(*FIRN_CONCAT(ok_, __LINE__))
