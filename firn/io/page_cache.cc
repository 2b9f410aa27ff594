// SPDX-License-Identifier: Apache-2.0
#include "firn/io/page_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "firn/base/check.h"
#include "firn/base/mutex.h"
#include "firn/base/per_thread.h"
#include "firn/base/units.h"

namespace firn {
namespace {

constexpr size_t kShardCountMax = 16;
constexpr size_t kShardSizeMinBytes = kMiB;
constexpr size_t kFirstTableSize = 16;
constexpr size_t kBytesPerMiss = 4096;  // one remembered miss for so much capacity
// Huge pages of memory, for caches that take several of them anyway.
constexpr size_t kChunkBytes = 2 * kMiB;
constexpr size_t kChunksMin = 4;
constexpr size_t kUsualPageBytes = 4084;
constexpr size_t kLineBytes = 64;  // of the processor's cache
constexpr size_t kEvictionsForMemoryMax = 16;
// What the allocator adds to a block, so that the bound is about memory really taken.
constexpr size_t kAllocationOverhead = 16;

uint64_t hash_key(uint64_t blob_id, uint64_t page) {
  // Two rounds of multiply and fold: neighbouring pages must land in different shards and slots.
  uint64_t hash = (page ^ std::rotl(blob_id, 32)) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 32) ^ blob_id) * 0xD6E8FEB86659FD93u;
  return hash ^ (hash >> 32);
}

size_t choose_shard_count(size_t capacity_bytes, size_t wanted) {
  if (wanted != 0) return wanted;
  return std::bit_floor(std::clamp<size_t>(capacity_bytes / kShardSizeMinBytes, 1, kShardCountMax));
}

}  // namespace

// One cached page; its payload follows in the same allocation. All nodes of a shard form a ring.
struct PageCache::Node {
  Node* next = this;
  Node* previous = this;
  uint64_t blob_id = 0;
  uint64_t page = 0;
  uint32_t size_bytes = 0;
  bool is_in_chunk = false;

  [[nodiscard]] std::byte* payload() { return reinterpret_cast<std::byte*>(this + 1); }
};

// A place of a shard's table, in 16 bytes, so that a lookup finds the tables of a large cache in
// that of the processor, and reads nothing else before the payload: whose page it is, and in one
// word its size, its address, and whether it was used since the hand passed.
class PageCache::Entry {
 public:
  Entry() = default;
  explicit Entry(Node& node)
      : blob_id_(static_cast<uint32_t>(node.blob_id)),
        page_(static_cast<uint32_t>(node.page)),
        word_(uint64_t{node.size_bytes} << kAddressBits | reinterpret_cast<uintptr_t>(&node) |
              kReferenced) {
    CHECK(this->node() == &node, "an address has 48 bits");
  }

  // What an entry can tell of, and so what is cached.
  [[nodiscard]] static bool can_hold(uint64_t blob_id, uint64_t page, size_t size_bytes) {
    return blob_id <= UINT32_MAX && page <= UINT32_MAX && size_bytes <= UINT16_MAX;
  }

  [[nodiscard]] bool is_free() const { return word_ == 0; }
  [[nodiscard]] bool is(uint64_t blob_id, uint64_t page) const {
    return page_ == page && blob_id_ == blob_id;
  }
  [[nodiscard]] uint64_t blob_id() const { return blob_id_; }
  [[nodiscard]] uint64_t page() const { return page_; }
  [[nodiscard]] size_t size_bytes() const { return word_ >> kAddressBits; }
  [[nodiscard]] Node* node() const {
    const uintptr_t address = word_ & ((uint64_t{1} << kAddressBits) - 1) & ~kReferenced;
    return reinterpret_cast<Node*>(address);  // NOLINT(performance-no-int-to-ptr)
  }
  void refer() {
    if ((word_ & kReferenced) == 0) word_ |= kReferenced;
  }
  // Whether there was one.
  [[nodiscard]] bool forget_reference() {
    return (std::exchange(word_, word_ & ~kReferenced) & kReferenced) != 0;
  }

 private:
  static constexpr unsigned kAddressBits = 48;
  static constexpr uint64_t kReferenced = 1;  // of an address, which is even

  uint32_t blob_id_ = 0;
  uint32_t page_ = 0;
  uint64_t word_ = 0;  // 0: free
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
  ~Memory() {
    for (std::byte* chunk : chunks_)
      std::free(chunk);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Null if there is no memory, or none within the bound.
  [[nodiscard]] Node* take(size_t page_bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (page_bytes == kUsualPageBytes) {
      if (free_ != nullptr) return std::exchange(free_, free_->next);
      if (Node* node = cut_from_chunk(); node != nullptr) return node;
    }
    if (!charge(cost_bytes(page_bytes))) return nullptr;
    void* memory = std::malloc(sizeof(Node) + page_bytes);
    if (memory != nullptr) return new (memory) Node;
    held_bytes_ -= cost_bytes(page_bytes);
    return nullptr;
  }

  void give_back(Node* node) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (node->is_in_chunk) {
      node->next = free_;
      free_ = node;
      return;
    }
    held_bytes_ -= cost_bytes(node->size_bytes);
    std::free(node);
  }

  // For tables, which their owner allocates.
  [[nodiscard]] bool take_bytes(size_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return charge(bytes);
  }
  void give_back_bytes(size_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    held_bytes_ -= bytes;
  }
  [[nodiscard]] size_t held_bytes() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return held_bytes_;
  }

 private:
  static constexpr size_t kNodeBytes =
      (sizeof(Node) + kUsualPageBytes + alignof(Node) - 1) / alignof(Node) * alignof(Node);

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
    Node* node = new (chunks_.back() + chunk_used_) Node{.is_in_chunk = true};
    chunk_used_ += kNodeBytes;
    return node;
  }

  const size_t limit_bytes_;
  const size_t chunks_max_;
  mutable Mutex mutex_;  // after a shard's
  size_t held_bytes_ GUARDED_BY(mutex_) = 0;
  std::vector<std::byte*> chunks_ GUARDED_BY(mutex_);
  size_t chunk_used_ GUARDED_BY(mutex_) = 0;  // of the last chunk
  Node* free_ GUARDED_BY(mutex_) = nullptr;
};

struct alignas(64) PageCache::Shard {
  ~Shard() {
    for (const Entry& entry : table)
      if (!entry.is_free()) memory->give_back(entry.node());
  }

  // The entry of a key, or the free entry where it belongs. Requires: a free entry exists.
  [[nodiscard]] Entry& find(uint64_t blob_id, uint64_t page, uint64_t hash) REQUIRES(mutex) {
    size_t at = hash & (table.size() - 1);
    while (!table[at].is_free() && !table[at].is(blob_id, page))
      at = (at + 1) & (table.size() - 1);
    return table[at];
  }

  [[nodiscard]] Entry& entry_of(const Node& node) REQUIRES(mutex) {
    return find(node.blob_id, node.page, hash_key(node.blob_id, node.page));
  }

  // The wanted ones of one shard: numbers from `first` on, as `next` chains them.
  struct List {
    std::span<Wanted> wanted;
    std::span<const uint64_t> hashes;
    std::span<const uint32_t> next;
    uint32_t first;
  };
  static constexpr uint32_t kEnd = UINT32_MAX;
  // What a thread sorts them with; kept, so that a read does not allocate.
  struct Lists {
    std::vector<uint64_t> hashes;
    std::vector<uint32_t> next;
    std::vector<uint32_t> first;  // by shard
  };

  // Three steps, each for all shards before the next one, so that all wait for memory together:
  // that of the entries, then of the pages, then the bytes are copied.
  static void fetch_bytes(Node& node, size_t offset_in_page, size_t size_bytes) {
    const std::byte* const from = node.payload() + offset_in_page;
    for (size_t line = 0; line < size_bytes; line += kLineBytes)
      __builtin_prefetch(from + line);
  }
  void fetch_entries(const List& list) {
    MutexLock lock(mutex);
    if (count == 0) return;
    for (uint32_t at = list.first; at != kEnd; at = list.next[at])
      __builtin_prefetch(&table[list.hashes[at] & (table.size() - 1)], 1);
  }
  void fetch_pages(const List& list) {
    MutexLock lock(mutex);
    if (count == 0) return;
    for (uint32_t at = list.first; at != kEnd; at = list.next[at]) {
      const Wanted& one = list.wanted[at];
      const Entry& entry = find(one.blob_id, one.page, list.hashes[at]);
      if (!entry.is_free()) fetch_bytes(*entry.node(), one.offset_in_page, one.out.size());
    }
  }
  void copy(const List& list) {
    MutexLock lock(mutex);
    for (uint32_t at = list.first; at != kEnd; at = list.next[at]) {
      Wanted& one = list.wanted[at];
      one.found = read(one, list.hashes[at]);
    }
  }

  // False if the page is not cached.
  bool read(const Wanted& one, uint64_t hash) REQUIRES(mutex) {
    if (count == 0) return false;
    Entry& entry = find(one.blob_id, one.page, hash);
    if (entry.is_free()) return false;
    CHECK(one.offset_in_page <= entry.size_bytes() &&
              one.out.size() <= entry.size_bytes() - one.offset_in_page,
          "a read stays within its page");
    entry.refer();
    if (!one.out.empty()) {
      std::memcpy(one.out.data(), entry.node()->payload() + one.offset_in_page, one.out.size());
    }
    return true;
  }

  // Closes the gap that linear probing would stumble over.
  void erase_entry(size_t hole) REQUIRES(mutex) {
    const size_t mask = table.size() - 1;
    for (size_t at = (hole + 1) & mask; !table[at].is_free(); at = (at + 1) & mask) {
      const size_t home = hash_key(table[at].blob_id(), table[at].page()) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;  // reachable without the hole
      table[hole] = table[at];
      hole = at;
    }
    table[hole] = {};
    --count;
  }

  // Takes a node out of table and ring; the caller frees or reuses it.
  void detach(Node* node) REQUIRES(mutex) {
    erase_entry(static_cast<size_t>(&entry_of(*node) - table.data()));
    if (hand == node) hand = node->next == node ? nullptr : node->next;
    node->previous->next = node->next;
    node->next->previous = node->previous;
    used -= cost_bytes(node->size_bytes);
  }

  // Requires: a page is cached.
  [[nodiscard]] Node* detach_victim() REQUIRES(mutex) {
    while (entry_of(*hand).forget_reference())
      hand = hand->next;
    Node* victim = hand;
    detach(victim);
    return victim;
  }

  // Makes the table big enough for one more page, if the bound has room for old and new table.
  void grow_table(size_t page_cost) REQUIRES(mutex) {
    if (!table.empty() && (count + 1) * 4 <= table.size() * 3) return;
    const size_t new_size = table.empty() ? kFirstTableSize : table.size() * 2;
    const size_t new_cost = new_size * sizeof(Entry);
    if (used + new_cost + page_cost > capacity) return;
    std::vector<Entry> old(new_size);
    if (!memory->take_bytes(new_cost)) return;
    std::swap(old, table);
    for (const Entry& entry : old)
      if (!entry.is_free()) entry_of(*entry.node()) = entry;
    used += new_cost - old.size() * sizeof(Entry);
    memory->give_back_bytes(old.size() * sizeof(Entry));
  }

  [[nodiscard]] bool is_table_full() const REQUIRES(mutex) {
    return (count + 1) * 8 > table.size() * 7;
  }

  // A node for a page, evicting as needed. Null if there is no memory within the bound, even
  // without some pages of this shard: others may hold it.
  [[nodiscard]] Node* take_node(size_t size_bytes) REQUIRES(mutex) {
    const size_t cost = cost_bytes(size_bytes);
    size_t evictions_left = kEvictionsForMemoryMax;
    while (true) {
      const bool has_room = count == 0 || (used + cost <= capacity && !is_table_full());
      if (has_room) {
        if (Node* const node = memory->take(size_bytes); node != nullptr) return node;
        if (count == 0 || evictions_left-- == 0) return nullptr;
      }
      Node* const victim = detach_victim();
      if (victim->size_bytes == size_bytes && used + cost <= capacity) return victim;
      memory->give_back(victim);
    }
  }

  void attach(Node* node, uint64_t hash) REQUIRES(mutex) {
    find(node->blob_id, node->page, hash) = Entry(*node);
    ++count;
    used += cost_bytes(node->size_bytes);
    if (hand == nullptr) {
      hand = node->next = node->previous = node;
      return;
    }
    // Just behind the hand: the last place that it reaches.
    node->next = hand;
    node->previous = hand->previous;
    node->previous->next = node;
    hand->previous = node;
  }

  mutable Mutex mutex;
  std::vector<Entry> table GUARDED_BY(mutex);
  Node* hand GUARDED_BY(mutex) = nullptr;
  size_t count GUARDED_BY(mutex) = 0;
  size_t used GUARDED_BY(mutex) = 0;
  // Set before the shard is shared.
  size_t capacity = 0;
  Memory* memory = nullptr;
};

void PageCache::Free::operator()(uint32_t* words) const {
  std::free(words);
}

PageCache::PageCache(size_t capacity_bytes, size_t shard_count)
    : capacity_bytes_(capacity_bytes),
      missed_count_(std::bit_floor(capacity_bytes / kBytesPerMiss)),
      missed_(static_cast<uint32_t*>(std::calloc(missed_count_, sizeof(uint32_t)))),
      shard_count_(choose_shard_count(capacity_bytes, shard_count)),
      memory_(std::make_unique<Memory>(capacity_bytes - missed_bytes())),
      shards_(std::make_unique<Shard[]>(shard_count_)) {
  CHECK(std::has_single_bit(shard_count_), "the number of shards is a power of two");
  if (missed_ == nullptr && missed_count_ > 0) throw std::bad_alloc();
  for (size_t i = 0; i < shard_count_; ++i) {
    shards_[i].capacity = (capacity_bytes - missed_bytes()) / shard_count_;
    shards_[i].memory = memory_.get();
  }
}

PageCache::~PageCache() = default;

uint64_t PageCache::new_blob_id() {
  return next_blob_id_.fetch_add(1, std::memory_order_relaxed);
}

size_t PageCache::cost_bytes(size_t page_size) {
  return sizeof(Node) + page_size + kAllocationOverhead;
}

PageCache::Shard& PageCache::shard_of(uint64_t hash) const {
  return shards_[shard_number(hash)];
}

bool PageCache::read(uint64_t blob_id, uint64_t page, size_t offset_in_page, MutableByteSpan out) {
  const uint64_t hash = hash_key(blob_id, page);
  Shard& shard = shard_of(hash);
  MutexLock lock(shard.mutex);
  return shard.read({blob_id, page, offset_in_page, out}, hash);
}

void PageCache::fetch(uint64_t blob_id, uint64_t page, size_t offset_in_page, size_t size_bytes) {
  const uint64_t hash = hash_key(blob_id, page);
  Shard& shard = shard_of(hash);
  MutexLock lock(shard.mutex);
  if (shard.count == 0) return;
  const Entry& entry = shard.find(blob_id, page, hash);
  if (!entry.is_free()) Shard::fetch_bytes(*entry.node(), offset_in_page, size_bytes);
}

void PageCache::read_many(std::span<Wanted> wanted) {
  thread_local constinit PerThread<Shard::Lists> kept;
  auto& [hashes, next, first] = kept.get();
  hashes.resize(wanted.size());
  next.resize(wanted.size());
  first.assign(shard_count_, Shard::kEnd);
  for (size_t i = wanted.size(); i-- > 0;) {
    hashes[i] = hash_key(wanted[i].blob_id, wanted[i].page);
    next[i] = std::exchange(first[shard_number(hashes[i])], static_cast<uint32_t>(i));
  }
  for (const auto step : {&Shard::fetch_entries, &Shard::fetch_pages, &Shard::copy})
    for (size_t i = 0; i < shard_count_; ++i)
      if (first[i] != Shard::kEnd) (shards_[i].*step)({wanted, hashes, next, first[i]});
}

void PageCache::insert(uint64_t blob_id, uint64_t page, ByteSpan payload) {
  const uint64_t hash = hash_key(blob_id, page);
  Shard& shard = shard_of(hash);
  MutexLock lock(shard.mutex);
  if (payload.empty() || !Entry::can_hold(blob_id, page, payload.size())) return;
  if (shard.count > 0) {
    Entry& entry = shard.find(blob_id, page, hash);
    if (!entry.is_free()) {
      Node* const node = entry.node();
      if (node->size_bytes == payload.size()) {
        std::memcpy(node->payload(), payload.data(), payload.size());
        entry.refer();
        return;
      }
      shard.detach(node);
      memory_->give_back(node);
    }
  }
  shard.grow_table(cost_bytes(payload.size()));
  if (shard.table.empty() ||
      shard.table.size() * sizeof(Entry) + cost_bytes(payload.size()) > shard.capacity)
    return;
  Node* const node = shard.take_node(payload.size());
  if (node == nullptr) return;
  node->blob_id = blob_id;
  node->page = page;
  node->size_bytes = static_cast<uint32_t>(payload.size());
  std::memcpy(node->payload(), payload.data(), payload.size());
  shard.attach(node, hash);
}

bool PageCache::is_wanted(uint64_t blob_id, uint64_t page) {
  if (missed_count_ == 0) return false;
  const uint64_t hash = hash_key(blob_id, page);
  const auto print = static_cast<uint32_t>(hash >> 32) | 1;  // 0: nobody
  const std::atomic_ref<uint32_t> last(missed_[hash & (missed_count_ - 1)]);
  return last.exchange(print, std::memory_order_relaxed) == print;
}

void PageCache::evict_from(uint64_t blob_id, uint64_t first_page) {
  for (size_t i = 0; i < shard_count_; ++i) {
    Shard& shard = shards_[i];
    MutexLock lock(shard.mutex);
    for (size_t at = 0; at < shard.table.size();) {
      const Entry entry = shard.table[at];
      if (entry.is_free() || entry.blob_id() != blob_id || entry.page() < first_page) {
        ++at;
        continue;
      }
      shard.detach(entry.node());  // another entry may move here: look again
      memory_->give_back(entry.node());
    }
  }
}

size_t PageCache::used_bytes() const {
  return missed_bytes() + memory_->held_bytes();
}

}  // namespace firn
