// SPDX-License-Identifier: Apache-2.0
#include "tests/processes/store_handle.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/freezer/freezer.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/metadata/metadata_store.h"

namespace firn::processes {
namespace {

constexpr uint64_t kItemsPerSection = 20;

Bytes key_of(uint64_t item) {
  Bytes key(8);
  store_big_endian<uint64_t>(key.data(), item);
  return key;
}

// Of sizes that fill pages and buffers at different items.
std::string content_of(uint64_t item) {
  return concat(item, std::string(item * 7 % 90, '.'));
}

std::unexpected<Error> wrong(uint64_t item, std::string_view what) {
  return fail(Errc::corrupt, concat("item ", item, ": ", what));
}

Result<uint64_t> check_items(uint64_t count, const auto& read) {
  for (uint64_t item = 1; item <= count; ++item) {
    TRY_INTO(const std::string content, read(item));
    if (content != content_of(item)) return wrong(item, content);
  }
  return count;
}

Result<std::string> text_of(Result<std::optional<Value>> value) {
  if (!value) return pass_on(value);
  return *value ? std::string(as_text((*value)->bytes())) : std::string("absent");
}

class ArchiveHandle final : public StoreHandle {
 public:
  static Result<std::unique_ptr<StoreHandle>> open(std::unique_ptr<Storage> storage,
                                                   Access access) {
    PrunableArchiveOptions options;
    options.key_size_bytes = 8;
    options.items_per_section = kItemsPerSection;
    options.page_size_bytes = 100;
    options.write_buffer_bytes = 300;
    options.open_sections_max = 2;
    if (access == Access::read) options.access = ArchiveAccess::read_only;
    auto handle = std::make_unique<ArchiveHandle>();
    handle->storage_ = std::move(storage);
    TRY_INTO(handle->archive_, PrunableArchive::open(*handle->storage_, options));
    return handle;
  }
  Status put(uint64_t item) override {
    TRY(archive_->put(item, key_of(item), as_bytes(content_of(item))));
    return {};
  }
  Status sync() override { return archive_->sync(); }
  Status close() override { return archive_->close(); }
  Status refresh() override {
    TRY(archive_->refresh());
    return {};
  }
  Result<uint64_t> count() override {
    return check_items(archive_->last_index().value_or(0),
                       [&](uint64_t item) { return text_of(archive_->get(item)); });
  }
  const RecoveryReport& recovery() const override { return archive_->recovery(); }

 private:
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<PrunableArchive> archive_;
};

// In memory with a deferred table, or with each put on disk; its table begins with one position.
template <TableWriting writing>
class FreezerHandle final : public StoreHandle {
 public:
  static Result<std::unique_ptr<StoreHandle>> open(std::unique_ptr<Storage> storage,
                                                   Access access) {
    FreezerOptions options;
    options.key_size_bytes = 8;
    options.page_size_bytes = 100;
    options.table.initial_size = 1;
    options.table.resize_chunk = 3;
    options.table.writing = access == Access::read ? TableWriting::deferred : writing;
    options.section_target_bytes = 4000;
    options.write_buffer_bytes = 300;
    if (access == Access::read) options.access = FreezerAccess::read_only;
    auto handle = std::make_unique<FreezerHandle>();
    handle->storage_ = std::move(storage);
    TRY_INTO(handle->freezer_, Freezer::open(*handle->storage_, options));
    return handle;
  }
  Status put(uint64_t item) override {
    TRY(freezer_->put(key_of(item), as_bytes(content_of(item))));
    return {};
  }
  Status sync() override {
    TRY(freezer_->sync());
    return {};
  }
  Status close() override {
    TRY(freezer_->close());
    return {};
  }
  Status refresh() override {
    TRY(freezer_->refresh());
    return {};
  }
  Result<uint64_t> count() override {
    return check_items(freezer_->item_count(),
                       [&](uint64_t item) { return text_of(freezer_->get(key_of(item))); });
  }
  const RecoveryReport& recovery() const override { return freezer_->recovery(); }

 private:
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Freezer> freezer_;
};

// A structure that has no store of its own, in one: the lock and the manifest are the store's.
class HandleInStore : public StoreHandle {
 public:
  const RecoveryReport& recovery() const override { return store_->recovery().report(); }

 protected:
  Status open_store(std::unique_ptr<Storage> storage, Access access, std::string_view kind,
                    StoreRole role) {
    storage_ = std::move(storage);
    StoreOptions options;
    options.identity.kind = kind;
    options.identity.partitions = {{role, std::string(store_role_name(role))}};
    options.read_only = access == Access::read;
    TRY_INTO(store_, Store::open(*storage_, options));
    return {};
  }
  static Section section_of(uint64_t item) { return Section((item - 1) / kItemsPerSection); }

  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Store> store_;
};

class JournalHandle final : public HandleInStore {
 public:
  static Result<std::unique_ptr<StoreHandle>> open(std::unique_ptr<Storage> storage,
                                                   Access access) {
    auto handle = std::make_unique<JournalHandle>();
    TRY(handle->open_store(std::move(storage), access, "journal", StoreRole::journal));
    FixedJournalOptions options;
    options.partition = "journal";
    options.record_size_bytes = 8;
    options.page_size_bytes = 100;
    options.write_buffer_bytes = 300;
    options.cache = &handle->cache_;
    options.floors = handle->store_->floors(StoreRole::journal);
    TRY_INTO(handle->journal_,
             FixedJournal::open(*handle->storage_, options, handle->store_->recovery()));
    TRY(handle->store_->settle());
    return handle;
  }
  Status put(uint64_t item) override {
    TRY(journal_->append(section_of(item), key_of(item)));
    return {};
  }
  Status sync() override { return journal_->sync_all(); }
  Status close() override {
    TRY(journal_->close());
    return store_->close();
  }
  Status refresh() override {
    TRY(store_->refresh());
    TRY(journal_->follow());
    return {};
  }
  Result<uint64_t> count() override {
    uint64_t items = 0;
    for (const Section section : journal_->sections()) {
      TRY_INTO(const uint64_t records, journal_->record_count(section));
      for (uint64_t position = 0; position < records; ++position) {
        Bytes record(8);
        TRY(journal_->read(section, Position(position), record));
        if (!equal_bytes(record, key_of(++items))) return wrong(items, to_hex(record));
      }
    }
    return items;
  }

 private:
  PageCache cache_{1 << 20};
  std::unique_ptr<FixedJournal> journal_;
};

class IndexedLogHandle final : public HandleInStore {
 public:
  static Result<std::unique_ptr<StoreHandle>> open(std::unique_ptr<Storage> storage,
                                                   Access access) {
    auto handle = std::make_unique<IndexedLogHandle>();
    TRY(handle->open_store(std::move(storage), access, "log", StoreRole::index));
    IndexedValueLogOptions options;
    options.index.partition = "index";
    options.index.record_size_bytes = 8 + IndexedValueLog::kLocationSizeBytes;
    options.index.page_size_bytes = 100;
    options.index.write_buffer_bytes = 300;
    options.index.cache = &handle->cache_;
    options.index.floors = handle->store_->floors(StoreRole::index);
    options.values.partition = "values";
    options.values.write_buffer_bytes = 300;
    TRY_INTO(handle->log_,
             IndexedValueLog::open(*handle->storage_, options, handle->store_->recovery()));
    TRY(handle->store_->settle());
    return handle;
  }
  Status put(uint64_t item) override {
    TRY(log_->append(section_of(item), key_of(item), as_bytes(content_of(item))));
    return {};
  }
  Status sync() override { return log_->sync_all(); }
  Status close() override {
    TRY(log_->close());
    return store_->close();
  }
  Status refresh() override {
    TRY(store_->refresh());
    TRY(log_->follow());
    return {};
  }
  Result<uint64_t> count() override {
    uint64_t items = 0;
    for (const Section section : log_->sections()) {
      TRY_INTO(const uint64_t entries, log_->entry_count(section));
      for (uint64_t position = 0; position < entries; ++position) {
        Bytes entry(8 + IndexedValueLog::kLocationSizeBytes);
        TRY(log_->read_entry(section, Position(position), entry));
        TRY_INTO(const Value value, log_->read_value(section, IndexedValueLog::location_of(entry)));
        if (as_text(value.bytes()) != content_of(++items)) return wrong(items, to_hex(entry));
      }
    }
    return items;
  }

 private:
  PageCache cache_{1 << 20};
  std::unique_ptr<IndexedValueLog> log_;
};

// Item n is a commit that sets both keys to n.
class MetadataHandle final : public HandleInStore {
 public:
  static Result<std::unique_ptr<StoreHandle>> open(std::unique_ptr<Storage> storage,
                                                   Access access) {
    auto handle = std::make_unique<MetadataHandle>();
    TRY(handle->open_store(std::move(storage), access, "metadata", StoreRole::metadata));
    MetadataStoreOptions options;
    options.partition = "metadata";
    options.read_only = access == Access::read;
    TRY_INTO(handle->metadata_,
             MetadataStore::open(*handle->storage_, options, handle->store_->recovery()));
    TRY(handle->store_->settle());
    return handle;
  }
  Status put(uint64_t item) override {
    if (store_->manifest() != nullptr) TRY(store_->manifest()->begin_writing());
    for (const uint64_t key : {uint64_t{1}, uint64_t{2}})
      TRY(metadata_->put(key_of(key), as_bytes(content_of(item))));
    return {};
  }
  Status sync() override { return metadata_->sync(); }
  Status close() override {
    TRY(metadata_->sync());
    return store_->close();
  }
  Status refresh() override {
    TRY(store_->refresh());
    TRY(metadata_->refresh());
    return {};
  }
  Result<uint64_t> count() override {
    const auto first = metadata_->get(key_of(1));
    const auto second = metadata_->get(key_of(2));
    if (!first && !second) return 0;
    if (first != second) return wrong(0, "two commits are mixed");
    const uint64_t item = std::stoull(std::string(as_text(*first)));
    if (as_text(*first) != content_of(item)) return wrong(item, as_text(*first));
    return item;
  }

 private:
  std::unique_ptr<MetadataStore> metadata_;
};

}  // namespace

constexpr std::array<StoreKind, 6> kStoreKinds = {
    StoreKind{"FixedJournal", JournalHandle::open},
    StoreKind{"IndexedValueLog", IndexedLogHandle::open},
    StoreKind{"Metadata", MetadataHandle::open},
    StoreKind{"Archive", ArchiveHandle::open},
    StoreKind{"FreezerInMemory", FreezerHandle<TableWriting::deferred>::open},
    StoreKind{"FreezerOnDisk", FreezerHandle<TableWriting::immediate>::open},
};

Result<std::unique_ptr<StoreHandle>> StoreKind::open(const std::string& path, Access access) const {
  PosixOptions options;
  (access == Access::write ? options.create : options.read_only) = true;
  TRY_INTO(auto storage, open_posix_storage(path, options));
  return open_in(std::move(storage), access);
}

std::map<std::string, std::string> state_of_files(const std::string& path) {
  std::map<std::string, std::string> state;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    std::string& file = state[entry.path().string()];
    file = concat(entry.last_write_time().time_since_epoch().count(), " ");
    if (!entry.is_regular_file()) continue;
    std::ifstream content(entry.path(), std::ios::binary);
    file.append(std::istreambuf_iterator<char>(content), {});
  }
  return state;
}

}  // namespace firn::processes
