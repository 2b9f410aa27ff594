// SPDX-License-Identifier: Apache-2.0
//
// TokenIndex: an in-memory multimap from tokens (see KeyTranslator) to small values, such as the
// positions of items in a store. Every value of a token is only a candidate: compare with the disk.
//
//   TokenIndex index(seed);
//   index.insert(translator.token(key), position);
//   index.for_each(translator.token(key), [&](uint64_t candidate) { ... });
//
// Order of the values of a token: insert() puts a value second, right behind the first, and
// insert_and_prune() puts it last. After inserts of 1, 2, 3, 4 the order is 1, 4, 3, 2.
//
// Layout: a keyed, reversible mix of the token chooses one of 256 tables and the slot in it. A slot
// is 16 bytes: the mixed token and its value, or the head of a chain when there are several.
//
//   token --mix--> [shard 8 bits][home slot ...]
//   shard 7:  .. | mixed, value | mixed, chain | vacant | ..
//   chains:                              +--> v1 -> v3 -> v2       12 bytes a node
//
// Memory: at most 20 bytes for a token with one value, at every size above about 100,000, because
// the shards grow in turn: a step copies one shard, so the peak is 1/256 above the total. A few
// tokens cost up to 200 bytes each, an empty index 12 KiB. A shared token costs 12 bytes a value.
// Cost: a lookup is about one cache miss. To overlap them, call prefetch() some 8 operations ahead
// of a lookup or an insert, or use find_many().
// Hostile keys: with a secret seed nobody can choose tokens that crowd a table. Tokens that are
// equal still form one chain: use a hashed translator where strangers choose keys.
// Threads: not thread-safe; concurrent const calls are fine.
// Limits: values are below 2^63; at most 2^32 - 2 values share their token with another.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace firn {

namespace index {
class TokenShard;
class ValueChains;
}  // namespace index

// Counts of a TokenIndex. `pruned` counts the values ever taken out one by one or with their token.
struct TokenIndexStatistics {
  uint64_t keys = 0;
  uint64_t items = 0;
  uint64_t pruned = 0;
};

// How many slots a lookup of a present token visits.
struct TokenProbeStatistics {
  size_t max = 0;
  double average = 0;
};

class TokenIndex {
 public:
  static constexpr uint64_t kValueMax = (uint64_t{1} << 63) - 1;
  static constexpr size_t kShardCount = 256;

  class Cursor;

  // The same seed gives the same layout. Take it from a random source where keys are not trusted.
  explicit TokenIndex(uint64_t seed);
  ~TokenIndex();
  TokenIndex(TokenIndex&&) noexcept;
  TokenIndex& operator=(TokenIndex&&) noexcept;

  // Adds a value: the only one, or second in the order. Requires, here and below: value <=
  // kValueMax.
  void insert(uint64_t token, uint64_t value);

  // Makes room for about `count` more tokens.
  void reserve(size_t count);

  // insert() of each entry in order, one table after the other, so that memory is walked instead of
  // jumped over: several times faster for large groups. Copies the entries.
  struct Entry {
    uint64_t token;
    uint64_t value;
  };
  void insert_many(std::span<const Entry> entries);

  // Where the token has values: removes those that match and appends `value` unless it matches too.
  // Where it has none: inserts `value`, whether it matches or not.
  template <std::predicate<uint64_t> Predicate>
  void insert_and_prune(uint64_t token, uint64_t value, Predicate&& predicate);

  // A cursor before the first value, or nothing when the token has none.
  [[nodiscard]] std::optional<Cursor> cursor(uint64_t token);

  // The same, but a token without values gets `value` (and no cursor).
  [[nodiscard]] std::optional<Cursor> cursor_or_insert(uint64_t token, uint64_t value);

  // Removes the values of the token that match.
  template <std::predicate<uint64_t> Predicate>
  void prune(uint64_t token, Predicate&& predicate);

  // Removes matching values of all tokens, in one pass over memory. prune_shard is a step of it,
  // for callers that cannot stop for so long: every token belongs to one shard below kShardCount.
  template <std::predicate<uint64_t> Predicate>
  void prune_all(Predicate&& predicate);
  template <std::predicate<uint64_t> Predicate>
  void prune_shard(size_t shard, Predicate&& predicate);

  // Removes all values of the token.
  void remove(uint64_t token);

  // Forgets everything and releases the memory; the count of pruned values stays.
  void clear();

  [[nodiscard]] bool contains(uint64_t token) const { return lookup(token) != kVacantWord; }

  // Calls visitor(value) for each value of the token in order. A visitor that returns bool ends the
  // walk with false.
  template <std::invocable<uint64_t> Visitor>
  void for_each(uint64_t token, Visitor&& visitor) const;

  // Calls visitor(i, value) for each value of each tokens[i], fetching memory 16 tokens ahead. A
  // visitor that returns bool ends the walk over one token with false.
  template <std::invocable<size_t, uint64_t> Visitor>
  void find_many(std::span<const uint64_t> tokens, Visitor&& visitor) const;

  // Calls visitor(token, value) for everything, tokens in no particular order.
  template <std::invocable<uint64_t, uint64_t> Visitor>
  void for_each_entry(Visitor&& visitor) const;

  // Starts to load what a lookup of the token needs.
  void prefetch(uint64_t token) const;

  [[nodiscard]] const TokenIndexStatistics& statistics() const { return statistics_; }
  [[nodiscard]] size_t memory_bytes() const;
  // Scans the whole index.
  [[nodiscard]] TokenProbeStatistics probe_statistics() const;

 private:
  static constexpr uint64_t kVacantWord = ~uint64_t{0};
  static constexpr uint64_t kChainBit = uint64_t{1} << 63;
  static constexpr size_t kGroupTokens = 16;

  // Which slot of which shard; invalidated by every insert and removal.
  struct Place {
    size_t shard;
    size_t slot;
  };

  [[nodiscard]] uint64_t mix(uint64_t token) const;
  [[nodiscard]] uint64_t unmix(uint64_t mixed) const;
  [[nodiscard]] Place find(uint64_t mixed) const;
  // A slot's word: a value, kChainBit with the number of a chain's first node, or kVacantWord.
  [[nodiscard]] uint64_t lookup(uint64_t token) const;
  // The mixed tokens, whose slots are fetched; then the words there, in their place.
  void fetch_group(std::span<const uint64_t> tokens, uint64_t* mixed) const;
  void lookup_group(std::span<uint64_t> words) const;
  [[nodiscard]] size_t slot_count(size_t shard) const;
  [[nodiscard]] uint64_t word_at(Place place) const;
  [[nodiscard]] uint64_t token_at(Place place) const;
  // Steps along the values of a word: reads one value and makes the word that of the rest.
  uint64_t take_value(uint64_t& word) const;
  template <class Visitor>
  void walk(uint64_t word, Visitor&& visitor) const;
  void insert_mixed(uint64_t mixed, uint64_t value);
  // No slot: there was none, and the value is in one now.
  [[nodiscard]] Place find_or_insert(uint64_t mixed, uint64_t value);
  void shrink(size_t shard);

  uint64_t mix_key_first_;
  uint64_t mix_key_second_;
  std::unique_ptr<index::TokenShard[]> shards_;
  std::unique_ptr<index::ValueChains> chains_;
  TokenIndexStatistics statistics_;
  bool cursor_open_ = false;
};

// Walks and changes the values of one token. While it lives, the index must not be used otherwise.
//
//   next() must come first, and again after each insert() and remove(): they leave the cursor
//   between values, and next() then yields what follows. After next() returned nothing, only
//   insert() is allowed; it appends. Removing the last value of a token removes the token when the
//   cursor is released, unless a value was inserted by then. Misuse is a failed CHECK.
class TokenIndex::Cursor {
 public:
  ~Cursor();
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  [[nodiscard]] std::optional<uint64_t> next();

  // Moves on to the first value that matches; false when there is none.
  template <std::predicate<uint64_t> Predicate>
  [[nodiscard]] bool find(Predicate&& predicate) {
    while (const auto value = next())
      if (predicate(*value)) return true;
    return false;
  }

  // Replaces the current value; the cursor stays on it.
  void update(uint64_t value);
  // Adds a value behind the current one, or at the end.
  void insert(uint64_t value);
  // Removes the current value.
  void remove();

 private:
  friend class TokenIndex;
  enum class State : uint8_t { between_values, on_value, exhausted };
  enum class Shrink : uint8_t { allowed, deferred };
  // What makes a Cursor, as optional's in-place construction cannot use a private constructor.
  struct Origin {
    TokenIndex& index;
    Place place;
    Shrink shrink;
  };

 public:
  explicit Cursor(const Origin& origin);

 private:
  [[nodiscard]] uint32_t node_after(uint32_t node) const;
  void require_value() const;
  // Ends the cursor's life; true when the token went away.
  bool release();

  TokenIndex* index_;
  Place place_;
  uint32_t previous_;  // the node in front of the current value, or of the next one
  uint32_t current_;
  State state_ = State::between_values;
  Shrink shrink_;
};

}  // namespace firn

#include "firn/index/token_index_templates.h"
