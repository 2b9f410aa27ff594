// SPDX-License-Identifier: Apache-2.0
#include "firn/base/result.h"

namespace firn {

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::invalid_argument: return "invalid argument";
    case Errc::out_of_range: return "out of range";
    case Errc::pruned: return "pruned";
    case Errc::not_found: return "not found";
    case Errc::corrupt: return "corrupt";
    case Errc::unsupported_version: return "unsupported version";
    case Errc::locked: return "locked";
    case Errc::no_space: return "no space";
    case Errc::io: return "I/O error";
    case Errc::poisoned: return "poisoned";
  }
  return "unknown error";
}

}  // namespace firn
