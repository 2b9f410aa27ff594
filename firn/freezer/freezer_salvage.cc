// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/freezer_salvage.h"

#include <memory>
#include <utility>

#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/journal/indexed_value_salvage.h"
#include "firn/store/salvage_source.h"

namespace firn {
namespace {

class FreezerSink final : public journal::EntrySink {
 public:
  FreezerSink(Storage& target, const FreezerOptions& options, SalvageLog& log)
      : target_(target), options_(options), log_(log) {}

  std::optional<std::string> misfit(Section section, Position position, ByteSpan entry) override {
    const auto next = freezer::next_of(entry);
    if (!next || *next < freezer::RecordPlace{section, position}) return std::nullopt;
    return concat("it leads to record ", next->position, " of section ", next->section,
                  ", which is not before it");
  }

  Status keep(ByteSpan entry, ByteSpan value) override {
    TRY(make());
    TRY(freezer_->put(freezer::key_of(entry), value));
    ++log_.summary.items;
    log_.summary.value_bytes += value.size();
    return {};
  }

  Status lose(SalvageLoss loss, ByteSpan entry) override {
    if (entry.empty()) {
      has_lost_keys_ = has_lost_keys_ || loss.items > 0;
    } else {
      loss.key = to_bytes(freezer::key_of(entry));
      if (freezer_ != nullptr) {
        TRY_INTO(const auto found, freezer_->contains(loss.key));
        loss.older_value_kept = found == Freezer::Presence::present;
      }
    }
    return log_.lose(loss);
  }

  Status finish() {
    if (has_lost_keys_) {
      log_.summary.notes.emplace_back(
          "some records are lost with their keys: the new store answers with an older value of "
          "such a key, or with none");
    }
    if (log_.nothing_lost()) TRY(make());
    if (freezer_ == nullptr) return {};
    TRY(freezer_->close());
    return {};
  }

 private:
  Status make() {
    if (freezer_ != nullptr) return {};
    TRY_INTO(freezer_, Freezer::open(target_, options_));
    log_.summary.target_made = true;
    return {};
  }

  Storage& target_;
  const FreezerOptions& options_;
  SalvageLog& log_;
  bool has_lost_keys_ = false;
  std::unique_ptr<Freezer> freezer_;
};

// The geometry of the new freezer.
Result<FreezerOptions> target_options(SalvageSource& source, const FreezerOptions& options) {
  FreezerOptions made;
  const auto number = [&](std::string_view name, std::optional<uint32_t> given, uint32_t fallback,
                          uint64_t max, std::optional<uint32_t>& target) -> Status {
    TRY_INTO(const uint64_t value, source.number(name, given, fallback, max));
    target = static_cast<uint32_t>(value);
    return {};
  };
  TRY(number("key_size", options.key_size_bytes, 32, freezer::kKeySizeMaxBytes,
             made.key_size_bytes));
  TRY(number("page_size", options.page_size_bytes, 4084, UINT16_MAX, made.page_size_bytes));
  TRY(number("table_initial_size", options.table.initial_size, 4096, freezer::kTableSizeMax,
             made.table.initial_size));
  TRY(number("resize_frequency", options.table.resize_frequency, 1, 254,
             made.table.resize_frequency));
  TRY(number("resize_chunk", options.table.resize_chunk, 16384, UINT32_MAX,
             made.table.resize_chunk));
  TRY_INTO(made.compression_level, source.compression(options.compression_level));
  TRY_INTO(made.partitions.table,
           source.partition(StoreRole::table, options.partitions.table, "table"));
  TRY_INTO(made.partitions.index,
           source.partition(StoreRole::index, options.partitions.index, "index"));
  TRY_INTO(made.partitions.values,
           source.partition(StoreRole::values, options.partitions.values, "values"));
  return made;
}

}  // namespace

Result<SalvageSummary> salvage_freezer(Storage& source, const FreezerOptions& options,
                                       Storage& target, const SalvageObserver& observer) {
  TRY(io::check_salvage_target(target));
  SalvageLog log(observer);
  TRY_INTO(const auto opened, SalvageSource::open(source, "freezer", log));
  TRY_INTO(const FreezerOptions made, target_options(*opened, options));
  journal::IndexedValueSalvageOptions reading;
  reading.index_partition = *made.partitions.index;
  reading.values_partition = *made.partitions.values;
  reading.record_size_bytes = freezer::record_size_bytes(*made.key_size_bytes);
  reading.page_size_bytes = *made.page_size_bytes;
  reading.compressed = made.compression_level.has_value();
  if (opened->manifest() == nullptr && !options.compression_level)
    TRY(journal::check_not_compressed(source, reading));
  if (Manifest* const manifest = opened->manifest()) {
    reading.floors = &manifest->floors(StoreRole::index);
    reading.floors_are_exact = opened->is_manifest_whole();
  }
  FreezerSink sink(target, made, log);
  TRY(journal::salvage_indexed_values(source, reading, sink, log));
  TRY(sink.finish());
  return std::move(log.summary);
}

}  // namespace firn
