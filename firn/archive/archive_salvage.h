// SPDX-License-Identifier: Apache-2.0
//
// salvage_archive: the items of an archive that is damaged in any way, in a new archive. For stores
// that do not open, and for those whose damaged sections shall take items again.
//
// Works with the manifest or any other file missing; without the manifest the options say what the
// archive is. The items of an index keep their order. What was pruned stays pruned. See
// firn/io/salvage.h for what is trusted and docs/salvage.md for what cannot be noticed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/base/result.h"
#include "firn/io/salvage.h"
#include "firn/io/storage.h"

namespace firn {

// As in PrunableArchiveOptions. Unset: what the manifest says, or, without one, the default; for
// items_per_section the largest number that fits the files.
struct ArchiveSalvageOptions {
  std::optional<uint32_t> key_size_bytes = std::nullopt;
  std::optional<uint64_t> items_per_section = std::nullopt;
  std::optional<uint32_t> page_size_bytes = std::nullopt;
  std::optional<int> compression_level = std::nullopt;
  std::optional<std::string> index_partition = std::nullopt;
  std::optional<std::string> values_partition = std::nullopt;
};

// `source` is only read. `target` must be empty; it is closed cleanly, or not made at all if
// nothing was readable. Errors: locked (a writer has the source), invalid_argument (options that
// contradict the manifest, a target that is not empty), those of `observer`, and of writing the
// target, which is then incomplete. Damage is none. Memory: about 50 bytes an item of the target,
// 24 bytes an item of the largest section, one value.
[[nodiscard]] Result<SalvageSummary> salvage_archive(Storage& source,
                                                     const ArchiveSalvageOptions& options,
                                                     Storage& target,
                                                     const SalvageObserver& observer);

}  // namespace firn
