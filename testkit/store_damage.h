// SPDX-License-Identifier: Apache-2.0
//
// Everything that can happen to one file of a small store: each byte changed, every length, the
// file gone, emptied, grown, or in the place of another one. For the tests of what reads damaged
// stores.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "testkit/store_files.h"

namespace firn::testkit {

struct DamagedStore {
  std::string what;  // for messages
  StoreFiles files;
  std::vector<FileRange> touched;

  [[nodiscard]] bool touches(const FileRange& range) const;
};

using DamageVisitor = std::function<void(const DamagedStore&)>;
// Returns how many there were: a few thousand for a store of a few kilobytes.
uint64_t for_each_damage(const StoreFiles& files, const DamageVisitor& visit);
// The `physical_page`-sized pages of one file: every two exchanged, every one in the place of every
// other.
void for_each_misplaced_page(const StoreFiles& files, const FileName& name, uint64_t physical_page,
                             const DamageVisitor& visit);

}  // namespace firn::testkit
