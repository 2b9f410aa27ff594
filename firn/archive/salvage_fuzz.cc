// SPDX-License-Identifier: Apache-2.0
//
// Hostile stores under salvage_archive and salvage_freezer. Damage is no failure, the source stays
// as it is, and where no checksum was forged, what is in the new store was put.
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "firn/archive/archive_salvage.h"
#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/freezer_salvage.h"
#include "firn/io/memory_storage.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

constexpr uint32_t kKeySizeBytes = 4;
constexpr uint32_t kPageSizeBytes = 44;
constexpr uint64_t kPuts = 12;

using Items = std::vector<std::pair<Bytes, Bytes>>;  // key and value, in order

// The n-th put; no two values have the same size.
std::pair<Bytes, Bytes> nth(uint64_t number) {
  return {Bytes(kKeySizeBytes, static_cast<std::byte>(number % 9)),
          Random(number).bytes(number * 6)};
}

std::optional<int> compression_of(uint64_t mode) {
  return mode / 2 % 2 == 1 ? std::optional<int>(1) : std::nullopt;
}

struct ArchiveSubject {
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
      const auto [key, value] = nth(i);
      CHECK((*store)->put_multi(i / 2 * 2, key, value).has_value(), "memory has room");
      if (i == 5) CHECK((*store)->sync().has_value(), "memory does not fail");
    }
    if (mode / 4 % 2 == 1)
      CHECK((*store)->close().has_value(), "memory does not fail");
    else
      CHECK((*store)->sync().has_value(), "memory does not fail");
    store->reset();
    return items(storage);
  }

  static Items items(Storage& storage) {
    PrunableArchiveOptions options;
    options.access = ArchiveAccess::read_only;
    const auto store = PrunableArchive::open(storage, options);
    CHECK(store.has_value(), "an undamaged store opens");
    Items items;
    CHECK((*store)
              ->visit(0, UINT64_MAX, false,
                      [&](const ArchiveItem& item) {
                        const auto value = (*store)->read_value(item);
                        CHECK(value.has_value(), "an undamaged value is read");
                        Bytes name(8 + kKeySizeBytes);
                        archive::encode_prefix(name, item.index, item.key);
                        items.emplace_back(std::move(name), to_bytes(value->bytes()));
                        return true;
                      })
              .has_value(),
          "an undamaged store is visited");
    return items;
  }

  static Result<SalvageSummary> salvage(Storage& source, Storage& target, uint64_t mode) {
    ArchiveSalvageOptions options;
    options.compression_level = compression_of(mode);
    if (mode / 8 % 2 == 1)
      options.key_size_bytes = kKeySizeBytes, options.page_size_bytes = kPageSizeBytes;
    return salvage_archive(source, options, target, {});
  }
};

struct FreezerSubject {
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
      const auto [key, value] = nth(i);
      CHECK((*store)->put(key, value).has_value(), "memory has room");
    }
    if (mode / 4 % 2 == 1)
      CHECK((*store)->close().has_value(), "memory does not fail");
    else
      CHECK((*store)->sync().has_value(), "memory does not fail");
    store->reset();
    return items(storage);
  }

  static Items items(Storage& storage) {
    FreezerOptions options;
    options.access = FreezerAccess::read_only;
    const auto store = Freezer::open(storage, options);
    CHECK(store.has_value(), "an undamaged store opens");
    Items items;
    CHECK((*store)
              ->visit([&](const FreezerItem& item) {
                const auto value = (*store)->get(item.cursor());
                CHECK(value.has_value(), "an undamaged value is read");
                items.emplace_back(item.key, to_bytes(value->bytes()));
                return true;
              })
              .has_value(),
          "an undamaged store is visited");
    return items;
  }

  static Result<SalvageSummary> salvage(Storage& source, Storage& target, uint64_t mode) {
    FreezerOptions options;
    options.compression_level = compression_of(mode);
    if (mode / 8 % 2 == 1)
      options.key_size_bytes = kKeySizeBytes, options.page_size_bytes = kPageSizeBytes;
    return salvage_freezer(source, options, target, {});
  }
};

// Every file, header included, in one piece.
Bytes bytes_of(const MemoryStorage& storage) {
  Bytes all;
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    for (const ByteSpan part : {as_bytes(partition), name, content})
      all.insert(all.end(), part.begin(), part.end());
  });
  return all;
}

template <class Subject>
void run(testkit::FuzzInput& input, uint64_t mode) {
  testkit::FuzzedStorage source;
  const Items put = Subject::make(source, mode);
  testkit::StoreMutator mutator(source, {kPageSizeBytes, Subject::kRecordSizeBytes});
  const testkit::Mutation mutation = mutator.mutate(input);
  const Bytes before = bytes_of(source);
  MemoryStorage target;
  const auto summary = Subject::salvage(source, target, mode);
  CHECK(bytes_of(source) == before, "the source stays as it is");
  if (!summary) {
    CHECK(summary.error().code == Errc::invalid_argument, "damage is no failure");
    return;
  }
  if (mutation == testkit::Mutation::forged || !summary->target_made) return;
  const Items found = Subject::items(target);
  CHECK(found.size() == summary->items, "what was kept is counted");
  // Sections whose files all changed places come in another order.
  for (const auto& item : found)
    CHECK(std::ranges::count(put, item) == 1, "only what was put");
  CHECK(found.size() == put.size() || summary->losses + summary->unsynced > 0 ||
            source.scan(kManifestPartition)->empty(),
        "what is missing is told");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  if (mode % 2 == 0)
    run<ArchiveSubject>(input, mode);
  else
    run<FreezerSubject>(input, mode);
  return 0;
}
