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
//   power cut in the first sync of a new store, when there is no other blob to fall back to: all
//   but the version field is written and flushed before the version field is. Hence an invalid
//   first copy without a version was never acknowledged, and one with a version is damaged.
//   From the whole rest with its checksum, open() completes the missing version.
//   power cut while a bad copy is replaced -> what a commit that was given up left there must not
//   be completed by parts of the next one: the blob is durably emptied first.
// open() flushes what it is about to serve: a killed process may have left it in memory only.
// A sync that failed leaves the other blob as the source for ever: the handle is poisoned.
//
// Damage. One bad blob: the other one is used and the report says so, and whether an acknowledged
// commit may be missing; the bad one stays as it is until a sync overwrites it. Both bad, or the
// only one: Errc::corrupt, never an empty map. The map is empty only if no blob has content, or if
// the first sync was cut off before its version (reported as damage). Content that does not decode
// under a valid checksum: Errc::corrupt.
//
// Keys have one fixed size; values are stored as byte vectors (a varint length, then the bytes),
// or raw if the options say how to tell their size.
// Threads. One writer; get and for_each run concurrently with each other, not with mutations.
// Cost. sync: one write burst and one flush. When only values of unchanged size changed since this
// blob was written, only those values, the version and the checksum are written (the checksum is
// patched, not recomputed); otherwise the whole image. Nothing to write to this blob: no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn {

struct MetadataStoreOptions {
  std::string partition = "state";
  uint32_t key_size_bytes = 8;
  uint32_t value_size_max_bytes = 16u << 20;
  bool read_only = false;
  // Set: values are stored without a length, and this tells the size of the one at the front of
  // `rest`, or nullopt if there is none. For values that carry their own framing.
  std::function<std::optional<size_t>(ByteSpan rest)> self_delimiting = nullptr;
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

  [[nodiscard]] uint64_t version() const { return version_; }  // newest durable one; 0 if none
  // The other copy was bad or gone when this store was opened: the newest commit may be missing.
  [[nodiscard]] bool opened_from_one_copy() const { return opened_from_one_copy_; }
  [[nodiscard]] MetadataStatistics statistics() const;

 private:
  struct Entry {
    Bytes encoded;                    // as stored: prefix and value
    size_t prefix_size = 0;           // of `encoded`
    std::array<uint64_t, 2> start{};  // of `encoded` in each copy; unless that copy is stale
    [[nodiscard]] ByteSpan value() const { return ByteSpan(encoded).subspan(prefix_size); }
  };
  struct KeyOrder {
    using is_transparent = void;
    bool operator()(ByteSpan a, ByteSpan b) const;
  };
  // What this process knows about one blob.
  struct Copy {
    std::unique_ptr<Blob> blob;  // null: missing, or its header is damaged
    bool damaged_header = false;
    bool has_leftover = false;  // content that open() found invalid
    bool stale = true;          // holds other keys than the map, or is invalid: must be rewritten
    uint64_t version = 0;
    uint32_t crc = 0;
    // Keys whose value differs, with the value that this copy holds.
    std::map<Bytes, Bytes, KeyOrder> outdated;
  };
  // What open() read from one blob.
  struct Loaded {
    Buffer image;
    uint64_t version = 0;         // 0 unless valid
    std::string invalid_because;  // empty if valid or without content
  };

  MetadataStore(Storage& storage, const MetadataStoreOptions& options);
  // metadata_load.cc
  Status load(RecoveryLog& recovery);
  Status read_copy(size_t side, Loaded& loaded);
  Status resolve_lone_first_copy(std::array<Loaded, 2>& loaded, RecoveryLog& recovery);
  void report_other_copy(const Loaded& other, RecoveryLog& recovery);
  Status adopt(const std::array<Loaded, 2>& loaded);
  Status compare_older_copy(size_t side, const Loaded& older);
  Status make_ready_for_writing(const Loaded& newest);
  [[nodiscard]] std::string blob_name(size_t side) const;

  Status check_writable(ByteSpan key) const;
  void mark_outdated(const Bytes& key, const Entry& entry);
  void mark_stale();
  [[nodiscard]] bool can_overwrite(const Copy& target) const;
  Status write_newer(size_t side);
  Status overwrite(size_t side, uint64_t version);
  Status rewrite(size_t side, uint64_t version);
  Status write_first_image(Blob& blob, ByteSpan image);
  Status drop_leftover(Copy& copy);
  Status recreate_blob(size_t side);

  Storage& storage_;
  const MetadataStoreOptions options_;
  std::map<Bytes, Entry, KeyOrder> map_;
  uint64_t image_size_;  // of the map
  std::array<Copy, 2> copies_;
  size_t newest_ = 0;  // the side of the newest version; the first sync writes the other one
  uint64_t version_ = 0;
  bool opened_from_one_copy_ = false;
  MetadataStatistics statistics_;
  Poison poison_;
};

}  // namespace firn
