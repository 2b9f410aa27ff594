// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/store_kind.h"

#include <algorithm>
#include <iterator>

#include "tools/firn/metadata_access.h"

namespace firn::command {
namespace {

constexpr StoreKind kArchive = {"archive", survey_archive_store, verify_archive_store,
                                "'firn archive get' and 'export'"};
constexpr StoreKind kMetadata = {kMetadataKind, survey_metadata_store, verify_metadata_store,
                                 "'firn metadata list' and 'get'"};
constexpr const StoreKind* kKinds[] = {&kArchive, &kMetadata};

// The partitions of the original may have any names: those that options give decide.
bool is_metadata(Storage& storage, const StoreArguments& arguments) {
  if (arguments.metadata_partition) return true;
  if (arguments.index_partition || arguments.values_partition) return false;
  const auto names = storage.partitions();
  return names && std::ranges::count(*names, kDefaultMetadataPartition) > 0 &&
         std::ranges::count(*names, kDefaultIndexPartition) == 0;
}

}  // namespace

const StoreKind* kind_of_store(Storage& storage, const Manifest* manifest,
                               const StoreArguments& arguments) {
  if (manifest == nullptr) return is_metadata(storage, arguments) ? &kMetadata : &kArchive;
  const auto* const found = std::ranges::find(kKinds, manifest->kind(), &StoreKind::name);
  return found == std::end(kKinds) ? nullptr : *found;
}

}  // namespace firn::command
