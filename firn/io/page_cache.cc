// SPDX-License-Identifier: Apache-2.0
#include "firn/io/page_cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/mutex.h"
#include "firn/base/read_section.h"
#include "firn/base/units.h"
#include "firn/io/page_cache_memory.h"

namespace firn {
namespace {

constexpr size_t kShardCountMax = 16;
constexpr size_t kShardSizeMinBytes = kMiB;
constexpr size_t kFirstTableSize = 16;
constexpr size_t kBytesPerMiss = 4096;  // one remembered miss for so much capacity
constexpr size_t kLineBytes = 64;       // of the processor's cache
constexpr size_t kEvictionsForMemoryMax = 16;
constexpr size_t kPagesPerEviction = 16;
// Readers that meet changes so often wait for the mutex.
constexpr int kLooksMax = 4;
// Of a batch: so far ahead of the copy its page is fetched, and so far ahead of that its entry.
constexpr size_t kFetchDistance = 16;
// What the allocator adds to a block, so that the bound is about memory really taken.
constexpr size_t kAllocationOverhead = 16;

uint64_t hash_key(uint64_t key) {
  // Two rounds of multiply and fold: neighbouring pages must land in different shards and slots.
  uint64_t hash = key * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 32) ^ (key >> 32)) * 0xD6E8FEB86659FD93u;
  return hash ^ (hash >> 32);
}

size_t choose_shard_count(size_t capacity_bytes, size_t wanted) {
  if (wanted != 0) return wanted;
  return std::bit_floor(std::clamp<size_t>(capacity_bytes / kShardSizeMinBytes, 1, kShardCountMax));
}

}  // namespace

// A page as a reader finds it: stays while its read section does.
struct PageCache::Found {
  Entry* entry = nullptr;
  Entry::Word word;
};

struct alignas(128) PageCache::Shard {
  // Readers that look meanwhile look again.
  class Change {
   public:
    explicit Change(std::atomic<uint64_t>& version) : version_(version) { version_.fetch_add(1); }
    ~Change() { version_.fetch_add(1); }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    std::atomic<uint64_t>& version_;
  };

  ~Shard() {
    Table* const last = table.load();
    if (last == nullptr) return;
    for (const Entry& entry : last->entries)
      if (!entry.word().is_free()) memory->give_back(entry.word().node());
    delete last;
  }

  // Without a lock, in a read section. The version is that of before and after: what was read
  // between belongs together. seq_cst, as in Change: see epoch.h.
  [[nodiscard]] Found look(uint64_t key, uint64_t hash) const {
    for (int attempt = 0; attempt < kLooksMax; ++attempt) {
      const uint64_t before = version.load();
      const Found found = find(key, hash);
      if (before % 2 == 0 && version.load() == before) return found;
    }
    MutexLock lock(mutex);
    return find(key, hash);
  }
  void fetch_entry(uint64_t hash) const {
    const Table* const in = table.load();  // seq_cst, as nothing was loaded before it
    if (in != nullptr) __builtin_prefetch(&in->entries[in->home(hash)]);
  }
  [[nodiscard]] Found find(uint64_t key, uint64_t hash) const {
    Table* const in = table.load(std::memory_order_acquire);
    if (in == nullptr) return {};
    Entry& entry = in->find(key, hash);
    const Entry::Word word = entry.word();
    return word.is_free() || entry.key() != key ? Found() : Found{&entry, word};
  }

  [[nodiscard]] Entry& entry_of(const Node& node) REQUIRES(mutex) {
    return table.load()->find(node.key, hash_key(node.key));
  }

  // Closes the gap that linear probing would stumble over.
  void erase_entry(Entry& erased) REQUIRES(mutex) {
    Table& in = *table.load();
    const Change change(version);
    const size_t mask = in.size() - 1;
    auto hole = static_cast<size_t>(&erased - in.entries.data());
    for (size_t at = in.after(hole); !in.entries[at].word().is_free(); at = in.after(at)) {
      const Entry& entry = in.entries[at];
      const size_t home = in.home(hash_key(entry.key()));
      if (((at - home) & mask) < ((at - hole) & mask)) continue;  // reachable without the hole
      in.entries[hole].set(entry.key(), entry.word());
      hole = at;
    }
    in.entries[hole].set(0, {});
    --count;
  }

  // Takes a node out of table and ring, and hands it to who waits for its readers.
  void retire(Node& node) REQUIRES(mutex) {
    erase_entry(entry_of(node));
    if (hand == &node) hand = node.following == &node ? nullptr : node.following;
    node.preceding->following = node.following;
    node.following->preceding = node.preceding;
    used -= cost_bytes(node.size_bytes);
    memory->retire(node);
  }

  // Requires: a page is cached. Readers mark pages meanwhile: the second time round is the last.
  void retire_victim() REQUIRES(mutex) {
    for (size_t left = 2 * count; left > 0 && entry_of(*hand).forget_reference(); --left)
      hand = hand->following;
    retire(*hand);
  }

  // Makes the table big enough for one more page, if the bound has room for old and new table.
  void grow_table(size_t page_cost) REQUIRES(mutex) {
    Table* const old = table.load();
    if (old != nullptr && (count + 1) * 4 <= old->size() * 3) return;
    const size_t new_size = old == nullptr ? kFirstTableSize : old->size() * 2;
    const size_t new_cost = new_size * sizeof(Entry);
    if (used + new_cost + page_cost > capacity) return;
    auto grown = std::make_unique<Table>(new_size);
    if (!memory->take_bytes(new_cost)) return;
    used += new_cost;
    if (old != nullptr) {
      for (const Entry& entry : old->entries) {
        const uint64_t key = entry.key();
        if (!entry.word().is_free()) grown->find(key, hash_key(key)).set(key, entry.word());
      }
      used -= old->memory_bytes();
    }
    {
      const Change change(version);
      table.store(grown.release());
    }
    if (old == nullptr) return;
    memory->retire(*old);
    memory->collect();
  }

  [[nodiscard]] bool is_table_full() const REQUIRES(mutex) {
    return (count + 1) * 8 > table.load()->size() * 7;
  }

  // A node for a page, evicting as needed. Null if there is no memory within the bound, even
  // without some pages of this shard: others may hold it, or readers that may have found what was
  // evicted, as the caller itself, if it is in a read section. To look for these costs
  // microseconds, so several pages go at once.
  [[nodiscard]] Node* take_node(size_t size_bytes) REQUIRES(mutex) {
    const size_t cost = cost_bytes(size_bytes);
    size_t evictions_left = kEvictionsForMemoryMax;
    while (true) {
      const bool has_room = count == 0 || (used + cost <= capacity && !is_table_full());
      if (has_room) {
        if (Node* const node = memory->take(size_bytes); node != nullptr) return node;
        if (count == 0 || evictions_left == 0 || memory->is_waiting()) return nullptr;
      }
      size_t evictions = std::clamp<size_t>(count / kPagesPerEviction, 1, kEvictionsForMemoryMax);
      if (has_room) {
        evictions = std::min(evictions, evictions_left);
        evictions_left -= evictions;
      }
      for (; evictions > 0; --evictions)
        retire_victim();
    }
  }

  void attach(Node& node) REQUIRES(mutex) {
    {
      const Change change(version);
      table.load()->find(node.key, hash_key(node.key)).set(node.key, Entry::Word(node));
    }
    ++count;
    used += cost_bytes(node.size_bytes);
    if (hand == nullptr) {
      hand = node.following = node.preceding = &node;
      return;
    }
    // Just behind the hand: the last place that it reaches.
    node.following = hand;
    node.preceding = hand->preceding;
    node.preceding->following = &node;
    hand->preceding = &node;
  }

  // Odd while the table changes. Readers share this line, which only changes write.
  std::atomic<uint64_t> version = 0;
  std::atomic<Table*> table = nullptr;
  // Set before the shard is shared.
  size_t capacity = 0;
  Memory* memory = nullptr;

  alignas(128) mutable Mutex mutex;  // of those who change it
  Node* hand GUARDED_BY(mutex) = nullptr;
  size_t count GUARDED_BY(mutex) = 0;
  size_t used GUARDED_BY(mutex) = 0;
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
  const ReadSection reading;
  return copy(look(blob_id, page), offset_in_page, out);
}

bool PageCache::read_range(uint64_t blob_id, uint64_t page_size, uint64_t offset,
                           MutableByteSpan out) {
  const ReadSection reading;
  while (!out.empty()) {
    const uint64_t in_page = offset % page_size;
    const size_t count = std::min<size_t>(page_size - in_page, out.size());
    if (!copy(look(blob_id, offset / page_size), in_page, out.first(count))) return false;
    offset += count;
    out = out.subspan(count);
  }
  return true;
}

PageCache::Found PageCache::look(uint64_t blob_id, uint64_t page) const {
  return look(blob_id, page, hash_key(Entry::key_of(blob_id, page)));
}

PageCache::Found PageCache::look(uint64_t blob_id, uint64_t page, uint64_t hash) const {
  if (!Entry::is_key(blob_id, page)) return {};
  return shard_of(hash).look(Entry::key_of(blob_id, page), hash);
}

bool PageCache::copy(const Found& found, size_t offset_in_page, MutableByteSpan out) {
  if (found.entry == nullptr) return false;
  const size_t size_bytes = found.word.size_bytes();
  CHECK(offset_in_page <= size_bytes && out.size() <= size_bytes - offset_in_page,
        "a read stays within its page");
  found.entry->refer(found.word);
  if (!out.empty())
    std::memcpy(out.data(), found.word.node()->payload() + offset_in_page, out.size());
  return true;
}

void PageCache::fetch(const Found& found, size_t offset_in_page, size_t size_bytes) {
  if (found.entry == nullptr) return;
  const std::byte* const from = found.word.node()->payload() + offset_in_page;
  const size_t in_line = reinterpret_cast<uintptr_t>(from) % kLineBytes;
  for (size_t line = 0; line < in_line + size_bytes; line += kLineBytes)
    __builtin_prefetch(from + line - in_line);
}

void PageCache::fetch(uint64_t blob_id, uint64_t page, size_t offset_in_page, size_t size_bytes) {
  const ReadSection reading;
  fetch(look(blob_id, page), offset_in_page, size_bytes);
}

void PageCache::want(uint64_t blob_id, uint64_t page_size, uint64_t offset, MutableByteSpan out,
                     std::vector<Wanted>& wanted) {
  uint64_t page = offset / page_size;
  size_t in_page = offset % page_size;
  while (true) {
    const size_t count = std::min<size_t>(page_size - in_page, out.size());
    wanted.push_back({blob_id, page, in_page, out.first(count)});
    if (count == out.size()) return;
    out = out.subspan(count);
    in_page = 0;
    ++page;
  }
}

// Three steps, each some pages ahead of the next, so that several wait for memory together: that of
// the entries, then of the pages, then the bytes are copied.
void PageCache::read_many(std::span<Wanted> wanted) {
  const ReadSection reading;
  // Of the next pages, by their number modulo the distance.
  std::array<uint64_t, kFetchDistance> hashes;
  std::array<Found, kFetchDistance> found;
  for (size_t i = 0; i < wanted.size() + 2 * kFetchDistance; ++i) {
    const size_t place = i % kFetchDistance;
    if (i >= 2 * kFetchDistance) {
      Wanted& one = wanted[i - 2 * kFetchDistance];
      one.found = copy(found[place], one.offset_in_page, one.out);
    }
    if (i >= kFetchDistance && i - kFetchDistance < wanted.size()) {
      const Wanted& one = wanted[i - kFetchDistance];
      found[place] = look(one.blob_id, one.page, hashes[place]);
      fetch(found[place], one.offset_in_page, one.out.size());
    }
    if (i < wanted.size()) {
      hashes[place] = hash_key(Entry::key_of(wanted[i].blob_id, wanted[i].page));
      shard_of(hashes[place]).fetch_entry(hashes[place]);
    }
  }
}

void PageCache::insert(uint64_t blob_id, uint64_t page, ByteSpan payload) {
  if (payload.empty() || !Entry::can_hold(blob_id, page, payload.size())) return;
  const uint64_t key = Entry::key_of(blob_id, page);
  const uint64_t hash = hash_key(key);
  Shard& shard = shard_of(hash);
  MutexLock lock(shard.mutex);
  if (const Found found = shard.find(key, hash); found.entry != nullptr) {
    Node& node = *found.word.node();
    if (equal_bytes({node.payload(), node.size_bytes}, payload)) {
      found.entry->refer(found.word);
      return;
    }
    shard.retire(node);
    memory_->collect();
  }
  shard.grow_table(cost_bytes(payload.size()));
  const Table* const table = shard.table.load();
  if (table == nullptr || table->memory_bytes() + cost_bytes(payload.size()) > shard.capacity)
    return;
  Node* const node = shard.take_node(payload.size());
  if (node == nullptr) return;
  node->key = key;
  node->size_bytes = static_cast<uint32_t>(payload.size());
  std::memcpy(node->payload(), payload.data(), payload.size());
  shard.attach(*node);
}

bool PageCache::is_wanted(uint64_t blob_id, uint64_t page) {
  if (missed_count_ == 0) return false;
  const uint64_t hash = hash_key(page ^ std::rotl(blob_id, 32));
  const auto print = static_cast<uint32_t>(hash >> 32) | 1;  // 0: nobody
  const std::atomic_ref<uint32_t> last(missed_[hash & (missed_count_ - 1)]);
  return last.exchange(print, std::memory_order_relaxed) == print;
}

void PageCache::evict_from(uint64_t blob_id, uint64_t first_page) {
  for (size_t i = 0; i < shard_count_; ++i) {
    Shard& shard = shards_[i];
    MutexLock lock(shard.mutex);
    Table* const table = shard.table.load();
    if (table == nullptr) continue;
    for (size_t at = 0; at < table->size();) {
      const Entry& entry = table->entries[at];
      const bool is_meant =
          !entry.word().is_free() && Entry::is_of(entry.key(), blob_id, first_page);
      if (is_meant)
        shard.retire(*entry.word().node());  // another entry may move here: look again
      else
        ++at;
    }
  }
  memory_->collect();
}

size_t PageCache::used_bytes() const {
  return missed_bytes() + memory_->held_bytes();
}

}  // namespace firn
