// SPDX-License-Identifier: Apache-2.0
#include "campaign/life_subject.h"

#include "campaign/journal_lives.h"
#include "campaign/life_on_disk.h"
#include "firn/archive/archive_salvage.h"
#include "firn/archive/prunable_archive.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/freezer_salvage.h"
#include "firn/metadata/metadata_salvage.h"
#include "firn/metadata/metadata_store.h"
#include "firn/store/store.h"

namespace firn::campaign {
namespace {

std::optional<Bytes> copy_of(const std::optional<Value>& value) {
  return value ? std::optional(to_bytes(value->bytes())) : std::nullopt;
}

uint64_t told_in(const SalvageSummary& summary) {
  return summary.losses + summary.unsynced + summary.unread + summary.copies;
}

class ArchiveLife final : public OnDisk<PrunableArchive> {
 public:
  explicit ArchiveLife(Random& random) : OnDisk(random) {
    options_.key_size_bytes = 8;
    options_.items_per_section = random.between(2, 8);
    options_.page_size_bytes = static_cast<uint32_t>(random.between(64, 300));
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 16;
    options_.page_cache_bytes = 1 << 16;
    if (random.one_in(2)) options_.compression_level = 1;
  }
  Status put(uint64_t number, ByteSpan value) override {
    TRY(structure().put(number, key_of(number), value));
    return {};
  }
  uint64_t gone_below(uint64_t number) const override {
    return number - number % *options_.items_per_section;
  }
  Status maintain(uint64_t below) override { return structure().prune(below); }
  Status refresh() override {
    TRY(structure().refresh());
    return {};
  }
  Status sync() override { return structure().sync(); }
  Status close() override { return structure().close(); }
  Result<std::optional<Bytes>> get(uint64_t number) const override {
    TRY_INTO(const auto by_index, structure().get(number));
    TRY_INTO(const auto by_key, structure().get(key_of(number)));
    return by_key ? copy_of(by_index) : std::nullopt;
  }

 private:
  Result<std::unique_ptr<PrunableArchive>> open_structure(Storage& storage,
                                                          LifeAccess access) override {
    PrunableArchiveOptions options = options_;
    if (access == LifeAccess::reading) options.access = ArchiveAccess::read_only;
    return PrunableArchive::open(storage, options);
  }
  Result<uint64_t> salvage_structure(Storage& source, Storage& target) override {
    TRY_INTO(const auto summary, salvage_archive(source, {}, target, {}));
    return told_in(summary);
  }
  PrunableArchiveOptions options_;
};

class FreezerLife final : public OnDisk<Freezer> {
 public:
  FreezerLife(Random& random, size_t memory_budget_bytes) : OnDisk(random) {
    options_.key_size_bytes = 8;
    options_.page_size_bytes = static_cast<uint32_t>(random.between(64, 300));
    options_.table.initial_size = 2;
    options_.table.resize_frequency = 1;
    options_.table.resize_chunk = 2;
    options_.section_target_bytes = random.below(600);
    options_.memory_budget_bytes = memory_budget_bytes;
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 16;
    options_.page_cache_bytes = 1 << 16;
    if (random.one_in(2)) options_.compression_level = 1;
  }
  uint64_t gone_below(uint64_t) const override { return 0; }
  Status maintain(uint64_t) override { return structure().rebuild_table(); }
  Status refresh() override {
    TRY(structure().refresh());
    return {};
  }
  Status put(uint64_t number, ByteSpan value) override {
    TRY(structure().put(key_of(number), value));
    return {};
  }
  Status sync() override {
    TRY(structure().sync());
    return {};
  }
  Status close() override {
    TRY(structure().close());
    return {};
  }
  Result<std::optional<Bytes>> get(uint64_t number) const override {
    TRY_INTO(const auto value, structure().get(key_of(number)));
    return copy_of(value);
  }

 private:
  Result<std::unique_ptr<Freezer>> open_structure(Storage& storage, LifeAccess access) override {
    FreezerOptions options = options_;
    if (access == LifeAccess::reading) {
      options.access = FreezerAccess::read_only;
      options.memory_budget_bytes = 1 << 20;  // beside a writer through memory only
    }
    return Freezer::open(storage, options);
  }
  Result<uint64_t> salvage_structure(Storage& source, Storage& target) override {
    TRY_INTO(const auto summary, salvage_freezer(source, {}, target, {}));
    return told_in(summary);
  }
  FreezerOptions options_;
};

// As the command keeps one: a store whose only structure is a map.
struct MetadataInStore {
  std::unique_ptr<Store> store;
  std::unique_ptr<MetadataStore> map;
};

class MetadataLife final : public OnDisk<MetadataInStore> {
 public:
  using OnDisk::OnDisk;

  Status put(uint64_t number, ByteSpan value) override {
    return structure().map->put(key_of(number), value);
  }
  Status sync() override { return structure().map->sync(); }
  Status close() override {
    TRY(structure().map->sync_both());
    return structure().store->close();
  }
  Result<std::optional<Bytes>> get(uint64_t number) const override {
    return structure().map->get(key_of(number));
  }
  uint64_t gone_below(uint64_t number) const override { return number; }
  Status maintain(uint64_t below) override {
    MetadataBatch batch;
    for (uint64_t number = 1; number < below; ++number)
      batch.remove(key_of(number));
    TRY(structure().map->apply(batch));
    return structure().map->sync();
  }
  Status refresh() override {
    TRY(structure().store->refresh());
    TRY(structure().map->refresh());
    return {};
  }

 private:
  Result<std::unique_ptr<MetadataInStore>> open_structure(Storage& storage,
                                                          LifeAccess access) override {
    StoreOptions options;
    options.identity.kind = "metadata";
    options.read_only = access == LifeAccess::reading;
    auto opened = std::make_unique<MetadataInStore>();
    TRY_INTO(opened->store, Store::open(storage, options));
    MetadataStoreOptions map;
    map.key_size_bytes = sizeof(uint64_t);
    map.read_only = options.read_only;
    TRY_INTO(opened->map, MetadataStore::open(storage, map, opened->store->recovery()));
    return opened;
  }
  // As the command does it.
  Result<uint64_t> salvage_structure(Storage& source, Storage& target) override {
    SalvageObserver nobody;
    SalvageLog log(nobody);
    MetadataStoreOptions options;
    options.key_size_bytes = sizeof(uint64_t);
    TRY_INTO(const SalvagedMap map, salvage_metadata(source, options, log));
    TRY_INTO(const auto made, open_structure(target, LifeAccess::writing));
    for (const auto& [key, value] : map.pairs)
      TRY(made->map->put(key, value));
    TRY(made->map->sync_both());
    TRY(made->store->close());
    return told_in(log.summary);
  }
};

std::unique_ptr<LifeSubject> make_archive(Random& random) {
  return std::make_unique<ArchiveLife>(random);
}
std::unique_ptr<LifeSubject> make_freezer_in_memory(Random& random) {
  return std::make_unique<FreezerLife>(random, 1 << 20);
}
std::unique_ptr<LifeSubject> make_freezer_on_disk(Random& random) {
  return std::make_unique<FreezerLife>(random, 0);
}
std::unique_ptr<LifeSubject> make_metadata(Random& random) {
  return std::make_unique<MetadataLife>(random);
}

}  // namespace

std::span<const LifeKind> life_kinds() {
  static constexpr LifeKind kKinds[] = {
      {"archive", make_archive},
      {"freezer_in_memory", make_freezer_in_memory},
      {"freezer_on_disk", make_freezer_on_disk},
      {"metadata", make_metadata},
      {.name = "fixed_journal", .make = make_fixed_journal_life, .has_salvage = false},
      {.name = "indexed_value_log", .make = make_indexed_value_log_life, .has_salvage = false},
      {.name = "value_log",
       .make = make_value_log_life,
       .has_readers = false,
       .has_salvage = false},
      {.name = "archive_written_out",
       .make = make_archive,
       .has_readers = false,
       .has_salvage = false,
       .is_large = true}};
  return kKinds;
}

}  // namespace firn::campaign
