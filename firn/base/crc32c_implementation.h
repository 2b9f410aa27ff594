// SPDX-License-Identifier: Apache-2.0
//
// The ways to compute CRC-32C, one by one: for tests, which compare them, and for benchmarks.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "firn/base/bytes.h"

namespace firn {

enum class Crc32cImplementation : uint8_t {
  automatic = 1,  // the fastest one for each length
  portable,       // tables, eight bytes a step
  hardware,       // the processor's CRC-32C instruction, one stream
  isal,           // ISA-L, for every length
};

// The implementation of that name; nullopt for an unknown one.
[[nodiscard]] std::optional<Crc32cImplementation> crc32c_implementation_named(
    std::string_view name);

[[nodiscard]] bool is_crc32c_supported(Crc32cImplementation implementation);

// What a process uses that was started with this value of FIRN_CRC32C (null if unset): unknown and
// unsupported values mean automatic.
[[nodiscard]] Crc32cImplementation choose_crc32c(const char* environment_value);

// Requires: `implementation` is supported.
[[nodiscard]] uint32_t extend_crc32c_with(Crc32cImplementation implementation, uint32_t crc,
                                          ByteSpan bytes);

// Requires: `implementation` is portable, or hardware and supported.
[[nodiscard]] uint32_t shift_crc32c_with(Crc32cImplementation implementation, uint32_t difference,
                                         uint64_t zeros);

}  // namespace firn
