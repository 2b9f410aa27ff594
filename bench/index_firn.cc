// SPDX-License-Identifier: Apache-2.0
#include "bench/index_firn.h"

#include <array>

#include "bench/report.h"

namespace firn::bench {
namespace {

// What batches ask: has the record of item `i` of the batch that key?
template <class KeyOf>
auto batch_predicate(KeyOf key_at) {
  return [key_at](size_t i, Location location) {
    return key_of(item_of(location.value)) == key_at(i) ? KeyMatch::same : KeyMatch::different;
  };
}

}  // namespace

FirnMap::FirnMap(uint64_t expected_entries) {
  // One for all, as snapshots open with the same one only.
  static const KeyHasher hasher = KeyHasher::random();
  LocationIndexOptions options;
  options.hasher = hasher;
  options.expected_entries = expected_entries;
  auto opened = LocationIndex::open(domain_, options);
  if (!opened) give_up(opened.error().message);
  index_ = std::move(*opened);
}

void FirnMap::Access::stop() {
  give_up("the index refused an operation");
}

size_t FirnIndex::gets_batched(std::span<const uint64_t> keys) {
  std::array<KeyHash, kBatch> hashes;
  std::array<Location, kBatch> locations;
  size_t found = 0;
  for (size_t first = 0; first + kBatch <= keys.size(); first += kBatch) {
    const auto group = keys.subspan(first, kBatch);
    for (size_t i = 0; i < kBatch; ++i)
      hashes[i] = KeyHash(group[i]);
    const auto outcome = map_.index().find_many(
        session_, hashes, locations, batch_predicate([&](size_t i) { return group[i]; }));
    if (outcome.completed != kBatch) give_up("find_many stopped");
    for (const Location location : locations)
      found += location.value != 0;
  }
  return found;
}

void FirnIndex::fill_batched(uint64_t first, uint64_t count) {
  std::array<LocationEntry, kBatch> batch;
  for (uint64_t done = 0; done < count;) {
    const size_t size = std::min<uint64_t>(kBatch, count - done);
    for (size_t i = 0; i < size; ++i)
      batch[i] = {KeyHash(key_of(first + done + i)), Location(first + done + i)};
    const auto outcome =
        map_.index().put_many(session_, std::span(batch).first(size), {},
                              batch_predicate([&](size_t i) { return batch[i].hash.value; }));
    if (outcome.completed != size) give_up("put_many stopped");
    done += size;
  }
}

double FirnIndex::walk() {
  uint64_t sum = 0;
  uint64_t count = 0;
  const double seconds = seconds_of([&] {
    map_.index().for_each(session_, [&](KeyHash, Location location) {
      sum += location.value;
      ++count;
    });
  });
  if (sum == 0) give_up("the walk met nothing");
  return seconds * 1e9 / static_cast<double>(count);
}

void FirnIndex::put_key(uint64_t item, ByteSpan key) {
  // All keys differ, and so does what is stored.
  const auto other = [](Location) { return KeyMatch::different; };
  if (!map_.index().put(session_, map_.index().hash(key), Location(item), other).ok())
    give_up("the index refused a key");
}

size_t FirnIndex::get_keys(ByteSpan keys, size_t size) {
  size_t found = 0;
  for (size_t at = 0; at < keys.size(); at += size)
    found +=
        map_.index().find(session_, map_.index().hash(keys.subspan(at, size)), AnyKey()).found();
  return found;
}

std::unique_ptr<IndexEngine> make_firn_index() {
  return std::make_unique<FirnIndex>();
}

}  // namespace firn::bench
