// SPDX-License-Identifier: Apache-2.0
#include "firn/archive/archive_salvage.h"

#include <memory>
#include <numeric>
#include <utility>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/journal/indexed_value_salvage.h"
#include "firn/store/salvage_source.h"

namespace firn {
namespace {

class ArchiveSink final : public journal::EntrySink {
 public:
  ArchiveSink(Storage& target, const PrunableArchiveOptions& options, SalvageLog& log)
      : target_(target), options_(options), log_(log) {}

  std::optional<std::string> misfit(Section section, Position /*position*/,
                                    ByteSpan entry) override {
    const uint64_t index = archive::index_of(entry);
    if (index >= section.value && index - section.value < *options_.items_per_section)
      return std::nullopt;
    return concat("index ", index, " does not belong to this section");
  }

  Status keep(ByteSpan entry, ByteSpan value) override {
    TRY(make());
    TRY(archive_->put_multi(archive::index_of(entry), archive::key_of(entry), value));
    ++log_.summary.items;
    log_.summary.value_bytes += value.size();
    return {};
  }

  Status lose(SalvageLoss loss, ByteSpan entry) override {
    if (!entry.empty()) {
      loss.index = archive::index_of(entry);
      loss.key = to_bytes(archive::key_of(entry));
    }
    return log_.lose(loss);
  }

  Status finish(uint64_t boundary) {
    if (log_.nothing_lost()) TRY(make());
    if (archive_ == nullptr) return {};
    if (boundary > 0) TRY(archive_->prune(boundary));
    return archive_->close();
  }

 private:
  Status make() {
    if (archive_ != nullptr) return {};
    TRY_INTO(archive_, PrunableArchive::open(target_, options_));
    log_.summary.target_made = true;
    return {};
  }

  Storage& target_;
  const PrunableArchiveOptions& options_;
  SalvageLog& log_;
  std::unique_ptr<PrunableArchive> archive_;
};

// Section numbers are multiples of it, so that every index fits its section under this one, too.
// Without a listing it is not known, which is told.
Result<uint64_t> guess_items_per_section(Storage& storage, const std::string& partition,
                                         SalvageLog& log) {
  const auto listing = storage.list(partition);
  if (!listing && listing.error().code != Errc::not_found) {
    SalvageLoss loss;
    loss.unread = listing.error().code == Errc::io;
    loss.range = {partition, "", 0, 0,
                  concat("the items of a section are not known: ", listing.error().message)};
    TRY(log.lose(loss));
  }
  uint64_t divisor = 0;
  if (listing)
    for (const Bytes& name : listing->blobs)
      if (name.size() == sizeof(uint64_t))
        divisor = std::gcd(divisor, load_big_endian<uint64_t>(name.data()));
  return divisor == 0 ? archive::kDefaultItemsPerSection : divisor;
}

}  // namespace

Result<SalvageSummary> salvage_archive(Storage& source, const ArchiveSalvageOptions& options,
                                       Storage& target, const SalvageObserver& observer) {
  TRY(io::check_salvage_target(target));
  SalvageLog log(observer);
  TRY_INTO(const auto opened, SalvageSource::open(source, "archive", log));
  PrunableArchiveOptions made;
  TRY_INTO(made.index_partition,
           opened->partition(StoreRole::index, options.index_partition, "index"));
  TRY_INTO(made.values_partition,
           opened->partition(StoreRole::values, options.values_partition, "values"));
  TRY_INTO(const uint64_t key_size,
           opened->number("key_size", options.key_size_bytes, 32, archive::kKeySizeMaxBytes));
  TRY_INTO(const uint64_t page_size,
           opened->number("page_size", options.page_size_bytes, 4084, UINT16_MAX));
  constexpr uint64_t kNobodySays = 0;
  TRY_INTO(made.items_per_section,
           opened->number("items_per_section", options.items_per_section, kNobodySays, UINT64_MAX));
  if (made.items_per_section == kNobodySays) {
    TRY_INTO(made.items_per_section, guess_items_per_section(source, *made.index_partition, log));
  }
  TRY_INTO(made.compression_level, opened->compression(options.compression_level));
  made.key_size_bytes = static_cast<uint32_t>(key_size);
  made.page_size_bytes = static_cast<uint32_t>(page_size);

  journal::IndexedValueSalvageOptions reading;
  reading.index_partition = *made.index_partition;
  reading.values_partition = *made.values_partition;
  reading.record_size_bytes = archive::record_size_bytes(*made.key_size_bytes);
  reading.page_size_bytes = *made.page_size_bytes;
  reading.compressed = made.compression_level.has_value();
  if (opened->manifest() == nullptr && !options.compression_level)
    TRY(journal::check_not_compressed(source, reading));
  uint64_t boundary = 0;
  if (Manifest* const manifest = opened->manifest()) {
    reading.floors = &manifest->floors(StoreRole::index);
    reading.floors_are_exact = opened->is_manifest_whole();
    boundary = reading.floors->boundary().value;
  }
  ArchiveSink sink(target, made, log);
  TRY(journal::salvage_indexed_values(source, reading, sink, log));
  TRY(sink.finish(boundary));
  return std::move(log.summary);
}

}  // namespace firn
