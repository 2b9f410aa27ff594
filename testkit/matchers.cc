// SPDX-License-Identifier: Apache-2.0
#include "testkit/matchers.h"

namespace firn {

void PrintTo(Errc code, std::ostream* out) {
  *out << errc_name(code);
}

void PrintTo(const Error& error, std::ostream* out) {
  *out << errc_name(error.code) << ": " << error.message;
}

}  // namespace firn
