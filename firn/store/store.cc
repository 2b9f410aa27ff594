// SPDX-License-Identifier: Apache-2.0
#include "firn/store/store.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn {
namespace {

// The last one is the file that backends on disk lock, next to the partitions.
constexpr std::string_view kOwnNames[] = {kManifestPartition, kLostFoundPartition, "LOCK"};

Status check_partitions(const ManifestIdentity& identity) {
  std::map<std::string, StoreRole> taken;
  for (const auto& [role, name] : identity.partitions) {
    TRY(check_partition_name(name));
    if (std::ranges::find(kOwnNames, name) != std::end(kOwnNames)) {
      return fail(Errc::invalid_argument,
                  concat("partition ", name, " is firn's own: choose another name"));
    }
    const auto [other, is_free] = taken.emplace(name, role);
    if (!is_free) {
      return fail(Errc::invalid_argument,
                  concat(store_role_name(other->second), " and ", store_role_name(role),
                         " cannot share partition ", name));
    }
  }
  return {};
}

Status check_identity(const Manifest& manifest, const StoreOptions& options) {
  TRY(manifest.require_kind(options.identity.kind));
  for (const GeometryField& field : options.required_geometry) {
    if (const auto* number = std::get_if<uint64_t>(&field.value))
      TRY(manifest.require(field.name, *number));
    else
      TRY(manifest.require(field.name, std::get<std::string>(field.value)));
  }
  for (const auto& [role, name] : options.required_partitions)
    TRY(manifest.require_partition(role, name));
  return {};
}

Status check_is_said(const StoreOptions& options, const Storage& storage) {
  std::string unsaid;
  for (const std::string_view name : options.needed_without_manifest) {
    const bool is_said =
        std::ranges::count(options.required_geometry, name, &GeometryField::name) > 0;
    if (!is_said) unsaid += concat(unsaid.empty() ? "" : ", ", name);
  }
  if (unsaid.empty()) return {};
  return fail(
      Errc::invalid_argument,
      concat("the store in ", storage.description(),
             " has no manifest, and nothing is guessed for writing. If firn made it, restore "
             "the partition 'manifest' from a backup, or put what can be read into a new "
             "store with `firn salvage SRC DST`. If it is one of the original, give what it "
             "was made with: ",
             unsaid, ". Nothing was changed"));
}

}  // namespace

Store::Store(Storage& storage, bool read_only) : storage_(storage), recovery_(storage, read_only) {}

Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(Storage& storage, const StoreOptions& options) {
  TRY(check_partitions(options.identity));
  std::unique_ptr<Store> store(new Store(storage, options.read_only));
  TRY_INTO(store->lock_, storage.lock(options.read_only ? LockMode::shared : LockMode::exclusive));
  if (options.strict) TRY(store->check_strictly());
  TRY_INTO(store->manifest_, Manifest::open(storage, options.read_only, store->recovery_));
  if (!store->manifest_) TRY(store->open_without_manifest(options));
  if (!store->manifest_) return store;
  TRY(check_identity(*store->manifest_, options));
  store->recovery_.report().was_clean = store->manifest_->was_clean();
  return store;
}

Status Store::check_strictly() const {
  RecoveryLog look_only(storage_, true);
  TRY(Manifest::open(storage_, true, look_only));
  if (look_only.report().damage.empty()) return {};
  const BlobRange& range = look_only.report().damage.front();
  return fail(Errc::corrupt,
              concat("refused, as `strict` asks: blob ", range.partition, "/", range.blob,
                     " is damaged: ", range.reason, "; nothing was changed"));
}

// Nothing here yet, or files of the original.
Status Store::open_without_manifest(const StoreOptions& options) {
  TRY_INTO(const auto partitions, storage_.partitions());
  for (const std::string& partition : partitions) {
    if (partition == kManifestPartition || partition == kLostFoundPartition) continue;
    if (!options.read_only) TRY(check_is_said(options, storage_));
    recovery_.note(
        "the store has no manifest: its geometry cannot be checked, and a torn tail "
        "cannot be told from damage");
    return {};
  }
  if (options.read_only || !options.create)
    return fail(Errc::not_found, concat("there is no store in ", storage_.description()));
  TRY_INTO(manifest_, Manifest::create(storage_, options.identity, recovery_));
  return {};
}

Floors* Store::floors(StoreRole role) {
  return manifest_ ? &manifest_->floors(role) : nullptr;
}

Status Store::close() {
  if (manifest_ && !read_only()) TRY(manifest_->set_last_recovery(recovery_.report()));
  if (manifest_) TRY(manifest_->close());
  lock_.reset();
  return {};
}

}  // namespace firn
