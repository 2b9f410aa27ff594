// SPDX-License-Identifier: Apache-2.0
//
// What swept stores are made of: items, a filler that puts and syncs them, and the answers,
// findings and files of a store as a sweep compares them.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "campaign/swept_stores.h"
#include "firn/base/check.h"
#include "firn/base/value.h"
#include "firn/io/recovery_report.h"

namespace firn::campaign {

struct SweptItem {
  uint64_t number = 0;  // index, or section and position
  Bytes value;
  Bytes key = {};                 // of structures that have keys
  std::vector<Bytes> older = {};  // of the same key
};

template <class T>
T must(Result<T> outcome) {
  CHECK(outcome.has_value(), "a store in memory does not fail");
  return std::move(*outcome);
}

inline void must(const Status& outcome) {
  CHECK(outcome.has_value(), "a store in memory does not fail");
}

// Distinct for distinct numbers, and as long as the keys of the store are.
[[nodiscard]] Bytes key_of(uint64_t number, size_t size_bytes);
[[nodiscard]] Bytes draw_value(Random& random, Scale scale);
// `small`, or many times that.
[[nodiscard]] uint64_t scaled(uint64_t small, Scale scale);
[[nodiscard]] uint32_t draw_page_size(Random& random, Scale scale);

// What the items of a store are like.
enum class Values : uint8_t {
  of_all_sizes,
  // Of one stored size that divides a sector, under keys that are the SHA-256 of their content.
  of_one_size,
};

class ItemDraw {
 public:
  ItemDraw(Random& random, Scale scale, Values values);

  [[nodiscard]] SweptItem item(uint64_t number);
  [[nodiscard]] uint32_t key_size_bytes() const { return key_size_bytes_; }
  [[nodiscard]] bool has_content_keys() const { return stored_size_bytes_ > 0; }
  // A key that belongs to no item.
  [[nodiscard]] Bytes spare_key(uint64_t number) const { return key_of(number, key_size_bytes_); }
  [[nodiscard]] uint32_t page_size_bytes();
  [[nodiscard]] std::optional<int> compression_level();

 private:
  Random& random_;
  const Scale scale_;
  uint32_t stored_size_bytes_ = 0;  // with its checksum; 0: each has its own
  uint32_t key_size_bytes_;
};

// A value that was replaced counts as a missing one: somebody must have said so.
[[nodiscard]] Answer answer_of(const SweptItem& item, std::optional<ByteSpan> found);
[[nodiscard]] Answer answer_of(const SweptItem& item, const Result<std::optional<Value>>& found);
[[nodiscard]] Reading refused(const Error& error);
[[nodiscard]] Reading opened(const RecoveryReport& report);
[[nodiscard]] std::vector<Finding> findings_of(const RecoveryReport& report);

// What `verify(findings)` says, if the store was opened for reading.
void add_verified(Reading& reading, Storage& storage, Access access, const auto& verify) {
  if (access != Access::reading) return;
  RecoveryLog findings(storage, true);
  const Status verified = verify(findings);
  reading.verified = findings_of(findings.report());
  if (!verified) reading.verified.push_back({"", verified.error().message});
}

// Fills a store: `put` items, `sync` now and then, and at the end either everything or not.
class Filler {
 public:
  Filler(Random& random, Ending ending, Scale scale, MemoryStorage& storage)
      : random_(random), ending_(ending), scale_(scale), storage_(storage) {}

  template <class Put, class Sync>
  void fill(const Put& put, const Sync& sync) {
    const uint64_t count = scaled(random_.between(6, 24), scale_);
    for (uint64_t i = 0; i < count; ++i) {
      put(synced_);
      if (i + 1 < count && !random_.one_in(scaled(5, scale_))) continue;
      must(sync());
      store_.earlier.push_back(files_of(storage_));
    }
    if (ending_ == Ending::closed) return;
    for (uint64_t i = random_.below(10); i > 0; --i)
      put(unsynced_);
  }

  // `read` gets the items: those that were synced first. Requires: the store was dropped.
  template <class Read>
  SweptStore finish(const Read& read) {
    store_.files = files_of(storage_);
    store_.synced_count = synced_.size();
    std::vector<SweptItem> items = std::move(synced_);
    items.insert(items.end(), unsynced_.begin(), unsynced_.end());
    store_.read = [items = std::move(items), read](Storage& storage, Access access) {
      return read(storage, access, items);
    };
    return std::move(store_);
  }

  [[nodiscard]] bool closes() const { return ending_ == Ending::closed; }

 private:
  Random& random_;
  const Ending ending_;
  const Scale scale_;
  MemoryStorage& storage_;
  SweptStore store_;
  std::vector<SweptItem> synced_;
  std::vector<SweptItem> unsynced_;
};

std::vector<Put> puts_of(const Files& files, const auto& walk) {
  MemoryStorage whole;
  load_files(whole, files);
  return walk(whole);
}

}  // namespace firn::campaign
