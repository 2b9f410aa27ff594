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
#include "testkit/forwarding_storage.h"

namespace firn::testkit {

class ObservedStorage : public ForwardingStorage {
 public:
  using Observer = std::function<void()>;

  ObservedStorage(Storage& inner, Observer observer)
      : ForwardingStorage(inner), observer_(std::move(observer)) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions = {}) override {
    observer_();
    return ForwardingStorage::open(partition, name, mode, versions);
  }
  // One after another, as a file system removes them.
  Status remove(std::string_view partition, std::span<const Bytes> names) override {
    for (const Bytes& name : names) {
      observer_();
      TRY(ForwardingStorage::remove(partition, std::span(&name, 1)));
    }
    observer_();
    return {};
  }
  Status remove_partition(std::string_view partition) override {
    observer_();
    return ForwardingStorage::remove_partition(partition);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    observer_();
    return ForwardingStorage::list(partition);
  }
  Result<std::vector<std::string>> partitions() override {
    observer_();
    return ForwardingStorage::partitions();
  }
  Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override {
    observer_();
    return ForwardingStorage::lock(mode);
  }
  Result<std::optional<StorageWriter>> find_writer() override {
    observer_();
    return ForwardingStorage::find_writer();
  }

 private:
  class ObservedBlob : public ForwardingBlob {
   public:
    ObservedBlob(std::unique_ptr<Blob> inner, const Observer& observer)
        : ForwardingBlob(std::move(inner)), observer_(observer) {}

    // Nothing is in `out` while the observer is called: it may be memory of the thread, which the
    // observer uses, too.
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      Bytes read(out.size());
      const size_t half = read.size() / 2;
      observer_();
      TRY(ForwardingBlob::read_at(offset, MutableByteSpan(read).first(half)));
      observer_();
      TRY(ForwardingBlob::read_at(offset + half, MutableByteSpan(read).subspan(half)));
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
      TRY(write_one(back_first ? offset + half : offset, back_first ? back : front));
      observer_();
      return write_one(back_first ? offset : offset + half, back_first ? front : back);
    }
    Status resize(uint64_t size) override {
      observer_();
      return ForwardingBlob::resize(size);
    }
    Status sync() override {
      observer_();
      return ForwardingBlob::sync();
    }

    // No read escapes the observer.
    Result<std::unique_ptr<Mapping>> map(uint64_t) override { return std::unique_ptr<Mapping>(); }

   private:
    Status write_one(uint64_t offset, ByteSpan bytes) {
      return ForwardingBlob::write_at(offset, std::span<const ByteSpan>(&bytes, 1));
    }

    const Observer& observer_;
    bool back_first_ = true;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<ObservedBlob>(std::move(blob), observer_);
  }

  const Observer observer_;
};

}  // namespace firn::testkit
