// SPDX-License-Identifier: Apache-2.0
//
// What salvage brings back of a swept store: every put, and the ranges of files that it is made of.
#pragma once

#include <string>
#include <vector>

#include "campaign/swept_stores.h"
#include "firn/archive/prunable_archive.h"
#include "firn/freezer/freezer.h"
#include "firn/metadata/metadata_store.h"

namespace firn::campaign {

// The puts of a store that is whole, in the order of a walk.
[[nodiscard]] std::vector<Put> puts_of_archive(Storage& storage, PrunableArchiveOptions options);
[[nodiscard]] std::vector<Put> puts_of_freezer(Storage& storage, FreezerOptions options);

// Of each name, where all puts are whose own begins with it.
[[nodiscard]] std::vector<std::vector<FileRange>> places_of(const std::vector<Put>& puts,
                                                            const std::vector<Bytes>& names);

[[nodiscard]] Salvaged salvage_swept_archive(Storage& damaged,
                                             const PrunableArchiveOptions& options);
[[nodiscard]] Salvaged salvage_swept_freezer(Storage& damaged, const FreezerOptions& options);
[[nodiscard]] Salvaged salvage_swept_metadata(Storage& damaged,
                                              const MetadataStoreOptions& options);

}  // namespace firn::campaign
