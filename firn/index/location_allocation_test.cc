// SPDX-License-Identifier: Apache-2.0
//
// Allocations of LocationIndex and its arena that fail: each throws std::bad_alloc where it is,
// also while locks of buckets are held, and the next operations of the index must not notice. A
// program of its own, as it replaces operator new.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/index/failing_allocations_test_support.h"
#include "firn/index/location_arena.h"

namespace {

void* allocated(size_t size) {
  return firn::fails_now() ? nullptr : std::malloc(size);
}

}  // namespace

void* operator new(size_t size) {
  if (void* const memory = allocated(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return allocated(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<size_t>(alignment);
  const size_t whole = (size + unit - 1) / unit * unit;
  if (!firn::fails_now())
    if (void* const memory = std::aligned_alloc(unit, whole)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace firn {
namespace {

// Runs it with allocations that fail. False if it threw; its own allocations count, too.
template <class Call>
bool runs(Random& random, Call&& call) {
  failing = {.succeed = random.one_in(2) ? static_cast<int64_t>(random.below(4)) : -1,
             .for_good = random.one_in(2),
             .failed = failing.failed};
  bool ran = true;
  try {
    call();
  } catch (const std::bad_alloc&) {
    ran = false;
  }
  failing.succeed = -1;
  return ran;
}

constexpr size_t kKeys = 700;
constexpr size_t kEqual = 60;  // keys with one hash, more than a chain of a small table holds

KeyHash hash_in_short_memory(size_t key) {
  uint64_t state = key < kEqual ? 7 : 1000 + key;
  return KeyHash(split_mix64(state));
}
auto is_in_short_memory(size_t key) {
  return
      [key](Location at) { return at.value % kKeys == key ? KeyMatch::same : KeyMatch::different; };
}

// An index and what it should hold; a location tells its key.
class IndexWithoutMemory {
 public:
  explicit IndexWithoutMemory(uint64_t seed) : random_(seed), session_(domain_) {
    index_ = std::move(*BasicLocationIndex<LonelyPolicy>::open(domain_, {.shard_bits = 0}));
  }

  void step() {
    const size_t key = random_.one_in(2) ? random_.below(kEqual) : random_.below(kKeys);
    LocationOutcome outcome{.status = LocationStatus::no_memory};
    const Location location(++next_ * kKeys + key);
    switch (random_.below(200)) {
      case 0: return change([&] { return index_->clear(session_); }, true);
      case 1: return change([&] { return index_->reserve(session_, 100 + random_.below(2000)); });
      case 2: return change([&] { return index_->shrink(session_); });
      case 3: return change([&] { return index_->maintain(session_); });
      case 4: return walk();
      default: break;
    }
    const bool put = random_.below(5) < 3;
    runs(random_, [&] {
      outcome =
          put ? index_->put(session_, hash_in_short_memory(key), location, is_in_short_memory(key))
              : index_->remove(session_, hash_in_short_memory(key), is_in_short_memory(key));
    });
    if (outcome.status == LocationStatus::done) {
      EXPECT_EQ(outcome.location, reference_[key]);
      reference_[key] = put ? location : Location();
    } else {
      EXPECT_EQ(outcome.status, LocationStatus::no_memory);
    }
    EXPECT_EQ(index_->find(session_, hash_in_short_memory(key), is_in_short_memory(key)).location,
              reference_[key]);
  }

  void check() {
    uint64_t present = 0;
    for (size_t key = 0; key < kKeys; ++key) {
      EXPECT_EQ(index_->find(session_, hash_in_short_memory(key), is_in_short_memory(key)).location,
                reference_[key])
          << key;
      if (reference_[key].value != 0) ++present;
    }
    EXPECT_EQ(index_->size(), present);
    EXPECT_EQ(index_->maintain(session_), LocationStatus::done);
    walk();
  }

 private:
  template <class Change>
  void change(Change&& change, bool clears = false) {
    LocationStatus status = LocationStatus::no_memory;
    runs(random_, [&] { status = change(); });
    if (status == LocationStatus::done && clears) reference_ = {};
    EXPECT_TRUE(status == LocationStatus::done || status == LocationStatus::no_memory);
  }
  void walk() {
    std::array<Location, kKeys> listed{};
    const bool all = runs(random_, [&] {
      index_->for_each(session_, [&](KeyHash, Location at) { listed[at.value % kKeys] = at; });
    });
    EXPECT_TRUE(!all || listed == reference_);
  }

  Random random_;
  BasicEpochDomain<LonelyPolicy> domain_;
  BasicEpochSession<LonelyPolicy> session_;
  std::unique_ptr<BasicLocationIndex<LonelyPolicy>> index_;
  std::array<Location, kKeys> reference_{};
  uint64_t next_ = 0;
};

TEST(LocationAllocation, GivenAllocationsThatFail_WhenChanged_ThenNothingStaysLockedOrIsLost) {
  failing = {};
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    IndexWithoutMemory index(seed);
    for (int step = 0; step < 3000; ++step)
      index.step();
    index.check();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(failing.failed, 1000U);
}

TEST(LocationAllocation, GivenAllocationsThatFail_WhenTheArenaIsUsed_ThenPiecesStayApart) {
  struct Piece {
    std::byte* memory;
    size_t bytes;
    std::byte content;
  };
  failing = {};
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    index::LocationArena arena(uint64_t{1} << 30);
    std::vector<Piece> pieces;
    for (int step = 0; step < 3000; ++step) {
      if (pieces.size() < 30 || random.one_in(2)) {
        const size_t bytes = (1 + random.below(random.one_in(10) ? 3000 : 100)) * 256;
        void* memory = nullptr;
        EXPECT_TRUE(runs(random, [&] { memory = arena.allocate(bytes); }));
        if (memory == nullptr) continue;
        pieces.push_back({.memory = static_cast<std::byte*>(memory),
                          .bytes = bytes,
                          .content = static_cast<std::byte>(step)});
        std::fill_n(pieces.back().memory, bytes, pieces.back().content);
      } else {
        std::swap(pieces[random.below(pieces.size())], pieces.back());
        const Piece piece = pieces.back();
        pieces.pop_back();
        ASSERT_EQ(std::count(piece.memory, piece.memory + piece.bytes, piece.content),
                  static_cast<ptrdiff_t>(piece.bytes))
            << "seed " << seed;
        EXPECT_TRUE(runs(random, [&] { arena.release(piece.memory, piece.bytes); }));
      }
    }
    EXPECT_GE(arena.usage().resident, arena.usage().used);
  }
}

// A piece that could not be noted down when it was released may be lost, but no table is.
TEST(LocationAllocation, GivenAnyAllocationThatFails_WhenASnapshotIsWritten_ThenItsTablesAreGone) {
  constexpr uint64_t kTable = 64 << 10;
  BasicEpochDomain<LonelyPolicy> domain;
  BasicEpochSession<LonelyPolicy> session(domain);
  const auto index = std::move(*BasicLocationIndex<LonelyPolicy>::open(domain, {.shard_bits = 0}));
  const auto other = [](Location) { return KeyMatch::different; };
  for (uint64_t at = 1; at <= 6000; ++at)
    (void)index->put(session, hash_in_short_memory(at <= 5700 ? kEqual + at : 0), Location(at),
                     other);
  ASSERT_EQ(index->size(), 6000U);
  const uint64_t before = index->statistics(session).bytes_live;
  ASSERT_GT(before, kTable);
  bool written = false;
  int64_t succeed = 0;
  for (; !written; ++succeed) {
    CountingSink sink;
    failing = {.succeed = succeed};
    try {
      written = index->snapshot(session, sink, 0).has_value() && failing.succeed >= 0;
    } catch (const std::bad_alloc&) {
      written = false;
    }
    failing = {};
    EXPECT_LT(index->statistics(session).bytes_live, before + kTable) << succeed;
  }
  EXPECT_GT(succeed, 10);
}

// A home with more entries than are copied without an allocation, and none to be had.
TEST(LocationAllocation, GivenAHomeOfManyEntries_WhenWalkedWithoutMemory_ThenItThrowsUnlocked) {
  failing = {};
  BasicEpochDomain<LonelyPolicy> domain;
  BasicEpochSession<LonelyPolicy> session(domain);
  const auto crowded =
      std::move(*BasicLocationIndex<LonelyPolicy>::open(domain, {.shard_bits = 0}));
  const auto other = [](Location) { return KeyMatch::different; };
  for (uint64_t at = 1; at <= 400; ++at)
    ASSERT_TRUE(crowded->put(session, KeyHash(7), Location(at), other).ok());
  const auto walk = [&] {
    uint64_t listed = 0;
    crowded->for_each(session, [&](KeyHash, Location) { ++listed; });
    return listed;
  };
  failing = {.succeed = 0, .for_good = true};
  EXPECT_THROW(walk(), std::bad_alloc);
  EXPECT_THROW((void)crowded->put(session, KeyHash(7), Location(401), other), std::bad_alloc);
  failing = {};
  EXPECT_EQ(walk(), 400U);
  EXPECT_TRUE(crowded->put(session, KeyHash(7), Location(401), other).ok());
  // What is dropped is not copied: without memory for a small table nothing happens, else all of
  // it.
  failing = {.succeed = 0, .for_good = true};
  const LocationStatus cleared = crowded->clear(session);
  failing = {};
  EXPECT_EQ(walk(), cleared == LocationStatus::done ? 0U : 401U);
  EXPECT_EQ(crowded->size(), walk());
}

}  // namespace
}  // namespace firn
