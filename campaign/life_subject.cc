// SPDX-License-Identifier: Apache-2.0
#include "campaign/life_subject.h"

#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/freezer/freezer.h"
#include "firn/io/posix_storage.h"
#include "firn/metadata/metadata_store.h"
#include "firn/store/store.h"

namespace firn::campaign {
namespace {

Bytes key_of(uint64_t number) {
  Bytes key(sizeof number);
  store_big_endian(key.data(), number);
  return key;
}

std::optional<Bytes> copy_of(const std::optional<Value>& value) {
  return value ? std::optional(to_bytes(value->bytes())) : std::nullopt;
}

// Opens the storage below a structure, and drops both.
template <class Structure>
class OnDisk : public LifeSubject {
 public:
  Status open(const std::string& directory) override {
    TRY_INTO(storage_, open_posix_storage(directory, {.create = true}));
    TRY_INTO(structure_, open_structure(*storage_));
    return {};
  }
  void drop() override {
    structure_.reset();
    storage_.reset();
  }

 protected:
  [[nodiscard]] virtual Result<std::unique_ptr<Structure>> open_structure(Storage& storage) = 0;
  [[nodiscard]] Structure& structure() const { return *structure_; }

 private:
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Structure> structure_;
};

class ArchiveLife final : public OnDisk<PrunableArchive> {
 public:
  explicit ArchiveLife(Random& random) {
    options_.key_size_bytes = 8;
    options_.items_per_section = random.between(2, 8);
    options_.page_size_bytes = static_cast<uint32_t>(random.between(64, 300));
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 16;
    options_.page_cache_bytes = 1 << 16;
  }
  Status put(uint64_t number, ByteSpan value) override {
    TRY(structure().put(number, key_of(number), value));
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
  Result<std::unique_ptr<PrunableArchive>> open_structure(Storage& storage) override {
    return PrunableArchive::open(storage, options_);
  }
  PrunableArchiveOptions options_;
};

class FreezerLife final : public OnDisk<Freezer> {
 public:
  FreezerLife(Random& random, size_t memory_budget_bytes) {
    options_.key_size_bytes = 8;
    options_.page_size_bytes = static_cast<uint32_t>(random.between(64, 300));
    options_.table.initial_size = 2;
    options_.table.resize_frequency = 1;
    options_.table.resize_chunk = 2;
    options_.section_target_bytes = random.below(600);
    options_.memory_budget_bytes = memory_budget_bytes;
    options_.write_buffer_bytes = random.one_in(2) ? 0 : 1 << 16;
    options_.page_cache_bytes = 1 << 16;
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
  Result<std::unique_ptr<Freezer>> open_structure(Storage& storage) override {
    return Freezer::open(storage, options_);
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

 private:
  Result<std::unique_ptr<MetadataInStore>> open_structure(Storage& storage) override {
    StoreOptions options;
    options.identity.kind = "metadata";
    auto opened = std::make_unique<MetadataInStore>();
    TRY_INTO(opened->store, Store::open(storage, options));
    TRY_INTO(opened->map, MetadataStore::open(storage, {.key_size_bytes = sizeof(uint64_t)},
                                              opened->store->recovery()));
    return opened;
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
std::unique_ptr<LifeSubject> make_metadata(Random&) {
  return std::make_unique<MetadataLife>();
}

}  // namespace

std::span<const LifeKind> life_kinds() {
  static constexpr LifeKind kKinds[] = {{"archive", make_archive},
                                        {"freezer_in_memory", make_freezer_in_memory},
                                        {"freezer_on_disk", make_freezer_on_disk},
                                        {"metadata", make_metadata}};
  return kKinds;
}

}  // namespace firn::campaign
