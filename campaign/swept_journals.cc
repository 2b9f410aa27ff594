// SPDX-License-Identifier: Apache-2.0
#include "campaign/swept_journals.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "campaign/kept_items.h"
#include "campaign/swept_items.h"
#include "firn/io/page_cache.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"

namespace firn::campaign {
namespace {

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

  [[nodiscard]] ValueLogOptions values() const {
    ValueLogOptions options;
    options.partition = "values";
    options.write_buffer_bytes = 0;
    options.compression_level = compression_level;
    return options;
  }

  [[nodiscard]] IndexedValueLogOptions log(Floors* floors, PageCache& cache) const {
    IndexedValueLogOptions options;
    options.index = index(IndexedValueLog::kLocationSizeBytes, floors, cache);
    options.values = values();
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

Floors* floors_of(const std::unique_ptr<Manifest>& manifest) {
  return manifest == nullptr ? nullptr : &manifest->floors(StoreRole::index);
}

// Opens with `open(floors, cache, recovery)`, asks `ask(journal, item)` for each item, and verifies
// with `verify(journal, findings)`.
template <class Open, class Ask, class Verify>
Reading read_journal(Storage& storage, Access access, const std::vector<SweptItem>& items,
                     const Open& open, const Ask& ask, const Verify& verify) {
  RecoveryLog recovery(storage, access == Access::reading);
  PageCache cache(1 << 16);
  const auto manifest = open_swept_manifest(storage, recovery);
  if (!manifest) return refused(manifest.error());
  const auto journal = open(floors_of(*manifest), cache, recovery);
  if (!journal) return refused(journal.error());
  Reading reading = opened(recovery.report());
  reading.was_clean = *manifest != nullptr && (*manifest)->was_clean();
  for (const SweptItem& item : items)
    reading.answers.push_back(ask(**journal, item));
  add_verified(reading, storage, access,
               [&](RecoveryLog& findings) { return verify(**journal, findings); });
  return reading;
}

enum class Entries : uint8_t { records, values };

template <class Open, class Append, class Ask, class Verify>
SweptStore make_journal(Random& random, Ending ending, Scale scale, Entries entries,
                        const Open& open, const Append& append, const Ask& ask,
                        const Verify& verify) {
  const JournalGeometry geometry(random, scale);
  MemoryStorage storage;
  std::vector<Place> places;
  Filler filler(random, ending, scale, storage);
  {
    RecoveryLog recovery(storage, false);
    PageCache cache(0);
    const auto manifest = must(open_swept_manifest(storage, recovery));
    const auto journal = must(open(storage, geometry, floors_of(manifest), cache, recovery));
    filler.fill(
        [&](std::vector<SweptItem>& items) {
          items.push_back(
              append(*journal, Section(random.below(geometry.sections)), geometry, random));
          const uint64_t number = items.back().number;
          places.emplace_back(section_of(number).value, position_of(number).value);
        },
        [&] { return journal->sync_all(); });
    if (filler.closes()) {
      must(journal->close());
      must(manifest->close());
    }
  }
  SweptStore store =
      filler.finish([=](Storage& damaged, Access access, const std::vector<SweptItem>& items) {
        return read_journal(
            damaged, access, items,
            [&](Floors* floors, PageCache& cache, RecoveryLog& recovery) {
              return open(damaged, geometry, floors, cache, recovery);
            },
            ask, verify);
      });
  store.page_size_bytes = geometry.page_size_bytes;
  for (const auto& [section, position] : places) {
    const Bytes blob = journal::section_name(Section(section));
    store.places.push_back({{{"index", blob}}, {{"values", blob}}});
  }
  store.has_values = entries == Entries::values;
  store.record_size_bytes = geometry.prefix_size_bytes;
  if (store.has_values) store.record_size_bytes += IndexedValueLog::kLocationSizeBytes;
  places.resize(store.synced_count);
  store.kept = kept_places(store, places);
  return store;
}

// What the owner of a value log keeps in an index of its own: where each item is, by number, and
// the end of what a sync covered of each section.
struct OwnersIndex {
  std::vector<std::pair<Section, ValueLocation>> places;
  std::map<Section, uint64_t> synced_ends;

  [[nodiscard]] uint64_t synced_end(Section section) const {
    const auto found = synced_ends.find(section);
    return found == synced_ends.end() ? 0 : found->second;
  }
};

// A writer cuts what no sync covered. A section that cannot be read is left as it is.
Result<std::unique_ptr<ValueLog>> open_value_log(Storage& storage, const JournalGeometry& geometry,
                                                 const OwnersIndex& index, RecoveryLog& recovery) {
  TRY_INTO(auto log, ValueLog::open(storage, geometry.values(), recovery));
  if (recovery.read_only()) return log;
  for (const Section section : log->sections()) {
    const uint64_t end = index.synced_end(section);
    const auto size = log->size(section);
    if (!size)
      log->set_aside(section, size.error());
    else if (*size > end)
      TRY(log->rewind_section(section, end));
  }
  return log;
}

Answer ask_value_log(const ValueLog& log, const OwnersIndex& index, const SweptItem& item) {
  const auto& [section, location] = index.places[item.number];
  const auto value = log.read(section, location);
  if (value) return answer_of(item, std::optional(value->bytes()));
  const bool was_cut = location.offset >= index.synced_end(section);
  if (was_cut && value.error().code == Errc::out_of_range) return {Outcome::absent};
  return {Outcome::failed, value.error().message};
}

Answer unless_missing(const Error& error) {
  if (error.code == Errc::out_of_range) return {Outcome::absent};
  return {Outcome::failed, error.message};
}

}  // namespace

Result<std::unique_ptr<Manifest>> open_swept_manifest(Storage& storage, RecoveryLog& recovery) {
  TRY_INTO(auto manifest, Manifest::open(storage, recovery.read_only(), recovery));
  if (manifest != nullptr || !must(storage.partitions()).empty()) return manifest;
  return Manifest::create(storage, {.kind = "sweep", .geometry = {}, .partitions = {}, .id = {}},
                          recovery);
}

SweptStore make_fixed_journal(Random& random, Ending ending, Scale scale) {
  const auto append = [](FixedJournal& journal, Section section, const JournalGeometry& geometry,
                         Random& values) {
    Bytes record = values.bytes(geometry.prefix_size_bytes);
    const Position position = must(journal.append(section, record));
    return SweptItem{number_of(section, position), std::move(record)};
  };
  const auto open = [](Storage& storage, const JournalGeometry& geometry, Floors* floors,
                       PageCache& cache, RecoveryLog& recovery) {
    return FixedJournal::open(storage, geometry.index(0, floors, cache), recovery);
  };
  const auto ask = [](const FixedJournal& journal, const SweptItem& item) {
    Bytes record(journal.record_size_bytes());
    const Status read = journal.read(section_of(item.number), position_of(item.number), record);
    return read ? answer_of(item, std::optional<ByteSpan>(record)) : unless_missing(read.error());
  };
  const auto verify = [](const FixedJournal& journal, RecoveryLog& findings) {
    return journal.verify(findings);
  };
  return make_journal(random, ending, scale, Entries::records, open, append, ask, verify);
}

SweptStore make_indexed_value_log(Random& random, Ending ending, Scale scale) {
  const auto append = [](IndexedValueLog& log, Section section, const JournalGeometry& geometry,
                         Random& values) {
    Bytes value = draw_value(values, geometry.scale);
    const auto appended =
        must(log.append(section, values.bytes(geometry.prefix_size_bytes), ByteSpan(value)));
    return SweptItem{number_of(section, appended.position), std::move(value)};
  };
  const auto open = [](Storage& storage, const JournalGeometry& geometry, Floors* floors,
                       PageCache& cache, RecoveryLog& recovery) {
    return IndexedValueLog::open(storage, geometry.log(floors, cache), recovery);
  };
  const auto ask = [](const IndexedValueLog& log, const SweptItem& item) {
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
  return make_journal(random, ending, scale, Entries::values, open, append, ask, verify);
}

SweptStore make_value_log(Random& random, Ending ending, Scale scale) {
  const JournalGeometry geometry(random, scale);
  OwnersIndex index;
  std::vector<std::vector<FileRange>> places;
  MemoryStorage storage;
  Filler filler(random, ending, scale, storage);
  {
    RecoveryLog recovery(storage, false);
    const auto log = must(open_value_log(storage, geometry, index, recovery));
    filler.fill(
        [&](std::vector<SweptItem>& items) {
          const Section section(random.below(geometry.sections));
          items.push_back({index.places.size(), draw_value(random, scale)});
          index.places.emplace_back(section, must(log->append(section, items.back().value)));
          places.push_back({{{"values", journal::section_name(section)}}});
        },
        [&] {
          for (const auto& [section, location] : index.places)
            index.synced_ends[section] = location.offset + location.size_bytes;
          return log->sync_all();
        });
  }
  const auto read = [=](Storage& damaged, Access access, const std::vector<SweptItem>& items) {
    RecoveryLog recovery(damaged, access == Access::reading);
    const auto log = open_value_log(damaged, geometry, index, recovery);
    if (!log) return refused(log.error());
    Reading reading = opened(recovery.report());
    for (const SweptItem& item : items)
      reading.answers.push_back(ask_value_log(**log, index, item));
    add_verified(reading, damaged, access, [&](RecoveryLog&) -> Status {
      for (const auto& [section, location] : index.places)
        TRY((*log)->check(section, location));
      return {};
    });
    return reading;
  };
  SweptStore store = filler.finish(read);
  store.places = std::move(places);
  return store;
}

}  // namespace firn::campaign
