// SPDX-License-Identifier: Apache-2.0
#include "firn/io/file_storage.h"

#include <algorithm>
#include <array>
#include <utility>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/io/file_blob.h"

namespace firn {
namespace {

constexpr std::string_view kRoot;

// File sizes are signed 64-bit numbers below this interface.
StorageLimits clamp(StorageLimits limits) {
  limits.blob_size_max_bytes =
      std::min(limits.blob_size_max_bytes, UINT64_MAX / 2 - kBlobHeaderSizeBytes);
  return limits;
}

Result<uint16_t> read_header(File& file, BlobVersions versions, std::string_view partition,
                             ByteSpan name) {
  std::array<std::byte, kBlobHeaderSizeBytes> header;
  TRY(file.read_at(0, header));
  return check_blob_header(header, versions, partition, name);
}

bool is_lower_case_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Error poisoned(std::string_view what, const Error& first) {
  return {Errc::poisoned, concat(what, " refuses changes after a failure (", first.message,
                                 "); open the store anew to recover")};
}

}  // namespace

FileStorage::FileStorage(FileSystem& file_system, StorageLimits limits)
    : file_system_(file_system), limits_(clamp(limits)) {}

FileStorage::FileStorage(std::unique_ptr<FileSystem> file_system, StorageLimits limits)
    : owned_(std::move(file_system)), file_system_(*owned_), limits_(clamp(limits)) {}

Result<std::unique_ptr<Blob>> FileStorage::open(std::string_view partition, ByteSpan name,
                                                OpenMode mode, BlobVersions versions) {
  TRY(check_partition_name(partition));
  TRY(check_blob_name(partition, name));
  TRY(check_blob_versions(versions));
  const Target target{partition, name, to_hex(name), versions};
  if (mode == OpenMode::read_only || mode == OpenMode::salvage)
    return open_for_reading(target, mode);

  MutexLock lock(changes_);
  if (mode == OpenMode::create_new) return create(target);
  auto file = file_system_.open(partition, target.file_name, FileMode::read_write);
  if (file) return adopt(target, std::move(*file));
  if (file.error().code != Errc::not_found) return pass_on(file);
  if (mode == OpenMode::create) return create(target);
  return fail(Errc::not_found,
              concat(describe_blob(partition, name), " does not exist in ", description()));
}

Result<std::unique_ptr<Blob>> FileStorage::open_for_reading(const Target& target, OpenMode mode) {
  auto file = file_system_.open(target.partition, target.file_name, FileMode::read_only);
  if (!file && file.error().code == Errc::not_found)
    return fail(Errc::not_found, concat(describe_blob(target.partition, target.name),
                                        " does not exist in ", description()));
  if (!file) return pass_on(file);
  TRY_INTO(const uint64_t raw_size, (*file)->size());
  if (raw_size < kBlobHeaderSizeBytes)
    return make_blob(target, nullptr, 0, target.versions.highest, false);
  uint16_t version = target.versions.highest;
  if (mode != OpenMode::salvage) {
    TRY_INTO(version, read_header(**file, target.versions, target.partition, target.name));
  }
  return make_blob(target, std::move(*file), raw_size - kBlobHeaderSizeBytes, version, false);
}

Result<std::unique_ptr<Blob>> FileStorage::create(const Target& target) {
  TRY_INTO(Partition* const state, state_for_change(target.partition));
  if (!state->entry_durable) {
    TRY(file_system_.make_directory(target.partition));
    state->maybe_made = true;
  }
  const auto header = encode_blob_header(target.versions.highest);
  auto file = file_system_.create_file(target.partition, target.file_name, header);
  if (!file && file.error().code == Errc::invalid_argument)
    return fail(Errc::invalid_argument,
                concat(describe_blob(target.partition, target.name), " cannot be created in ",
                       description(), ": ", file.error().message));
  if (!file && file.error().code == Errc::poisoned) state->failure = file.error();
  if (!file) return pass_on(file);
  TRY(sync_partition(target.partition, *state));
  TRY(settle_entry_in_root(*state));
  return make_blob(target, std::move(*file), 0, target.versions.highest, true);
}

Result<std::unique_ptr<Blob>> FileStorage::adopt(const Target& target, std::unique_ptr<File> file) {
  TRY_INTO(Partition* const state, state_for_change(target.partition));
  TRY_INTO(const uint64_t raw_size, file->size());
  if (raw_size < kBlobHeaderSizeBytes) {
    // Torn: it never was a blob. In place the header could tear again, with the length of a whole
    // one; a crash between these two steps leaves no blob, which is as true.
    TRY(file_system_.remove_file(target.partition, target.file_name));
    return create(target);
  }
  TRY_INTO(const uint16_t version,
           read_header(*file, target.versions, target.partition, target.name));
  if (raw_size == kBlobHeaderSizeBytes) {
    Status synced = file->sync();
    if (!synced) {
      state->failure = synced.error();
      return pass_on(synced);
    }
  }
  if (!state->entries_durable) TRY(sync_partition(target.partition, *state));
  TRY(settle_entry_in_root(*state));
  return make_blob(target, std::move(file), raw_size - kBlobHeaderSizeBytes, version, true);
}

std::unique_ptr<Blob> FileStorage::make_blob(const Target& target, std::unique_ptr<File> file,
                                             uint64_t size, uint16_t version, bool writable) {
  return std::make_unique<FileBlob>(
      std::move(file), FileBlob::Description{.blob = describe_blob(target.partition, target.name),
                                             .size = size,
                                             .version = version,
                                             .writable = writable,
                                             .size_max = limits_.blob_size_max_bytes});
}

Result<FileStorage::Partition*> FileStorage::state_for_change(std::string_view partition) {
  auto found = partitions_.find(partition);
  if (found == partitions_.end())
    found = partitions_.emplace(std::string(partition), Partition{}).first;
  if (found->second.failure)
    return std::unexpected(
        poisoned(concat("partition '", partition, "' of ", description()), *found->second.failure));
  return &found->second;
}

Status FileStorage::settle_entry_in_root(Partition& state) {
  if (state.entry_durable) return {};
  if (state.maybe_made || !root_synced_) TRY(sync_root());
  state.entry_durable = true;
  return {};
}

Status FileStorage::sync_partition(std::string_view partition, Partition& state) {
  Status synced = file_system_.sync_directory(partition);
  if (synced)
    state.entries_durable = true;
  else
    state.failure = synced.error();
  return synced;
}

Status FileStorage::sync_root() {
  if (root_failure_)
    return std::unexpected(poisoned(concat("the root of ", description()), *root_failure_));
  Status synced = file_system_.sync_directory(kRoot);
  if (synced)
    root_synced_ = true;
  else
    root_failure_ = synced.error();
  return synced;
}

Status FileStorage::remove(std::string_view partition, std::span<const Bytes> names) {
  TRY(check_partition_name(partition));
  for (const Bytes& name : names)
    TRY(check_blob_name(partition, name));
  if (names.empty()) return {};
  MutexLock lock(changes_);
  TRY_INTO(Partition* const state, state_for_change(partition));
  for (const Bytes& name : names) {
    Status removed = file_system_.remove_file(partition, to_hex(name));
    if (!removed && removed.error().code != Errc::not_found) return removed;
  }
  // Also when nothing was found: an earlier process may have died between unlink and sync.
  Status synced = file_system_.sync_directory(partition);
  if (synced) {
    state->entries_durable = true;
    return {};
  }
  if (synced.error().code == Errc::not_found) return sync_root();  // the partition itself is gone
  state->failure = synced.error();
  return synced;
}

Status FileStorage::remove_partition(std::string_view partition) {
  TRY(check_partition_name(partition));
  MutexLock lock(changes_);
  if (root_failure_)
    return std::unexpected(poisoned(concat("the root of ", description()), *root_failure_));
  auto entries = file_system_.list(partition);
  if (!entries && entries.error().code == Errc::not_found) return sync_root();
  if (!entries) return pass_on(entries);
  for (const DirectoryEntry& entry : *entries)
    if (entry.kind == DirectoryEntry::Kind::directory)
      return fail(Errc::corrupt, concat("partition '", partition, "' of ", description(),
                                        " contains the directory '", entry.name,
                                        "', which firn did not make; move it away first"));
  for (const DirectoryEntry& entry : *entries) {
    Status removed = file_system_.remove_file(partition, entry.name);
    if (!removed && removed.error().code != Errc::not_found) return removed;
  }
  Status removed = file_system_.remove_directory(partition);
  if (!removed && removed.error().code != Errc::not_found) return removed;
  if (const auto known = partitions_.find(partition); known != partitions_.end())
    partitions_.erase(known);
  return sync_root();
}

Result<PartitionListing> FileStorage::list(std::string_view partition) {
  TRY(check_partition_name(partition));
  auto entries = file_system_.list(partition);
  if (!entries && entries.error().code == Errc::not_found) return PartitionListing();
  if (!entries) return pass_on(entries);
  PartitionListing listing;
  listing.blobs.reserve(entries->size());
  for (DirectoryEntry& entry : *entries) {
    std::optional<Bytes> name;
    if (entry.kind == DirectoryEntry::Kind::file && is_lower_case_hex(entry.name))
      name = from_hex(entry.name);
    if (name && !name->empty())
      listing.blobs.push_back(std::move(*name));
    else
      listing.others.push_back(std::move(entry.name));
  }
  std::ranges::sort(listing.blobs);
  return listing;
}

Result<std::vector<std::string>> FileStorage::partitions() {
  TRY_INTO(const std::vector<DirectoryEntry> entries, file_system_.list(kRoot));
  std::vector<std::string> names;
  for (const DirectoryEntry& entry : entries)
    if (entry.kind == DirectoryEntry::Kind::directory && is_partition_name(entry.name))
      names.push_back(entry.name);
  std::ranges::sort(names);
  return names;
}

Result<std::unique_ptr<StorageLock>> FileStorage::lock(LockMode mode) {
  return file_system_.lock(mode);
}

Result<std::optional<StorageWriter>> FileStorage::find_writer() {
  return file_system_.find_writer();
}

}  // namespace firn
