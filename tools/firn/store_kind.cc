// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/store_kind.h"

#include <algorithm>
#include <iterator>

namespace firn::command {
namespace {

constexpr StoreKind kArchive = {"archive", survey_archive_store, verify_archive_store,
                                "'firn archive get' and 'export'"};
constexpr const StoreKind* kKinds[] = {&kArchive};

}  // namespace

const StoreKind* kind_of_store(Storage&, const Manifest* manifest, const StoreArguments&) {
  if (manifest == nullptr) return &kArchive;
  const auto* const found = std::ranges::find(kKinds, manifest->kind(), &StoreKind::name);
  return found == std::end(kKinds) ? nullptr : *found;
}

}  // namespace firn::command
