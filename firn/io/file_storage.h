// SPDX-License-Identifier: Apache-2.0
//
// FileStorage: a Storage over any FileSystem. It holds the durability protocol, so that the same
// lines run on a disk and on the test kit's simulated device.
//
//   <root>/<partition>/<blob name in lower-case hexadecimal>      FORMAT.md, section 1
//
// Crash argument.
//   create -> directory, file with a durable header behind a new name, partition sync, root sync;
//             only then does open return. A power cut leaves no blob or a whole empty one. A file
//             shorter than its header comes from elsewhere: a writer replaces it.
//   adopt  -> a process that died between creating an entry and syncing its directory leaves an
//             entry that is visible but not durable. So the first writable open in a partition
//             syncs the partition, the first of all syncs the root, and an existing blob that is
//             still empty is synced itself, as its header may not have reached the disk. A blob
//             with bytes in it needs none: its creation had returned before they were written.
//   remove -> unlinks in the given order, then one directory sync. Partitions: unlinks, directory,
//             root sync.
// A directory sync that failed is never retried: the partition (or, for the root, everything that
// needs it) refuses changes with Errc::poisoned until the store is opened anew.
//
// Threads. All calls, concurrently. Writable opens and removals take one lock across their I/O, so
// that no thread gets a blob whose creation another one has not finished; read-only opens, listings
// and all blob I/O do not. Cost of opening an existing blob: no sync beyond the ones named above.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/mutex.h"
#include "firn/io/file_system.h"
#include "firn/io/storage.h"

namespace firn {

class FileStorage final : public Storage {
 public:
  // The file system must outlive the storage. Only one FileStorage may write to a root at a time:
  // take lock() first.
  explicit FileStorage(FileSystem& file_system, StorageLimits limits = {});
  explicit FileStorage(std::unique_ptr<FileSystem> file_system, StorageLimits limits = {});

  [[nodiscard]] Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name,
                                                   OpenMode mode,
                                                   BlobVersions versions = {}) override
      EXCLUDES(changes_);
  [[nodiscard]] Status remove(std::string_view partition, std::span<const Bytes> names) override
      EXCLUDES(changes_);
  [[nodiscard]] Status remove_partition(std::string_view partition) override EXCLUDES(changes_);
  [[nodiscard]] Result<PartitionListing> list(std::string_view partition) override;
  [[nodiscard]] Result<std::vector<std::string>> partitions() override;
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override;
  [[nodiscard]] Result<std::optional<StorageWriter>> find_writer() override;
  [[nodiscard]] uint64_t random_seed() override { return file_system_.random_seed(); }
  [[nodiscard]] StorageLimits limits() const override { return limits_; }
  [[nodiscard]] std::string description() const override { return file_system_.description(); }

 private:
  struct Target {  // the blob that a call is about
    std::string_view partition;
    ByteSpan name;
    std::string file_name;
    BlobVersions versions;
  };
  struct Partition {
    bool entries_durable = false;  // what an earlier process left in it was synced
    bool entry_durable = false;    // its own entry in the root was synced
    bool maybe_made = false;       // by this process, so an earlier root sync does not cover it
    std::optional<Error> failure;  // a directory sync failed
  };

  [[nodiscard]] Result<std::unique_ptr<Blob>> open_for_reading(const Target& target, OpenMode mode);
  [[nodiscard]] Result<std::unique_ptr<Blob>> create(const Target& target) REQUIRES(changes_);
  [[nodiscard]] Result<std::unique_ptr<Blob>> adopt(const Target& target,
                                                    std::unique_ptr<File> file) REQUIRES(changes_);
  [[nodiscard]] std::unique_ptr<Blob> make_blob(const Target& target, std::unique_ptr<File> file,
                                                uint64_t size, uint16_t version, bool writable);

  // What is known about a partition, or why it refuses changes.
  [[nodiscard]] Result<Partition*> state_for_change(std::string_view partition) REQUIRES(changes_);
  // Makes the partition's own entry durable, unless that is known.
  [[nodiscard]] Status settle_entry_in_root(Partition& state) REQUIRES(changes_);
  [[nodiscard]] Status sync_partition(std::string_view partition, Partition& state)
      REQUIRES(changes_);
  [[nodiscard]] Status sync_root() REQUIRES(changes_);

  const std::unique_ptr<FileSystem> owned_;
  FileSystem& file_system_;
  const StorageLimits limits_;

  Mutex changes_;
  std::map<std::string, Partition, std::less<>> partitions_ GUARDED_BY(changes_);
  bool root_synced_ GUARDED_BY(changes_) = false;
  std::optional<Error> root_failure_ GUARDED_BY(changes_);
};

}  // namespace firn
