// SPDX-License-Identifier: Apache-2.0
//
// What info and verify do with an archive.
#include <algorithm>
#include <iterator>

#include "firn/base/text.h"
#include "tools/firn/content_keys.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/salvage_scan.h"
#include "tools/firn/store_kind.h"
#include "tools/firn/survey.h"

namespace firn::command {
namespace {

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
  if (arguments.compression_level != kNoCompression)
    geometry.compression_level = arguments.compression_level;
  if (manifest == nullptr) return geometry;
  geometry.oldest_section = manifest->floors(StoreRole::index).boundary().value;
  if (manifest->text("compression") == "zstd") geometry.compression_level = 0;
  return geometry;
}

Status verify_unopened(const VerifyRequest& request, Verified& verified, Progress& progress) {
  TRY_INTO(const auto storage, open_storage(request.store.path, Access::read));
  TRY_INTO(const auto lock, storage->lock(LockMode::shared));
  progress.expect(bytes_on_disk(request.store.path));
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

}  // namespace

Result<StoreSurvey> survey_archive_store(const StoreArguments& arguments) {
  TRY_INTO(const auto opened, open_archive(arguments, Access::read));
  TRY_INTO(const ArchiveSurvey archive, survey_archive(*opened.archive));
  return StoreSurvey{describe_json(archive), describe_text(archive),
                     archive.index_bytes + archive.value_bytes, archive.unreferenced_bytes,
                     opened.archive->recovery()};
}

Status verify_archive_store(const VerifyRequest& request, Verified& verified, Progress& progress) {
  const auto opened = open_archive(request.store, Access::read);
  if (!opened) {
    if (exit_code_of(opened.error().code) != ExitCode::corrupt)
      return fail(opened.error().code, opened.error().message);
    verified.open_failure = opened.error();
    return verify_unopened(request, verified, progress);
  }
  if (request.content) TRY(require_content_keys(opened->archive->key_size_bytes()));
  RecoveryLog findings(*opened->storage, true);
  progress.expect(bytes_to_verify(opened->archive->log(), request.deep));
  auto checked = opened->archive->log().verify(request.deep, findings, [&](uint64_t bytes) {
    verified.checked_bytes += bytes;
    progress.add(bytes);
  });
  if (!checked) {
    if (exit_code_of(checked.error().code) != ExitCode::corrupt) return checked;
    verified.open_failure = checked.error();
    return verify_unopened(request, verified, progress);
  }
  if (request.content) {
    TRY_INTO(verified.compared_values, check_contents(*opened->archive, findings));
  }
  verified.report = findings.report();
  // Opening looks at less, and its notes about torn ends are worth telling.
  const RecoveryReport& opening = opened->archive->recovery();
  verified.report.was_clean = opening.was_clean;
  verified.report.cuts = opening.cuts;
  verified.report.notes.insert(verified.report.notes.end(), opening.notes.begin(),
                               opening.notes.end());
  const auto is_found = [&](const BlobRange& range) {
    return std::ranges::any_of(findings.report().damage, [&](const BlobRange& found) {
      return found.partition == range.partition && found.blob == range.blob;
    });
  };
  std::ranges::remove_copy_if(opening.damage, std::back_inserter(verified.report.damage), is_found);
  return {};
}

}  // namespace firn::command
