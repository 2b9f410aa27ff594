// SPDX-License-Identifier: Apache-2.0
//
// All bodies of LocationIndex: what location_index.cc compiles for LocationPolicy, and what a test
// with a policy of its own includes.
#pragma once

#include "firn/base/epoch_templates.h"            // IWYU pragma: export
#include "firn/index/location_core_templates.h"   // IWYU pragma: export
#include "firn/index/location_growth.h"           // IWYU pragma: export
#include "firn/index/location_index.h"            // IWYU pragma: export
#include "firn/index/location_index_templates.h"  // IWYU pragma: export
#include "firn/index/location_insert.h"           // IWYU pragma: export
#include "firn/index/location_snapshot.h"         // IWYU pragma: export
#include "firn/index/location_walk.h"             // IWYU pragma: export
