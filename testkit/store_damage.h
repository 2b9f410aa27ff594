// SPDX-License-Identifier: Apache-2.0
//
// Everything that can happen to one file of a small store: each byte changed, every length, the
// file gone, emptied, grown, or in the place of another one. For the tests of what reads damaged
// stores.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/io/memory_storage.h"

namespace firn::testkit {

// Partition and blob; the whole file, header included.
using StoreFiles = std::map<std::pair<std::string, Bytes>, Bytes>;

[[nodiscard]] StoreFiles files_of(MemoryStorage& storage);
void load_files(MemoryStorage& storage, const StoreFiles& files);

// A range of a file, header included.
struct FileRange {
  std::string partition;
  Bytes blob;
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;
};

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
void for_each_misplaced_page(const StoreFiles& files, const std::pair<std::string, Bytes>& name,
                             uint64_t physical_page, const DamageVisitor& visit);

}  // namespace firn::testkit
