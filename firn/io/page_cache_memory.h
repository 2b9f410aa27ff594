// SPDX-License-Identifier: Apache-2.0
//
// What a PageCache consists of: nodes, each a page; tables of entries that lead to them; and the
// memory of both, of which no more is held than the cache's bound. Only page_cache.cc uses it.
#pragma once

#include <atomic>
#include <bit>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "firn/base/check.h"
#include "firn/base/mutex.h"
#include "firn/base/read_section.h"
#include "firn/base/units.h"
#include "firn/io/page_cache.h"

namespace firn {

// One cached page; its payload follows in the same allocation. All nodes of a shard form a ring.
// From its publication on, readers find the payload and the size without a lock: they never change,
// and the memory is used again only once nobody can be reading it.
struct PageCache::Node : EpochRetired {
  Node* following = this;
  Node* preceding = this;
  uint64_t key = 0;
  uint32_t size_bytes = 0;
  bool is_in_chunk = false;

  [[nodiscard]] std::byte* payload() { return reinterpret_cast<std::byte*>(this + 1); }
};

// A place of a shard's table, in 16 bytes, so that a lookup finds the tables of a large cache in
// that of the processor, and reads nothing else before the payload: whose page it is, and in one
// word its size, its address, and whether it was used since the hand passed. Written under the
// shard's mutex, but for the mark of use.
class PageCache::Entry {
 public:
  // What an entry holds at one moment.
  class Word {
   public:
    Word() = default;
    explicit Word(uint64_t bits) : bits_(bits) {}
    explicit Word(Node& node)
        : bits_(uint64_t{node.size_bytes} << kAddressBits | reinterpret_cast<uintptr_t>(&node) |
                kReferenced) {
      CHECK(this->node() == &node, "an address has 48 bits");
    }
    [[nodiscard]] bool is_free() const { return bits_ == 0; }
    [[nodiscard]] bool is_referenced() const { return (bits_ & kReferenced) != 0; }
    [[nodiscard]] size_t size_bytes() const { return bits_ >> kAddressBits; }
    [[nodiscard]] Node* node() const {
      const uintptr_t address = bits_ & ((uint64_t{1} << kAddressBits) - 1) & ~kReferenced;
      return reinterpret_cast<Node*>(address);  // NOLINT(performance-no-int-to-ptr)
    }

   private:
    friend class Entry;
    static constexpr unsigned kAddressBits = 48;
    static constexpr uint64_t kReferenced = 1;  // of an address, which is even

    uint64_t bits_ = 0;  // 0: free
  };

  // What an entry can tell of, and so what is cached.
  [[nodiscard]] static bool can_hold(uint64_t blob_id, uint64_t page, size_t size_bytes) {
    return is_key(blob_id, page) && size_bytes <= UINT16_MAX;
  }
  [[nodiscard]] static bool is_key(uint64_t blob_id, uint64_t page) {
    return blob_id <= UINT32_MAX && page <= UINT32_MAX;
  }
  [[nodiscard]] static bool is_of(uint64_t key, uint64_t blob_id, uint64_t first_page) {
    return key >> 32 == blob_id && (key & UINT32_MAX) >= first_page;
  }
  [[nodiscard]] static uint64_t key_of(uint64_t blob_id, uint64_t page) {
    return blob_id << 32 | page;
  }

  // Acquire, and release below: whoever sees a word sees the key, and the page behind it.
  [[nodiscard]] uint64_t key() const { return key_.load(std::memory_order_acquire); }
  [[nodiscard]] Word word() const { return Word(word_.load(std::memory_order_acquire)); }
  void set(uint64_t key, Word word) {
    key_.store(key, std::memory_order_release);
    word_.store(word.bits_, std::memory_order_release);
  }
  // By anyone; nothing if the entry has changed.
  void refer(Word seen) {
    if (seen.is_referenced()) return;
    word_.compare_exchange_strong(seen.bits_, seen.bits_ | Word::kReferenced,
                                  std::memory_order_relaxed);
  }
  // Whether there was one.
  [[nodiscard]] bool forget_reference() {
    return (word_.fetch_and(~Word::kReferenced, std::memory_order_relaxed) & Word::kReferenced) !=
           0;
  }

 private:
  std::atomic<uint64_t> key_ = 0;
  std::atomic<uint64_t> word_ = 0;
};

// What a shard's entries are in, which follow in the same allocation. An outgrown one stays for
// those who read it.
struct alignas(64) PageCache::Table : EpochRetired {
  size_t memory_bytes = 0;
};

// A table and its size in one word, so that a lookup waits for nothing before the entry itself.
class PageCache::TableWord {
 public:
  TableWord() = default;
  explicit TableWord(uint64_t bits) : bits_(bits) {}

  // Throws std::bad_alloc. The size is a power of two.
  [[nodiscard]] static TableWord make(size_t size) {
    const size_t bytes = size * sizeof(Entry);
    void* const memory = ::operator new(sizeof(Table) + bytes, std::align_val_t(alignof(Table)));
    Table* const table = new (memory) Table;
    table->memory_bytes = bytes;
    std::uninitialized_value_construct_n(reinterpret_cast<Entry*>(table + 1), size);
    return TableWord(reinterpret_cast<uintptr_t>(table) |
                     static_cast<unsigned>(std::countr_zero(size)));
  }
  static void destroy(Table* table) { ::operator delete(table, std::align_val_t(alignof(Table))); }

  [[nodiscard]] uint64_t bits() const { return bits_; }
  [[nodiscard]] bool is_null() const { return bits_ == 0; }
  [[nodiscard]] Table* table() const {
    return reinterpret_cast<Table*>(bits_ & ~kSizeMask);  // NOLINT(performance-no-int-to-ptr)
  }
  [[nodiscard]] size_t size() const { return size_t{1} << (bits_ & kSizeMask); }
  [[nodiscard]] size_t memory_bytes() const { return size() * sizeof(Entry); }
  [[nodiscard]] Entry* first() const { return reinterpret_cast<Entry*>(table() + 1); }
  [[nodiscard]] std::span<Entry> entries() const { return {first(), size()}; }
  [[nodiscard]] size_t after(size_t at) const { return (at + 1) & (size() - 1); }
  [[nodiscard]] size_t home(uint64_t hash) const { return hash & (size() - 1); }

  // The entry of a key, or the free entry where it belongs. Under the shard's mutex there is one;
  // while entries move, none may be found within the table.
  [[nodiscard, gnu::always_inline]] Entry& find(uint64_t key, uint64_t hash) const {
    size_t at = home(hash);
    if (first()[at].key() == key) [[likely]]
      return first()[at];
    for (size_t steps = 1; steps < size() && !first()[at].word().is_free(); ++steps) {
      at = after(at);
      if (first()[at].key() == key) break;
    }
    return first()[at];
  }

 private:
  static constexpr uint64_t kSizeMask = alignof(Table) - 1;  // of an address: zeros

  uint64_t bits_ = 0;  // 0: there is none
};

// Where the nodes are, and the account of what all of them and the tables take. Nodes of the usual
// size share chunks, each a huge page: reads at random then find the address in the processor's
// tables, which is as slow as the memory itself otherwise. A chunk is kept for ever, so chunks get
// three quarters of the bound at most, and pages of other sizes find room beside them.
class PageCache::Memory {
 public:
  explicit Memory(size_t limit_bytes)
      : limit_bytes_(limit_bytes),
        chunks_max_(limit_bytes / kChunkBytes < kChunksMin ? 0
                                                           : limit_bytes / 4 * 3 / kChunkBytes) {}
  // Requires: no read section is left that found something of it.
  ~Memory() {
    ReadSection::drain(this);
    for (std::byte* chunk : chunks_)
      std::free(chunk);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Null if there is no memory, or none within the bound, before somebody gives some back.
  [[nodiscard]] Node* take(size_t page_bytes) EXCLUDES(mutex_) {
    Node* node = take_free(page_bytes);
    if (node != nullptr || !is_waiting()) return node;
    ReadSection::collect(this);
    return take_free(page_bytes);
  }

  void give_back(Node* node) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    put_back(node);
  }

  // Given back once no reader can be in it any more.
  void retire(Node& node) EXCLUDES(mutex_) {
    retire(node, cost_bytes(node.size_bytes), [](EpochRetired* retired, void* memory) {
      static_cast<Memory*>(memory)->reclaim(static_cast<Node*>(retired));
    });
  }
  void retire(Table& table) EXCLUDES(mutex_) {
    retire(table, table.memory_bytes, [](EpochRetired* retired, void* memory) {
      static_cast<Memory*>(memory)->reclaim(static_cast<Table*>(retired));
    });
  }
  // Takes back at once what no reader is in.
  void collect() EXCLUDES(mutex_) {
    if (is_waiting()) ReadSection::collect(this);
  }
  // Something is retired and not given back yet.
  [[nodiscard]] bool is_waiting() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return retired_count_ > 0;
  }

  // For tables, which their owner allocates.
  [[nodiscard]] bool take_bytes(size_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return charge(bytes);
  }
  [[nodiscard]] size_t held_bytes() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return held_bytes_;
  }

 private:
  // Huge pages of memory, for caches that take several of them anyway.
  static constexpr size_t kChunkBytes = 2 * kMiB;
  static constexpr size_t kChunksMin = 4;
  static constexpr size_t kUsualPageBytes = 4084;
  static constexpr size_t kNodeBytes =
      (sizeof(Node) + kUsualPageBytes + alignof(Node) - 1) / alignof(Node) * alignof(Node);

  [[nodiscard]] Node* take_free(size_t page_bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (page_bytes == kUsualPageBytes) {
      if (free_ != nullptr) return std::exchange(free_, free_->following);
      if (Node* node = cut_from_chunk(); node != nullptr) return node;
    }
    if (!charge(cost_bytes(page_bytes))) return nullptr;
    void* memory = std::malloc(sizeof(Node) + page_bytes);
    if (memory != nullptr) return new (memory) Node;
    held_bytes_ -= cost_bytes(page_bytes);
    return nullptr;
  }

  void put_back(Node* node) REQUIRES(mutex_) {
    if (node->is_in_chunk) {
      node->following = free_;
      free_ = node;
      return;
    }
    held_bytes_ -= cost_bytes(node->size_bytes);
    std::free(node);
  }

  using Reclaim = void(EpochRetired* retired, void* memory);
  void retire(EpochRetired& retired, size_t bytes, Reclaim* callback) EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      ++retired_count_;
    }
    retired.bytes = bytes;
    retired.owner = this;
    retired.reclaim = callback;
    ReadSection::retire(retired);
  }
  void reclaim(Node* node) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    --retired_count_;
    put_back(node);
  }
  void reclaim(Table* table) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    --retired_count_;
    held_bytes_ -= table->memory_bytes;
    TableWord::destroy(table);
  }

  [[nodiscard]] bool charge(size_t bytes) REQUIRES(mutex_) {
    if (bytes > limit_bytes_ - held_bytes_) return false;
    held_bytes_ += bytes;
    return true;
  }

  [[nodiscard]] Node* cut_from_chunk() REQUIRES(mutex_) {
    if (chunk_used_ + kNodeBytes > kChunkBytes || chunks_.empty()) {
      if (chunks_.size() == chunks_max_) return nullptr;
      chunks_.reserve(chunks_.size() + 1);
      if (!charge(kChunkBytes)) return nullptr;
      void* chunk = std::aligned_alloc(kChunkBytes, kChunkBytes);
      if (chunk == nullptr) {
        held_bytes_ -= kChunkBytes;
        return nullptr;
      }
      static_cast<void>(::madvise(chunk, kChunkBytes, MADV_HUGEPAGE));
      chunks_.push_back(static_cast<std::byte*>(chunk));
      chunk_used_ = 0;
    }
    Node* node = new (chunks_.back() + chunk_used_) Node;
    node->is_in_chunk = true;
    chunk_used_ += kNodeBytes;
    return node;
  }

  const size_t limit_bytes_;
  const size_t chunks_max_;
  mutable Mutex mutex_;                       // after a shard's
  size_t held_bytes_ GUARDED_BY(mutex_) = 0;  // with what is retired
  size_t retired_count_ GUARDED_BY(mutex_) = 0;
  std::vector<std::byte*> chunks_ GUARDED_BY(mutex_);
  size_t chunk_used_ GUARDED_BY(mutex_) = 0;  // of the last chunk
  Node* free_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace firn
