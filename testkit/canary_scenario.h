// SPDX-License-Identifier: Apache-2.0
//
// A toy log with bugs to order: it shows that the crash harness finds them, and how a scenario is
// written. Values lie in one blob; a second one holds an entry (offset, size, CRC of the entry) for
// each. Recovery trusts an entry whose CRC is right, so the order of the syncs matters.
#pragma once

#include <memory>

#include "testkit/crash_harness.h"

namespace firn::testkit {

enum class CanaryBug : uint8_t {
  none,
  no_value_sync,       // the entry may be durable before its value
  index_synced_first,  // both are synced, in the wrong order
  no_index_sync,       // acknowledged, not durable
  unsynced_adoption,   // recovery serves what only the page cache of a killed program holds
  unsynced_cut,        // recovery reuses the range of a truncation that is not durable
  ignored_failure,     // recovery serves what it could not sync
  unreadable_is_torn,  // recovery cuts the log at an entry that it cannot read
};

[[nodiscard]] ScenarioFactory canary_factory(CanaryBug bug);

}  // namespace firn::testkit
