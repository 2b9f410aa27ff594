// SPDX-License-Identifier: Apache-2.0
#include "campaign/swept_stores.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "campaign/salvaged_puts.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/io/page_cache.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/metadata/metadata_store.h"
#include "firn/store/manifest.h"

namespace firn::campaign {
namespace {

struct Item {
  uint64_t number = 0;  // index, or section and position, or what its key is made of
  Bytes value;
  std::vector<Bytes> older = {};  // of the same key
};

template <class T>
T must(Result<T> outcome) {
  CHECK(outcome.has_value(), "a store in memory does not fail");
  return std::move(*outcome);
}

void must(const Status& outcome) {
  CHECK(outcome.has_value(), "a store in memory does not fail");
}

// Distinct for distinct numbers, and as long as the keys of the store are.
Bytes key_of(uint64_t number, size_t size_bytes) {
  Bytes key(size_bytes);
  uint64_t state = number;
  std::byte mixed[sizeof(uint64_t)];
  store_big_endian(mixed, split_mix64(state));
  for (size_t i = 0; i < size_bytes; ++i)
    key[i] = i < 4 ? std::byte(number >> (8 * i)) : mixed[i % 8];
  return key;
}

Bytes draw_value(Random& random, Scale scale) {
  const uint64_t max = scale == Scale::small ? 700 : 6000;
  return random.bytes(random.one_in(8) ? random.below(max) : random.below(40));
}

// `small`, or many times that.
uint64_t scaled(uint64_t small, Scale scale) {
  return scale == Scale::small ? small : small * 12;
}

uint32_t draw_page_size(Random& random, Scale scale) {
  return static_cast<uint32_t>(scale == Scale::small ? random.between(16, 200)
                                                     : random.between(60, 600));
}

// A value that was replaced counts as a missing one: somebody must have said so.
Answer answer_of(const Item& item, std::optional<ByteSpan> found) {
  if (!found) return {Outcome::absent};
  if (equal_bytes(*found, item.value)) return {Outcome::right};
  const bool was_replaced = std::ranges::any_of(
      item.older, [&](const Bytes& older) { return equal_bytes(*found, older); });
  return {was_replaced ? Outcome::absent : Outcome::wrong};
}

Answer answer_of(const Item& item, const Result<std::optional<Value>>& found) {
  if (!found) return {Outcome::failed, found.error().message};
  return answer_of(item, *found ? std::optional((*found)->bytes()) : std::nullopt);
}

std::vector<Finding> findings_of(const RecoveryReport& report) {
  std::vector<Finding> findings;
  const auto add = [&](const char* what, const BlobRange& range) {
    findings.push_back(
        {concat(range.partition, "/", range.blob),
         concat(what, " at ", range.offset, "+", range.size_bytes, ": ", range.reason)});
  };
  for (const CutRange& cut : report.cuts)
    add("cut", cut.range);
  for (const BlobRange& range : report.damage)
    add("damage", range);
  for (const std::string& note : report.notes)
    findings.push_back({"", note});
  return findings;
}

Reading refused(const Error& error) {
  return {.refusal = error.message, .findings = {}, .verified = {}, .answers = {}};
}

Reading opened(const RecoveryReport& report) {
  return {.refusal = {},
          .was_clean = report.was_clean,
          .findings = findings_of(report),
          .verified = {},
          .answers = {}};
}

// What `verify(findings)` says, if the store was opened for reading.
void add_verified(Reading& reading, Storage& storage, Access access, const auto& verify) {
  if (access == Access::writing) return;
  RecoveryLog findings(storage, true);
  const Status verified = verify(findings);
  reading.verified = findings_of(findings.report());
  if (!verified) reading.verified.push_back({"", verified.error().message});
}

Files files_of(MemoryStorage& storage) {
  Files files;
  for (const std::string& partition : must(storage.partitions()))
    for (const Bytes& name : must(storage.scan(partition)))
      files[{partition, name}] = *storage.raw(partition, name);
  return files;
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
    std::vector<Item> items = std::move(synced_);
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
  std::vector<Item> synced_;
  std::vector<Item> unsynced_;
};

std::vector<Put> puts_of(const Files& files, const auto& walk) {
  MemoryStorage whole;
  load(whole, files);
  return walk(whole);
}

// ---------------------------------------------------------------------------------------- journals

struct JournalGeometry {
  Scale scale;
  uint32_t prefix_size_bytes;
  uint32_t page_size_bytes;
  uint64_t sections;
  std::optional<int> compression_level;

  JournalGeometry(Random& random, Scale of_store)
      : scale(of_store),
        prefix_size_bytes(static_cast<uint32_t>(random.between(8, 40))),
        page_size_bytes(draw_page_size(random, of_store)),
        sections(random.between(1, 3)) {
    if (random.one_in(3)) compression_level = 1;
  }

  [[nodiscard]] FixedJournalOptions index(uint32_t extra_bytes, Floors* floors,
                                          PageCache& cache) const {
    FixedJournalOptions options;
    options.partition = "index";
    options.record_size_bytes = prefix_size_bytes + extra_bytes;
    options.page_size_bytes = page_size_bytes;
    options.write_buffer_bytes = 0;
    options.cache = &cache;
    options.floors = floors;
    return options;
  }

  [[nodiscard]] IndexedValueLogOptions log(Floors* floors, PageCache& cache) const {
    IndexedValueLogOptions options;
    options.index = index(IndexedValueLog::kLocationSizeBytes, floors, cache);
    options.values.partition = "values";
    options.values.write_buffer_bytes = 0;
    options.values.compression_level = compression_level;
    return options;
  }
};

// An item's number is its section in the upper, its position in the lower half.
uint64_t number_of(Section section, Position position) {
  return section.value << 32 | position.value;
}
Section section_of(uint64_t number) {
  return Section(number >> 32);
}
Position position_of(uint64_t number) {
  return Position(number & UINT32_MAX);
}

Result<std::unique_ptr<Manifest>> open_manifest(Storage& storage, RecoveryLog& recovery) {
  TRY_INTO(auto manifest, Manifest::open(storage, recovery.read_only(), recovery));
  if (manifest != nullptr || !must(storage.partitions()).empty()) return manifest;
  return Manifest::create(storage, {.kind = "sweep", .geometry = {}, .partitions = {}, .id = {}},
                          recovery);
}

Floors* floors_of(const std::unique_ptr<Manifest>& manifest) {
  return manifest == nullptr ? nullptr : &manifest->floors(StoreRole::index);
}

// Opens with `open(floors, cache, recovery)`, asks `ask(journal, item)` for each item, and verifies
// with `verify(journal, findings)`.
template <class Open, class Ask, class Verify>
Reading read_journal(Storage& storage, Access access, const std::vector<Item>& items,
                     const Open& open, const Ask& ask, const Verify& verify) {
  RecoveryLog recovery(storage, access == Access::reading);
  PageCache cache(1 << 16);
  const auto manifest = open_manifest(storage, recovery);
  if (!manifest) return refused(manifest.error());
  const auto journal = open(floors_of(*manifest), cache, recovery);
  if (!journal) return refused(journal.error());
  Reading reading = opened(recovery.report());
  reading.was_clean = *manifest != nullptr && (*manifest)->was_clean();
  for (const Item& item : items)
    reading.answers.push_back(ask(**journal, item));
  add_verified(reading, storage, access,
               [&](RecoveryLog& findings) { return verify(**journal, findings); });
  return reading;
}

template <class Open, class Append, class Ask, class Verify>
SweptStore make_journal(Random& random, Ending ending, Scale scale, const Open& open,
                        const Append& append, const Ask& ask, const Verify& verify) {
  const JournalGeometry geometry(random, scale);
  MemoryStorage storage;
  Filler filler(random, ending, scale, storage);
  {
    RecoveryLog recovery(storage, false);
    PageCache cache(0);
    const auto manifest = must(open_manifest(storage, recovery));
    const auto journal = must(open(storage, geometry, floors_of(manifest), cache, recovery));
    filler.fill(
        [&](std::vector<Item>& items) {
          items.push_back(
              append(*journal, Section(random.below(geometry.sections)), geometry, random));
        },
        [&] { return journal->sync_all(); });
    if (filler.closes()) {
      must(journal->close());
      must(manifest->close());
    }
  }
  SweptStore store =
      filler.finish([=](Storage& damaged, Access access, const std::vector<Item>& items) {
        return read_journal(
            damaged, access, items,
            [&](Floors* floors, PageCache& cache, RecoveryLog& recovery) {
              return open(damaged, geometry, floors, cache, recovery);
            },
            ask, verify);
      });
  store.page_size_bytes = geometry.page_size_bytes;
  store.record_size_bytes = geometry.prefix_size_bytes + IndexedValueLog::kLocationSizeBytes;
  return store;
}

Answer unless_missing(const Error& error) {
  if (error.code == Errc::out_of_range) return {Outcome::absent};
  return {Outcome::failed, error.message};
}

SweptStore make_fixed_journal(Random& random, Ending ending, Scale scale) {
  const auto append = [](FixedJournal& journal, Section section, const JournalGeometry& geometry,
                         Random& values) {
    Bytes record = values.bytes(geometry.prefix_size_bytes);
    const Position position = must(journal.append(section, record));
    return Item{number_of(section, position), std::move(record)};
  };
  const auto open = [](Storage& storage, const JournalGeometry& geometry, Floors* floors,
                       PageCache& cache, RecoveryLog& recovery) {
    return FixedJournal::open(storage, geometry.index(0, floors, cache), recovery);
  };
  const auto ask = [](const FixedJournal& journal, const Item& item) {
    Bytes record(journal.record_size_bytes());
    const Status read = journal.read(section_of(item.number), position_of(item.number), record);
    return read ? answer_of(item, std::optional<ByteSpan>(record)) : unless_missing(read.error());
  };
  const auto verify = [](const FixedJournal& journal, RecoveryLog& findings) {
    return journal.verify(findings);
  };
  return make_journal(random, ending, scale, open, append, ask, verify);
}

SweptStore make_indexed_value_log(Random& random, Ending ending, Scale scale) {
  const auto append = [](IndexedValueLog& log, Section section, const JournalGeometry& geometry,
                         Random& values) {
    Bytes value = draw_value(values, geometry.scale);
    const auto appended =
        must(log.append(section, values.bytes(geometry.prefix_size_bytes), ByteSpan(value)));
    return Item{number_of(section, appended.position), std::move(value)};
  };
  const auto open = [](Storage& storage, const JournalGeometry& geometry, Floors* floors,
                       PageCache& cache, RecoveryLog& recovery) {
    return IndexedValueLog::open(storage, geometry.log(floors, cache), recovery);
  };
  const auto ask = [](const IndexedValueLog& log, const Item& item) {
    const Section section = section_of(item.number);
    const auto location = log.location_at(section, position_of(item.number).value);
    if (!location) return unless_missing(location.error());
    const auto value = log.read_value(section, *location);
    // A value beyond the end of its blob is no missing one: its entry is there.
    if (!value) return Answer{Outcome::failed, value.error().message};
    return answer_of(item, std::optional(value->bytes()));
  };
  const auto verify = [](const IndexedValueLog& log, RecoveryLog& findings) {
    return log.verify(true, findings, [](uint64_t) {});
  };
  return make_journal(random, ending, scale, open, append, ask, verify);
}

// ---------------------------------------------------------------------------------------- archive

SweptStore make_archive(Random& random, Ending ending, Scale scale) {
  PrunableArchiveOptions options;
  options.key_size_bytes = static_cast<uint32_t>(random.between(4, 16));
  options.items_per_section = scaled(random.between(4, 16), scale);
  options.page_size_bytes = draw_page_size(random, scale);
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 1 << 16;
  if (random.one_in(3)) options.compression_level = 1;
  const size_t key_size = *options.key_size_bytes;
  MemoryStorage storage;
  Filler filler(random, ending, scale, storage);
  {
    const auto archive = must(PrunableArchive::open(storage, options));
    uint64_t next = random.below(40);
    must(archive->put(next, key_of(next, key_size), ByteSpan()));
    must(archive->prune(next + *options.items_per_section));
    next += 2 * *options.items_per_section;
    filler.fill(
        [&](std::vector<Item>& items) {
          next += random.between(1, 3);
          Bytes value = draw_value(random, scale);
          must(archive->put(next, key_of(next, key_size), value));
          items.push_back({next, std::move(value)});
        },
        [&] { return archive->sync(); });
    if (filler.closes()) must(archive->close());
  }
  const auto read = [=](Storage& damaged, Access access, const std::vector<Item>& items) {
    PrunableArchiveOptions reading_options = options;
    if (access == Access::reading) reading_options.access = ArchiveAccess::read_only;
    const auto archive = PrunableArchive::open(damaged, reading_options);
    if (!archive) return refused(archive.error());
    Reading reading = opened((*archive)->recovery());
    for (const Item& item : items) {
      const Answer by_index = answer_of(item, (*archive)->get(item.number));
      const Answer by_key = answer_of(item, (*archive)->get(key_of(item.number, key_size)));
      reading.answers.push_back(by_index.outcome == Outcome::right ? by_key : by_index);
    }
    add_verified(reading, damaged, access, [&](RecoveryLog& findings) {
      return (*archive)->log().verify(true, findings, [](uint64_t) {});
    });
    return reading;
  };
  SweptStore store = filler.finish(read);
  store.page_size_bytes = *options.page_size_bytes;
  store.record_size_bytes = archive::record_size_bytes(*options.key_size_bytes);
  store.puts =
      puts_of(store.files, [&](Storage& whole) { return puts_of_archive(whole, options); });
  store.salvage = [=](Storage& damaged) { return salvage_swept_archive(damaged, options); };
  return store;
}

// ---------------------------------------------------------------------------------------- freezer

FreezerOptions draw_freezer(Random& random, Scale scale, bool in_memory) {
  FreezerOptions options;
  options.key_size_bytes = static_cast<uint32_t>(random.between(4, 16));
  options.page_size_bytes = draw_page_size(random, scale);
  options.table.initial_size = 4;
  options.table.resize_frequency = 2;
  options.table.resize_chunk = 3;
  options.table.writing =
      in_memory || random.one_in(2) ? TableWriting::deferred : TableWriting::immediate;
  options.section_target_bytes = random.below(scaled(400, scale) * (scale == Scale::small ? 1 : 3));
  options.memory_budget_bytes = in_memory ? 1 << 20 : 0;
  options.page_cache_bytes = 1 << 16;
  options.write_buffer_bytes = 0;
  if (random.one_in(3)) options.compression_level = 1;
  return options;
}

// That of the manifest; of a store in memory that was never closed there is none.
uint32_t table_positions(const SweptStore& store) {
  MemoryStorage whole;
  load(whole, store.files);
  RecoveryLog recovery(whole, true);
  const auto manifest = must(open_manifest(whole, recovery));
  const auto record = manifest->record(freezer::kTableRecord);
  return record ? must(freezer::decode_table_record(*record)).checkpoint.table_size : 0;
}

SweptStore make_freezer(Random& random, Ending ending, Scale scale, bool in_memory) {
  const FreezerOptions options = draw_freezer(random, scale, in_memory);
  const size_t key_size = *options.key_size_bytes;
  MemoryStorage storage;
  Filler filler(random, ending, scale, storage);
  {
    const auto freezer = must(Freezer::open(storage, options));
    uint64_t next = 0;
    filler.fill(
        [&](std::vector<Item>& items) {
          Item item{++next, draw_value(random, scale)};
          // Now and then a key is put again, with another value.
          if (random.one_in(4)) {
            item.older.push_back(random.bytes(5));
            must(freezer->put(key_of(next, key_size), item.older.back()));
          }
          must(freezer->put(key_of(next, key_size), item.value));
          items.push_back(std::move(item));
        },
        [&]() -> Status {
          TRY(freezer->sync());
          return {};
        });
    if (filler.closes()) must(freezer->close());
  }
  const auto read = [=](Storage& damaged, Access access, const std::vector<Item>& items) {
    FreezerOptions reading_options = options;
    if (access == Access::reading) reading_options.access = FreezerAccess::read_only;
    const auto freezer = Freezer::open(damaged, reading_options);
    if (!freezer) return refused(freezer.error());
    Reading reading = opened((*freezer)->recovery());
    for (const Item& item : items)
      reading.answers.push_back(answer_of(item, (*freezer)->get(key_of(item.number, key_size))));
    add_verified(reading, damaged, access, [&](RecoveryLog& findings) {
      return (*freezer)->verify(FreezerDepth::values, findings, [](uint64_t) {});
    });
    return reading;
  };
  SweptStore store = filler.finish(read);
  store.page_size_bytes = *options.page_size_bytes;
  store.record_size_bytes = freezer::record_size_bytes(*options.key_size_bytes);
  store.table_positions = table_positions(store);
  store.puts =
      puts_of(store.files, [&](Storage& whole) { return puts_of_freezer(whole, options); });
  store.salvage = [=](Storage& damaged) { return salvage_swept_freezer(damaged, options); };
  return store;
}

SweptStore make_freezer_in_memory(Random& random, Ending ending, Scale scale) {
  return make_freezer(random, ending, scale, true);
}

SweptStore make_freezer_on_disk(Random& random, Ending ending, Scale scale) {
  return make_freezer(random, ending, scale, false);
}

// --------------------------------------------------------------------------------------- metadata

SweptStore make_metadata(Random& random, Ending ending, Scale scale) {
  MetadataStoreOptions options;
  options.key_size_bytes = static_cast<uint32_t>(random.between(4, 16));
  const size_t key_size = options.key_size_bytes;
  MemoryStorage storage;
  Filler filler(random, ending, scale, storage);
  {
    RecoveryLog recovery(storage, false);
    const auto store = must(MetadataStore::open(storage, options, recovery));
    // As stores of firn do, whose manifest then says that there is a commit.
    must(store->sync_both());
    uint64_t next = 0;
    filler.fill(
        [&](std::vector<Item>& items) {
          // Changed in place, where the size is the same: the syncs that follow differ.
          if (!items.empty() && random.one_in(3)) {
            Item& changed = items[random.below(items.size())];
            changed.older.push_back(changed.value);
            changed.value = random.bytes(changed.value.size());
            must(store->put(key_of(changed.number, key_size), changed.value));
            return;
          }
          Item item{++next, draw_value(random, scale)};
          must(store->put(key_of(next, key_size), item.value));
          items.push_back(std::move(item));
        },
        [&] { return store->sync(); });
    if (filler.closes()) must(store->sync_both());
  }
  const auto read = [=](Storage& damaged, Access access, const std::vector<Item>& items) {
    RecoveryLog recovery(damaged, access == Access::reading);
    MetadataStoreOptions reading_options = options;
    reading_options.read_only = access == Access::reading;
    reading_options.has_commit = true;
    const auto store = MetadataStore::open(damaged, reading_options, recovery);
    if (!store) return refused(store.error());
    // Opening reads everything: there is nothing else to verify.
    Reading reading = opened(recovery.report());
    if ((*store)->opened_from_one_copy()) reading.findings.push_back({"", "from one copy"});
    for (const Item& item : items) {
      const std::optional<Bytes> value = (*store)->get(key_of(item.number, key_size));
      reading.answers.push_back(
          answer_of(item, value ? std::optional<ByteSpan>(*value) : std::nullopt));
    }
    return reading;
  };
  SweptStore store = filler.finish(read);
  MetadataStoreOptions salvaging_options = options;
  salvaging_options.has_commit = true;
  store.salvage = [=](Storage& damaged) {
    return salvage_swept_metadata(damaged, salvaging_options);
  };
  const auto salvaged = [&](Storage& whole) { return store.salvage(whole).puts; };
  store.puts = puts_of(store.files, salvaged);
  for (const std::string_view side : {"left", "right"}) {
    Files one_copy = store.files;
    one_copy.erase({options.partition, to_bytes(as_bytes(side))});
    if (auto puts = puts_of(one_copy, salvaged); puts != store.puts) store.older_puts = puts;
  }
  return store;
}

}  // namespace

void load(MemoryStorage& storage, const Files& files) {
  for (const auto& [name, content] : files)
    storage.set_raw(name.first, name.second, content);
}

std::string file_text(const FileName& name) {
  return concat(name.first, "/", to_hex(name.second));
}

std::span<const SweptKind> swept_kinds() {
  // The formats give files, pages and values no name: one in the place of another is as valid
  // there.
  static constexpr Limit kPagesAndFiles[] = {
      {"exchanged", "index"}, {"sector of pages", "index"}, {"sectors of pages swapped", "index"}};
  static constexpr Limit kPagesAndValues[] = {
      {"exchanged", "values"}, {"sector of pages", "index"}, {"sectors of pages swapped", "index"}};
  static constexpr Limit kFiles[] = {{"exchanged", "index"}, {"exchanged", "values"}};
  static constexpr Limit kValues[] = {{"exchanged", "values"}};
  static constexpr SweptKind kKinds[] = {
      {"fixed_journal", make_fixed_journal, kPagesAndFiles},
      {"indexed_value_log", make_indexed_value_log, kPagesAndValues},
      {"archive", make_archive, kValues},
      {"freezer_in_memory", make_freezer_in_memory, kFiles},
      {"freezer_on_disk", make_freezer_on_disk, kFiles},
      {"metadata", make_metadata, {}}};
  return kKinds;
}

}  // namespace firn::campaign
