// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/freezer_access.h"

#include <algorithm>

#include "firn/base/text.h"

namespace firn::command {
namespace {

FreezerAccess freezer_access(Access access, bool rebuild) {
  if (rebuild) return FreezerAccess::rebuild;
  switch (access) {
    case Access::read: return FreezerAccess::read_only;
    case Access::write: return FreezerAccess::write;
    case Access::create: break;
  }
  return FreezerAccess::create;
}

FreezerOptions freezer_options(const StoreArguments& arguments, FreezerAccess access) {
  FreezerOptions options;
  options.key_size_bytes = arguments.key_size_bytes;
  options.page_size_bytes = arguments.page_size_bytes;
  options.compression_level = arguments.compression_level;
  options.table.initial_size = arguments.table_initial_size;
  options.partitions.table = arguments.table_partition;
  options.partitions.index = arguments.index_partition;
  options.partitions.values = arguments.values_partition;
  options.access = access;
  return options;
}

// Without a manifest and without its key journal there is no freezer here: nothing at all, one of
// the original under other names, or somebody else's directory.
Status check_is_freezer(Storage& storage, const StoreArguments& arguments, Access access) {
  TRY_INTO(const auto names, storage.partitions());
  const std::string index = arguments.index_partition.value_or(kDefaultIndexPartition);
  const bool may_create = access == Access::create;
  if (std::ranges::count(names, index) > 0 || (may_create && names.empty())) return {};
  if (names.empty()) {
    return fail(Errc::not_found, concat("there is no store in '", storage.description(),
                                        "': it has neither a manifest nor any partition"));
  }
  return fail(may_create ? Errc::invalid_argument : Errc::not_found,
              concat("there is no freezer in '", storage.description(),
                     "': it has no manifest and no partition '", index,
                     "'; its directories are: ", partition_list(storage),
                     "; name the partitions with --partition table=NAME --partition index=NAME "
                     "--partition values=NAME"));
}

}  // namespace

Result<OpenedFreezer> open_freezer(const StoreArguments& arguments, Access access, bool rebuild) {
  OpenedFreezer opened;
  TRY_INTO(opened.storage, open_storage(arguments.path, access));
  // A store has its manifest from the start, so this can be asked before the lock is taken.
  TRY_INTO(const auto names, opened.storage->partitions());
  if (std::ranges::count(names, kManifestPartition) == 0)
    TRY(check_is_freezer(*opened.storage, arguments, access));
  TRY_INTO(
      opened.freezer,
      Freezer::open(*opened.storage, freezer_options(arguments, freezer_access(access, rebuild))));
  return opened;
}

}  // namespace firn::command
