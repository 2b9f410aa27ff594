// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/sha256.h"

#include <sodium/crypto_hash_sha256.h>

namespace firn::command {

Sha256 sha256(ByteSpan content) {
  Sha256 digest;
  crypto_hash_sha256(reinterpret_cast<unsigned char*>(digest.data()),
                     reinterpret_cast<const unsigned char*>(content.data()), content.size());
  return digest;
}

}  // namespace firn::command
