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

#include "testkit/forwarding_storage.h"
#include "testkit/matchers.h"

namespace firn::testkit {

class GatedStorage : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

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

 private:
  class GatedBlob : public ForwardingBlob {
   public:
    GatedBlob(GatedStorage& storage, std::unique_ptr<Blob> inner)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}

    Status sync() override {
      ++storage_.flushes_;
      if (storage_.is_shut_) {
        storage_.arrived_.release();
        storage_.may_pass_.acquire();
      }
      return ForwardingBlob::sync();
    }

   private:
    GatedStorage& storage_;
  };

  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<GatedBlob>(*this, std::move(blob));
  }

  std::atomic<bool> is_shut_ = false;
  std::atomic<uint64_t> flushes_ = 0;
  std::counting_semaphore<> arrived_{0};
  std::counting_semaphore<> may_pass_{0};
};

}  // namespace firn::testkit
