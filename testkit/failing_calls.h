// SPDX-License-Identifier: Apache-2.0
//
// FailingStorage and FailingFloors: one call of all that a test makes to them, or each from one on,
// fails and does nothing, whichever kind it is, reads too. For tests that each call that fails is
// told.
//
//   FailingCalls calls;
//   FailingStorage storage(memory, calls);
//   calls.fail(3);                          // the fourth from now
//   ... calls.failed() -> "read index"
//
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/text.h"
#include "testkit/forwarding_storage.h"
#include "testkit/memory_floors.h"

namespace firn::testkit {

class FailingCalls {
 public:
  enum class Repeat : uint8_t { once, for_ever };
  // The call with this number, from 0 since now.
  void fail(uint64_t number, Errc code = Errc::io, Repeat repeat = Repeat::once) {
    left_ = number;
    code_ = code;
    repeat_ = repeat;
    failed_.reset();
  }
  void stop() { left_.reset(); }
  // What the first call was that failed; nullopt: there were fewer calls.
  [[nodiscard]] const std::optional<std::string>& failed() const { return failed_; }

  [[nodiscard]] Status admit(std::string_view call) {
    if (!left_) return {};
    if (*left_ > 0) {
      --*left_;
      return {};
    }
    if (repeat_ == Repeat::once) left_.reset();
    if (!failed_) failed_ = std::string(call);
    return firn::fail(code_, concat("the test made this call fail: ", call));
  }

 private:
  std::optional<uint64_t> left_;
  Errc code_ = Errc::io;
  Repeat repeat_ = Repeat::once;
  std::optional<std::string> failed_;
};

class FailingStorage final : public ForwardingStorage {
 public:
  FailingStorage(Storage& inner, FailingCalls& calls) : ForwardingStorage(inner), calls_(calls) {}

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions) override {
    TRY(calls_.admit(concat("open ", partition)));
    return ForwardingStorage::open(partition, name, mode, versions);
  }
  Status remove(std::string_view partition, std::span<const Bytes> names) override {
    TRY(calls_.admit(concat("remove ", partition)));
    return ForwardingStorage::remove(partition, names);
  }
  Status remove_partition(std::string_view partition) override {
    TRY(calls_.admit(concat("remove_partition ", partition)));
    return ForwardingStorage::remove_partition(partition);
  }
  Result<PartitionListing> list(std::string_view partition) override {
    TRY(calls_.admit(concat("list ", partition)));
    return ForwardingStorage::list(partition);
  }
  Result<std::vector<std::string>> partitions() override {
    TRY(calls_.admit("partitions"));
    return ForwardingStorage::partitions();
  }
  Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override {
    TRY(calls_.admit("lock"));
    return ForwardingStorage::lock(mode);
  }
  Result<std::optional<StorageWriter>> find_writer() override {
    TRY(calls_.admit("find_writer"));
    return ForwardingStorage::find_writer();
  }

 private:
  class FailingBlob final : public ForwardingBlob {
   public:
    FailingBlob(std::unique_ptr<Blob> inner, FailingCalls& calls, std::string partition)
        : ForwardingBlob(std::move(inner)), calls_(calls), partition_(std::move(partition)) {}

    Status read_at(uint64_t offset, MutableByteSpan out) override {
      TRY(calls_.admit(concat("read ", partition_)));
      return ForwardingBlob::read_at(offset, out);
    }
    Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
      TRY(calls_.admit(concat("write ", partition_)));
      return ForwardingBlob::write_at(offset, buffers);
    }
    Status resize(uint64_t size) override {
      TRY(calls_.admit(concat("resize ", partition_)));
      return ForwardingBlob::resize(size);
    }
    Status sync() override {
      TRY(calls_.admit(concat("sync ", partition_)));
      return ForwardingBlob::sync();
    }

   private:
    FailingCalls& calls_;
    const std::string partition_;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view partition,
                             ByteSpan) override {
    return std::make_unique<FailingBlob>(std::move(blob), calls_, std::string(partition));
  }

  FailingCalls& calls_;
};

class FailingFloors final : public MemoryFloors {
 public:
  explicit FailingFloors(FailingCalls& calls) : calls_(calls) {}

  Result<Section> reload_boundary() override {
    TRY(calls_.admit("reload the boundary"));
    return MemoryFloors::reload_boundary();
  }
  Result<std::unique_ptr<StorageLock>> exclude_followers() override {
    TRY(calls_.admit("exclude followers"));
    return MemoryFloors::exclude_followers();
  }
  Status begin_writing() override {
    TRY(calls_.admit("begin writing"));
    return MemoryFloors::begin_writing();
  }
  Status raise(Section section, uint64_t size) override {
    TRY(calls_.admit("raise a floor"));
    return MemoryFloors::raise(section, size);
  }
  Status lower(Section section, uint64_t size) override {
    TRY(calls_.admit("lower a floor"));
    return MemoryFloors::lower(section, size);
  }
  Status set_boundary(Section oldest_retained) override {
    TRY(calls_.admit("set the boundary"));
    return MemoryFloors::set_boundary(oldest_retained);
  }
  Status forget(std::vector<Section> removed) override {
    TRY(calls_.admit("forget floors"));
    return MemoryFloors::forget(std::move(removed));
  }

 private:
  FailingCalls& calls_;
};

}  // namespace firn::testkit
