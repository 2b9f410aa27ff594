// SPDX-License-Identifier: Apache-2.0
//
// ForwardingStorage and ForwardingBlob: hand every call on to another Storage or Blob. Derive from
// them to watch or change some calls.
//
// Threads: as what they wrap.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/io/storage.h"

namespace firn::testkit {

class ForwardingBlob : public Blob {
 public:
  explicit ForwardingBlob(std::unique_ptr<Blob> inner) : inner_(std::move(inner)) {}

  [[nodiscard]] uint64_t size() const override { return inner_->size(); }
  [[nodiscard]] uint16_t version() const override { return inner_->version(); }
  Status read_at(uint64_t offset, MutableByteSpan out) override {
    return inner_->read_at(offset, out);
  }
  Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    return inner_->write_at(offset, buffers);
  }
  Status resize(uint64_t size) override { return inner_->resize(size); }
  Status sync() override { return inner_->sync(); }
  Result<std::unique_ptr<Mapping>> map(uint64_t size) override { return inner_->map(size); }

 private:
  const std::unique_ptr<Blob> inner_;
};

class ForwardingStorage : public Storage {
 public:
  explicit ForwardingStorage(Storage& inner) : inner_(inner) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    TRY_INTO(auto blob, inner_.open(partition, name, mode, versions));
    return wrap(std::move(blob), partition, name);
  }
  Status remove(std::string_view partition, std::span<const Bytes> names) override {
    return inner_.remove(partition, names);
  }
  Status remove_partition(std::string_view partition) override {
    return inner_.remove_partition(partition);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    return inner_.list(partition);
  }
  Result<std::vector<std::string>> partitions() override { return inner_.partitions(); }
  Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override { return inner_.lock(mode); }
  Result<std::optional<StorageWriter>> find_writer() override { return inner_.find_writer(); }
  [[nodiscard]] uint64_t random_seed() override { return inner_.random_seed(); }
  [[nodiscard]] StorageLimits limits() const override { return inner_.limits(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

 protected:
  // What open() gives instead of the blob.
  [[nodiscard]] virtual std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view,
                                                   ByteSpan) {
    return blob;
  }

 private:
  Storage& inner_;
};

}  // namespace firn::testkit
