// SPDX-License-Identifier: Apache-2.0
#include "firn/index/token_index.h"

#include <algorithm>

#include "firn/base/check.h"
#include "firn/index/token_shard.h"
#include "firn/index/value_chains.h"

namespace firn {
namespace {

using index::TokenShard;
using index::ValueChains;

constexpr uint32_t kNoNode = ValueChains::kNoNode;
// Stands for the value that a slot holds itself.
constexpr uint32_t kInlineNode = ValueChains::kNodesMax;
static_assert(kInlineNode != kNoNode);

// How many inserts of a group ahead memory is fetched.
constexpr size_t kPrefetchDistance = 8;

constexpr const char* kValueLimit = "a TokenIndex value must be below 2^63";
constexpr const char* kCursorOpen = "the Cursor must be released before the TokenIndex is used";

// Odd, with well spread bits: multiplying by it is reversible.
constexpr uint64_t kMixFactor = 0xD6E8FEB86659FD93;

constexpr uint64_t inverse_of(uint64_t odd) {
  uint64_t inverse = odd;  // right in the lowest 3 bits; every step doubles them
  for (int i = 0; i < 5; ++i)
    inverse *= 2 - odd * inverse;
  return inverse;
}
constexpr uint64_t kMixFactorInverse = inverse_of(kMixFactor);
static_assert(kMixFactor * kMixFactorInverse == 1);

// Undoes itself.
constexpr uint64_t fold(uint64_t value) {
  return value ^ (value >> 32);
}

// The n-th number of the splitmix64 sequence of the seed.
uint64_t derive_key(uint64_t seed, uint64_t n) {
  uint64_t value = seed + n * 0x9E3779B97F4A7C15;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

size_t shard_of(uint64_t mixed) {
  return mixed >> (64 - TokenShard::kShardBits);
}

}  // namespace

static_assert(TokenIndex::kShardCount == size_t{1} << TokenShard::kShardBits);

TokenIndex::TokenIndex(uint64_t seed)
    : mix_key_first_(derive_key(seed, 1)),
      mix_key_second_(derive_key(seed, 2)),
      shards_(std::make_unique<TokenShard[]>(kShardCount)),
      chains_(std::make_unique<ValueChains>()) {
  for (size_t i = 0; i < kShardCount; ++i)
    shards_[i].set_growth_phase(static_cast<double>(i) / kShardCount);
}

TokenIndex::~TokenIndex() = default;
TokenIndex::TokenIndex(TokenIndex&&) noexcept = default;
TokenIndex& TokenIndex::operator=(TokenIndex&&) noexcept = default;

// Reversible, so that a mixed token stands for its token: no two tokens are ever confused.
uint64_t TokenIndex::mix(uint64_t token) const {
  uint64_t mixed = fold(token ^ mix_key_first_) * kMixFactor;
  mixed = fold(mixed) * kMixFactor;
  mixed = fold(mixed ^ mix_key_second_) * kMixFactor;
  return fold(mixed);
}

uint64_t TokenIndex::unmix(uint64_t mixed) const {
  uint64_t token = fold(fold(mixed) * kMixFactorInverse) ^ mix_key_second_;
  token = fold(token * kMixFactorInverse);
  return fold(token * kMixFactorInverse) ^ mix_key_first_;
}

TokenIndex::Place TokenIndex::find(uint64_t mixed) const {
  const size_t shard = shard_of(mixed);
  return {shard, shards_[shard].find(mixed)};
}

uint64_t TokenIndex::lookup(uint64_t token) const {
  CHECK(!cursor_open_, kCursorOpen);
  const uint64_t mixed = mix(token);
  shards_[shard_of(mixed)].prefetch(mixed);  // the second line, too
  return shards_[shard_of(mixed)].find_word(mixed);
}

void TokenIndex::fetch_group(std::span<const uint64_t> tokens, uint64_t* mixed) const {
  for (const uint64_t token : tokens) {
    *mixed = mix(token);
    shards_[shard_of(*mixed)].prefetch(*mixed);
    ++mixed;
  }
}

void TokenIndex::lookup_group(std::span<uint64_t> words) const {
  CHECK(!cursor_open_, kCursorOpen);
  for (uint64_t& word : words) {
    word = shards_[shard_of(word)].find_fetched_word(word);
    if (word != kVacantWord && (word & kChainBit) != 0)
      chains_->prefetch(static_cast<uint32_t>(word));
  }
}

void TokenIndex::prefetch(uint64_t token) const {
  const uint64_t mixed = mix(token);
  shards_[shard_of(mixed)].prefetch(mixed);
}

size_t TokenIndex::slot_count(size_t shard) const {
  CHECK(shard < kShardCount, "a TokenIndex has kShardCount shards");
  return shards_[shard].slot_count();
}

uint64_t TokenIndex::word_at(Place place) const {
  return shards_[place.shard].word(place.slot);
}

uint64_t TokenIndex::token_at(Place place) const {
  CHECK(!cursor_open_, kCursorOpen);
  return unmix(shards_[place.shard].mixed(place.slot));
}

uint64_t TokenIndex::take_value(uint64_t& word) const {
  if ((word & kChainBit) == 0) {
    const uint64_t value = word;
    word = kVacantWord;
    return value;
  }
  const auto node = static_cast<uint32_t>(word);
  const uint32_t next = chains_->next(node);
  word = next == kNoNode ? kVacantWord : kChainBit | next;
  return chains_->value(node);
}

TokenIndex::Place TokenIndex::find_or_insert(uint64_t mixed, uint64_t value) {
  const size_t shard = shard_of(mixed);
  const size_t slot = shards_[shard].find_or_insert(mixed, value);
  if (slot == TokenShard::kNoSlot) {
    ++statistics_.keys;
    ++statistics_.items;
  }
  return {shard, slot};
}

void TokenIndex::insert(uint64_t token, uint64_t value) {
  CHECK(!cursor_open_, kCursorOpen);
  insert_mixed(mix(token), value);
}

void TokenIndex::insert_mixed(uint64_t mixed, uint64_t value) {
  CHECK(value <= kValueMax, kValueLimit);
  const Place place = find_or_insert(mixed, value);
  if (place.slot == TokenShard::kNoSlot) return;
  const uint64_t word = word_at(place);
  if ((word & kChainBit) == 0) {
    const uint32_t second = chains_->allocate(value, kNoNode);
    const uint32_t first = chains_->allocate(word, second);
    shards_[place.shard].set_word(place.slot, kChainBit | first);
  } else {
    const auto first = static_cast<uint32_t>(word);
    chains_->set_next(first, chains_->allocate(value, chains_->next(first)));
  }
  ++statistics_.items;
}

void TokenIndex::reserve(size_t count) {
  for (size_t shard = 0; shard < kShardCount; ++shard)
    shards_[shard].reserve(count / kShardCount);
}

void TokenIndex::insert_many(std::span<const Entry> entries) {
  CHECK(!cursor_open_, kCursorOpen);
  // A stable counting sort by shard; the tokens are mixed on the way.
  std::array<size_t, kShardCount + 1> begin{};
  for (const Entry& entry : entries)
    ++begin[shard_of(mix(entry.token)) + 1];
  for (size_t shard = 0; shard < kShardCount; ++shard)
    begin[shard + 1] += begin[shard];
  std::array<size_t, kShardCount> next{};
  std::copy_n(begin.begin(), kShardCount, next.begin());
  const auto sorted = std::make_unique_for_overwrite<Entry[]>(entries.size());
  for (const Entry& entry : entries) {
    const uint64_t mixed = mix(entry.token);
    sorted[next[shard_of(mixed)]++] = {mixed, entry.value};
  }
  for (size_t shard = 0; shard < kShardCount; ++shard) {
    shards_[shard].reserve(begin[shard + 1] - begin[shard]);
    for (size_t i = begin[shard]; i < begin[shard + 1]; ++i) {
      if (i + kPrefetchDistance < begin[shard + 1])
        shards_[shard].prefetch(sorted[i + kPrefetchDistance].token);
      insert_mixed(sorted[i].token, sorted[i].value);
    }
  }
}

std::optional<TokenIndex::Cursor> TokenIndex::cursor(uint64_t token) {
  const Place place = find(mix(token));
  if (place.slot == TokenShard::kNoSlot) return std::nullopt;
  return std::optional<Cursor>(std::in_place,
                               Cursor::Origin{*this, place, Cursor::Shrink::allowed});
}

std::optional<TokenIndex::Cursor> TokenIndex::cursor_or_insert(uint64_t token, uint64_t value) {
  CHECK(!cursor_open_, kCursorOpen);
  CHECK(value <= kValueMax, kValueLimit);
  const Place place = find_or_insert(mix(token), value);
  if (place.slot == TokenShard::kNoSlot) return std::nullopt;
  return std::optional<Cursor>(std::in_place,
                               Cursor::Origin{*this, place, Cursor::Shrink::allowed});
}

void TokenIndex::remove(uint64_t token) {
  auto values = cursor(token);
  if (!values) return;
  while (values->next())
    values->remove();
}

void TokenIndex::shrink(size_t shard) {
  shards_[shard].shrink_if_sparse();
}

void TokenIndex::clear() {
  CHECK(!cursor_open_, kCursorOpen);
  for (size_t i = 0; i < kShardCount; ++i)
    shards_[i].clear();
  chains_->clear();
  statistics_.keys = 0;
  statistics_.items = 0;
}

size_t TokenIndex::memory_bytes() const {
  size_t total = sizeof(*this) + kShardCount * sizeof(TokenShard) + sizeof(ValueChains) +
                 chains_->memory_bytes();
  for (size_t i = 0; i < kShardCount; ++i)
    total += shards_[i].memory_bytes();
  return total;
}

TokenProbeStatistics TokenIndex::probe_statistics() const {
  TokenProbeStatistics statistics;
  size_t total = 0;
  for (size_t i = 0; i < kShardCount; ++i) {
    const index::ProbeLengths lengths = shards_[i].probe_lengths();
    statistics.max = std::max(statistics.max, lengths.max);
    total += lengths.total;
  }
  if (statistics_.keys > 0)
    statistics.average = static_cast<double>(total) / static_cast<double>(statistics_.keys);
  return statistics;
}

TokenIndex::Cursor::Cursor(const Origin& origin)
    : index_(&origin.index),
      place_(origin.place),
      previous_(kNoNode),
      current_(kNoNode),
      shrink_(origin.shrink) {
  CHECK(!index_->cursor_open_, kCursorOpen);
  index_->cursor_open_ = true;
}

TokenIndex::Cursor::~Cursor() {
  if (index_ != nullptr) release();
}

// kNoNode as an argument asks for the first node, as a result it says that there is no further one.
uint32_t TokenIndex::Cursor::node_after(uint32_t node) const {
  if (node == kInlineNode) return kNoNode;
  if (node != kNoNode) return index_->chains_->next(node);
  const uint64_t word = index_->word_at(place_);
  return (word & kChainBit) == 0 ? kInlineNode : static_cast<uint32_t>(word);
}

std::optional<uint64_t> TokenIndex::Cursor::next() {
  if (state_ == State::on_value) previous_ = current_;
  current_ = node_after(previous_);
  if (current_ == kNoNode) {
    state_ = State::exhausted;
    return std::nullopt;
  }
  state_ = State::on_value;
  return current_ == kInlineNode ? index_->word_at(place_) : index_->chains_->value(current_);
}

void TokenIndex::Cursor::require_value() const {
  CHECK(state_ != State::between_values, "must call Cursor::next()");
  CHECK(state_ != State::exhausted, "no active item in Cursor");
}

void TokenIndex::Cursor::update(uint64_t value) {
  require_value();
  CHECK(value <= kValueMax, kValueLimit);
  if (current_ == kInlineNode)
    index_->shards_[place_.shard].set_word(place_.slot, value);
  else
    index_->chains_->set_value(current_, value);
}

void TokenIndex::Cursor::insert(uint64_t value) {
  CHECK(state_ != State::between_values, "must call Cursor::next()");
  CHECK(value <= kValueMax, kValueLimit);
  ValueChains& chains = *index_->chains_;
  TokenShard& shard = index_->shards_[place_.shard];
  const uint32_t anchor = state_ == State::on_value ? current_ : previous_;
  if (anchor == kNoNode) {
    // Every value was removed: the slot is used again.
    shard.set_word(place_.slot, value);
    previous_ = kInlineNode;
  } else if (anchor == kInlineNode) {
    previous_ = chains.allocate(value, kNoNode);
    const uint32_t first = chains.allocate(shard.word(place_.slot), previous_);
    shard.set_word(place_.slot, kChainBit | first);
  } else {
    previous_ = chains.allocate(value, chains.next(anchor));
    chains.set_next(anchor, previous_);
  }
  state_ = State::between_values;
  ++index_->statistics_.items;
}

void TokenIndex::Cursor::remove() {
  require_value();
  const uint32_t following = node_after(current_);
  if (previous_ == kNoNode)
    index_->shards_[place_.shard].set_word(place_.slot, kChainBit | following);
  else
    index_->chains_->set_next(previous_, following);
  if (current_ != kInlineNode) index_->chains_->release(current_);
  state_ = State::between_values;
  --index_->statistics_.items;
  ++index_->statistics_.pruned;
}

bool TokenIndex::Cursor::release() {
  TokenIndex& index = *index_;
  TokenShard& shard = index.shards_[place_.shard];
  index.cursor_open_ = false;
  index_ = nullptr;
  const uint64_t word = shard.word(place_.slot);
  if ((word & kChainBit) == 0) return false;
  const auto first = static_cast<uint32_t>(word);
  if (first == kNoNode) {
    shard.erase(place_.slot);
    --index.statistics_.keys;
    if (shrink_ == Shrink::allowed) shard.shrink_if_sparse();
    return true;
  }
  if (index.chains_->next(first) == kNoNode) {
    shard.set_word(place_.slot, index.chains_->value(first));
    index.chains_->release(first);
  }
  return false;
}

}  // namespace firn
