// SPDX-License-Identifier: Apache-2.0
#include "campaign/journal_lives.h"

#include <algorithm>
#include <map>

#include "campaign/life_on_disk.h"
#include "firn/base/check.h"
#include "firn/io/page_cache.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/store/store.h"

namespace firn::campaign {
namespace {

constexpr size_t kNumberBytes = sizeof(uint64_t);
constexpr size_t kSizeBytes = sizeof(uint32_t);
constexpr size_t kValueMaxBytes = 600;
constexpr uint64_t kNobodysNumber = 0;  // of an item that nobody asks for

// What is drawn of any journal.
struct JournalShape {
  uint64_t items_per_section;
  uint32_t page_size_bytes;
  size_t write_buffer_bytes;
  size_t open_sections_max;
  std::optional<int> compression_level;

  explicit JournalShape(Random& random)
      : items_per_section(random.between(2, 5)),
        page_size_bytes(static_cast<uint32_t>(random.between(64, 300))),
        write_buffer_bytes(random.one_in(2) ? 0 : 1 << 16),
        open_sections_max(random.between(1, 3)) {
    if (random.one_in(2)) compression_level = 1;
  }

  [[nodiscard]] Section section_of(uint64_t number) const {
    return Section(number / items_per_section);
  }

  [[nodiscard]] FixedJournalOptions index(std::string partition, uint32_t record_size_bytes,
                                          Floors* floors, PageCache& cache) const {
    FixedJournalOptions options;
    options.partition = std::move(partition);
    options.record_size_bytes = record_size_bytes;
    options.page_size_bytes = page_size_bytes;
    options.write_buffer_bytes = write_buffer_bytes;
    options.open_sections_max = open_sections_max;
    options.cache = &cache;
    options.floors = floors;
    return options;
  }

  [[nodiscard]] ValueLogOptions values() const {
    ValueLogOptions options;
    options.partition = "values";
    options.compression_level = compression_level;
    options.write_buffer_bytes = write_buffer_bytes;
    options.open_sections_max = open_sections_max;
    return options;
  }
};

// After std::bad_alloc left a call, a journal's handle is only good for being dropped.
class Usable {
 public:
  template <class Call>
  Status use(const Call& call) {
    TRY(check());
    is_usable_ = false;
    Status outcome = call();
    is_usable_ = true;
    return outcome;
  }
  [[nodiscard]] Status check() const {
    if (is_usable_) return {};
    return fail(Errc::poisoned, "the handle is to be dropped");
  }
  void renew() { is_usable_ = true; }

 private:
  bool is_usable_ = true;
};

// A journal beside a manifest, as in a store.
template <class Journal>
struct JournalInStore {
  std::unique_ptr<Store> store;
  std::unique_ptr<PageCache> cache;
  std::unique_ptr<Journal> journal;
};

// An item's number is in its record: which ones are there decides the journal alone.
template <class Journal>
class JournalLife : public OnDisk<JournalInStore<Journal>> {
 public:
  explicit JournalLife(Random& random)
      : OnDisk<JournalInStore<Journal>>(random),
        shape_(random),
        syncs_sections_(random.one_in(2)) {}

  Status put(uint64_t number, ByteSpan value) override {
    return usable_.use([&]() -> Status {
      const Section section = shape_.section_of(number);
      TRY(append(section, number, value));
      unsynced_.push_back(section);
      return {};
    });
  }
  Status sync() override {
    return usable_.use([&]() -> Status {
      if (!syncs_sections_) return journal().sync_all();
      for (const Section section : unsynced_)
        TRY(journal().sync(section));
      unsynced_.clear();
      return {};
    });
  }
  Status close() override {
    return usable_.use([&]() -> Status {
      TRY(journal().close());
      return this->structure().store->close();
    });
  }
  uint64_t gone_below(uint64_t number) const override {
    return number - number % shape_.items_per_section;
  }
  Status maintain(uint64_t below) override {
    return usable_.use([&]() -> Status {
      TRY(journal().prune(shape_.section_of(below)));
      const auto newest = journal().newest_section();
      if (!newest) return {};
      TRY_INTO(const uint64_t size, journal().size(*newest));
      TRY(append(*newest, kNobodysNumber, ByteSpan()));
      const Status rewound = journal().rewind(*newest, size);
      // Beside a reader nothing goes back.
      if (!rewound && rewound.error().code == Errc::locked) return {};
      return rewound;
    });
  }
  Status refresh() override {
    return usable_.use([&]() -> Status {
      TRY(this->structure().store->refresh());
      TRY(journal().follow());
      return {};
    });
  }
  Result<std::optional<Bytes>> get(uint64_t number) const override {
    TRY(usable_.check());
    const Section section = shape_.section_of(number);
    std::optional<Bytes> found;
    auto count = count_of(section);
    if (!count && count.error().code == Errc::pruned) return found;
    if (!count) return pass_on(count);
    for (uint64_t position = 0; position < *count; ++position) {
      TRY_INTO(auto item, read(section, Position(position)));
      if (item.number != number) continue;
      if (found) return fail(Errc::corrupt, "an item is there twice");
      found = std::move(item.value);
    }
    return found;
  }
  void drop() override {
    unsynced_.clear();
    usable_.renew();
    OnDisk<JournalInStore<Journal>>::drop();
  }

 protected:
  struct Item {
    uint64_t number = 0;
    Bytes value;
  };

  [[nodiscard]] virtual StoreRole role() const = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<Journal>> open_journal(Storage& storage,
                                                                      Floors* floors,
                                                                      PageCache& cache,
                                                                      RecoveryLog& recovery) = 0;
  [[nodiscard]] virtual Status append(Section section, uint64_t number, ByteSpan value) = 0;
  [[nodiscard]] virtual Result<uint64_t> count_of(Section section) const = 0;
  [[nodiscard]] virtual Result<Item> read(Section section, Position position) const = 0;

  [[nodiscard]] Journal& journal() const { return *this->structure().journal; }
  [[nodiscard]] const JournalShape& shape() const { return shape_; }

 private:
  Result<std::unique_ptr<JournalInStore<Journal>>> open_structure(Storage& storage,
                                                                  LifeAccess access) override {
    StoreOptions options;
    options.identity.kind = "journal";
    options.identity.partitions = {{role(), std::string(store_role_name(role()))}};
    options.read_only = access == LifeAccess::reading;
    auto opened = std::make_unique<JournalInStore<Journal>>();
    TRY_INTO(opened->store, Store::open(storage, options));
    opened->cache = std::make_unique<PageCache>(1 << 16);
    TRY_INTO(opened->journal, open_journal(storage, opened->store->floors(role()), *opened->cache,
                                           opened->store->recovery()));
    if (access == LifeAccess::writing) TRY(opened->store->settle());
    return opened;
  }
  Result<uint64_t> salvage_structure(Storage&, Storage&) override {
    return fail(Errc::invalid_argument, "a journal alone has no salvage");
  }

  const JournalShape shape_;
  const bool syncs_sections_;
  std::vector<Section> unsynced_;  // may have a section twice
  Usable usable_;
};

// A record: number, size, value, and zeros up to the size of all records.
class FixedJournalLife final : public JournalLife<FixedJournal> {
 public:
  using JournalLife::JournalLife;

 private:
  static constexpr size_t kRecordBytes = kNumberBytes + kSizeBytes + kValueMaxBytes;

  StoreRole role() const override { return StoreRole::journal; }
  Result<std::unique_ptr<FixedJournal>> open_journal(Storage& storage, Floors* floors,
                                                     PageCache& cache,
                                                     RecoveryLog& recovery) override {
    return FixedJournal::open(storage, shape().index("journal", kRecordBytes, floors, cache),
                              recovery);
  }
  Status append(Section section, uint64_t number, ByteSpan value) override {
    CHECK(value.size() <= kValueMaxBytes, "a value fits into a record");
    Bytes record(kRecordBytes);
    store_big_endian(record.data(), number);
    store_big_endian(record.data() + kNumberBytes, static_cast<uint32_t>(value.size()));
    std::ranges::copy(value, record.begin() + kNumberBytes + kSizeBytes);
    TRY(journal().append(section, record));
    return {};
  }
  Result<uint64_t> count_of(Section section) const override {
    return journal().record_count(section);
  }
  Result<Item> read(Section section, Position position) const override {
    Bytes record(kRecordBytes);
    TRY(journal().read(section, position, record));
    const uint32_t size = load_big_endian<uint32_t>(record.data() + kNumberBytes);
    if (size > kValueMaxBytes) return fail(Errc::corrupt, "a record that nobody wrote");
    return Item{load_big_endian<uint64_t>(record.data()),
                to_bytes(ByteSpan(record).subspan(kNumberBytes + kSizeBytes, size))};
  }
};

class IndexedValueLogLife final : public JournalLife<IndexedValueLog> {
 public:
  using JournalLife::JournalLife;

 private:
  static constexpr size_t kEntryBytes = kNumberBytes + IndexedValueLog::kLocationSizeBytes;

  StoreRole role() const override { return StoreRole::index; }
  Result<std::unique_ptr<IndexedValueLog>> open_journal(Storage& storage, Floors* floors,
                                                        PageCache& cache,
                                                        RecoveryLog& recovery) override {
    IndexedValueLogOptions options;
    options.index = shape().index("index", kEntryBytes, floors, cache);
    options.values = shape().values();
    return IndexedValueLog::open(storage, options, recovery);
  }
  Status append(Section section, uint64_t number, ByteSpan value) override {
    TRY(journal().append(section, key_of(number), value));
    return {};
  }
  Result<uint64_t> count_of(Section section) const override {
    return journal().entry_count(section);
  }
  Result<Item> read(Section section, Position position) const override {
    Bytes entry(kEntryBytes);
    TRY(journal().read_entry(section, position, entry));
    TRY_INTO(const Value value, journal().read_value(section, IndexedValueLog::location_of(entry)));
    return Item{load_big_endian<uint64_t>(entry.data()), to_bytes(value.bytes())};
  }
};

// The owner of a ValueLog knows where the values are that a sync covered. When it comes back after
// a crash it cuts what is behind them.
class ValueLogLife final : public OnDisk<ValueLog> {
 public:
  explicit ValueLogLife(Random& random)
      : OnDisk(random), shape_(random), syncs_sections_(random.one_in(2)) {}

  Status put(uint64_t number, ByteSpan value) override {
    return usable_.use([&]() -> Status {
      TRY_INTO(const ValueLocation location, structure().append(shape_.section_of(number), value));
      unsynced_[number] = location;
      return {};
    });
  }
  Status sync() override {
    return usable_.use([&]() -> Status {
      if (!syncs_sections_) TRY(structure().sync_all());
      if (syncs_sections_)
        for (const auto& [number, location] : unsynced_)
          TRY(structure().sync(shape_.section_of(number)));
      synced_.merge(unsynced_);
      return {};
    });
  }
  Status close() override { return sync(); }
  uint64_t gone_below(uint64_t number) const override {
    return number - number % shape_.items_per_section;
  }
  Status maintain(uint64_t below) override {
    return usable_.use([&]() -> Status {
      TRY(structure().prune(shape_.section_of(below)));
      const std::vector<Section> sections = structure().sections();
      if (sections.empty()) return {};
      TRY_INTO(const uint64_t size, structure().size(sections.back()));
      TRY(structure().append(sections.back(), ByteSpan()));
      return structure().rewind(sections.back(), size);
    });
  }
  Status refresh() override { return fail(Errc::invalid_argument, "a value log has no readers"); }
  Result<std::optional<Bytes>> get(uint64_t number) const override {
    TRY(usable_.check());
    const auto& locations = synced_.contains(number) ? synced_ : unsynced_;
    const auto location = locations.find(number);
    if (location == locations.end()) return std::nullopt;
    auto value = structure().read(shape_.section_of(number), location->second);
    if (value) return to_bytes(value->bytes());
    const Errc code = value.error().code;
    const bool is_absent = code == Errc::pruned || code == Errc::out_of_range;
    if (is_absent) return std::nullopt;
    return pass_on(value);
  }
  void drop() override {
    unsynced_.clear();
    usable_.renew();
    OnDisk::drop();
  }

 private:
  Result<std::unique_ptr<ValueLog>> open_structure(Storage& storage, LifeAccess access) override {
    RecoveryLog recovery(storage, access == LifeAccess::reading);
    TRY_INTO(auto log, ValueLog::open(storage, shape_.values(), recovery));
    for (const Section section : log->sections()) {
      uint64_t end = 0;
      for (const auto& [number, location] : synced_)
        if (shape_.section_of(number) == section)
          end = std::max(end, location.offset + location.size_bytes);
      TRY(log->rewind_section(section, end));
    }
    return log;
  }
  Result<uint64_t> salvage_structure(Storage&, Storage&) override {
    return fail(Errc::invalid_argument, "a journal alone has no salvage");
  }

  const JournalShape shape_;
  const bool syncs_sections_;
  std::map<uint64_t, ValueLocation> synced_;
  std::map<uint64_t, ValueLocation> unsynced_;
  Usable usable_;
};

}  // namespace

std::unique_ptr<LifeSubject> make_fixed_journal_life(Random& random) {
  return std::make_unique<FixedJournalLife>(random);
}
std::unique_ptr<LifeSubject> make_indexed_value_log_life(Random& random) {
  return std::make_unique<IndexedValueLogLife>(random);
}
std::unique_ptr<LifeSubject> make_value_log_life(Random& random) {
  return std::make_unique<ValueLogLife>(random);
}

}  // namespace firn::campaign
