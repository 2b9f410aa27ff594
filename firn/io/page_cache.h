// SPDX-License-Identifier: Apache-2.0
//
// PageCache: pages of any number of blobs, in memory, within a bound.
//
// Shards, each a hash table with a Clock hand, keep those apart who cache different pages. Its
// owners store what will not change on disk, or evict it first: full pages of paged blobs, which
// passed their checksum, and blocks of value blobs, whose values have checksums of their own. A hit
// takes no lock and writes nothing that threads share, but once for each page the mark that it was
// used: it finds the page, sees by the shard's version that nothing changed meanwhile, and copies
// the wanted bytes out of memory that stays as it is until the read is over (base/read_section.h).
// The bound counts all memory that is held, also what is free at the moment, or evicted but still
// read; it is fixed at construction and never exceeded. Memory is taken as pages arrive, for pages
// of the usual 4,084 bytes in pieces of 2 MiB, which a processor finds faster; those are kept, and
// are three quarters of the bound at most, so that pages of other sizes find room.
//
// Not cached: a page of more than 65,535 bytes, or numbered 2^32 or more, and blobs from the 2^32th
// on that a cache has met.
//
// A page that is missed while thousands of others are used once is not worth its place: is_wanted
// tells the second miss from the first.
//
// Threads. All calls, concurrently. A read beside an eviction may still get the page that is
// evicted. Cost of a hit: one hash probe and one copy, no allocation. Who inserts within a read
// section of its own now and then finds no place. evict_from looks at every cached page.
// Replacement: Clock, as in the original; sharding and the byte bound are ours.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "firn/base/bytes.h"

namespace firn {

// The largest cache that stores take; what is not used of it costs next to nothing.
inline constexpr uint64_t kPageCacheBytesMax = uint64_t{1} << 40;

class PageCache {
 public:
  // capacity_bytes 0: nothing is cached. shard_count: a power of two; 0 chooses by capacity. A
  // shard holds its share of the capacity, so a page larger than that share is never cached.
  explicit PageCache(size_t capacity_bytes, size_t shard_count = 0);
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // A number that no other blob of this cache has or will have.
  [[nodiscard]] uint64_t new_blob_id();

  // Copies out.size() bytes at `offset_in_page` of a cached page. False if it is not cached.
  // Requires: offset_in_page + out.size() within the page.
  [[nodiscard]] bool read(uint64_t blob_id, uint64_t page, size_t offset_in_page,
                          MutableByteSpan out) const;
  // The same of a blob that is cached in pages of one size, for a range of any of them. False if a
  // page is not cached.
  [[nodiscard]] bool read_range(uint64_t blob_id, uint64_t page_size, uint64_t offset,
                                MutableByteSpan out) const;
  // For a read that follows soon: starts to load those bytes. What is beyond the page is harmless.
  void fetch(uint64_t blob_id, uint64_t page, size_t offset_in_page, size_t size_bytes) const;
  // Stores a full page, replacing what is cached under the same key.
  void insert(uint64_t blob_id, uint64_t page, ByteSpan payload);
  // Asked after a miss by readers that can do without the whole page: true if the same page was
  // missed before, and not so many others since that it would have been evicted again.
  [[nodiscard]] bool is_wanted(uint64_t blob_id, uint64_t page);
  // Forgets all pages of a blob from `first_page` on (after a truncation, or a removal with 0).
  void evict_from(uint64_t blob_id, uint64_t first_page);

  // The memory that is held: capacity_bytes() at most.
  [[nodiscard]] size_t used_bytes() const;
  [[nodiscard]] size_t capacity_bytes() const { return capacity_bytes_; }

  // What a cached page of `page_size` bytes costs beyond its share of the hash table.
  [[nodiscard]] static size_t cost_bytes(size_t page_size);

  // A range of a blob that is cached in pages of one size, to be found in three steps; whoever
  // seeks many takes each step for some before the next, so that they wait for memory together (see
  // cached_reads.h). All in one ReadSection.
  struct Wanted {
    Wanted() = default;
    Wanted(uint64_t blob, uint32_t size_of_pages, uint64_t offset, uint32_t size)
        : blob_id(blob),
          page(offset / size_of_pages),
          page_size(size_of_pages),
          offset_in_page(static_cast<uint32_t>(offset % size_of_pages)),
          size_bytes(size) {}

    uint64_t blob_id = 0;
    uint64_t page = 0;
    uint32_t page_size = 0;
    uint32_t offset_in_page = 0;
    uint32_t size_bytes = 0;  // 0: nothing is wanted
    uint64_t hash = 0;        // of the page
    ByteSpan found;           // where it is, if it is in one page

    [[nodiscard]] uint64_t offset() const { return page * page_size + offset_in_page; }
    [[nodiscard]] size_t bytes_beyond_page() const {
      const uint32_t in_page = page_size - offset_in_page;
      return size_bytes > in_page ? size_bytes - in_page : 0;
    }
  };
  // First: starts to load what tells where the range is.
  void fetch_entry(Wanted& wanted) const;
  // Then: starts to load its bytes.
  void fetch(Wanted& wanted) const;
  // At last: where they are, which is in `memory`, joined, if they are in several pages. Empty if
  // they are not cached.
  [[nodiscard]] ByteSpan find(const Wanted& wanted, MutableByteSpan memory) const {
    return wanted.bytes_beyond_page() == 0 ? wanted.found : join(wanted, memory);
  }

 private:
  struct Node;
  class Entry;
  struct Table;
  class TableWord;
  class Memory;
  struct Found;
  struct Shard;

  [[nodiscard]] Found look(uint64_t blob_id, uint64_t page) const;
  [[nodiscard]] Found look(uint64_t blob_id, uint64_t page, uint64_t hash) const;
  [[nodiscard]] ByteSpan join(const Wanted& wanted, MutableByteSpan memory) const;
  static void fetch(ByteSpan bytes);
  void fetch_parts(const Wanted& wanted) const;
  [[nodiscard]] static ByteSpan in_place(const Found& found, size_t offset_in_page,
                                         size_t size_bytes);
  [[nodiscard]] static bool copy(const Found& found, size_t offset_in_page, MutableByteSpan out);

  [[nodiscard]] size_t missed_bytes() const { return missed_count_ * sizeof(uint32_t); }
  [[nodiscard]] size_t shard_number(uint64_t hash) const {
    return (hash >> 48) & (shard_count_ - 1);
  }
  [[nodiscard]] Shard& shard_of(uint64_t hash) const;

  const size_t capacity_bytes_;
  const size_t missed_count_;
  struct Free {
    void operator()(uint32_t* words) const;
  };
  // By hash: who was missed last; accessed as atomics. Zeros that take memory once they are used.
  const std::unique_ptr<uint32_t[], Free> missed_;
  const size_t shard_count_;
  const std::unique_ptr<Memory> memory_;  // outlives the shards
  std::unique_ptr<Shard[]> shards_;
  std::atomic<uint64_t> next_blob_id_ = 0;
};

}  // namespace firn
