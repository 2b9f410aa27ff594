// SPDX-License-Identifier: Apache-2.0
//
// LocationIndex against std::unordered_multimap: the input draws how hashes collide, when memory is
// refused, and operations. Every answer must be that of the multimap, and so must the whole content
// be, again and again, also of an index that was loaded from a snapshot.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/index/location_index_internals.h"

namespace {

using namespace firn;

// Memory is refused as long as the input wants it.
struct FuzzedPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static inline uint64_t allocations_left = UINT64_MAX;
  static bool may_allocate(size_t) {
    if (allocations_left == 0) return false;
    --allocations_left;
    return true;
  }
};

using Index = BasicLocationIndex<FuzzedPolicy>;

class BytesSink : public SnapshotSink {
 public:
  explicit BytesSink(Bytes& bytes) : bytes_(bytes) {}
  Status write(ByteSpan bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return {};
  }
  uint64_t log_end() override { return 2; }

 private:
  Bytes& bytes_;
};

class BytesSource : public SnapshotSource {
 public:
  explicit BytesSource(ByteSpan bytes) : bytes_(bytes) {}
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }
  Status read(uint64_t offset, MutableByteSpan target) override {
    CHECK(offset <= size() && target.size() <= size() - offset, "a load stays inside");
    std::ranges::copy(bytes_.subspan(offset, target.size()), target.begin());
    return {};
  }

 private:
  ByteSpan bytes_;
};
using Domain = BasicEpochDomain<FuzzedPolicy>;
using Session = BasicEpochSession<FuzzedPolicy>;

// Takes numbers from the input, zeros after its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  [[nodiscard]] bool empty() const { return at_ >= size_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

class Fuzz {
 public:
  explicit Fuzz(Input& input)
      : input_(input),
        layout_(input.byte()),
        shard_bits_(layout_ / 8 % 3),
        index_(make()),
        session_(domain_) {}

  void run() {
    FuzzedPolicy::allocations_left = UINT64_MAX;
    while (!input_.empty()) {
      step();
      if (++steps_ % 16 == 0) compare_all();
    }
    compare_all();
  }

 private:
  static constexpr uint64_t kUnusedBits = 27;
  static constexpr uint64_t kKeyBits = 8;

  std::unique_ptr<Index> make() {
    const uint64_t left = std::exchange(FuzzedPolicy::allocations_left, UINT64_MAX);
    auto index = Index::open(domain_, {.hasher = hasher_, .shard_bits = shard_bits_});
    CHECK(index.has_value(), "an empty index opens");
    FuzzedPolicy::allocations_left = left;
    return std::move(*index);
  }

  // All keys equal, one home, one tag, some of each, or spread.
  [[nodiscard]] KeyHash hash(uint8_t key) const {
    constexpr uint64_t kBase = 0x5A << 8 | 0x11;
    const uint64_t unused = uint64_t{key} << 3;  // bits that the index does not keep
    switch (layout_ % 8) {
      case 0: return KeyHash(kBase << kUnusedBits | unused);
      case 1: return KeyHash((kBase ^ key) << kUnusedBits);
      case 2: return KeyHash((kBase + (uint64_t{key} << 8)) << kUnusedBits);
      case 3: return KeyHash((kBase + (uint64_t{key % 3U} << 8)) << kUnusedBits | unused);
      case 4: return KeyHash(uint64_t{key % 4U} << 62 | kBase << kUnusedBits);
      default: return KeyHash((key + 1U) * 0x9E3779B97F4A7C15);
    }
  }
  // What the index keeps of a hash, which is what for_each tells.
  [[nodiscard]] uint64_t kept_of(KeyHash hash) const {
    return hash.value & ~((uint64_t{1} << (64 - 29 - shard_bits_)) - 1);
  }
  static uint8_t key_at(Location location) { return static_cast<uint8_t>(location.value); }
  static auto is(uint8_t key) {
    return [key](Location at) { return key_at(at) == key ? KeyMatch::same : KeyMatch::different; };
  }
  Location new_location(uint8_t key) { return Location(++records_ << kKeyBits | key); }

  // The entry of a key, or the end.
  auto entry_of(uint8_t key) {
    const auto [first, last] = entries_.equal_range(kept_of(hash(key)));
    const auto found =
        std::find_if(first, last, [&](const auto& each) { return key_at(each.second) == key; });
    return found == last ? entries_.end() : found;
  }
  Location expected(uint8_t key) {
    const auto at = entry_of(key);
    return at == entries_.end() ? Location() : at->second;
  }
  void expect_put(uint8_t key, Location location) {
    if (const auto at = entry_of(key); at != entries_.end())
      at->second = location;
    else
      entries_.emplace(kept_of(hash(key)), location);
  }

  void step() {
    const uint8_t what = input_.byte();
    const uint8_t key = input_.byte();
    switch (what % 12) {
      case 0:
      case 1:
      case 2: put(key); break;
      case 3: put_if_newer(key); break;
      case 4: remove(key); break;
      case 5: compare_and_replace(key); break;
      case 6: find(key); break;
      case 7: many(key); break;
      case 8: FuzzedPolicy::allocations_left = key < 128 ? key % 8 : UINT64_MAX; break;
      case 9: move(key); break;
      case 10: unreadable(key); break;
      default: candidates(key); break;
    }
  }

  void put(uint8_t key) {
    const Location location = new_location(key);
    const LocationOutcome outcome = index_->put(session_, hash(key), location, is(key));
    if (outcome.status == LocationStatus::no_memory) return expect_refused();
    CHECK(outcome.status == LocationStatus::done, "a put is done");
    CHECK(outcome.location == expected(key), "and answers the previous location");
    expect_put(key, location);
  }

  void put_if_newer(uint8_t key) {
    const Location location = new_location(key);
    const bool newer = input_.byte() % 2 == 0;
    const LocationOutcome outcome = index_->put_if_newer(session_, hash(key), location, is(key),
                                                         [&](Location) { return newer; });
    if (outcome.status == LocationStatus::no_memory) return expect_refused();
    const Location previous = expected(key);
    CHECK(outcome.location == previous, "the location that was there is answered");
    const bool kept = previous.value != 0 && !newer;
    CHECK((outcome.status == LocationStatus::kept) == kept, "what is newer stays");
    if (!kept) expect_put(key, location);
  }

  void remove(uint8_t key) {
    const LocationOutcome outcome = index_->remove(session_, hash(key), is(key));
    if (outcome.status == LocationStatus::no_memory) return expect_refused();
    CHECK(outcome.location == expected(key), "a remove answers what was there");
    if (const auto at = entry_of(key); at != entries_.end()) entries_.erase(at);
  }

  void compare_and_replace(uint8_t key) {
    const Location old = input_.byte() % 2 == 0 ? expected(key) : Location(1);
    if (old.value == 0) return;
    const Location location = new_location(key);
    const LocationOutcome outcome = index_->compare_and_replace(session_, hash(key), old, location);
    if (outcome.status == LocationStatus::no_memory) return expect_refused();
    const bool there = expected(key) == old;
    CHECK((outcome.status == LocationStatus::done) == there, "only what is there is replaced");
    if (there) expect_put(key, location);
  }

  void find(uint8_t key) {
    const LocationOutcome outcome = index_->find(session_, hash(key), is(key));
    CHECK(outcome.ok() && outcome.location == expected(key), "what is there is found");
  }

  // Batches of keys in a row, some with keys that come again.
  void many(uint8_t first) {
    std::vector<KeyHash> hashes;
    std::vector<LocationEntry> entries;
    const unsigned different = first % 4 == 1 ? 1U + first % 40 : 256;
    const auto key_of = [&](size_t i) { return static_cast<uint8_t>(first + i % different); };
    for (unsigned i = 0; i < 1U + first % 150; ++i) {
      const uint8_t key = key_of(i);
      hashes.push_back(hash(key));
      entries.push_back({hash(key), new_location(key)});
    }
    std::vector<Location> found(hashes.size());
    const auto same = [&](size_t i, Location at) { return is(key_of(i))(at); };
    const auto find = index_->find_many(session_, hashes, found, same);
    CHECK(find.status == LocationStatus::done, "find_many is done");
    for (size_t i = 0; i < found.size(); ++i)
      CHECK(found[i] == expected(key_of(i)), "each is found as by find");
    if (first % 2 == 0) return;
    std::vector<Location> previous(entries.size());
    const LocationBatchOutcome outcome = index_->put_many(session_, entries, previous, same);
    for (size_t i = 0; i < outcome.completed; ++i) {
      const uint8_t key = key_at(entries[i].location);
      CHECK(previous[i] == expected(key), "each is put as by put");
      expect_put(key, entries[i].location);
    }
    if (outcome.status != LocationStatus::done) expect_refused();
  }

  // Fails for every record: nothing may change.
  void unreadable(uint8_t key) {
    const auto failed = [](Location) { return KeyMatch::failed; };
    const bool asks = entries_.contains(kept_of(hash(key)));
    if (!asks) return;
    const auto put = index_->put(session_, hash(key), new_location(key), failed);
    const auto remove = index_->remove(session_, hash(key), failed);
    for (const LocationOutcome& outcome : {put, remove})
      CHECK(outcome.status == LocationStatus::predicate_failed ||
                outcome.status == LocationStatus::no_memory,
            "what cannot be read is an error");
  }

  void candidates(uint8_t key) {
    std::array<Location, 300> found;
    const size_t count = index_->candidates(session_, hash(key), found);
    CHECK(count == entries_.count(kept_of(hash(key))), "all that share the bits, and no others");
  }

  void move(uint8_t what) {
    LocationStatus status = LocationStatus::done;
    switch (what % 8) {
      case 0: return clear();
      case 1:
      case 2: status = index_->shrink(session_); break;
      case 3: status = index_->maintain(session_); break;
      case 4: return snapshot_and_load();
      default: status = index_->reserve(session_, uint64_t{what} * 4); break;
    }
    if (status != LocationStatus::done) expect_refused();
  }

  // The index goes on as one that was loaded from its snapshot. A damaged one is refused, and then
  // the old index goes on.
  void snapshot_and_load() {
    Bytes image;
    BytesSink sink(image);
    const auto range = index_->snapshot(session_, sink, 1);
    if (!range) return expect_refused();
    CHECK(*range == (SnapshotRange{.log_begin = 1, .log_end = 2}), "positions are kept");
    const uint8_t damage = input_.byte();
    if (damage >= 128) image[(damage * 256U + input_.byte()) % image.size()] ^= std::byte{1};
    auto loaded = make();
    BytesSource source(image);
    const auto result = loaded->load(source);
    if (!result) {
      CHECK(loaded->size() == 0, "what failed to load is empty");
      CHECK(damage >= 128 || FuzzedPolicy::allocations_left == 0, "and failed for a reason");
      return;
    }
    CHECK(damage < 128, "a bit that changed is noticed");
    CHECK(*result == *range, "what was written can be read");
    index_ = std::move(loaded);
    compare_all();
  }

  // Shard by shard: after a failure some are empty.
  void clear() {
    if (index_->clear(session_) == LocationStatus::done) return entries_.clear();
    expect_refused();
    std::vector<uint64_t> left;
    index_->for_each(session_, [&](KeyHash, Location at) { left.push_back(at.value); });
    std::erase_if(entries_, [&](const auto& each) {
      return std::ranges::find(left, each.second.value) == left.end();
    });
  }

  static void expect_refused() {
    CHECK(FuzzedPolicy::allocations_left == 0, "memory is missing only if it was refused");
  }

  void compare_all() {
    std::vector<std::pair<uint64_t, uint64_t>> listed;
    index_->for_each(session_,
                     [&](KeyHash hash, Location at) { listed.emplace_back(hash.value, at.value); });
    std::vector<std::pair<uint64_t, uint64_t>> wanted;
    for (const auto& [hash, location] : entries_)
      wanted.emplace_back(hash, location.value);
    std::ranges::sort(listed);
    std::ranges::sort(wanted);
    CHECK(listed == wanted, "a walk lists what is there, once");
    CHECK(index_->size() == wanted.size(), "and so many there are");
    for (unsigned key = 0; key < 256; ++key)
      find(static_cast<uint8_t>(key));
  }

  Input& input_;
  const uint8_t layout_;
  const unsigned shard_bits_;
  const KeyHasher hasher_ = KeyHasher::random();
  Domain domain_;
  std::unique_ptr<Index> index_;
  Session session_;
  std::unordered_multimap<uint64_t, Location> entries_;
  uint64_t records_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Fuzz(input).run();
  return 0;
}
