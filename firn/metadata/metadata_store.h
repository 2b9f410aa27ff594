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
// only one: Errc::corrupt, or Errc::unsupported_version, never an empty map. The map is empty only
// if no blob has content, or if the first sync was cut off before its version (reported as damage).
// Content that does not decode under a valid checksum: Errc::corrupt.
//
// Keys have one fixed size; values are stored as byte vectors (a varint length, then the bytes),
// or raw if the options say how to tell their size.
// Beside a writer. A read-only store in another process serves the newest commit that it finds
// whole: while one copy is being written, the other one is. It may be one that is being flushed.
// Threads. Any number; mutations and syncs take turns. A reader sees each mutation as a whole, a
// batch included, and never waits for I/O. A sync() that waited for another one, which then covered
// its puts, does nothing more. Forked children: see io/storage.h.
// Cost. get: a search in a balanced tree and a copy. sync: one write burst and one flush. When only
// values of unchanged size changed since this blob was written, only those values, the version and
// the checksum are written (the checksum is patched, not recomputed: the cost depends on what
// changed, not on the map); otherwise the whole image. Nothing to write to this blob: no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn {

namespace metadata {
struct EncodedValue;
}

inline constexpr uint32_t kMetadataKeySizeMaxBytes = 1024;
inline constexpr uint32_t kMetadataValueSizeMaxBytes = 16u << 20;  // unless the options say more

struct MetadataStoreOptions {
  std::string partition = "state";
  uint32_t key_size_bytes = 8;  // 1 to kMetadataKeySizeMaxBytes
  // Of what is put; what is stored already may be longer.
  uint32_t value_size_max_bytes = kMetadataValueSizeMaxBytes;
  bool read_only = false;
  // Refuse (Errc::corrupt, nothing changed) a bad copy beside a good one, and a first commit that
  // was cut off. For those who have another copy of the whole. Reads both copies twice.
  bool strict = false;
  // Something else that is durable says that a commit was acknowledged. No content is then
  // Errc::corrupt, not a new map.
  bool has_commit = false;
  // The last writer closed the store, with both copies whole: a bad one is no commit that was cut
  // off. Tells how the report calls it.
  bool was_closed = false;
  // Set: values are stored without a length, and this tells the size of the one at the front of
  // `rest`, or nullopt if there is none. For values that carry their own framing.
  std::function<std::optional<size_t>(ByteSpan rest)> self_delimiting = nullptr;
};

struct MetadataStatistics {
  uint64_t sync_rewrites = 0;    // syncs that wrote the whole image
  uint64_t sync_overwrites = 0;  // syncs that wrote changed values in place
  uint64_t keys = 0;
  uint64_t image_bytes = 0;  // of the map in its stored form
};

// Changes that apply together or not at all. The last one of a key counts.
class MetadataBatch {
 public:
  void put(ByteSpan key, ByteSpan value) { changes_.emplace_back(to_bytes(key), to_bytes(value)); }
  void remove(ByteSpan key) { changes_.emplace_back(to_bytes(key), std::nullopt); }

 private:
  friend class MetadataStore;
  std::vector<std::pair<Bytes, std::optional<Bytes>>> changes_;
};

class MetadataStore {
 public:
  enum class Comparison : uint8_t { equal, different };  // equal: the value was set

  // Errc::corrupt or unsupported_version as described above; Errc::not_found if it does not exist
  // and is read-only.
  [[nodiscard]] static Result<std::unique_ptr<MetadataStore>> open(
      Storage& storage, const MetadataStoreOptions& options, RecoveryLog& recovery);
  ~MetadataStore();  // does not sync

  using Visitor = std::function<void(ByteSpan key, ByteSpan value)>;

  [[nodiscard]] std::optional<Bytes> get(ByteSpan key) const EXCLUDES(state_);
  // In ascending order of the keys, byte by byte. `visit` must not call the store.
  void for_each(const Visitor& visit) const EXCLUDES(state_);
  // The same, of the keys that start with `prefix`.
  void for_each_with_prefix(ByteSpan prefix, const Visitor& visit) const EXCLUDES(state_);

  // Mutations change the map in memory; sync makes it durable. Errc::invalid_argument for a key of
  // the wrong size, a value above the limit, a map of more than 1 GiB, or a read-only store, and
  // Errc::poisoned; then nothing has changed.
  [[nodiscard]] Status put(ByteSpan key, ByteSpan value) EXCLUDES(writer_, state_);
  // Removes a key if it is there.
  [[nodiscard]] Status remove(ByteSpan key) EXCLUDES(writer_, state_);
  // All changes of the batch at once: neither a reader nor a sync sees a part of them.
  [[nodiscard]] Status apply(const MetadataBatch& batch) EXCLUDES(writer_, state_);
  // Makes `desired` the value of the key (nullopt: removes it) if `expected` is its value (nullopt:
  // the key is absent). Otherwise nothing changes.
  [[nodiscard]] Result<Comparison> compare_and_set(ByteSpan key, std::optional<ByteSpan> expected,
                                                   std::optional<ByteSpan> desired)
      EXCLUDES(writer_, state_);
  // Removes, at once, every key for which `keep` is false; it must not call the store.
  [[nodiscard]] Status retain(const std::function<bool(ByteSpan key, ByteSpan value)>& keep)
      EXCLUDES(writer_, state_);
  [[nodiscard]] Status clear() EXCLUDES(writer_, state_);

  // Durable on return: everything that was changed before the call.
  [[nodiscard]] Status sync() EXCLUDES(writer_, state_);
  // Two syncs, so that both blobs hold this state and the loss of either one loses nothing.
  [[nodiscard]] Status sync_both() EXCLUDES(writer_, state_);

  // For a read-only store: takes over the newest commit of the writer in another process, whole,
  // and returns its version. Never goes back; after a failure everything is as it was. Errc::locked
  // if the writer was quicker each time.
  [[nodiscard]] Result<uint64_t> refresh() EXCLUDES(writer_, state_);

  // The newest durable one; 0 if there is none.
  [[nodiscard]] uint64_t version() const EXCLUDES(state_);
  // The other copy was bad or gone when this store was opened: the newest commit may be missing.
  [[nodiscard]] bool opened_from_one_copy() const { return opened_from_one_copy_; }
  [[nodiscard]] MetadataStatistics statistics() const EXCLUDES(state_);

 private:
  [[nodiscard]] static Status look_strictly(Storage& storage, MetadataStoreOptions options);

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
    std::unique_ptr<Blob> blob;   // null: missing, or its header is damaged
    bool damaged_header = false;  // or one of another version
    bool has_leftover = false;    // content that open() found invalid
    bool stale = true;            // holds other keys than the map, or is invalid: must be rewritten
    uint64_t version = 0;
    uint32_t crc = 0;
    // Keys whose value differs, with the value that this copy holds.
    std::map<Bytes, Bytes, KeyOrder> outdated;
    [[nodiscard]] bool is_current() const { return !stale && outdated.empty(); }
  };
  // What open() read from one blob.
  struct Loaded {
    Buffer image;
    uint64_t version = 0;         // 0 unless valid
    std::string invalid_because;  // empty if valid or without content
    bool has_unsupported_version = false;
  };

  struct Change {
    ByteSpan key;
    std::optional<ByteSpan> value;  // nullopt: the key goes
  };

  MetadataStore(Storage& storage, const MetadataStoreOptions& options);
  // metadata_load.cc
  Status load(RecoveryLog& recovery) REQUIRES(writer_, state_);
  Status read_copies(std::array<Loaded, 2>& loaded) REQUIRES(writer_);
  Status read_copy(size_t side, Loaded& loaded) REQUIRES(writer_);
  Status resolve_lone_first_copy(std::array<Loaded, 2>& loaded, RecoveryLog& recovery);
  void report_other_copy(const Loaded& other, RecoveryLog& recovery) REQUIRES(writer_, state_);
  Status adopt(const std::array<Loaded, 2>& loaded) REQUIRES(writer_, state_);
  void adopt(MetadataStore& newer) REQUIRES(writer_) EXCLUDES(state_);
  Status compare_older_copy(size_t side, const Loaded& older) REQUIRES(writer_, state_);
  Status make_ready_for_writing(const Loaded& newest) REQUIRES(writer_, state_);
  [[nodiscard]] std::string blob_name(size_t side) const;

  Status check_writable() const;
  Status check_change(const Change& change) const;
  Status change(std::span<const Change> changes) REQUIRES(writer_);
  void set_value(ByteSpan key, metadata::EncodedValue&& encoded) REQUIRES(writer_, state_);
  void mark_stale() REQUIRES(writer_);

  // metadata_sync.cc
  Status sync_locked() REQUIRES(writer_);
  Status write_newer(size_t side) REQUIRES(writer_);
  [[nodiscard]] bool can_overwrite(const Copy& target) const REQUIRES(writer_);
  Status overwrite(size_t side, uint64_t version) REQUIRES(writer_);
  Status rewrite(size_t side, uint64_t version) REQUIRES(writer_);
  Buffer build_image(size_t side, uint64_t version) REQUIRES(writer_);
  Status write_first_image(Blob& blob, ByteSpan image);
  Status drop_leftover(Copy& copy);
  Status recreate_blob(size_t side) REQUIRES(writer_);

  Storage& storage_;
  const MetadataStoreOptions options_;
  bool opened_from_one_copy_ = false;  // constant once open
  Poison poison_;

  Mutex writer_;  // held during a whole mutation or sync, I/O included
  std::array<Copy, 2> copies_ GUARDED_BY(writer_);
  // The side of the newest version; the first sync writes the other one.
  size_t newest_ GUARDED_BY(writer_) = 0;

  mutable SharedMutex state_;  // taken after writer_; never held during I/O, except in open()
  // Only who holds writer_, too, changes these.
  std::map<Bytes, Entry, KeyOrder> map_ GUARDED_BY(state_);
  uint64_t image_size_ GUARDED_BY(state_);  // of the map
  uint64_t version_ GUARDED_BY(state_) = 0;
  MetadataStatistics statistics_ GUARDED_BY(state_);
};

}  // namespace firn
