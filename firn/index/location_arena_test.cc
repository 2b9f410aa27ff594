// SPDX-License-Identifier: Apache-2.0
#include "firn/index/location_arena.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "firn/base/random.h"
#include "firn/base/units.h"

namespace firn::index {
namespace {

constexpr uint64_t kPlenty = kGiB;
constexpr size_t kArenaBlock = LocationArena::kBlock;

struct Piece {
  std::byte* memory;
  size_t bytes;
};

Piece allocate(LocationArena& arena, size_t bytes) {
  auto* const memory = static_cast<std::byte*>(arena.allocate(bytes));
  return {.memory = memory, .bytes = bytes};
}

void expect_zeroed_then_fill(const Piece& piece) {
  ASSERT_NE(piece.memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(piece.memory) % LocationArena::kAlignment, 0u);
  const bool zeroed = std::all_of(piece.memory, piece.memory + piece.bytes,
                                  [](std::byte byte) { return byte == std::byte{0}; });
  EXPECT_TRUE(zeroed);
  std::memset(piece.memory, 0xA5, piece.bytes);
}

std::vector<Piece> allocate_blocks(LocationArena& arena) {
  std::vector<Piece> pieces;
  for (int i = 0; i < 2000; ++i)
    pieces.push_back(allocate(arena, kArenaBlock));
  return pieces;
}

TEST(LocationArena, GivenRandomSizes_WhenAllocatedAndReleased_ThenZeroedApartAndMerged) {
  LocationArena arena(kPlenty);
  Random random(7);
  std::vector<Piece> pieces;
  for (int step = 0; step < 3000; ++step) {
    if (pieces.size() < 40 || random.one_in(2)) {
      const size_t bytes = (1 + random.below(random.one_in(20) ? 12'000 : 500)) * 256;
      pieces.push_back(allocate(arena, bytes));
      expect_zeroed_then_fill(pieces.back());
    } else {
      std::swap(pieces[random.below(pieces.size())], pieces.back());
      const Piece piece = pieces.back();
      EXPECT_TRUE(std::all_of(piece.memory, piece.memory + piece.bytes,
                              [](std::byte byte) { return byte == std::byte{0xA5}; }));
      arena.release(piece.memory, piece.bytes);
      pieces.pop_back();
    }
    if (HasFatalFailure()) return;
  }
  uint64_t used = 0;
  for (const Piece& piece : pieces)
    used += piece.bytes < kArenaBlock ? piece.bytes : round_up(piece.bytes, kArenaBlock);
  EXPECT_EQ(arena.used(), used);
  EXPECT_EQ(arena.usage().used, used);
  EXPECT_LE(arena.usage().used + arena.usage().free_touched, arena.usage().resident);
  for (const Piece& piece : pieces)
    arena.release(piece.memory, piece.bytes);
  arena.trim();
  EXPECT_EQ(arena.usage().resident, 0u);
  EXPECT_EQ(arena.usage().free_touched, 0u);
}

TEST(LocationArena, GivenNeighboursThatAreReleased_WhenALargerPieceIsNeeded_ThenTheirPlaceIsUsed) {
  LocationArena arena(kPlenty);
  for (const size_t bytes : {kArenaBlock / 8, 2 * kArenaBlock}) {
    const Piece first = allocate(arena, bytes);
    const Piece second = allocate(arena, bytes);
    const Piece third = allocate(arena, bytes);
    arena.release(first.memory, first.bytes);
    arena.release(third.memory, third.bytes);
    arena.release(second.memory, second.bytes);
    EXPECT_EQ(allocate(arena, 3 * bytes).memory, first.memory);
  }
}

// What makes growth cheap: blocks of any tables fit all others.
TEST(LocationArena, GivenBlocksReleasedHereAndThere_WhenAsManyAreNeeded_ThenNoneIsMapped) {
  LocationArena arena(kPlenty);
  std::vector<Piece> pieces = allocate_blocks(arena);
  const uint64_t resident = arena.usage().resident;
  for (size_t i = 0; i < pieces.size(); i += 2)
    arena.release(pieces[i].memory, pieces[i].bytes);
  for (size_t i = 0; i < pieces.size(); i += 2)
    pieces[i] = allocate(arena, kArenaBlock);
  EXPECT_EQ(arena.usage().resident, resident);
}

TEST(LocationArena, GivenHugePagesInUseInPart_WhenTrimmed_ThenTheFreeBlocksGoBack) {
  LocationArena arena(kPlenty);
  std::vector<Piece> pieces = allocate_blocks(arena);
  const uint64_t all = arena.usage().resident;
  for (size_t i = 0; i < pieces.size(); ++i)
    if (i % 4 != 0) arena.release(pieces[i].memory, pieces[i].bytes);
  constexpr uint64_t kInSmallPages = 2 * kMiB;
  EXPECT_GE(arena.usage().resident, all - kInSmallPages) << "huge pages stay whole by themselves";
  arena.trim();
  EXPECT_LT(arena.usage().resident, all * 3 / 10);
  for (size_t i = 0; i < pieces.size(); i += 4)
    EXPECT_NE(pieces[i].memory, nullptr);
  expect_zeroed_then_fill(allocate(arena, kArenaBlock));
}

#if defined(__SANITIZE_ADDRESS__)
bool is_poisoned(const Piece& piece) {
  size_t poisoned = 0;
  for (size_t at = 0; at < piece.bytes; ++at)
    if (__asan_address_is_poisoned(piece.memory + at) != 0) ++poisoned;
  EXPECT_TRUE(poisoned == 0 || poisoned == piece.bytes) << poisoned << " of " << piece.bytes;
  return poisoned != 0;
}

// What makes the address sanitizer see a reader of a table that is gone.
TEST(LocationArena, WhenReleased_ThenPoisonedUntilAllocatedAgain) {
  LocationArena arena(kPlenty);
  for (const size_t bytes : {size_t{256}, kArenaBlock, kArenaBlock + 256}) {
    const Piece neighbour = allocate(arena, bytes);
    const Piece piece = allocate(arena, bytes);
    // Of a block that is used in part, the rest is nobody's.
    const size_t taken = bytes < kArenaBlock ? bytes : round_up(bytes, kArenaBlock);
    const Piece rest{.memory = piece.memory + bytes, .bytes = taken - bytes};
    EXPECT_FALSE(is_poisoned(piece));
    EXPECT_EQ(is_poisoned(rest), rest.bytes != 0);
    arena.release(piece.memory, piece.bytes);
    EXPECT_TRUE(is_poisoned({.memory = piece.memory, .bytes = taken})) << bytes;
    EXPECT_FALSE(is_poisoned(neighbour));
    const Piece again = allocate(arena, bytes);
    EXPECT_EQ(again.memory, piece.memory);
    EXPECT_FALSE(is_poisoned(again));
    EXPECT_EQ(is_poisoned(rest), rest.bytes != 0);
  }
}
#endif

TEST(LocationArena, GivenALimit_WhenItIsReached_ThenNull) {
  LocationArena arena(4 * kMiB);
  EXPECT_EQ(arena.allocate(5 * kMiB), nullptr);
  EXPECT_NE(arena.allocate(2 * kMiB), nullptr);
  EXPECT_EQ(arena.allocate(3 * kMiB), nullptr);
  EXPECT_NE(arena.allocate(2 * kMiB), nullptr);
  EXPECT_EQ(arena.allocate(256), nullptr);
}

TEST(LocationArena, GivenMuchFreeMemory_WhenReleased_ThenItGoesBackToTheSystem) {
  LocationArena arena(kPlenty);
  std::vector<Piece> pieces;
  for (int i = 0; i < 32; ++i)
    pieces.push_back(allocate(arena, 2 * kMiB));
  for (const Piece& piece : pieces)
    std::memset(piece.memory, 1, piece.bytes);
  EXPECT_GE(arena.usage().resident, 64 * kMiB);
  for (const Piece& piece : pieces)
    arena.release(piece.memory, piece.bytes);
  EXPECT_LE(arena.usage().resident, 8 * kMiB);
}

}  // namespace
}  // namespace firn::index
