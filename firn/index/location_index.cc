// SPDX-License-Identifier: Apache-2.0
#include "firn/index/location_index.h"

#include "firn/index/location_index_internals.h"

namespace firn {

template class BasicEpochDomain<LocationPolicy>;
template class BasicEpochSession<LocationPolicy>;
template class index::LocationCore<LocationPolicy>;
template class BasicLocationIndex<LocationPolicy>;

}  // namespace firn
