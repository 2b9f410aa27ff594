// SPDX-License-Identifier: Apache-2.0
//
// firn verify: every index page and location, with --deep every value, too. Changes nothing.
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/io/recovery_report.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/human.h"
#include "tools/firn/progress.h"
#include "tools/firn/salvage_scan.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

struct Verified {
  RecoveryReport report;
  std::optional<Error> open_failure;
  uint64_t checked_bytes = 0;
};

// What the scan needs to know of a store that does not open.
ScanGeometry scan_geometry(const StoreArguments& arguments, Manifest* manifest) {
  const auto partition = [&](const std::optional<std::string>& given, StoreRole role,
                             const char* otherwise) {
    const auto recorded = manifest == nullptr ? std::nullopt : manifest->partition(role);
    return given.value_or(recorded.value_or(otherwise));
  };
  const auto number = [&](std::optional<uint32_t> given, std::string_view name, uint32_t max,
                          uint32_t otherwise) {
    const auto recorded = manifest == nullptr ? std::nullopt : manifest->number(name);
    if (given || !recorded || *recorded == 0 || *recorded > max) return given.value_or(otherwise);
    return static_cast<uint32_t>(*recorded);
  };
  ScanGeometry geometry;
  geometry.index_partition =
      partition(arguments.index_partition, StoreRole::index, kDefaultIndexPartition);
  geometry.values_partition =
      partition(arguments.values_partition, StoreRole::values, kDefaultValuesPartition);
  geometry.key_size_bytes =
      number(arguments.key_size_bytes, "key_size", 1024, geometry.key_size_bytes);
  geometry.page_size_bytes =
      number(arguments.page_size_bytes, "page_size", UINT16_MAX, geometry.page_size_bytes);
  geometry.compression_level = arguments.compression_level;
  if (manifest == nullptr) return geometry;
  geometry.oldest_section = manifest->floors(StoreRole::index).boundary().value;
  if (manifest->text("compression") == "zstd") geometry.compression_level = 0;
  return geometry;
}

Status verify_unopened(const VerifyRequest& request, Verified& verified, Progress& progress) {
  TRY_INTO(const auto storage, open_storage(request.store.path, Access::read));
  TRY_INTO(const auto lock, storage->lock(LockMode::shared));
  RecoveryLog findings(*storage, true);
  auto manifest = Manifest::open(*storage, true, findings);
  const ScanGeometry geometry = scan_geometry(request.store, manifest ? manifest->get() : nullptr);
  TRY(scan_archive(*storage, geometry, request.deep, findings, [&](uint64_t bytes) {
    verified.checked_bytes += bytes;
    progress.add(bytes);
  }));
  verified.report = findings.report();
  return {};
}

Status verify_store(const VerifyRequest& request, Verified& verified, Progress& progress) {
  const auto opened = open_archive(request.store, Access::read);
  if (!opened) {
    if (exit_code_of(opened.error().code) != ExitCode::corrupt)
      return fail(opened.error().code, opened.error().message);
    verified.open_failure = opened.error();
    return verify_unopened(request, verified, progress);
  }
  RecoveryLog findings(*opened->storage, true);
  const auto checked = opened->archive->log().verify(request.deep, findings, [&](uint64_t bytes) {
    verified.checked_bytes += bytes;
    progress.add(bytes);
  });
  if (!checked) {
    if (exit_code_of(checked.error().code) != ExitCode::corrupt) return checked;
    verified.open_failure = checked.error();
    return verify_unopened(request, verified, progress);
  }
  verified.report = findings.report();
  // Opening looks at less, and its notes about torn ends are worth telling.
  const RecoveryReport& opening = opened->archive->recovery();
  verified.report.cuts = opening.cuts;
  verified.report.notes.insert(verified.report.notes.end(), opening.notes.begin(),
                               opening.notes.end());
  if (verified.report.damage.empty()) verified.report.damage = opening.damage;
  return {};
}

std::string file_of(const BlobRange& range, const std::string& store) {
  return concat(store, "/", range.partition, range.blob.empty() ? "" : "/", range.blob);
}

// Offsets of files count their header, those of blobs do not.
uint64_t file_offset(const BlobRange& range) {
  return range.size_bytes == 0 ? 0 : range.offset + kBlobHeaderSizeBytes;
}

ordered_json damage_json(const BlobRange& range, const std::string& store) {
  return {{"partition", range.partition},  {"blob", range.blob},
          {"file", file_of(range, store)}, {"offset", file_offset(range)},
          {"length", range.size_bytes},    {"reason", range.reason}};
}

std::string damage_text(const BlobRange& range, const std::string& store) {
  if (range.size_bytes == 0)
    return fmt::format("damaged: {}: {}\n", file_of(range, store), range.reason);
  return fmt::format("damaged: {} at offset {}, {} bytes: {}\n", file_of(range, store),
                     file_offset(range), range.size_bytes, range.reason);
}

std::string cut_text(const CutRange& cut, const std::string& store) {
  return fmt::format("torn end, which the next writer will cut: {} at offset {}, {} bytes: {}\n",
                     file_of(cut.range, store), file_offset(cut.range), cut.range.size_bytes,
                     cut.range.reason);
}

}  // namespace

Status run_verify(const VerifyRequest& request, Output& output) {
  const std::string& store = request.store.path;
  Verified verified;
  Progress progress("verifying", 0);
  TRY(verify_store(request, verified, progress));
  const double seconds = progress.seconds();
  progress.finish();

  const RecoveryReport& report = verified.report;
  ordered_json object = {{"store", store},
                         {"deep", request.deep},
                         {"checked_bytes", verified.checked_bytes},
                         {"seconds", seconds}};
  std::string text;
  object["opens"] = !verified.open_failure;
  if (verified.open_failure) {
    object["open_failure"] = verified.open_failure->message;
    text += fmt::format("damaged: {}\n", verified.open_failure->message);
  }
  object["damage"] = ordered_json::array();
  for (const BlobRange& range : report.damage) {
    object["damage"].push_back(damage_json(range, store));
    text += damage_text(range, store);
  }
  object["torn_ends"] = ordered_json::array();
  for (const CutRange& cut : report.cuts) {
    object["torn_ends"].push_back(damage_json(cut.range, store));
    text += cut_text(cut, store);
  }
  object["notes"] = report.notes;
  for (const std::string& note : report.notes)
    text += fmt::format("note: {}\n", note);

  Status outcome;
  if (!report.damage.empty() || verified.open_failure) {
    outcome =
        fail(Errc::corrupt,
             concat("'", store, "' is damaged (", report.damage.size(),
                    " ranges): restore it "
                    "from a copy, or read what is left with 'firn archive get' and 'export'"));
  } else {
    text += fmt::format(
        "{}: no damage; checked {} in {} ({}/s){}\n", store,
        human_bytes(static_cast<double>(verified.checked_bytes)), human_seconds(seconds),
        human_bytes(static_cast<double>(verified.checked_bytes) / std::max(seconds, 1e-9)),
        request.deep ? "" : "; values were not read, --deep does that");
  }
  return output.result(std::move(object), text, std::move(outcome));
}

}  // namespace firn::command
