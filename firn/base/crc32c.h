// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C (Castagnoli, as in iSCSI): the checksum of every record that firn writes. On disk it is a
// big-endian u32. It is not the CRC-32 of zlib.
//
// The checksum is affine: for messages of one length, crc(X) ^ crc(Y) depends on X ^ Y only, and
// appending n bytes multiplies that difference by x^(8n) modulo the polynomial (shift_crc32c).
// Hence, with |B| the length of B:
//
//   crc(A B)   = shift(crc(A), |B|) ^ crc(B)                    combine_crc32c
//   crc(A Y B) = crc(A X B) ^ shift(crc(X) ^ crc(Y), |B|)       patch_crc32c, if |X| = |Y|
//
// so that parts can be summed apart, and a changed field of a large file costs only its own bytes.
//
// Threads: all functions are pure. Cost: below 256 bytes a loop of the processor's own instruction,
// from there on ISA-L's folding; a table where neither exists. The environment variable
// FIRN_CRC32C=portable|hardware|isal, read once, forces one of them.
#pragma once

#include <cstdint>

#include "firn/base/bytes.h"

namespace firn {

// The checksum of A B, if `crc` is that of A and `bytes` is B. The checksum of nothing is 0.
[[nodiscard]] uint32_t extend_crc32c(uint32_t crc, ByteSpan bytes);

[[nodiscard]] inline uint32_t crc32c(ByteSpan bytes) {
  return extend_crc32c(0, bytes);
}

// Multiplies by x^(8 * zeros): what `zeros` further zero bytes do to a difference of checksums. The
// argument is such a difference (or any linear state), not the checksum of a message. A few
// nanoseconds for any distance.
[[nodiscard]] uint32_t shift_crc32c(uint32_t difference, uint64_t zeros);

// The checksum of A B, from those of A and B and the length of B.
[[nodiscard]] inline uint32_t combine_crc32c(uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
  return shift_crc32c(crc_a, size_b) ^ crc_b;
}

// The checksum of a message after one of its ranges was overwritten, from the checksum of the whole
// message before, those of the range's old and new contents, and the number of bytes after it.
[[nodiscard]] inline uint32_t patch_crc32c(uint32_t crc, uint32_t crc_old_range,
                                           uint32_t crc_new_range, uint64_t bytes_after_range) {
  return crc ^ shift_crc32c(crc_old_range ^ crc_new_range, bytes_after_range);
}

}  // namespace firn
