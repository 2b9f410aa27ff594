// SPDX-License-Identifier: Apache-2.0
//
// MetadataStore: a small key-value map whose changes become durable all at once.
// Use it for checkpoints, cursors and configuration; the whole map lives in memory.
//
//   left   +---------+-----------------+-----+     right  +---------+-----------------+-----+
//          | version | key, value, ... | crc |            | version | key, value, ... | crc |
//          +---------+-----------------+-----+            +---------+-----------------+-----+
//          bytes: FORMAT.md, section 5
//
// Crash argument. sync() writes the blob that does not hold the newest version, then flushes it.
//   power cut while writing  -> its checksum fails or it is unchanged; the other blob is intact.
//   power cut after the sync -> both are valid; the higher version wins.
// A sync that failed leaves the other blob as the source for ever: the handle is poisoned.
//
// Damage. One bad blob: the other one is used, and the report says so. Both bad: Errc::corrupt,
// never an empty map. Content that does not decode under a valid checksum: Errc::corrupt.
//
// Keys have one fixed size; values are stored as byte vectors (a varint length, then the bytes).
// Threads. One writer; get and for_each run concurrently with each other, not with mutations.
// Cost. sync: one write burst and one flush. When only values of unchanged size changed since this
// blob was written, only those values, the version and the checksum are written (the checksum is
// patched, not recomputed); otherwise the whole image. No change since the last sync: no I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn {

struct MetadataStoreOptions {
  std::string partition = "state";
  uint32_t key_size_bytes = 8;
  uint32_t value_size_max_bytes = 16u << 20;
  bool read_only = false;
};

struct MetadataStatistics {
  uint64_t sync_rewrites = 0;    // syncs that wrote the whole image
  uint64_t sync_overwrites = 0;  // syncs that wrote changed values in place
  uint64_t keys = 0;
};

class MetadataStore {
 public:
  [[nodiscard]] static Result<std::unique_ptr<MetadataStore>> open(
      Storage& storage, const MetadataStoreOptions& options, RecoveryLog& recovery);
  ~MetadataStore();  // does not sync

  // The bytes stay valid until the next mutation.
  [[nodiscard]] std::optional<ByteSpan> get(ByteSpan key) const;
  // Errc::invalid_argument for a key of the wrong size or a value above the limit.
  [[nodiscard]] Status put(ByteSpan key, ByteSpan value);
  // Removes a key if it is there.
  [[nodiscard]] Status remove(ByteSpan key);
  void clear();
  // Ascending key order.
  void for_each(const std::function<void(ByteSpan key, ByteSpan value)>& visit) const;
  // Ascending, keys that start with `prefix`.
  void for_each_with_prefix(ByteSpan prefix,
                            const std::function<void(ByteSpan key, ByteSpan value)>& visit) const;

  // Durable on return.
  [[nodiscard]] Status sync();
  // Two syncs, so that both blobs hold this state and the loss of either one loses nothing.
  [[nodiscard]] Status sync_both();

  [[nodiscard]] uint64_t version() const;  // of the newest durable blob; 0 if none
  [[nodiscard]] MetadataStatistics statistics() const;

 private:
  MetadataStore();
};

}  // namespace firn
