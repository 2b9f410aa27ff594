// SPDX-License-Identifier: Apache-2.0
#include "campaign/salvaged_puts.h"

#include "firn/archive/archive_salvage.h"
#include "firn/archive/format.h"
#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer_salvage.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_record.h"
#include "firn/journal/section_name.h"
#include "firn/metadata/metadata_salvage.h"

namespace firn::campaign {
namespace {

// The pages of a record, and its value.
std::vector<FileRange> places_of(Section section, Position position, ValueLocation location,
                                 uint64_t record_bytes, uint64_t page_bytes) {
  const Bytes blob = journal::section_name(section);
  const uint64_t physical = page_bytes + kPageRecordSize;
  const uint64_t begin = position.value * record_bytes;
  const uint64_t value = kBlobHeaderSizeBytes + location.offset;
  return {{{"index", blob},
           kBlobHeaderSizeBytes + begin / page_bytes * physical,
           kBlobHeaderSizeBytes + ((begin + record_bytes - 1) / page_bytes + 1) * physical},
          {{"values", blob}, value, value + location.size_bytes}};
}

SalvageObserver observe(Salvaged& salvaged) {
  SalvageObserver observer;
  observer.on_loss = [&salvaged](const SalvageLoss& loss) {
    salvaged.losses.push_back(
        {concat(loss.range.partition, "/", loss.range.blob), loss.range.reason});
    return Status();
  };
  return observer;
}

// With the puts that `walk` finds in the new store.
template <class Walk>
Salvaged finish(Salvaged salvaged, const Result<SalvageSummary>& summary, const Walk& walk) {
  if (!summary) salvaged.failure = summary.error().message;
  if (!summary || !summary->target_made) return salvaged;
  salvaged.puts = walk();
  if (salvaged.puts.size() != summary->items) salvaged.failure = "it counted wrongly";
  return salvaged;
}

}  // namespace

std::vector<Put> puts_of_archive(Storage& storage, PrunableArchiveOptions options) {
  options.access = ArchiveAccess::read_only;
  const auto archive = PrunableArchive::open(storage, options);
  CHECK(archive.has_value(), "it is whole");
  const uint32_t record_bytes = archive::record_size_bytes(*options.key_size_bytes);
  std::vector<Put> puts;
  const Status walked = (*archive)->visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
    Bytes name(sizeof(uint64_t));
    store_big_endian(name.data(), item.index);
    name.insert(name.end(), item.key.begin(), item.key.end());
    const auto value = (*archive)->read_value(item);
    CHECK(value.has_value(), "it is whole");
    puts.push_back({std::move(name), to_bytes(value->bytes()),
                    places_of(item.section, item.position, item.location, record_bytes,
                              *options.page_size_bytes)});
    return true;
  });
  CHECK(walked.has_value(), "it is whole");
  return puts;
}

std::vector<Put> puts_of_freezer(Storage& storage, FreezerOptions options) {
  options.access = FreezerAccess::read_only;
  const auto freezer = Freezer::open(storage, options);
  CHECK(freezer.has_value(), "it is whole");
  const uint32_t record_bytes = freezer::record_size_bytes(*options.key_size_bytes);
  std::vector<Put> puts;
  const Status walked = (*freezer)->visit([&](const FreezerItem& item) {
    const auto value = (*freezer)->get(item.cursor());
    CHECK(value.has_value(), "it is whole");
    puts.push_back({item.key, to_bytes(value->bytes()),
                    places_of(item.section, item.position, item.location, record_bytes,
                              *options.page_size_bytes)});
    return true;
  });
  CHECK(walked.has_value(), "it is whole");
  return puts;
}

std::vector<std::vector<FileRange>> places_of(const std::vector<Put>& puts,
                                              const std::vector<Bytes>& names) {
  std::vector<std::vector<FileRange>> places(names.size());
  for (size_t i = 0; i < names.size(); ++i)
    for (const Put& put : puts)
      if (equal_bytes(ByteSpan(put.name).first(names[i].size()), names[i]))
        places[i].insert(places[i].end(), put.places.begin(), put.places.end());
  return places;
}

Salvaged salvage_swept_archive(Storage& damaged, const PrunableArchiveOptions& options) {
  Salvaged salvaged;
  ArchiveSalvageOptions known;
  known.key_size_bytes = options.key_size_bytes;
  known.items_per_section = options.items_per_section;
  known.page_size_bytes = options.page_size_bytes;
  known.compression_level = options.compression_level;
  MemoryStorage target;
  const auto summary = salvage_archive(damaged, known, target, observe(salvaged));
  return finish(std::move(salvaged), summary, [&] { return puts_of_archive(target, options); });
}

Salvaged salvage_swept_freezer(Storage& damaged, const FreezerOptions& options) {
  Salvaged salvaged;
  MemoryStorage target;
  const auto summary = salvage_freezer(damaged, options, target, observe(salvaged));
  return finish(std::move(salvaged), summary, [&] { return puts_of_freezer(target, options); });
}

Salvaged salvage_swept_metadata(Storage& damaged, const MetadataStoreOptions& options) {
  Salvaged salvaged;
  const SalvageObserver observer = observe(salvaged);
  SalvageLog log(observer);
  const auto map = salvage_metadata(damaged, options, log);
  if (!map) salvaged.failure = map.error().message;
  // A map counts as a whole, and either copy has one.
  const std::vector<FileRange> places = {{{options.partition, to_bytes(as_bytes("left"))}},
                                         {{options.partition, to_bytes(as_bytes("right"))}}};
  if (map)
    for (const auto& [key, value] : map->pairs)
      salvaged.puts.push_back({key, value, places});
  return salvaged;
}

}  // namespace firn::campaign
