// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/salvage.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/archive/archive_salvage.h"
#include "firn/base/text.h"
#include "firn/freezer/freezer_salvage.h"
#include "firn/metadata/metadata_salvage.h"
#include "firn/store/salvage_source.h"
#include "tools/firn/finding.h"
#include "tools/firn/human.h"
#include "tools/firn/metadata_access.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

ordered_json loss_json(const SalvageLoss& loss, const std::string& store) {
  ordered_json object = {{"file", file_of(loss.range, store)},
                         {"offset", offset_of(loss.range)},
                         {"length", loss.range.size_bytes},
                         {"reason", loss.range.reason},
                         {"items", loss.items},
                         {"index", nullptr},
                         {"key", nullptr},
                         {"unsynced", loss.unsynced},
                         {"unread", loss.unread},
                         {"damaged_copy", loss.range.copy != BlobRange::Copy::none},
                         {"older_value_kept", loss.older_value_kept}};
  if (loss.index) object["index"] = *loss.index;
  if (!loss.key.empty()) object["key"] = to_hex(loss.key);
  return {{"lost", std::move(object)}};
}

std::string loss_text(const SalvageLoss& loss, const std::string& store) {
  const std::string_view label = loss.unread     ? "could not be read"
                                 : loss.unsynced ? "torn end"
                                                 : "lost";
  std::string text = finding_text(label, loss.range, store);
  if (loss.index) text += concat("; index ", *loss.index);
  if (!loss.key.empty()) text += concat("; key ", to_hex(loss.key));
  if (loss.key.empty() && loss.items > 0) text += concat("; at most ", counted(loss.items, "item"));
  if (loss.older_value_kept) text += "; an older value of the key was kept";
  return mask_line(text);
}

Result<SalvageSummary> salvage_archive_store(Storage& source, const StoreArguments& store,
                                             Storage& target, const SalvageObserver& observer) {
  ArchiveSalvageOptions options;
  options.key_size_bytes = store.key_size_bytes;
  options.items_per_section = store.items_per_section;
  options.page_size_bytes = store.page_size_bytes;
  options.compression_level = store.compression_level;
  options.index_partition = store.index_partition;
  options.values_partition = store.values_partition;
  return salvage_archive(source, options, target, observer);
}

Result<SalvageSummary> salvage_freezer_store(Storage& source, const StoreArguments& store,
                                             Storage& target, const SalvageObserver& observer) {
  FreezerOptions options;
  options.key_size_bytes = store.key_size_bytes;
  options.page_size_bytes = store.page_size_bytes;
  options.compression_level = store.compression_level;
  options.table.initial_size = store.table_initial_size;
  options.partitions.table = store.table_partition;
  options.partitions.index = store.index_partition;
  options.partitions.values = store.values_partition;
  return salvage_freezer(source, options, target, observer);
}

Status write_map(const SalvagedMap& map, const MetadataStoreOptions& options, Storage& target) {
  StoreOptions store;
  store.identity.kind = kMetadataKind;
  store.identity.geometry = {{"key_size", uint64_t{options.key_size_bytes}}};
  store.identity.partitions = {{StoreRole::metadata, options.partition}};
  OpenedMetadata made;
  TRY_INTO(made.store, Store::open(target, store));
  MetadataStoreOptions of_target = options;
  of_target.has_commit = false;
  TRY_INTO(made.metadata, MetadataStore::open(target, of_target, made.store->recovery()));
  for (const auto& [key, value] : map.pairs)
    TRY(made.metadata->put(key, value));
  return commit_metadata(made);
}

Result<SalvageSummary> salvage_metadata_store(Storage& source, const StoreArguments& store,
                                              Storage& target, const SalvageObserver& observer) {
  SalvageLog log(observer);
  TRY_INTO(const auto opened, SalvageSource::open(source, kMetadataKind, log));
  MetadataStoreOptions options;
  TRY_INTO(options.partition, opened->partition(StoreRole::metadata, store.metadata_partition,
                                                kDefaultMetadataPartition));
  TRY_INTO(const uint64_t key_size, opened->number("key_size", store.key_size_bytes,
                                                   kDefaultKeySizeBytes, kMetadataKeySizeMaxBytes));
  options.key_size_bytes = static_cast<uint32_t>(key_size);
  options.value_size_max_bytes = UINT32_MAX;  // whatever the map had
  options.was_closed = was_closed(opened->manifest());
  options.has_commit = has_commit(opened->manifest());
  TRY_INTO(const SalvagedMap map, salvage_metadata(source, options, log));
  if (map.version > 0 || log.nothing_lost()) {
    TRY(write_map(map, options, target));
    log.summary.target_made = true;
  }
  log.summary.items = map.pairs.size();
  for (const auto& [key, value] : map.pairs)
    log.summary.value_bytes += value.size();
  return std::move(log.summary);
}

Status check_target(const SalvageRequest& request) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::invalid_argument,
                concat("'", request.target, "' cannot be the new store: ", why));
  };
  if (request.target.empty()) return refuse("it has no name");
  TRY(check_outside_store(request.store.path, request.target, "the new store"));
  const fs::path target = request.target;
  std::error_code failed;
  if (!fs::exists(target, failed)) return {};
  if (!fs::is_directory(target, failed)) return refuse("it is no directory");
  if (!fs::is_empty(target, failed) || failed) return refuse("it is not empty");
  return {};
}

// The kind that the manifest tells, if it can be read, or else options and partitions.
Result<std::string_view> kind_of(Storage& source, const StoreArguments& store) {
  TRY_INTO(const auto partitions, source.partitions());
  if (partitions.empty())
    return fail(Errc::not_found, concat("there is no store in '", store.path, "'"));
  io::SalvageView view(source);
  RecoveryLog unused(view, true);
  const auto manifest = Manifest::open(view, true, unused);
  const Manifest* const known = manifest ? manifest->get() : nullptr;
  const StoreKind* const kind = kind_of_store(source, known, store);
  if (kind != nullptr) return kind->name;
  return fail(Errc::invalid_argument, concat("'", store.path, "' is a store of kind '",
                                             known->kind(), "', which this firn cannot salvage"));
}

Result<SalvageSummary> salvage(std::string_view kind, const SalvageRequest& request,
                               Storage& source, Storage& target, const SalvageObserver& observer) {
  if (kind == kMetadataKind) return salvage_metadata_store(source, request.store, target, observer);
  if (kind == "freezer") return salvage_freezer_store(source, request.store, target, observer);
  return salvage_archive_store(source, request.store, target, observer);
}

ordered_json summary_json(const SalvageRequest& request, std::string_view kind,
                          const SalvageSummary& summary) {
  return {{"source", request.store.path},
          {"target", request.target},
          {"kind", kind},
          {"target_made", summary.target_made},
          {"items", summary.items},
          {"value_bytes", summary.value_bytes},
          {"losses", summary.losses},
          {"torn_ends", summary.unsynced},
          {"damaged_copies", summary.copies},
          {"unread", summary.unread},
          {"notes", summary.notes}};
}

std::string summary_text(const SalvageRequest& request, std::string_view kind,
                         const SalvageSummary& summary) {
  std::string text;
  for (const std::string& note : summary.notes)
    text += fmt::format("note: {}\n", note);
  if (!summary.target_made) return text + "nothing could be read; no new store was made\n";
  return text + fmt::format("{}: {} ({}) of the {} {}\n", request.target,
                            human_count(summary.items, "item", "items"),
                            human_bytes(static_cast<double>(summary.value_bytes)), kind,
                            request.store.path);
}

}  // namespace

Status run_salvage(const SalvageRequest& request, Output& output) {
  TRY(check_target(request));
  TRY_INTO(const auto source, open_storage(request.store.path, Access::read));
  TRY_INTO(const std::string_view kind, kind_of(*source, request.store));
  const NewStoreGuard guard(request.target, Access::create);
  TRY_INTO(const auto target, open_storage(request.target, Access::create));
  Progress progress("salvaging", bytes_on_disk(request.store.path));
  SalvageObserver observer;
  observer.on_progress = [&](uint64_t bytes) { progress.add(bytes); };
  observer.on_loss = [&](const SalvageLoss& loss) {
    return output.json() ? output.object(loss_json(loss, request.store.path))
                         : output.line(loss_text(loss, request.store.path));
  };
  const auto summary = salvage(kind, request, *source, *target, observer);
  progress.finish();
  if (!summary) {
    TRY(output.flush());
    return fail(summary.error().code, summary.error().message);
  }
  Status outcome;
  if (summary->losses > 0) {
    outcome =
        fail(Errc::corrupt,
             concat("'", request.store.path, "' is damaged in ", counted(summary->losses, "place"),
                    ", listed above; what could be read is in '", request.target,
                    "'; keep the damaged store until you know what it lacks"));
    if (!summary->target_made)
      outcome =
          fail(Errc::corrupt,
               concat("nothing of '", request.store.path, "' can be read, see above; where the ",
                      "manifest is lost, --key-size, --page-size and --partition must say what ",
                      "it is"));
  }
  if (summary->unread > 0) {
    outcome =
        fail(Errc::io,
             concat(human_count(summary->unread, "file or folder", "files or folders"), " of '",
                    request.store.path,
                    "' could not be read, listed above with the reasons; of what is in them "
                    "nothing is known to be lost: make them readable, and salvage again into "
                    "a new place; ",
                    summary->target_made ? concat("what could be read is in '", request.target, "'")
                                         : "no new store was made"));
  }
  return output.result(summary_json(request, kind, *summary), summary_text(request, kind, *summary),
                       std::move(outcome));
}

}  // namespace firn::command
