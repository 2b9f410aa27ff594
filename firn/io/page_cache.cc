// SPDX-License-Identifier: Apache-2.0
#include "firn/io/page_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "firn/base/check.h"
#include "firn/base/mutex.h"
#include "firn/base/prefetch.h"
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
    const TableWord last = table();
    if (last.is_null()) return;
    for (const Entry& entry : last.entries())
      if (!entry.word().is_free()) memory->give_back(entry.word().node());
    TableWord::destroy(last.table());
  }

  // Without a lock, in a read section. The version is that of before and after: what was read
  // between belongs together. seq_cst, as in Change: see epoch.h.
  [[nodiscard, gnu::always_inline]] Found look(uint64_t key, uint64_t hash) const {
    const uint64_t before = version.load();
    const Found found = find(key, hash);
    return is_still(before) ? found : look_again(key, hash);
  }
  [[nodiscard, gnu::noinline]] Found look_again(uint64_t key, uint64_t hash) const {
    for (int attempt = 1; attempt < kLooksMax; ++attempt) {
      const uint64_t before = version.load();
      const Found found = find(key, hash);
      if (is_still(before)) return found;
    }
    MutexLock lock(mutex);
    return find(key, hash);
  }
  [[nodiscard]] bool is_still(uint64_t before) const {
    return before % 2 == 0 && version.load() == before;
  }
  void fetch_entry(uint64_t hash) const {
    const TableWord in = table();
    if (!in.is_null()) prefetch(in.first() + in.home(hash));
  }
  // seq_cst, where nothing was loaded before it.
  [[nodiscard]] TableWord table() const { return TableWord(table_bits.load()); }
  [[nodiscard, gnu::always_inline]] Found find(uint64_t key, uint64_t hash) const {
    const TableWord in(table_bits.load(std::memory_order_acquire));
    if (in.is_null()) return {};
    Entry& entry = in.find(key, hash);
    const Entry::Word word = entry.word();
    return word.is_free() || entry.key() != key ? Found() : Found{&entry, word};
  }

  [[nodiscard]] Entry& entry_of(const Node& node) REQUIRES(mutex) {
    return table().find(node.key, hash_key(node.key));
  }

  // Closes the gap that linear probing would stumble over.
  void erase_entry(Entry& erased) REQUIRES(mutex) {
    const TableWord in = table();
    const std::span<Entry> entries = in.entries();
    const Change change(version);
    const size_t mask = in.size() - 1;
    auto hole = static_cast<size_t>(&erased - entries.data());
    for (size_t at = in.after(hole); !entries[at].word().is_free(); at = in.after(at)) {
      const Entry& entry = entries[at];
      const size_t home = in.home(hash_key(entry.key()));
      if (((at - home) & mask) < ((at - hole) & mask)) continue;  // reachable without the hole
      entries[hole].set(entry.key(), entry.word());
      hole = at;
    }
    entries[hole].set(0, {});
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
    const TableWord old = table();
    if (!old.is_null() && (count + 1) * 4 <= old.size() * 3) return;
    const size_t new_size = old.is_null() ? kFirstTableSize : old.size() * 2;
    const size_t new_cost = new_size * sizeof(Entry);
    if (used + new_cost + page_cost > capacity) return;
    const TableWord grown = TableWord::make(new_size);
    if (!memory->take_bytes(new_cost)) {
      TableWord::destroy(grown.table());
      return;
    }
    used += new_cost;
    if (!old.is_null()) {
      for (const Entry& entry : old.entries()) {
        const uint64_t key = entry.key();
        if (!entry.word().is_free()) grown.find(key, hash_key(key)).set(key, entry.word());
      }
      used -= old.memory_bytes();
    }
    {
      const Change change(version);
      table_bits.store(grown.bits());
    }
    if (old.is_null()) return;
    memory->retire(*old.table());
    memory->collect();
  }

  [[nodiscard]] bool is_table_full() const REQUIRES(mutex) {
    return (count + 1) * 8 > table().size() * 7;
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
      table().find(node.key, hash_key(node.key)).set(node.key, Entry::Word(node));
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
  std::atomic<uint64_t> table_bits = 0;  // of a TableWord
  // Set before the shard is shared.
  size_t capacity = 0;
  Memory* memory = nullptr;

  alignas(128) mutable Mutex mutex;  // of those who change it
  Node* hand GUARDED_BY(mutex) = nullptr;
  size_t count GUARDED_BY(mutex) = 0;
  size_t used GUARDED_BY(mutex) = 0;
};

inline PageCache::Shard& PageCache::shard_of(uint64_t hash) const {
  return shards_.get()[shard_number(hash)];
}

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

bool PageCache::read(uint64_t blob_id, uint64_t page, size_t offset_in_page,
                     MutableByteSpan out) const {
  const ReadSection reading;
  return copy(look(blob_id, page), offset_in_page, out);
}

bool PageCache::read_range(uint64_t blob_id, uint64_t page_size, uint64_t offset,
                           MutableByteSpan out) const {
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

inline PageCache::Found PageCache::look(uint64_t blob_id, uint64_t page) const {
  return look(blob_id, page, hash_key(Entry::key_of(blob_id, page)));
}

[[gnu::always_inline]] inline PageCache::Found PageCache::look(uint64_t blob_id, uint64_t page,
                                                               uint64_t hash) const {
  if (!Entry::is_key(blob_id, page)) return {};
  return shard_of(hash).look(Entry::key_of(blob_id, page), hash);
}

inline ByteSpan PageCache::in_place(const Found& found, size_t offset_in_page, size_t size_bytes) {
  if (found.entry == nullptr) return {};
  const size_t page_bytes = found.word.size_bytes();
  CHECK(offset_in_page <= page_bytes && size_bytes <= page_bytes - offset_in_page,
        "a read stays within its page");
  found.entry->refer(found.word);
  return {found.word.node()->payload() + offset_in_page, size_bytes};
}

bool PageCache::copy(const Found& found, size_t offset_in_page, MutableByteSpan out) {
  const ByteSpan bytes = in_place(found, offset_in_page, out.size());
  if (found.entry == nullptr) return false;
  copy_bytes(out, bytes);
  return true;
}

void PageCache::fetch(ByteSpan bytes) {
  const std::byte* line = bytes.data() - reinterpret_cast<uintptr_t>(bytes.data()) % kLineBytes;
  for (; line < bytes.data() + bytes.size(); line += kLineBytes)
    prefetch(line);
}

void PageCache::fetch(uint64_t blob_id, uint64_t page, size_t offset_in_page,
                      size_t size_bytes) const {
  const ReadSection reading;
  const Found found = look(blob_id, page);
  if (found.entry != nullptr)
    fetch(ByteSpan(found.word.node()->payload() + offset_in_page, size_bytes));
}

void PageCache::fetch_entry(Wanted& wanted) const {
  wanted.hash = hash_key(Entry::key_of(wanted.blob_id, wanted.page));
  shard_of(wanted.hash).fetch_entry(wanted.hash);
  if (wanted.bytes_beyond_page() == 0) return;
  const uint64_t next_hash = hash_key(Entry::key_of(wanted.blob_id, wanted.page + 1));
  shard_of(next_hash).fetch_entry(next_hash);
}

void PageCache::fetch(Wanted& wanted) const {
  if (wanted.bytes_beyond_page() > 0) [[unlikely]]
    return fetch_parts(wanted);
  const Found found = look(wanted.blob_id, wanted.page, wanted.hash);
  wanted.found = in_place(found, wanted.offset_in_page, wanted.size_bytes);
  fetch(wanted.found);
}

// Of those in more than one page, few are in more than two.
void PageCache::fetch_parts(const Wanted& wanted) const {
  fetch(wanted.blob_id, wanted.page, wanted.offset_in_page, wanted.size_bytes);
  fetch(wanted.blob_id, wanted.page + 1, 0, wanted.bytes_beyond_page());
}

ByteSpan PageCache::join(const Wanted& wanted, MutableByteSpan memory) const {
  const MutableByteSpan joined = memory.first(wanted.size_bytes);
  if (!read_range(wanted.blob_id, wanted.page_size, wanted.offset(), joined)) return {};
  return joined;
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
  const TableWord table = shard.table();
  if (table.is_null() || table.memory_bytes() + cost_bytes(payload.size()) > shard.capacity) return;
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
    const TableWord table = shard.table();
    if (table.is_null()) continue;
    for (size_t at = 0; at < table.size();) {
      const Entry& entry = table.entries()[at];
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
