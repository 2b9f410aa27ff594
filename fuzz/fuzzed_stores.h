// SPDX-License-Identifier: Apache-2.0
//
// The small stores that fuzz targets of salvage and of the command mutate, and what is read of
// them. Bits of `mode`: 2 compression, 4 closed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"

namespace firn::fuzz {

// Key and value, in order; of an archive the index is before the key.
using Items = std::vector<std::pair<Bytes, Bytes>>;

inline constexpr uint32_t kKeySizeBytes = 4;
inline constexpr uint32_t kPageSizeBytes = 44;
inline constexpr uint64_t kPuts = 12;

inline bool is_closed(uint64_t mode) {
  return mode / 4 % 2 == 1;
}

inline std::optional<int> compression_of(uint64_t mode) {
  return mode / 2 % 2 == 1 ? std::optional<int>(1) : std::nullopt;
}

// Drops a store as a mode says; everything in it is durable.
template <class Store>
void leave(std::unique_ptr<Store> store, uint64_t mode) {
  if (is_closed(mode))
    CHECK(store->close().has_value(), "memory does not fail");
  else
    CHECK(store->sync().has_value(), "memory does not fail");
}

// What a store of this kind has that is whole.
template <class Subject, class Options>
Items all_items(Storage& storage, const Options& options) {
  const auto store = Subject::Store::open(storage, options);
  CHECK(store.has_value(), "a whole store opens");
  auto items = Subject::items(**store);
  CHECK(items.has_value(), "a whole store is read");
  return *std::move(items);
}

// The n-th put; no two values have the same size.
inline std::pair<Bytes, Bytes> nth_put(uint64_t number) {
  return {Bytes(kKeySizeBytes, static_cast<std::byte>(number % 9)),
          Random(number).bytes(number * 6)};
}

struct SmallArchive {
  using Store = PrunableArchive;
  static constexpr uint32_t kRecordSizeBytes = archive::record_size_bytes(kKeySizeBytes);

  static Items make(Storage& storage, uint64_t mode) {
    PrunableArchiveOptions options;
    options.key_size_bytes = kKeySizeBytes;
    options.items_per_section = 4;
    options.page_size_bytes = kPageSizeBytes;
    options.compression_level = compression_of(mode);
    auto store = PrunableArchive::open(storage, options);
    CHECK(store.has_value(), "memory has room");
    for (uint64_t i = 0; i < kPuts; ++i) {
      const auto [key, value] = nth_put(i);
      CHECK((*store)->put_multi(i / 2 * 2, key, value).has_value(), "memory has room");
      if (i == 5) CHECK((*store)->sync().has_value(), "memory does not fail");
    }
    leave(*std::move(store), mode);
    return all_items(storage);
  }

  static Items all_items(Storage& storage) {
    PrunableArchiveOptions options;
    options.access = ArchiveAccess::read_only;
    return fuzz::all_items<SmallArchive>(storage, options);
  }

  static Result<Items> items(const PrunableArchive& store) {
    Items items;
    Status read;
    TRY(store.visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
      const auto value = store.read_value(item);
      if (!value) {
        read = fail(value.error().code, value.error().message);
        return false;
      }
      Bytes name(8 + item.key.size());
      archive::encode_prefix(name, item.index, item.key);
      items.emplace_back(std::move(name), to_bytes(value->bytes()));
      return true;
    }));
    TRY(std::move(read));
    return items;
  }
};

struct SmallFreezer {
  using Store = Freezer;
  static constexpr uint32_t kRecordSizeBytes = freezer::record_size_bytes(kKeySizeBytes);

  static Items make(Storage& storage, uint64_t mode) {
    FreezerOptions options;
    options.key_size_bytes = kKeySizeBytes;
    options.page_size_bytes = kPageSizeBytes;
    options.section_target_bytes = 120;
    options.table.initial_size = 4;
    options.compression_level = compression_of(mode);
    auto store = Freezer::open(storage, options);
    CHECK(store.has_value(), "memory has room");
    for (uint64_t i = 0; i < kPuts; ++i) {
      const auto [key, value] = nth_put(i);
      CHECK((*store)->put(key, value).has_value(), "memory has room");
    }
    leave(*std::move(store), mode);
    return all_items(storage);
  }

  static Items all_items(Storage& storage) {
    FreezerOptions options;
    options.access = FreezerAccess::read_only;
    return fuzz::all_items<SmallFreezer>(storage, options);
  }

  static Result<Items> items(const Freezer& store) {
    Items items;
    Status read;
    TRY(store.visit([&](const FreezerItem& item) {
      const auto value = store.get(item.cursor());
      if (!value) {
        read = fail(value.error().code, value.error().message);
        return false;
      }
      items.emplace_back(item.key, to_bytes(value->bytes()));
      return true;
    }));
    TRY(std::move(read));
    return items;
  }
};

}  // namespace firn::fuzz
