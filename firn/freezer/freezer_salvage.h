// SPDX-License-Identifier: Apache-2.0
//
// salvage_freezer: the puts of a freezer that is damaged in any way, in a new freezer. The table is
// derived and not looked at.
//
// Works with the manifest, the table or any other file missing; without the manifest the options
// say what the freezer is. Puts keep their order, shadowed ones too. Where the newest put of a key
// is lost, the new store answers with an older one, if there is one: such losses say so if the key
// is known. See firn/io/salvage.h for what is trusted.
#pragma once

#include "firn/base/result.h"
#include "firn/freezer/freezer_types.h"
#include "firn/io/salvage.h"
#include "firn/io/storage.h"

namespace firn {

// Of `options` only the geometry, the table's initial size and resizing, and the partitions count;
// unset: what the manifest says, or, without one, the default. `source` is only read. `target` must
// be empty; it is closed cleanly, or not made at all if nothing was readable. Errors: locked (a
// writer has the source), invalid_argument (options that contradict the manifest, a target that is
// not empty), those of `observer`, and of writing the target, which is then incomplete. Damage is
// none. Memory: that of the target, 24 bytes a put of the largest section, one value.
[[nodiscard]] Result<SalvageSummary> salvage_freezer(Storage& source, const FreezerOptions& options,
                                                     Storage& target,
                                                     const SalvageObserver& observer);

}  // namespace firn
