// SPDX-License-Identifier: Apache-2.0
//
// hash64: a fast seeded hash for tables in memory. Its values are never stored: what is on disk is
// hashed or summed by functions whose results are part of the format. A table that takes keys from
// strangers draws its seed with random_seed_from_os.
#pragma once

#include <cstdint>

#include "firn/base/bytes.h"

namespace firn {

// XXH3 of the bytes. Equal bytes and equal seeds give equal hashes within one build of firn.
[[nodiscard]] uint64_t hash64(ByteSpan bytes, uint64_t seed);

}  // namespace firn
