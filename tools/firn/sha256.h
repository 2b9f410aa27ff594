// SPDX-License-Identifier: Apache-2.0
//
// SHA-256: the keys that `import` gives to items.
#pragma once

#include <array>

#include "firn/base/bytes.h"

namespace firn::command {

using Sha256 = std::array<std::byte, 32>;

[[nodiscard]] Sha256 sha256(ByteSpan content);

}  // namespace firn::command
