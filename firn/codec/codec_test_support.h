// SPDX-License-Identifier: Apache-2.0
//
// For the tests of the codec: bytes as they are written in an expectation.
#pragma once

#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/text.h"

namespace firn::codec {

inline Bytes bytes_of_hex(std::string_view hex) {
  return from_hex(hex).value();
}

}  // namespace firn::codec
