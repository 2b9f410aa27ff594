// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/store_access.h"

#include <algorithm>

#include "firn/base/text.h"
#include "firn/io/posix_storage.h"

namespace firn::command {

Result<std::unique_ptr<Storage>> open_storage(const std::string& path, Access access) {
  return open_posix_storage(
      path, {.create = access == Access::create, .read_only = access == Access::read});
}

std::string partition_list(Storage& storage) {
  const auto names = storage.partitions();
  std::string list;
  if (names) {
    for (const std::string& name : *names)
      list += concat(list.empty() ? "" : ", ", name);
  }
  return list.empty() ? "none" : list;
}

namespace {

PrunableArchiveOptions archive_options(const StoreArguments& arguments, Access access) {
  PrunableArchiveOptions options;
  options.key_size_bytes = arguments.key_size_bytes;
  options.page_size_bytes = arguments.page_size_bytes;
  options.items_per_section = arguments.items_per_section;
  options.compression_level = arguments.compression_level;
  options.index_partition = arguments.index_partition;
  options.values_partition = arguments.values_partition;
  switch (access) {
    case Access::read: options.access = ArchiveAccess::read_only; break;
    case Access::write: options.access = ArchiveAccess::write; break;
    case Access::create: options.access = ArchiveAccess::create; break;
  }
  return options;
}

// Without a manifest and without its index partition there is no archive here: either nothing at
// all, or one of the original under other names, or somebody else's directory.
Status check_is_archive(Storage& storage, const StoreArguments& arguments, Access access) {
  TRY_INTO(const auto names, storage.partitions());
  const std::string index = arguments.index_partition.value_or(kDefaultIndexPartition);
  const bool may_create = access == Access::create;
  if (std::ranges::count(names, index) > 0 || (may_create && names.empty())) return {};
  if (names.empty()) {
    return fail(Errc::not_found, concat("there is no store in '", storage.description(),
                                        "': it has neither a manifest nor any partition"));
  }
  return fail(may_create ? Errc::invalid_argument : Errc::not_found,
              concat("there is no archive in '", storage.description(),
                     "': it has no manifest and no partition '", index,
                     "'; its directories are: ", partition_list(storage),
                     "; name the partitions with --partition index=NAME --partition values=NAME"));
}

}  // namespace

Result<OpenedArchive> open_archive(const StoreArguments& arguments, Access access) {
  OpenedArchive opened;
  TRY_INTO(opened.storage, open_storage(arguments.path, access));
  // A store has its manifest from the start, so this can be asked before the lock is taken.
  TRY_INTO(const auto names, opened.storage->partitions());
  if (std::ranges::count(names, kManifestPartition) == 0)
    TRY(check_is_archive(*opened.storage, arguments, access));
  TRY_INTO(opened.archive,
           PrunableArchive::open(*opened.storage, archive_options(arguments, access)));
  return opened;
}

}  // namespace firn::command
