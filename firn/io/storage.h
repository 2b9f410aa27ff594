// SPDX-License-Identifier: Apache-2.0
//
// Storage and Blob: the seam between firn and whatever holds its bytes. Every structure does all of
// its I/O through these two interfaces; nothing above io/ knows a path, a descriptor or a syscall.
//
//   Storage  = one store: named partitions, each holding named blobs.
//   Blob     = a growable array of bytes with positioned reads and writes.
//
// Every blob starts with an 8-byte header (FORMAT.md, section 1) that backends write and check.
// Offsets and sizes here are logical: they start after the header.
//
// Durability. Only three things survive a power cut: what a successful sync() of a blob covered,
// a blob whose creating open() returned, and a removal that returned. Writes and resizes that no
// sync covers may survive in any subset, torn at any byte. A write may complete after write_at
// returns; sync() waits for all that were issued before it and reports the first failure. A sync
// that failed is never retried: after any failed mutation the blob refuses further mutations with
// Errc::poisoned, and only opening the store anew recovers.
//
// Threads. Storage: all calls, concurrently. Blob: reads concurrently with everything; mutations of
// one blob are serialised by the caller, except that sync() may run beside reads and writes (it
// covers the writes that returned before it was called).
//
// Processes. What is opened belongs to the process that opened it: the storage, its blobs, and the
// structures over them, for writing or for reading. In a forked child every change, sync, close and
// refresh of them, and every read that needs a file, fails with Errc::invalid_argument and changes
// nothing; what memory holds may still be answered, as of the fork. Dropping a handle there writes
// nothing and releases no lock. Open the store after the fork (see OwnerProcess for its limits).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"

namespace firn {

// Inclusive range of blob versions that a caller accepts. A new blob gets the highest.
struct BlobVersions {
  uint16_t lowest = 0;
  uint16_t highest = 0;
};

enum class OpenMode : uint8_t {
  read_only,   // must exist; mutations fail
  read_write,  // must exist
  create,      // opened if it exists, otherwise durably created
  create_new,  // durably created; fails with Errc::invalid_argument if it exists
  salvage,     // as read_only, but whatever the header says: for what is left of a damaged blob
};

// Bytes that stay readable at the same address while this object lives, whatever happens to the
// blob (removal included). Empty when the backend cannot map.
class Mapping {
 public:
  virtual ~Mapping() = default;
  [[nodiscard]] virtual ByteSpan bytes() const = 0;
};

class Blob {
 public:
  virtual ~Blob() = default;  // never syncs, never fails
  Blob(const Blob&) = delete;
  Blob& operator=(const Blob&) = delete;

  // Bytes after the header, including writes that no sync has covered yet.
  [[nodiscard]] virtual uint64_t size() const = 0;
  [[nodiscard]] virtual uint16_t version() const = 0;

  // Fills `out` completely or fails (Errc::out_of_range beyond the end). Zero bytes always succeed.
  [[nodiscard]] virtual Status read_at(uint64_t offset, MutableByteSpan out) = 0;

  // Writes the buffers back to back, in one operation where the backend can. Extends the blob; a
  // gap reads as zeros. Not durable before sync().
  [[nodiscard]] virtual Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) = 0;
  [[nodiscard]] Status write_at(uint64_t offset, ByteSpan bytes) {
    return write_at(offset, std::span<const ByteSpan>(&bytes, 1));
  }

  // Cuts or zero-extends. Not durable before sync().
  [[nodiscard]] virtual Status resize(uint64_t size) = 0;

  // Makes every write and resize that returned before this call durable. One device flush.
  [[nodiscard]] virtual Status sync() = 0;

  // Maps [0, size) for reading, for ranges that will never change again. A null pointer where the
  // backend cannot: callers then use read_at. An I/O error below a mapping kills the process
  // (SIGBUS), so map only what an option allows.
  [[nodiscard]] virtual Result<std::unique_ptr<Mapping>> map(uint64_t size) {
    (void)size;
    return std::unique_ptr<Mapping>();
  }

 protected:
  Blob() = default;
};

struct ReadRequest {
  Blob* blob = nullptr;
  uint64_t offset = 0;
  MutableByteSpan out;
};

// Held while a store is open; the operating system drops it when the process dies.
class StorageLock {
 public:
  virtual ~StorageLock() = default;
  // Of an exclusive lock: the writer has recovered what the last one left, see StorageWriter.
  [[nodiscard]] virtual Status settle() { return {}; }
};

// Who holds the exclusive lock.
struct StorageWriter {
  std::string name;         // in words
  bool is_settled = false;  // false: it recovers, and says less of what is durable than there is
};

// Exclusive excludes exclusive and shared, no_followers excludes followers and itself;
// nothing else excludes anything.
enum class LockMode : uint8_t {
  exclusive,     // a writer
  shared,        // a reader whom a writer would disturb
  follower,      // a reader beside a writer, who then only adds to what the reader may read
  no_followers,  // a writer, besides exclusive, while it takes away what a follower may read
};
[[nodiscard]] constexpr bool is_for_writing(LockMode mode) {
  return mode == LockMode::exclusive || mode == LockMode::no_followers;
}

// What a partition holds.
struct PartitionListing {
  std::vector<Bytes> blobs;         // names in ascending order
  std::vector<std::string> others;  // names of what is no blob, as they are
};

struct StorageLimits {
  uint64_t blob_size_max_bytes = UINT64_MAX / 2;
  size_t open_blobs_max = SIZE_MAX;  // the number that a store should keep open at most
  bool durable = true;               // false: sync() promises nothing (memory)
};

// How many blobs of a kind a structure keeps open unless told: 128, or an eighth of the files that
// the process may have open (RLIMIT_NOFILE), so that a few stores have room.
[[nodiscard]] size_t default_open_blobs_max();

class Storage {
 public:
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // Opens a blob. Names: a partition matches [A-Za-z0-9_-]+, a blob is 1 to 127 arbitrary bytes.
  // A file shorter than its header is new or torn: it is reset to an empty blob (read_only: it
  // opens as empty). Creation is durable on return: header, file and directory entries.
  // Errors: invalid_argument (name; create_new of an existing blob), not_found, corrupt (magic),
  // unsupported_version (header or blob version), io, no_space.
  [[nodiscard]] virtual Result<std::unique_ptr<Blob>> open(std::string_view partition,
                                                           ByteSpan name, OpenMode mode,
                                                           BlobVersions versions = {}) = 0;

  // Durably removes the named blobs of one partition: all unlinked in the given order, then one
  // directory sync. Names that do not exist are skipped. Open handles keep working.
  [[nodiscard]] virtual Status remove(std::string_view partition, std::span<const Bytes> names) = 0;

  // Durably removes a partition and everything in it; a missing partition is fine.
  [[nodiscard]] virtual Status remove_partition(std::string_view partition) = 0;

  // Blobs, and entries that are none (no even-length hex name, not a regular file). A missing
  // partition has neither; any other failure to list is an error.
  [[nodiscard]] virtual Result<PartitionListing> list(std::string_view partition) = 0;
  // The names of the blobs, ascending. An entry that is no blob is Errc::corrupt.
  [[nodiscard]] Result<std::vector<Bytes>> scan(std::string_view partition);

  // Partitions in ascending order.
  [[nodiscard]] virtual Result<std::vector<std::string>> partitions() = 0;

  // Several reads at once: one submission where the backend can, otherwise one after another.
  // Fails with the first error; what the other requests read is then unspecified.
  [[nodiscard]] virtual Status read_many(std::span<const ReadRequest> requests);

  // Syncs several blobs; every sync is attempted, the first error is returned.
  [[nodiscard]] virtual Status sync_many(std::span<Blob* const> blobs);

  // Takes the store's lock, or fails with Errc::locked naming the holder (pid, host, program).
  [[nodiscard]] virtual Result<std::unique_ptr<StorageLock>> lock(LockMode mode) = 0;
  // Who holds the exclusive lock; nullopt if nobody does. Disturbs nobody.
  [[nodiscard]] virtual Result<std::optional<StorageWriter>> find_writer() = 0;

  // Bits that nobody can foresee: for ids of stores, and secrets of hashes. Where a seed must
  // repeat a run, the backend of the test kit gives the same ones again.
  [[nodiscard]] virtual uint64_t random_seed();

  [[nodiscard]] virtual StorageLimits limits() const = 0;

  // How messages name this store ("/data/blocks").
  [[nodiscard]] virtual std::string description() const = 0;

 protected:
  Storage() = default;
};

}  // namespace firn
