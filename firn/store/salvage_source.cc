// SPDX-License-Identifier: Apache-2.0
#include "firn/store/salvage_source.h"

#include <utility>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn {

Result<std::unique_ptr<SalvageSource>> SalvageSource::open(Storage& storage, std::string_view kind,
                                                           SalvageLog& log) {
  std::unique_ptr<SalvageSource> source(new SalvageSource(storage, log));
  TRY_INTO(source->lock_, storage.lock(LockMode::shared));
  RecoveryLog recovery(source->view_, true);
  std::string hidden;
  const Status loaded = source->load_manifest(recovery);
  if (!loaded) {
    TRY(source->lose_manifest(loaded.error().message, loaded.error().code == Errc::io));
    // A copy whose checksum holds, because it is another kind of file, must not cost the other one.
    for (const std::string_view copy : {"left", "right"}) {
      source->view_.hide(kManifestPartition, as_bytes(copy));
      hidden = to_hex(as_bytes(copy));
      recovery.report() = RecoveryReport();
      if (source->load_manifest(recovery)) break;
    }
    if (source->manifest_ == nullptr) return source;
  }
  if (source->manifest_ == nullptr) {
    log.summary.notes.emplace_back(
        "there is no manifest: whether items are missing at the ends of files cannot be known");
    return source;
  }
  TRY(source->manifest_->require_kind(kind));
  std::vector<BlobRange> damage = recovery.report().damage;
  damage.insert(damage.end(), source->view_.damage().begin(), source->view_.damage().end());
  std::erase_if(damage, [&](const BlobRange& range) { return range.blob == hidden; });  // told
  source->is_whole_ = loaded && damage.empty() && recovery.report().notes.empty();
  for (BlobRange& range : damage) {
    // Read behind a bad header: the manifest is what its copies are.
    if (range.blob == to_hex(as_bytes("left")) || range.blob == to_hex(as_bytes("right")))
      if (range.copy == BlobRange::Copy::none) range.copy = BlobRange::Copy::damaged;
    SalvageLoss loss;
    loss.range = range;
    TRY(log.lose(loss));
  }
  for (const std::string& note : recovery.report().notes)
    TRY(source->lose_manifest(note));
  return source;
}

Status SalvageSource::load_manifest(RecoveryLog& recovery) {
  TRY_INTO(manifest_, Manifest::open(view_, true, recovery));
  return {};
}

Status SalvageSource::lose_manifest(std::string reason, bool is_unread) {
  SalvageLoss loss;
  loss.range = {std::string(kManifestPartition), "", 0, 0, std::move(reason)};
  loss.unread = is_unread;
  return log_.lose(loss);
}

Result<uint64_t> SalvageSource::number(std::string_view name, std::optional<uint64_t> given,
                                       uint64_t fallback, uint64_t max) {
  const auto recorded = manifest_ == nullptr ? std::nullopt : manifest_->number(name);
  if (recorded && (*recorded == 0 || *recorded > max)) {
    TRY(lose_manifest(concat("it records an impossible ", name, ": ", *recorded)));
    return given.value_or(fallback);
  }
  if (given && recorded) TRY(manifest_->require(name, *given));
  if (given && (*given == 0 || *given > max)) {
    return fail(Errc::invalid_argument, concat(name, " ", *given, " is not between 1 and ", max));
  }
  return given.value_or(recorded.value_or(fallback));
}

Result<std::string> SalvageSource::partition(StoreRole role,
                                             const std::optional<std::string>& given,
                                             std::string_view fallback) {
  const auto recorded = manifest_ == nullptr ? std::nullopt : manifest_->partition(role);
  if (given && recorded) TRY(manifest_->require_partition(role, *given));
  std::string name = given.value_or(recorded.value_or(std::string(fallback)));
  TRY(check_partition_name(name));
  return name;
}

Result<std::optional<int>> SalvageSource::compression(std::optional<int> given) {
  const auto recorded = manifest_ == nullptr ? std::nullopt : manifest_->text("compression");
  const std::string_view meant = given == kNoCompression ? "none" : "zstd";
  if (given && recorded) TRY(manifest_->require("compression", meant));
  if (!given && recorded == "zstd") return std::optional<int>(0);
  return given == kNoCompression ? std::nullopt : given;
}

}  // namespace firn
