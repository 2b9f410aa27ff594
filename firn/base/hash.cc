// SPDX-License-Identifier: Apache-2.0
#include "firn/base/hash.h"

// The header's own implementation, compiled here: no library to link, no call through a table.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace firn {

uint64_t hash64(ByteSpan bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace firn
