// SPDX-License-Identifier: Apache-2.0
//
// How every verb opens its store: what the user said about it, completed by its manifest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/store/manifest.h"

namespace firn::command {

// STORE and the options that describe it. Nothing given: the manifest decides, or the defaults.
struct StoreArguments {
  std::string path;
  std::optional<uint32_t> key_size_bytes;
  std::optional<uint32_t> page_size_bytes;
  std::optional<uint64_t> items_per_section;
  std::optional<int> compression_level;
  std::optional<uint32_t> table_initial_size;
  std::optional<std::string> table_partition;
  std::optional<std::string> index_partition;
  std::optional<std::string> values_partition;
  std::optional<std::string> metadata_partition;
};

// What the library takes if neither the user nor a manifest says.
inline constexpr const char* kDefaultTablePartition = "table";
inline constexpr const char* kDefaultIndexPartition = "index";
inline constexpr const char* kDefaultValuesPartition = "values";

enum class Access : uint8_t {
  read,    // changes nothing
  write,   // must exist
  create,  // made if it does not exist
};

struct OpenedArchive {
  std::unique_ptr<Storage> storage;
  std::unique_ptr<PrunableArchive> archive;
};

[[nodiscard]] Result<std::unique_ptr<Storage>> open_storage(const std::string& path, Access access);

// What a verb writes beside its store must not fall into it. `role` is "the new store".
// Errors: invalid_argument (`path` is the store, or lies in it, whatever links lead there).
[[nodiscard]] Status check_outside_store(const std::string& store, const std::string& path,
                                         std::string_view role);

// Of all files of a store, whatever state they are in: for the time that is left.
[[nodiscard]] uint64_t bytes_on_disk(const std::string& store);
// Of the partition that an open reads whole.
[[nodiscard]] uint64_t key_bytes_on_disk(const StoreArguments& arguments);

// What lies in the directory of a store and is not firn's, sorted: it is ignored, and never
// touched.
[[nodiscard]] std::vector<std::string> strays_of(const std::string& store);

// Takes away the directory of a store that could not be made, if it is empty.
class NewStoreGuard {
 public:
  // Before the storage is opened.
  NewStoreGuard(std::string path, Access access);
  ~NewStoreGuard();
  NewStoreGuard(const NewStoreGuard&) = delete;
  NewStoreGuard& operator=(const NewStoreGuard&) = delete;

 private:
  const std::string path_;
  const bool is_new_;
};

// Says on standard error what opening a store of this kind for writing cut and found damaged.
void warn_of_recovery(std::string_view kind, const RecoveryReport& report);

[[nodiscard]] Result<OpenedArchive> open_archive(const StoreArguments& arguments, Access access);

// Success if the storage has a manifest, the partition that a store of this kind cannot be without,
// or nothing and may get it. Otherwise nothing is there, or a store of the original under other
// names, or somebody else's directory: `advice` says how to name the partitions.
[[nodiscard]] Status check_is_store(Storage& storage, Access access, std::string_view kind,
                                    const std::string& partition, std::string_view advice);

}  // namespace firn::command
