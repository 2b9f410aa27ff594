// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/store_access.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include <unistd.h>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/io/posix_storage.h"
#include "tools/firn/output.h"
#include "tools/firn/progress.h"

namespace firn::command {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWarningsMax = 20;

// Without links and dots, also of what does not exist yet.
fs::path plain_path(const std::string& path) {
  std::error_code failed;
  const fs::path plain = fs::weakly_canonical(fs::absolute(path, failed), failed);
  return failed ? fs::path(path) : plain.has_filename() ? plain : plain.parent_path();
}

}  // namespace

Status check_outside_store(const std::string& store, const std::string& path,
                           std::string_view role) {
  const fs::path plain_store = plain_path(store);
  const fs::path plain = plain_path(path);
  const auto [rest_of_store, rest] = std::ranges::mismatch(plain_store, plain);
  if (rest_of_store != plain_store.end()) return {};
  return fail(
      Errc::invalid_argument,
      concat("'", path, "' cannot be ", role, ": it ", rest == plain.end() ? "is" : "lies in",
             " the store '", store, "', whose files nothing else may touch. Nothing was changed"));
}

uint64_t bytes_on_disk(const std::string& store) {
  uint64_t bytes = 0;
  std::error_code failed;
  for (fs::recursive_directory_iterator entry(store, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::error_code unknown;
    const uint64_t size = entry->is_regular_file(unknown) ? entry->file_size(unknown) : 0;
    if (!unknown) bytes += size;
  }
  return bytes;
}

uint64_t key_bytes_on_disk(const StoreArguments& arguments) {
  return bytes_on_disk(arguments.path + "/" +
                       arguments.index_partition.value_or(kDefaultIndexPartition));
}

std::vector<std::string> strays_of(const std::string& store) {
  std::vector<std::string> strays;
  std::error_code failed;
  for (fs::directory_iterator entry(store, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::string name = entry->path().filename().string();
    std::error_code unknown;
    const bool is_partition = entry->symlink_status(unknown).type() == fs::file_type::directory &&
                              is_partition_name(name);
    if (!is_partition && name != "LOCK" && name != "new.tmp") {
      // A name may hold anything, and goes to somebody's terminal.
      std::ranges::replace_if(name, [](char c) { return c >= 0 && (c < ' ' || c > '~'); }, '?');
      strays.push_back(std::move(name));
    }
  }
  std::ranges::sort(strays);
  return strays;
}

Result<std::unique_ptr<Storage>> open_storage(const std::string& path, Access access) {
  return open_posix_storage(
      path, {.create = access == Access::create, .read_only = access == Access::read});
}

NewStoreGuard::NewStoreGuard(std::string path, Access access)
    : path_(std::move(path)),
      is_new_(access == Access::create && ::access(path_.c_str(), F_OK) != 0) {}

NewStoreGuard::~NewStoreGuard() {
  if (is_new_) (void)::rmdir(path_.c_str());  // fails, as it should, if anything is in it
}

Status check_is_store(Storage& storage, Access access, std::string_view kind,
                      const std::string& partition, std::string_view advice) {
  // A store has its manifest from the start, so this can be asked before the lock is taken.
  TRY_INTO(const auto names, storage.partitions());
  const bool may_create = access == Access::create;
  if (std::ranges::count(names, kManifestPartition) > 0 ||
      std::ranges::count(names, partition) > 0 || (may_create && names.empty()))
    return {};
  if (names.empty()) {
    return fail(Errc::not_found, concat("there is no store in '", storage.description(),
                                        "': it has neither a manifest nor any partition"));
  }
  std::string list;
  for (const std::string& name : names)
    list += concat(list.empty() ? "" : ", ", name);
  return fail(may_create ? Errc::invalid_argument : Errc::not_found,
              concat("there is no ", kind, " in '", storage.description(),
                     "': it has no manifest and no partition '", partition,
                     "'; its directories are: ", list, "; name the ", advice));
}

void warn_of_recovery(std::string_view kind, const RecoveryReport& report) {
  std::vector<std::string> lines;
  for (const BlobRange& damage : report.damage)
    lines.push_back(concat("damaged: ", describe(damage)));
  for (const CutRange& cut : report.cuts)
    lines.push_back(concat("cut by recovery: ", describe(cut)));
  for (const std::string& line : std::span(lines).first(std::min(lines.size(), kWarningsMax)))
    warn(kind, line);
  if (lines.size() > kWarningsMax) warn(kind, concat("and ", lines.size() - kWarningsMax, " more"));
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

}  // namespace

Result<OpenedArchive> open_archive(const StoreArguments& arguments, Access access) {
  const NewStoreGuard guard(arguments.path, access);
  OpenedArchive opened;
  TRY_INTO(opened.storage, open_storage(arguments.path, access));
  TRY(check_is_store(*opened.storage, access, "archive",
                     arguments.index_partition.value_or(kDefaultIndexPartition),
                     "partitions with --partition index=NAME --partition values=NAME"));
  {
    const ReadingProgress progress("opening", key_bytes_on_disk(arguments));
    TRY_INTO(opened.archive,
             PrunableArchive::open(*opened.storage, archive_options(arguments, access)));
  }
  if (access != Access::read) warn_of_recovery("archive", opened.archive->recovery());
  return opened;
}

}  // namespace firn::command
