// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/freezer_access.h"

#include "tools/firn/progress.h"

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

}  // namespace

Result<OpenedFreezer> open_freezer(const StoreArguments& arguments, Access access, bool rebuild) {
  const NewStoreGuard guard(arguments.path, access);
  OpenedFreezer opened;
  TRY_INTO(opened.storage, open_storage(arguments.path, access));
  TRY(check_is_store(*opened.storage, access, kFreezerKind,
                     arguments.index_partition.value_or(kDefaultIndexPartition),
                     "partitions with --partition table=NAME --partition index=NAME --partition "
                     "values=NAME"));
  {
    const ReadingProgress progress(rebuild ? "rebuilding" : "opening",
                                   key_bytes_on_disk(arguments));
    TRY_INTO(opened.freezer,
             Freezer::open(*opened.storage,
                           freezer_options(arguments, freezer_access(access, rebuild))));
  }
  if (access != Access::read) warn_of_recovery(kFreezerKind, opened.freezer->recovery());
  return opened;
}

}  // namespace firn::command
