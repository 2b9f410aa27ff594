// SPDX-License-Identifier: Apache-2.0
//
// ObservedStorage: a storage that tells an observer before every call, and in the middle of every
// read and write, of which half is done then. So a test can let another process do something at
// each moment that there is: what it sees is torn, as between two processes.
//
//   ObservedStorage storage(memory, [&] { reader.refresh(); });
//   run_the_writer(storage);
//
// Threads: those of the storage below, if the observer can be called by several.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/io/storage.h"

namespace firn::testkit {

class ObservedStorage : public Storage {
 public:
  using Observer = std::function<void()>;

  ObservedStorage(Storage& inner, Observer observer)
      : inner_(inner), observer_(std::move(observer)) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions = {}) override {
    observer_();
    TRY_INTO(auto blob, inner_.open(partition, name, mode, versions));
    return std::make_unique<ObservedBlob>(std::move(blob), observer_);
  }
  // One after another, as a file system removes them.
  Status remove(std::string_view partition, std::span<const Bytes> names) override {
    for (const Bytes& name : names) {
      observer_();
      TRY(inner_.remove(partition, std::span(&name, 1)));
    }
    observer_();
    return {};
  }
  Status remove_partition(std::string_view partition) override {
    observer_();
    return inner_.remove_partition(partition);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    observer_();
    return inner_.list(partition);
  }
  Result<std::vector<std::string>> partitions() override {
    observer_();
    return inner_.partitions();
  }
  Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override {
    observer_();
    return inner_.lock(mode);
  }
  Result<std::optional<StorageWriter>> find_writer() override {
    observer_();
    return inner_.find_writer();
  }
  [[nodiscard]] StorageLimits limits() const override { return inner_.limits(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

 private:
  class ObservedBlob : public Blob {
   public:
    ObservedBlob(std::unique_ptr<Blob> inner, const Observer& observer)
        : inner_(std::move(inner)), observer_(observer) {}

    [[nodiscard]] uint64_t size() const override { return inner_->size(); }
    [[nodiscard]] uint16_t version() const override { return inner_->version(); }
    // Nothing is in `out` while the observer is called: it may be memory of the thread, which the
    // observer uses, too.
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      Bytes read(out.size());
      const size_t half = read.size() / 2;
      observer_();
      TRY(inner_->read_at(offset, MutableByteSpan(read).first(half)));
      observer_();
      TRY(inner_->read_at(offset + half, MutableByteSpan(read).subspan(half)));
      copy_bytes(out, read);
      return {};
    }
    // In turns the front first and the back first.
    Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      Bytes joined;
      for (const ByteSpan buffer : buffers)
        joined.insert(joined.end(), buffer.begin(), buffer.end());
      const size_t half = joined.size() / 2;
      const bool back_first = back_first_ = !back_first_;
      const ByteSpan front = ByteSpan(joined).first(half);
      const ByteSpan back = ByteSpan(joined).subspan(half);
      observer_();
      TRY(inner_->write_at(back_first ? offset + half : offset, back_first ? back : front));
      observer_();
      return inner_->write_at(back_first ? offset : offset + half, back_first ? front : back);
    }
    Status resize(uint64_t size) override {
      observer_();
      return inner_->resize(size);
    }
    Status sync() override {
      observer_();
      return inner_->sync();
    }

   private:
    const std::unique_ptr<Blob> inner_;
    const Observer& observer_;
    bool back_first_ = true;
  };

  Storage& inner_;
  const Observer observer_;
};

}  // namespace firn::testkit
