// SPDX-License-Identifier: Apache-2.0
#include "firn/base/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace firn {
namespace {

void print_failure(const CheckFailure& failure) {
  std::fprintf(stderr, "%s:%d: check failed: %s (%s)\n", failure.file, failure.line,
               failure.condition, failure.message);
}

std::atomic<CheckFailureHandler> current_handler{&print_failure};

}  // namespace

CheckFailureHandler set_check_failure_handler(CheckFailureHandler handler) {
  return current_handler.exchange(handler != nullptr ? handler : &print_failure);
}

void report_check_failure(const CheckFailure& failure) {
  current_handler.load()(failure);
  std::abort();
}

}  // namespace firn
