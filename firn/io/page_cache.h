// SPDX-License-Identifier: Apache-2.0
//
// PageCache: verified full pages of any number of paged blobs, in memory, within a bound.
//
// Shards, each a hash table with a Clock hand, keep readers of different pages apart. Only full
// pages that passed their checksum are stored; a partial last page never is. A hit copies out the
// wanted bytes under the shard's lock. The bound counts page bytes and bookkeeping, is fixed at
// construction, and is never exceeded; memory is taken as pages arrive.
//
// Threads. All calls, concurrently. Cost of a hit: one hash probe and one copy, no allocation.
// Replacement: Clock, as in the original; sharding and the byte bound are ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "firn/base/bytes.h"

namespace firn {

class PageCache {
 public:
  // capacity_bytes 0: nothing is cached.
  explicit PageCache(size_t capacity_bytes);
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // A number that no other blob of this cache has or will have.
  [[nodiscard]] uint64_t new_blob_id();

  // Copies out.size() bytes at `offset_in_page` of a cached page. False if it is not cached.
  [[nodiscard]] bool read(uint64_t blob_id, uint64_t page, size_t offset_in_page,
                          MutableByteSpan out);
  // Stores a full page, replacing what is cached under the same key.
  void insert(uint64_t blob_id, uint64_t page, ByteSpan payload);
  // Forgets all pages of a blob from `first_page` on (after a truncation, or a removal with 0).
  void evict_from(uint64_t blob_id, uint64_t first_page);

  [[nodiscard]] size_t used_bytes() const;
  [[nodiscard]] size_t capacity_bytes() const;

 private:
  struct Shard;
  std::unique_ptr<Shard[]> shards_;
  // ...
};

}  // namespace firn
