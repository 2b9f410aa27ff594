// SPDX-License-Identifier: Apache-2.0
//
// What a metadata store holds, and what the manifest of a store says of its journals, read from
// the files alone (FORMAT.md, sections 5 and 7). Left open: why something is refused.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "testkit/store_files.h"

namespace firn::testkit::reference {

// The newest valid copy; nullopt: an open refuses the store, as it must.
struct Metadata {
  uint64_t version = 0;  // 0: there is no commit
  std::map<Bytes, Bytes> pairs = {};
};
[[nodiscard]] std::optional<Metadata> read_metadata(const StoreFiles& files,
                                                    std::string_view partition, uint64_t key_size);

// Of the role 2, which archives, freezers and indexed value logs have.
struct Manifest {
  bool exists = false;  // otherwise nobody knows what was durable
  uint64_t boundary = 0;
  std::map<uint64_t, uint64_t> floors = {};         // of sections; without entry: 0
  std::map<uint64_t, std::string> partitions = {};  // of roles
};
// nullopt: an open refuses the store, or makes it anew.
[[nodiscard]] std::optional<Manifest> read_manifest(const StoreFiles& files);

}  // namespace firn::testkit::reference
