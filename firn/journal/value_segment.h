// SPDX-License-Identifier: Apache-2.0
//
// ValueSegment: one section of a ValueLog: an append-only blob without pages, with a write buffer.
//
// Crash argument. Bytes at and above durable_size() may survive in any subset; sync() flushes the
// buffer, then the device. truncate() is durable before it returns, so that no freed byte is ever
// reused before the cut is.
//
// Threads. One writer; read() and size() run concurrently with it. A read of bytes that are already
// in the blob takes no lock; a read of buffered bytes takes the buffer's mutex, which is held
// during a copy or a write to the blob, never during a device flush.
//
// Cost. append: a copy, or one write without a copy for entries larger than the buffer. Small
// entries that are read again come from the page cache, which holds blocks of the blob.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/result.h"
#include "firn/io/page_cache.h"
#include "firn/io/storage.h"

namespace firn::journal {

class ValueSegment {
 public:
  // `size`: what of the blob belongs to the log; all of it, unless somebody else is writing it.
  // `durable_size`: what is known to be flushed; the rest is treated as unsynced.
  // `only_grows`: while true, durable bytes may be read through a mapping or the cache. truncate()
  // is then not allowed: it would take them away from under readers. Outlives the segment.
  // `cache` may be null; `cache_id` is from PageCache::new_blob_id.
  ValueSegment(std::unique_ptr<Blob> blob, uint64_t size, uint64_t durable_size,
               size_t buffer_bytes, const std::atomic<bool>& only_grows, PageCache* cache,
               uint64_t cache_id);

  [[nodiscard]] uint64_t size() const { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t durable_size() const { return durable_size_.load(); }
  [[nodiscard]] bool dirty() const { return size() != durable_size(); }

  // Appends the buffers back to back and returns the offset of the first byte.
  [[nodiscard]] Result<uint64_t> append(std::span<const ByteSpan> buffers);
  [[nodiscard]] Status read(uint64_t offset, MutableByteSpan out) const;
  // The same, through the cache where that is allowed and pays.
  [[nodiscard]] Status read_cached(uint64_t offset, MutableByteSpan out) const;
  // From the cache alone, without a lock or a system call. False if not all of it is there.
  [[nodiscard]] bool find_cached(uint64_t offset, MutableByteSpan out) const;
  // False: read_mapped() answers nothing.
  [[nodiscard]] bool may_be_mapped() const { return !cannot_map_.load(std::memory_order_relaxed); }
  // See PageCache::fetch: for a read of what is from about `offset` on.
  void fetch(uint64_t offset) const;
  // Of the blob from the start: what may be in the cache.
  [[nodiscard]] uint64_t cacheable_bytes() const;
  // What the cache is to be asked for bytes below that.
  [[nodiscard]] PageCache::Wanted wanted(uint64_t offset, uint32_t size_bytes) const {
    return {cache_id_, kBlockBytes, offset, size_bytes};
  }
  // The same bytes in place, where they are durable and the blob can be mapped; else nothing.
  struct Mapped {
    std::shared_ptr<const Mapping> pin;
    ByteSpan bytes;
  };
  [[nodiscard]] std::optional<Mapped> read_mapped(uint64_t offset, uint64_t size_bytes) const;
  [[nodiscard]] Status sync();
  [[nodiscard]] Status truncate(uint64_t size);

  [[nodiscard]] Blob& blob() { return *blob_; }

 private:
  // What is cached of a blob; as large as the usual page of an index. Larger entries are read as
  // they are: the system call that the cache saves is a small part of their cost.
  static constexpr uint32_t kBlockBytes = 4084;

  [[nodiscard]] Status flush() REQUIRES(mutex_);

  const std::unique_ptr<Blob> blob_;
  const size_t buffer_bytes_;
  const std::atomic<bool>& only_grows_;
  PageCache* const cache_;
  const uint64_t cache_id_;
  std::atomic<uint64_t> size_;          // buffered bytes included
  std::atomic<uint64_t> written_size_;  // in the blob
  std::atomic<uint64_t> durable_size_;
  mutable Mutex mutex_;
  Bytes buffer_ GUARDED_BY(mutex_);  // the bytes [written_size_, size_)
  mutable Mutex map_mutex_;
  mutable std::shared_ptr<const Mapping> mapping_ GUARDED_BY(map_mutex_);
  mutable std::atomic<bool> cannot_map_ = false;  // for ever
  mutable uint64_t unmapped_reads_ GUARDED_BY(map_mutex_) = 0;
};

}  // namespace firn::journal
