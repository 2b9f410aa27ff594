// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/store_kind.h"

#include <algorithm>
#include <iterator>

#include "tools/firn/metadata_access.h"

namespace firn::command {
namespace {

constexpr StoreKind kArchive = {"archive", survey_archive_store, verify_archive_store};
constexpr StoreKind kFreezer = {"freezer", survey_freezer_store, verify_freezer_store};
constexpr StoreKind kMetadata = {kMetadataKind, survey_metadata_store, verify_metadata_store};
constexpr const StoreKind* kKinds[] = {&kArchive, &kFreezer, &kMetadata};

// The partitions of the original may have any names: those that options give decide.
bool is_metadata(Storage& storage, const StoreArguments& arguments) {
  if (arguments.metadata_partition) return true;
  if (arguments.index_partition || arguments.values_partition || arguments.table_partition)
    return false;
  const auto names = storage.partitions();
  return names && std::ranges::count(*names, kDefaultMetadataPartition) > 0 &&
         std::ranges::count(*names, kDefaultIndexPartition) == 0;
}

bool is_freezer(Storage& storage, const StoreArguments& arguments) {
  if (arguments.table_partition || arguments.table_initial_size) return true;
  const auto names = storage.partitions();
  return names && std::ranges::count(*names, kDefaultTablePartition) > 0;
}

}  // namespace

const StoreKind* kind_of_store(Storage& storage, const Manifest* manifest,
                               const StoreArguments& arguments) {
  if (manifest == nullptr) {
    if (is_metadata(storage, arguments)) return &kMetadata;
    return is_freezer(storage, arguments) ? &kFreezer : &kArchive;
  }
  const auto* const found = std::ranges::find(kKinds, manifest->kind(), &StoreKind::name);
  return found == std::end(kKinds) ? nullptr : *found;
}

}  // namespace firn::command
