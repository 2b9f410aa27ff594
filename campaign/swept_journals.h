// SPDX-License-Identifier: Apache-2.0
//
// Swept journals, each beside a manifest that has its floors, and a value log alone.
#pragma once

#include <memory>

#include "campaign/swept_stores.h"
#include "firn/store/manifest.h"

namespace firn::campaign {

// Makes one if the storage is empty; null: there is none.
[[nodiscard]] Result<std::unique_ptr<Manifest>> open_swept_manifest(Storage& storage,
                                                                    RecoveryLog& recovery);
[[nodiscard]] SweptStore make_fixed_journal(Random& random, Ending ending, Scale scale);
[[nodiscard]] SweptStore make_indexed_value_log(Random& random, Ending ending, Scale scale);
[[nodiscard]] SweptStore make_value_log(Random& random, Ending ending, Scale scale);

}  // namespace firn::campaign
