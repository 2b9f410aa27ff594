// SPDX-License-Identifier: Apache-2.0
//
// MemoryStorage: a Storage in memory. For tests, and for stores that need not outlive the process.
//
// Each blob has two contents: the visible one, which reads and writes use and all handles of the
// blob share, and the durable one, which sync() brings up to date. Creation and removal are durable
// at once. lose_unsynced() is the simplest crash: every blob goes back to its durable content.
//
// Threads. All calls, concurrently; blobs as Blob says. Cost: a sync copies the bytes that changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/io/storage.h"

namespace firn {

class MemoryStorage : public Storage {
 public:
  MemoryStorage();
  ~MemoryStorage() override;

  [[nodiscard]] Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name,
                                                   OpenMode mode,
                                                   BlobVersions versions = {}) override;
  [[nodiscard]] Status remove(std::string_view partition, std::span<const Bytes> names) override;
  [[nodiscard]] Status remove_partition(std::string_view partition) override;
  [[nodiscard]] Result<PartitionListing> list(std::string_view partition) override;
  [[nodiscard]] Result<std::vector<std::string>> partitions() override;
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override;
  [[nodiscard]] Result<std::optional<StorageWriter>> find_writer() override;
  [[nodiscard]] StorageLimits limits() const override;
  [[nodiscard]] std::string description() const override;

  // Drops every write and resize that no sync covered. Handles stay open and see the durable bytes.
  void lose_unsynced();

  // Calls back with every blob's durable bytes, header included; partitions in ascending order,
  // blobs in ascending order. The callback must not call this storage.
  using DurableVisitor =
      std::function<void(std::string_view partition, ByteSpan name, ByteSpan content)>;
  void for_each_durable(const DurableVisitor& visit) const;

  // The visible bytes of a blob, header included; nullopt if it does not exist.
  [[nodiscard]] std::optional<Bytes> raw(std::string_view partition, ByteSpan name) const;
  // Makes `content` (header included, any length) the visible and durable bytes of a blob, which is
  // created if missing: how tests plant damage.
  void set_raw(std::string_view partition, ByteSpan name, Bytes content);

 private:
  struct Content;
  class MemoryBlob;
  struct LockState;
  class Lock;
  // Handles share their blob's content with the directory, and keep it after a removal.
  using Directory = std::map<Bytes, std::shared_ptr<Content>>;

  mutable Mutex mutex_;
  std::map<std::string, Directory, std::less<>> partitions_ GUARDED_BY(mutex_);
  std::shared_ptr<LockState> lock_state_;  // shared with the locks, which may outlive the storage
};

}  // namespace firn
