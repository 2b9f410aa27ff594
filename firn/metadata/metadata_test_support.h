// SPDX-License-Identifier: Apache-2.0
//
// A metadata store with u64 keys in memory, for the unit tests.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/metadata/metadata_store.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {

inline Bytes key_of(uint64_t number) {
  Bytes key(8);
  store_big_endian<uint64_t>(key.data(), number);
  return key;
}

class MetadataStoreTest : public testing::Test {
 protected:
  // The store as a new process would see it; the previous handle is dropped without a sync.
  MetadataStore& reopen() {
    store_.reset();
    recovery_.emplace(storage_, false);
    auto opened = MetadataStore::open(storage_, options_, *recovery_);
    EXPECT_OK(opened);
    store_ = std::move(*opened);
    return *store_;
  }
  void put(uint64_t key, std::string_view value) {
    EXPECT_OK(store_->put(key_of(key), as_bytes(value)));
  }
  void remove(uint64_t key) { EXPECT_OK(store_->remove(key_of(key))); }
  void sync() { EXPECT_OK(store_->sync()); }
  [[nodiscard]] std::optional<std::string> get(uint64_t key) const {
    const auto value = store_->get(key_of(key));
    if (!value) return std::nullopt;
    return std::string(as_text(*value));
  }
  [[nodiscard]] std::string raw(std::string_view name) const {
    return to_hex(memory_.raw("state", as_bytes(name)).value_or(Bytes()));
  }
  // "rewrites/overwrites/keys" since the store was opened.
  [[nodiscard]] std::string counts() const {
    const MetadataStatistics statistics = store_->statistics();
    return concat(statistics.sync_rewrites, "/", statistics.sync_overwrites, "/", statistics.keys);
  }
  [[nodiscard]] std::vector<uint64_t> keys() const {
    std::vector<uint64_t> keys;
    store_->for_each(
        [&](ByteSpan key, ByteSpan) { keys.push_back(load_big_endian<uint64_t>(key.data())); });
    return keys;
  }
  [[nodiscard]] size_t count_with_prefix(uint64_t prefix) const {
    size_t count = 0;
    store_->for_each_with_prefix(ByteSpan(key_of(prefix)).first(7),
                                 [&](ByteSpan, ByteSpan) { ++count; });
    return count;
  }

  MemoryStorage memory_;
  testkit::LoggedStorage storage_{memory_};
  MetadataStoreOptions options_;
  std::optional<RecoveryLog> recovery_;
  std::unique_ptr<MetadataStore> store_;
};

}  // namespace firn
