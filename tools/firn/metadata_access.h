// SPDX-License-Identifier: Apache-2.0
//
// How the verbs of 'firn metadata', info and verify open a store of kind "metadata".
#pragma once

#include <memory>
#include <string>

#include "firn/metadata/metadata_store.h"
#include "firn/store/store.h"
#include "tools/firn/store_access.h"

namespace firn::command {

inline constexpr const char* kMetadataKind = "metadata";
inline constexpr const char* kDefaultMetadataPartition = "state";
inline constexpr uint32_t kDefaultKeySizeBytes = 32;

struct OpenedMetadata {
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Store> store;
  std::unique_ptr<MetadataStore> metadata;
  std::string partition;
  uint32_t key_size_bytes = 0;
};

[[nodiscard]] Result<OpenedMetadata> open_metadata(const StoreArguments& arguments, Access access);

// Its last writer left both copies whole, as far as anybody knows.
[[nodiscard]] bool was_closed(const Manifest* manifest);

// Some writer acknowledged a commit, as the manifest records.
[[nodiscard]] bool has_commit(const Manifest* manifest);

// Makes the changes durable in both copies, and closes the store.
[[nodiscard]] Status commit_metadata(OpenedMetadata& opened);

// The partition that the arguments name, or the manifest, or the default.
[[nodiscard]] std::string metadata_partition(const StoreArguments& arguments,
                                             const Manifest* manifest);

}  // namespace firn::command
