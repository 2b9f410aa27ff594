// SPDX-License-Identifier: Apache-2.0
//
// GatedStorage: wraps a Storage whose flushes can be made to wait. For tests that something does
// not wait for a flush.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "firn/io/storage.h"
#include "testkit/matchers.h"

namespace firn::testkit {

class GatedStorage : public Storage {
 public:
  explicit GatedStorage(Storage& inner) : inner_(inner) {}

  // Runs `change`, which must succeed, in another thread, and `read` while each of its flushes is
  // waiting: a read that waited for a flush would wait for ever. Returns the number of flushes.
  template <class Change, class Read>
  uint64_t read_during_flushes(const Change& change, const Read& read) {
    std::atomic<bool> is_done = false;
    is_shut_ = true;
    std::thread worker([&] {
      EXPECT_OK(change());
      is_done = true;
      arrived_.release();
    });
    uint64_t flushes = 0;
    while (true) {
      arrived_.acquire();
      if (is_done) break;
      ++flushes;
      read();
      may_pass_.release();
    }
    worker.join();
    is_shut_ = false;
    return flushes;
  }
  [[nodiscard]] uint64_t flushes() const { return flushes_; }

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    TRY_INTO(auto blob, inner_.open(partition, name, mode, versions));
    return std::make_unique<GatedBlob>(*this, std::move(blob));
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
  [[nodiscard]] StorageLimits limits() const override { return inner_.limits(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

 private:
  class GatedBlob : public Blob {
   public:
    GatedBlob(GatedStorage& storage, std::unique_ptr<Blob> inner)
        : storage_(storage), inner_(std::move(inner)) {}

    [[nodiscard]] uint64_t size() const override { return inner_->size(); }
    [[nodiscard]] uint16_t version() const override { return inner_->version(); }
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      return inner_->read_at(offset, out);
    }
    Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      return inner_->write_at(offset, buffers);
    }
    Status resize(uint64_t size) override { return inner_->resize(size); }
    Status sync() override {
      ++storage_.flushes_;
      if (storage_.is_shut_) {
        storage_.arrived_.release();
        storage_.may_pass_.acquire();
      }
      return inner_->sync();
    }

   private:
    GatedStorage& storage_;
    std::unique_ptr<Blob> inner_;
  };

  Storage& inner_;
  std::atomic<bool> is_shut_ = false;
  std::atomic<uint64_t> flushes_ = 0;
  std::counting_semaphore<> arrived_{0};
  std::counting_semaphore<> may_pass_{0};
};

}  // namespace firn::testkit
