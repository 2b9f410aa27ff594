// SPDX-License-Identifier: Apache-2.0
//
// For tests of LocationIndex: a log in memory, whose records know their keys, and an index over it
// whose hashes the test chooses.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/random.h"
#include "firn/index/location_index_internals.h"

namespace firn {

inline uint64_t mixed(uint64_t number) {
  return split_mix64(number);
}

// Where an entry goes, spelled out: hashes for tests of collisions.
struct HashParts {
  uint64_t shard = 0;        // 8 bits
  uint64_t fingerprint = 0;  // 21 bits; the top ones choose the home
  uint64_t tag = 0;          // 8 bits
  uint64_t unused = 0;       // 27 bits

  [[nodiscard]] KeyHash hash() const {
    return KeyHash(shard << 56 | fingerprint << 35 | tag << 27 | unused);
  }
};

// Counts and steers what an index with this policy does, in the one thread of a test.
struct SteeredPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;

  struct State {
    uint64_t allocations = 0;
    uint64_t allocations_allowed = UINT64_MAX;
    uint64_t allocation_refused = UINT64_MAX;  // the number of the one that fails
    std::function<void(LocationPoint)> at_point;
  };
  static State& state() {
    static State state;
    return state;
  }
  static bool may_allocate(size_t) {
    const uint64_t number = state().allocations++;
    return number < state().allocations_allowed && number != state().allocation_refused;
  }
  static void reach(LocationPoint point) {
    if (state().at_point) {
      // What a point runs does not come back to it.
      const auto at_point = std::exchange(state().at_point, nullptr);
      at_point(point);
      if (!state().at_point) state().at_point = at_point;
    }
  }
};

template <class Policy>
class BasicIndexUnderTest {
 public:
  using Index = BasicLocationIndex<Policy>;

  explicit BasicIndexUnderTest(const LocationIndexOptions& options = {}) : session_(domain_) {
    auto opened = Index::open(domain_, options);
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) index_ = std::move(*opened);
  }

  Index& operator*() { return *index_; }
  Index* operator->() { return index_.get(); }
  BasicEpochDomain<Policy>& domain() { return domain_; }
  BasicEpochSession<Policy>& session() { return session_; }
  void close() { index_.reset(); }

  // Location 0 is nowhere, so record i is at i + 1.
  Location append(std::string_view key) {
    keys_.emplace_back(key);
    return Location(keys_.size());
  }
  [[nodiscard]] const std::string& key_at(Location at) const { return keys_.at(at.value - 1); }
  auto is(std::string_view key) {
    return [this, key](Location at) {
      return key_at(at) == key ? KeyMatch::same : KeyMatch::different;
    };
  }

  void put_at(std::string_view key, Location at) {
    if (keys_.size() < at.value) keys_.resize(at.value);
    keys_[at.value - 1] = key;
  }
  LocationOutcome put(std::string_view key, KeyHash hash) {
    return index_->put(session_, hash, append(key), is(key));
  }
  LocationOutcome put(std::string_view key) { return put(key, index_->hash(as_bytes(key))); }
  uint64_t find(std::string_view key, KeyHash hash) {
    return index_->find(session_, hash, is(key)).location.value;
  }
  uint64_t find(std::string_view key) { return find(key, index_->hash(as_bytes(key))); }
  LocationOutcome remove(std::string_view key, KeyHash hash) {
    return index_->remove(session_, hash, is(key));
  }
  LocationOutcome remove(std::string_view key) { return remove(key, index_->hash(as_bytes(key))); }
  // All entries, by location.
  std::map<uint64_t, KeyHash> entries() {
    std::map<uint64_t, KeyHash> all;
    index_->for_each(session_, [&](KeyHash hash, Location at) {
      EXPECT_TRUE(all.emplace(at.value, hash).second) << at.value << " was visited twice";
    });
    return all;
  }

 private:
  BasicEpochDomain<Policy> domain_;
  BasicEpochSession<Policy> session_;
  std::unique_ptr<Index> index_;
  std::vector<std::string> keys_;
};

// Where snapshots go to, and where they come from.
struct BytesSink : SnapshotSink {
  Status write(ByteSpan written) override {
    if (bytes.size() + written.size() > size_max) return fail(Errc::no_space, "the sink is full");
    bytes.insert(bytes.end(), written.begin(), written.end());
    return {};
  }
  uint64_t log_end() override { return end; }

  Bytes bytes;
  size_t size_max = SIZE_MAX;
  uint64_t end = 0;
};

struct BytesSource : SnapshotSource {
  explicit BytesSource(ByteSpan content) : bytes(content) {}
  [[nodiscard]] uint64_t size() const override { return bytes.size(); }
  Status read(uint64_t offset, MutableByteSpan target) override {
    EXPECT_LE(offset + target.size(), bytes.size());
    if (reads_left-- == 0) return fail(Errc::io, "the device fails");
    copy_bytes(target, bytes.subspan(offset, target.size()));
    return {};
  }

  ByteSpan bytes;
  uint64_t reads_left = UINT64_MAX;
};

using IndexUnderTest = BasicIndexUnderTest<LocationPolicy>;
using SteeredIndex = BasicIndexUnderTest<SteeredPolicy>;

}  // namespace firn
