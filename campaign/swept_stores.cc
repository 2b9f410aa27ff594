// SPDX-License-Identifier: Apache-2.0
#include "campaign/swept_stores.h"

#include <algorithm>
#include <optional>

#include "campaign/kept_items.h"
#include "campaign/salvaged_puts.h"
#include "campaign/swept_items.h"
#include "campaign/swept_journals.h"
#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/metadata/metadata_store.h"
#include "tools/firn/content_keys.h"

namespace firn::campaign {
namespace {

// What comparing keys with contents says of each item, as `firn verify --deep --content` does it.
void compare_contents(Reading& reading, Storage& storage, const std::vector<SweptItem>& items,
                      const auto& store) {
  RecoveryLog findings(storage, true);
  must(command::check_contents(store, findings));
  for (size_t i = 0; i < items.size(); ++i)
    reading.answers[i].differs_from_key =
        std::ranges::any_of(findings.report().damage, [&](const BlobRange& range) {
          return range.reason.find(to_hex(items[i].key)) != range.reason.npos;
        });
}

// ---------------------------------------------------------------------------------------- archive

PrunableArchiveOptions draw_archive(Random& random, Scale scale, ItemDraw& draw) {
  PrunableArchiveOptions options;
  options.key_size_bytes = draw.key_size_bytes();
  // Values of one size are a few in a sector, and it takes two sectors to be exchanged.
  const uint64_t max = draw.has_content_keys() ? 64 : 16;
  options.items_per_section = scaled(random.between(4, max), scale);
  options.page_size_bytes = draw.page_size_bytes();
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 1 << 16;
  options.compression_level = draw.compression_level();
  return options;
}

SweptStore make_archive(Random& random, Ending ending, Scale scale, Values values) {
  ItemDraw draw(random, scale, values);
  const PrunableArchiveOptions options = draw_archive(random, scale, draw);
  MemoryStorage storage;
  std::vector<Bytes> names;
  Filler filler(random, ending, scale, storage);
  {
    const auto archive = must(PrunableArchive::open(storage, options));
    uint64_t next = random.below(40);
    must(archive->put(next, draw.spare_key(next), ByteSpan()));
    must(archive->prune(next + *options.items_per_section));
    next += 2 * *options.items_per_section;
    filler.fill(
        [&](std::vector<SweptItem>& items) {
          next += random.between(1, 3);
          items.push_back(draw.item(next));
          must(archive->put(next, items.back().key, items.back().value));
          names.emplace_back(sizeof next);
          store_big_endian(names.back().data(), next);
        },
        [&] { return archive->sync(); });
    if (filler.closes()) must(archive->close());
  }
  const bool has_content_keys = draw.has_content_keys();
  const auto read = [=](Storage& damaged, Access access, const std::vector<SweptItem>& items) {
    PrunableArchiveOptions reading_options = options;
    if (access == Access::reading) reading_options.access = ArchiveAccess::read_only;
    reading_options.strict = access == Access::writing_strictly;
    const auto archive = PrunableArchive::open(damaged, reading_options);
    if (!archive) return refused(archive.error());
    Reading reading = opened((*archive)->recovery());
    for (const SweptItem& item : items) {
      const Answer by_index = answer_of(item, (*archive)->get(item.number));
      const Answer by_key = answer_of(item, (*archive)->get(item.key));
      reading.answers.push_back(by_index.outcome == Outcome::right ? by_key : by_index);
    }
    add_verified(reading, damaged, access, [&](RecoveryLog& findings) {
      return (*archive)->log().verify(true, findings, [](uint64_t) {});
    });
    if (has_content_keys) compare_contents(reading, damaged, items, **archive);
    return reading;
  };
  SweptStore store = filler.finish(read);
  store.page_size_bytes = *options.page_size_bytes;
  store.record_size_bytes = archive::record_size_bytes(*options.key_size_bytes);
  store.puts =
      puts_of(store.files, [&](Storage& whole) { return puts_of_archive(whole, options); });
  store.places = places_of(store.puts, names);
  names.resize(store.synced_count);
  store.kept = kept_records(store, std::move(names), Hidden::is_an_error);
  store.has_content_keys = has_content_keys;
  store.salvage = [=](Storage& damaged) { return salvage_swept_archive(damaged, options); };
  return store;
}

SweptStore make_archive_of_all_sizes(Random& random, Ending ending, Scale scale) {
  return make_archive(random, ending, scale, Values::of_all_sizes);
}

SweptStore make_archive_of_one_size(Random& random, Ending ending, Scale scale) {
  return make_archive(random, ending, scale, Values::of_one_size);
}

// ---------------------------------------------------------------------------------------- freezer

FreezerOptions draw_freezer(Random& random, Scale scale, ItemDraw& draw, bool in_memory) {
  FreezerOptions options;
  options.key_size_bytes = draw.key_size_bytes();
  options.page_size_bytes = draw.page_size_bytes();
  options.table.initial_size = 4;
  options.table.resize_frequency = 2;
  options.table.resize_chunk = 3;
  options.table.writing =
      in_memory || random.one_in(2) ? TableWriting::deferred : TableWriting::immediate;
  options.section_target_bytes = random.below(scaled(400, scale) * (scale == Scale::small ? 1 : 3));
  if (draw.has_content_keys())
    options.section_target_bytes += scaled(random.between(0, 3000), scale);
  options.memory_budget_bytes = in_memory ? 1 << 20 : 0;
  options.page_cache_bytes = 1 << 16;
  options.write_buffer_bytes = 0;
  options.compression_level = draw.compression_level();
  return options;
}

// That of the manifest; of a store in memory that was never closed there is none.
uint32_t table_positions(const SweptStore& store) {
  MemoryStorage whole;
  load_files(whole, store.files);
  RecoveryLog recovery(whole, true);
  const auto manifest = must(open_swept_manifest(whole, recovery));
  const auto record = manifest->record(freezer::kTableRecord);
  return record ? must(freezer::decode_table_record(*record)).checkpoint.table_size : 0;
}

SweptStore make_freezer(Random& random, Ending ending, Scale scale, Values values, bool in_memory) {
  ItemDraw draw(random, scale, values);
  const FreezerOptions options = draw_freezer(random, scale, draw, in_memory);
  MemoryStorage storage;
  std::vector<Bytes> names;
  Filler filler(random, ending, scale, storage);
  {
    const auto freezer = must(Freezer::open(storage, options));
    uint64_t next = 0;
    filler.fill(
        [&](std::vector<SweptItem>& items) {
          SweptItem item = draw.item(++next);
          // Now and then a key is put again, with another value.
          if (!draw.has_content_keys() && random.one_in(4)) {
            item.older.push_back(random.bytes(5));
            must(freezer->put(item.key, item.older.back()));
          }
          must(freezer->put(item.key, item.value));
          names.push_back(item.key);
          items.push_back(std::move(item));
        },
        [&]() -> Status {
          TRY(freezer->sync());
          return {};
        });
    if (filler.closes()) must(freezer->close());
  }
  const bool has_content_keys = draw.has_content_keys();
  const auto read = [=](Storage& damaged, Access access, const std::vector<SweptItem>& items) {
    FreezerOptions reading_options = options;
    if (access == Access::reading) reading_options.access = FreezerAccess::read_only;
    reading_options.strict = access == Access::writing_strictly;
    const auto freezer = Freezer::open(damaged, reading_options);
    if (!freezer) return refused(freezer.error());
    Reading reading = opened((*freezer)->recovery());
    for (const SweptItem& item : items)
      reading.answers.push_back(answer_of(item, (*freezer)->get(item.key)));
    add_verified(reading, damaged, access, [&](RecoveryLog& findings) {
      return (*freezer)->verify(FreezerDepth::values, findings, [](uint64_t) {});
    });
    if (has_content_keys) compare_contents(reading, damaged, items, **freezer);
    return reading;
  };
  SweptStore store = filler.finish(read);
  store.page_size_bytes = *options.page_size_bytes;
  store.record_size_bytes = freezer::record_size_bytes(*options.key_size_bytes);
  store.puts =
      puts_of(store.files, [&](Storage& whole) { return puts_of_freezer(whole, options); });
  store.places = places_of(store.puts, names);
  names.resize(store.synced_count);
  store.kept = kept_records(store, std::move(names), Hidden::may_be_older);
  store.has_content_keys = has_content_keys;
  store.table_positions = table_positions(store);
  store.salvage = [=](Storage& damaged) { return salvage_swept_freezer(damaged, options); };
  return store;
}

SweptStore make_freezer_in_memory(Random& random, Ending ending, Scale scale) {
  return make_freezer(random, ending, scale, Values::of_all_sizes, true);
}

SweptStore make_freezer_on_disk(Random& random, Ending ending, Scale scale) {
  return make_freezer(random, ending, scale, Values::of_all_sizes, false);
}

SweptStore make_freezer_of_one_size(Random& random, Ending ending, Scale scale) {
  return make_freezer(random, ending, scale, Values::of_one_size, true);
}

// --------------------------------------------------------------------------------------- metadata

SweptStore make_metadata(Random& random, Ending ending, Scale scale) {
  MetadataStoreOptions options;
  options.key_size_bytes = static_cast<uint32_t>(random.between(4, 16));
  const size_t key_size = options.key_size_bytes;
  MemoryStorage storage;
  std::vector<Bytes> names;
  Filler filler(random, ending, scale, storage);
  {
    RecoveryLog recovery(storage, false);
    const auto store = must(MetadataStore::open(storage, options, recovery));
    // As stores of firn do, whose manifest then says that there is a commit.
    must(store->sync_both());
    uint64_t next = 0;
    filler.fill(
        [&](std::vector<SweptItem>& items) {
          // Changed in place, where the size is the same: the syncs that follow differ.
          if (!items.empty() && random.one_in(3)) {
            SweptItem& changed = items[random.below(items.size())];
            changed.older.push_back(changed.value);
            changed.value = random.bytes(changed.value.size());
            must(store->put(key_of(changed.number, key_size), changed.value));
            return;
          }
          SweptItem item{++next, draw_value(random, scale)};
          names.push_back(key_of(next, key_size));
          must(store->put(names.back(), item.value));
          items.push_back(std::move(item));
        },
        [&] { return store->sync(); });
    if (filler.closes()) must(store->sync_both());
  }
  const auto read = [=](Storage& damaged, Access access, const std::vector<SweptItem>& items) {
    RecoveryLog recovery(damaged, access == Access::reading);
    MetadataStoreOptions reading_options = options;
    reading_options.read_only = access == Access::reading;
    reading_options.strict = access == Access::writing_strictly;
    reading_options.has_commit = true;
    const auto store = MetadataStore::open(damaged, reading_options, recovery);
    if (!store) return refused(store.error());
    // Opening reads everything: there is nothing else to verify.
    Reading reading = opened(recovery.report());
    if ((*store)->opened_from_one_copy()) reading.findings.push_back({"", "from one copy"});
    for (const SweptItem& item : items) {
      const std::optional<Bytes> value = (*store)->get(key_of(item.number, key_size));
      reading.answers.push_back(
          answer_of(item, value ? std::optional<ByteSpan>(*value) : std::nullopt));
    }
    return reading;
  };
  SweptStore store = filler.finish(read);
  names.resize(store.synced_count);
  store.kept = kept_pairs(store, options.partition, std::move(names));
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

std::span<const SweptKind> swept_kinds() {
  // The formats give files, pages and values no name: one in the place of another is as valid
  // there.
  static constexpr Limit kPagesAndFiles[] = {
      {"exchanged", "index"}, {"sector of pages", "index"}, {"sectors of pages swapped", "index"}};
  // Where records refer to values, pages must move by whole records, too.
  static constexpr Limit kPagesAndValues[] = {{"exchanged", "values"},
                                              {"sector", "values", true},
                                              {"sectors swapped", "values", true},
                                              {"sector of pages", "index", true},
                                              {"sectors of pages swapped", "index", true}};
  // Values of many sizes hardly ever meet another of their size in a place like theirs.
  static constexpr Limit kFiles[] = {{"exchanged", "index", false, true},
                                     {"exchanged", "values"},
                                     {"sector", "values", true},
                                     {"sectors swapped", "values", true}};
  static constexpr Limit kValues[] = {
      {"exchanged", "values"}, {"sector", "values", true}, {"sectors swapped", "values", true}};
  static constexpr Limit kValuesAlone[] = {{"exchanged", "values", true},
                                           {"sector", "values", true},
                                           {"sectors swapped", "values", true}};
  // Those of one size do.
  static constexpr Limit kValuesOfArchive[] = {
      {"exchanged", "values"}, {"sector", "values"}, {"sectors swapped", "values"}};
  static constexpr Limit kValuesOfFreezer[] = {{"exchanged", "index", false, true},
                                               {"exchanged", "values"},
                                               {"sector", "values"},
                                               {"sectors swapped", "values"}};
  static constexpr SweptKind kKinds[] = {
      {"fixed_journal", make_fixed_journal, kPagesAndFiles},
      {"indexed_value_log", make_indexed_value_log, kPagesAndValues},
      {"value_log", make_value_log, kValuesAlone},
      {"archive", make_archive_of_all_sizes, kValues, true},
      {"freezer_in_memory", make_freezer_in_memory, kFiles, true},
      {"freezer_on_disk", make_freezer_on_disk, kFiles, true},
      {"metadata", make_metadata, {}, true},
      {"archive_of_one_size", make_archive_of_one_size, kValuesOfArchive, true, true},
      {"freezer_of_one_size", make_freezer_of_one_size, kValuesOfFreezer, true, true}};
  return kKinds;
}

}  // namespace firn::campaign
