// SPDX-License-Identifier: Apache-2.0
//
// Audit digests: SHA-256 over everything durable in a MemoryStorage, as the original sums it.
#pragma once

#include <span>
#include <string_view>

#include "firn/io/memory_storage.h"
#include "testkit/golden.h"

namespace firn::testkit {

// Partition, blob name and content, back to back (release 2026.4.0). Partitions in `left_out` do
// not count: firn's own, which the original does not have.
[[nodiscard]] Sha256Digest audit(const MemoryStorage& storage,
                                 std::span<const std::string_view> left_out = {});

// The same bytes with labels and lengths (release 2026.7.1).
[[nodiscard]] Sha256Digest audit_2026_7(const MemoryStorage& storage,
                                        std::span<const std::string_view> left_out = {});

}  // namespace firn::testkit
