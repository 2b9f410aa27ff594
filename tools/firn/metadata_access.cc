// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/metadata_access.h"

#include <array>

#include "firn/base/text.h"

namespace firn::command {
namespace {

// The manifest's record of a store of this kind: there is a commit. Its value is one byte, 1.
constexpr uint32_t kCommitRecord = 1;

StoreOptions store_options(const StoreArguments& arguments, Access access) {
  StoreOptions options;
  options.identity.kind = kMetadataKind;
  options.identity.geometry = {
      {"key_size", uint64_t{arguments.key_size_bytes.value_or(kDefaultKeySizeBytes)}}};
  options.identity.partitions = {{StoreRole::metadata, metadata_partition(arguments, nullptr)}};
  if (arguments.key_size_bytes)
    options.required_geometry = {{"key_size", uint64_t{*arguments.key_size_bytes}}};
  if (arguments.metadata_partition)
    options.required_partitions = {{StoreRole::metadata, *arguments.metadata_partition}};
  options.read_only = access == Access::read;
  options.create = access == Access::create;
  options.needed_without_manifest = {"key_size"};
  return options;
}

Status check_key_size(const StoreArguments& arguments) {
  const uint32_t size = arguments.key_size_bytes.value_or(kDefaultKeySizeBytes);
  if (size > 0 && size <= kMetadataKeySizeMaxBytes) return {};
  return fail(Errc::invalid_argument,
              concat("--key-size ", size, ": 1 to ", kMetadataKeySizeMaxBytes, " expected"));
}

}  // namespace

std::string metadata_partition(const StoreArguments& arguments, const Manifest* manifest) {
  const auto recorded =
      manifest == nullptr ? std::nullopt : manifest->partition(StoreRole::metadata);
  return arguments.metadata_partition.value_or(recorded.value_or(kDefaultMetadataPartition));
}

bool was_closed(const Manifest* manifest) {
  return manifest == nullptr || manifest->was_clean();
}

bool has_commit(const Manifest* manifest) {
  return manifest != nullptr && manifest->record(kCommitRecord).has_value();
}

Result<OpenedMetadata> open_metadata(const StoreArguments& arguments, Access access) {
  TRY(check_key_size(arguments));
  const NewStoreGuard guard(arguments.path, access);
  OpenedMetadata opened;
  TRY_INTO(opened.storage, open_storage(arguments.path, access));
  TRY(check_is_store(*opened.storage, access, kMetadataKind, metadata_partition(arguments, nullptr),
                     "partition with --partition metadata=NAME"));
  TRY_INTO(opened.store, Store::open(*opened.storage, store_options(arguments, access)));
  const Manifest* const manifest = opened.store->manifest();
  opened.partition = metadata_partition(arguments, manifest);
  const uint64_t recorded = manifest == nullptr ? 0 : manifest->number("key_size").value_or(0);
  if (manifest != nullptr && (recorded == 0 || recorded > kMetadataKeySizeMaxBytes))
    return fail(Errc::corrupt, concat("the manifest records an impossible key size: ", recorded));
  opened.key_size_bytes = manifest != nullptr
                              ? static_cast<uint32_t>(recorded)
                              : arguments.key_size_bytes.value_or(kDefaultKeySizeBytes);
  MetadataStoreOptions options;
  options.partition = opened.partition;
  options.key_size_bytes = opened.key_size_bytes;
  options.read_only = access == Access::read;
  options.has_commit = has_commit(manifest);
  options.was_closed = was_closed(manifest);
  TRY_INTO(opened.metadata,
           MetadataStore::open(*opened.storage, options, opened.store->recovery()));
  TRY(opened.store->settle());
  return opened;
}

Status commit_metadata(OpenedMetadata& opened) {
  Manifest* const manifest = opened.store->manifest();
  if (manifest != nullptr) TRY(manifest->begin_writing());
  TRY(opened.metadata->sync_both());
  if (manifest != nullptr && !has_commit(manifest)) {
    constexpr std::array<std::byte, 1> kThereIsOne = {std::byte{1}};
    TRY(manifest->set_record(kCommitRecord, kThereIsOne));
  }
  return opened.store->close();
}

}  // namespace firn::command
