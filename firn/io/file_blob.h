// SPDX-License-Identifier: Apache-2.0
//
// FileBlob: one open File seen as a Blob. Skips the header, keeps the size in memory, refuses what
// lies beyond it without I/O, refuses a forked child, and turns the first failed mutation into a
// permanent refusal of further ones (poisoning). Syncs are serialised: the kernel reports a
// write-back error to one caller of a descriptor only, so a second sync that ran beside the failing
// one would succeed.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "firn/base/mutex.h"
#include "firn/base/owner_process.h"
#include "firn/io/file_system.h"
#include "firn/io/storage.h"

namespace firn {

class FileBlob final : public Blob {
 public:
  struct Description {
    std::string blob;  // "blob 'index/0000000000000001'"
    uint64_t size = 0;
    uint16_t version = 0;
    bool writable = false;
    uint64_t size_max = 0;
  };

  // A null `file` is an empty blob that cannot be written: a torn file in a read-only store.
  FileBlob(std::unique_ptr<File> file, Description description);

  [[nodiscard]] uint64_t size() const override { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] uint16_t version() const override { return description_.version; }
  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override;
  [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override;
  using Blob::write_at;
  [[nodiscard]] Status resize(uint64_t size) override;
  [[nodiscard]] Status sync() override EXCLUDES(sync_mutex_);
  [[nodiscard]] Result<std::unique_ptr<Mapping>> map(uint64_t size) override;

 private:
  [[nodiscard]] Status check_writable() EXCLUDES(failure_mutex_);
  // Hands `outcome` on; the first failure poisons the blob.
  [[nodiscard]] Status poison_unless_ok(Status outcome) EXCLUDES(failure_mutex_);

  const OwnerProcess owner_;
  const std::unique_ptr<File> file_;
  const Description description_;
  std::atomic<uint64_t> size_;
  Mutex sync_mutex_;  // before failure_mutex_
  std::atomic<bool> poisoned_ = false;
  Mutex failure_mutex_;
  std::string first_failure_ GUARDED_BY(failure_mutex_);
};

}  // namespace firn
