// SPDX-License-Identifier: Apache-2.0
//
// salvage_metadata: the map of a MetadataStore that is damaged in any way: that of its newest copy
// whose checksum holds, whatever the other one is like. A map counts as a whole, so nothing of a
// copy that fails its checksum is taken; what differs there is told, key by key, as a loss. A first
// commit that was cut off is no loss, as nobody was told of it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/salvage.h"
#include "firn/io/storage.h"
#include "firn/metadata/metadata_store.h"

namespace firn {

struct SalvagedMap {
  uint64_t version = 0;                        // 0: there is no commit to be trusted
  std::vector<std::pair<Bytes, Bytes>> pairs;  // in ascending order of the keys
};

// Reads only; of `options` all but read_only and the sizes of values counts. Losses go to `log`.
// The caller holds the store's lock. Fails with the errors of the log only.
[[nodiscard]] Result<SalvagedMap> salvage_metadata(Storage& source,
                                                   const MetadataStoreOptions& options,
                                                   SalvageLog& log);

}  // namespace firn
