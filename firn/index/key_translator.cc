// SPDX-License-Identifier: Apache-2.0
#include "firn/index/key_translator.h"

#include "firn/base/endian.h"
#include "firn/base/hash.h"

namespace firn {

uint64_t KeyTranslator::hashed_token(ByteSpan key) const {
  const uint64_t hash = hash64(key, seed_);
  std::byte bytes[kWidthBytesMax];
  store_little_endian(bytes, hash);
  return prefix_token(bytes);
}

}  // namespace firn
