// SPDX-License-Identifier: Apache-2.0
#include "firn/index/key_translator.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "firn/base/endian.h"

namespace firn {

uint64_t KeyTranslator::hashed_token(ByteSpan key) const {
  const uint64_t hash = XXH3_64bits_withSeed(key.data(), key.size(), seed_);
  std::byte bytes[kWidthBytesMax];
  store_little_endian(bytes, hash);
  return prefix_token(bytes);
}

}  // namespace firn
