// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them. JSON gets the plain ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace firn::command {

// "999 B", "1.5 MiB".
[[nodiscard]] std::string human_bytes(double bytes);
// "1 item", "12,345 items".
[[nodiscard]] std::string human_count(uint64_t count, std::string_view singular,
                                      std::string_view plural);
// "0.8 s", "2 min 05 s".
[[nodiscard]] std::string human_seconds(double seconds);

}  // namespace firn::command
