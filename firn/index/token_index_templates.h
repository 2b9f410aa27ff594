// SPDX-License-Identifier: Apache-2.0
//
// The templates of TokenIndex. Include token_index.h instead.
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>

#include "firn/index/token_index.h"

namespace firn {

template <std::predicate<uint64_t> Predicate>
void TokenIndex::insert_and_prune(uint64_t token, uint64_t value, Predicate&& predicate) {
  auto values = cursor_or_insert(token, value);
  if (!values) return;
  while (const auto candidate = values->next())
    if (predicate(*candidate)) values->remove();
  if (!predicate(value)) values->insert(value);
}

template <std::predicate<uint64_t> Predicate>
void TokenIndex::prune(uint64_t token, Predicate&& predicate) {
  auto values = cursor(token);
  if (!values) return;
  while (values->find(predicate))
    values->remove();
}

template <std::predicate<uint64_t> Predicate>
void TokenIndex::prune_all(Predicate&& predicate) {
  for (size_t shard = 0; shard < kShardCount; ++shard)
    prune_shard(shard, predicate);
}

template <std::predicate<uint64_t> Predicate>
void TokenIndex::prune_shard(size_t shard, Predicate&& predicate) {
  for (size_t slot = 0; slot < slot_count(shard);) {
    const Place place{shard, slot};
    if (word_at(place) == kVacantWord) {
      ++slot;
      continue;
    }
    Cursor values({*this, place, Cursor::Shrink::deferred});
    while (values.find(predicate))
      values.remove();
    // Without the token, its slot is the next one's.
    if (!values.release()) ++slot;
  }
  shrink(shard);
}

template <class Visitor>
void TokenIndex::walk(uint64_t word, Visitor&& visitor) const {
  while (word != kVacantWord) {
    const uint64_t value = take_value(word);
    if constexpr (std::is_same_v<std::invoke_result_t<Visitor, uint64_t>, bool>) {
      if (!visitor(value)) return;
    } else {
      visitor(value);
    }
  }
}

template <std::invocable<uint64_t> Visitor>
void TokenIndex::for_each(uint64_t token, Visitor&& visitor) const {
  walk(lookup(token), visitor);
}

template <std::invocable<size_t, uint64_t> Visitor>
void TokenIndex::find_many(std::span<const uint64_t> tokens, Visitor&& visitor) const {
  const auto group = [&](size_t from) {
    return tokens.subspan(from, std::min(kGroupTokens, tokens.size() - from));
  };
  std::array<uint64_t, kGroupTokens> words;
  std::array<uint64_t, kGroupTokens> words_ahead;
  fetch_group(group(0), words_ahead.data());
  for (size_t from = 0; from < tokens.size(); from += kGroupTokens) {
    const size_t count = group(from).size();
    words = words_ahead;
    fetch_group(group(from + count), words_ahead.data());
    lookup_group(std::span(words).first(count));
    for (size_t i = 0; i < count; ++i)
      walk(words[i], [&](uint64_t value) { return visitor(from + i, value); });
  }
}

template <std::invocable<uint64_t, uint64_t> Visitor>
void TokenIndex::for_each_entry(Visitor&& visitor) const {
  for (size_t shard = 0; shard < kShardCount; ++shard) {
    for (size_t slot = 0; slot < slot_count(shard); ++slot) {
      const Place place{shard, slot};
      if (word_at(place) == kVacantWord) continue;
      const uint64_t token = token_at(place);
      walk(word_at(place), [&](uint64_t value) { visitor(token, value); });
    }
  }
}

}  // namespace firn
