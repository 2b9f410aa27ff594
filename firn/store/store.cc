// SPDX-License-Identifier: Apache-2.0
#include "firn/store/store.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/store/manifest_format.h"

namespace firn {
namespace {

// How often a reader looks again at what writers were quicker to recover, and how often its
// structures are opened again.
constexpr int kRecoveriesMax = 100;
constexpr int kReopensMax = 8;

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
  if (options.read_only) {
    TRY(store->open_for_reading(options));
  } else {
    TRY_INTO(store->lock_, storage.lock(LockMode::exclusive));
    if (options.strict) TRY(store->check_strictly());
    TRY_INTO(store->manifest_, Manifest::open(storage, false, store->recovery_));
  }
  if (!store->manifest_) TRY(store->open_without_manifest(options));
  if (!store->manifest_) return store;
  TRY(check_identity(*store->manifest_, options));
  store->recovery_.report().was_clean = store->manifest_->was_clean();
  if (store->manifest_->was_clean()) TRY(store->settle());
  return store;
}

// Without a manifest nobody knows what a writer is at work on.
Status Store::open_for_reading(const StoreOptions& options) {
  TRY_INTO(lock_, storage_.lock(LockMode::follower));
  TRY_INTO(manifest_, Manifest::open(storage_, true, recovery_));
  if (!manifest_) {
    TRY_INTO(const auto partitions, storage_.partitions());
    if (std::ranges::none_of(partitions, store::is_data_partition)) return no_store();
    TRY(exclude_writers());
    TRY_INTO(manifest_, Manifest::open(storage_, true, recovery_));
    if (!manifest_) return {};
    no_writers_.reset();
  }
  TRY_INTO(const auto writer, find_settled_writer());
  opened_version_ = manifest_->version();
  if (writer) manifest_->pin();
  if (!writer) return options.strict ? check_strictly() : Status();
  // The copy that a writer is inside of is not damaged.
  std::erase_if(recovery_.report().damage,
                [](const BlobRange& range) { return range.partition == kManifestPartition; });
  return {};
}

// Until a writer has recovered, floors may be lower than what was durable: a power cut takes the
// newest ones, and a cut lowers one for a moment, with a new generation. So the floors count if a
// writer that has recovered was there after they were read, and the generation still is the same.
Result<std::optional<StorageWriter>> Store::find_settled_writer() {
  for (int attempt = 0; attempt < kRecoveriesMax; ++attempt) {
    const uint64_t generation = manifest_->generation();
    TRY_INTO(auto writer, storage_.find_writer());
    if (!writer || generation == settled_generation_) return writer;
    if (!manifest_->is_clean_now()) {
      TRY(manifest_->refresh());
      if (manifest_->generation() != generation || manifest_->is_clean_now()) continue;
      if (!writer->is_settled) {
        return fail(Errc::locked, concat("store '", storage_.description(),
                                         "' is being recovered in ", writer->name, ": try again"));
      }
    }
    settled_generation_ = generation;
    return writer;
  }
  return fail(Errc::locked, concat("store '", storage_.description(),
                                   "' was recovered again and again meanwhile: try again"));
}

Result<Store::View> Store::judge_view(const Status& opened, int attempt) const {
  if (!read_only() || !manifest_ || (manifest_->pinned() && opened)) return View::current;
  auto version = manifest_->version_on_disk();
  if (!version && !opened) return View::current;  // what failed first is told
  if (!version) return pass_on(version);
  TRY_INTO(const auto writer, storage_.find_writer());
  if (*version == manifest_->version() && (manifest_->pinned() || !writer)) return View::current;
  if (attempt < kReopensMax) return View::outdated;
  return fail(Errc::locked,
              concat("a writer changed ", storage_.description(),
                     " while it was opened for reading, ", attempt, " times: try again"));
}

Status Store::refresh() {
  if (!read_only())
    return fail(Errc::invalid_argument, "the store is open for writing: only readers follow");
  if (!manifest_) return {};
  TRY(manifest_->refresh());
  TRY(find_settled_writer());
  return {};
}

Status Store::settle() {
  if (read_only()) return {};
  // What was cut cannot be found out a second time.
  const RecoveryReport& report = recovery_.report();
  if (manifest_ && !report.cuts.empty()) TRY(manifest_->record_recovery(report));
  return lock_->settle();
}

Status Store::exclude_writers() {
  if (no_writers_) return {};
  TRY_INTO(no_writers_, storage_.lock(LockMode::shared));
  if (!manifest_) return {};
  TRY_INTO(const uint64_t version, manifest_->version_on_disk());
  if (version == opened_version_) return {};
  return fail(Errc::locked,
              concat("a writer has just changed ", storage_.description(), ": try again"));
}

Result<std::unique_ptr<StorageLock>> Store::keep_writers_out() {
  auto lock = storage_.lock(LockMode::shared);
  if (!lock && lock.error().code != Errc::locked) return lock;
  if (lock && manifest_) {
    TRY_INTO(const uint64_t version, manifest_->version_on_disk());
    if (version == opened_version_) return lock;
  }
  return lock && !manifest_ ? std::move(lock) : std::unique_ptr<StorageLock>();
}

Result<std::unique_ptr<StorageLock>> Store::exclude_followers() {
  if (!manifest_) return std::unique_ptr<StorageLock>();
  return manifest_->exclude_followers();
}

Status Store::check_strictly() const {
  RecoveryLog look_only(storage_, true);
  TRY(Manifest::open(storage_, true, look_only));
  return refuse_damage_and_cuts(look_only.report());
}

std::unexpected<Error> Store::no_store() const {
  return fail(Errc::not_found, concat("there is no store in ", storage_.description()));
}

// Nothing here yet, or files of the original.
Status Store::open_without_manifest(const StoreOptions& options) {
  TRY_INTO(const auto partitions, storage_.partitions());
  if (std::ranges::any_of(partitions, store::is_data_partition)) {
    if (!options.read_only) TRY(check_is_said(options, storage_));
    recovery_.note(
        "the store has no manifest: its geometry cannot be checked, and a torn tail "
        "cannot be told from damage");
    return {};
  }
  if (options.read_only || !options.create) return no_store();
  TRY_INTO(manifest_, Manifest::create(storage_, options.identity, recovery_));
  return {};
}

Floors* Store::floors(StoreRole role) {
  return manifest_ ? &manifest_->floors(role) : nullptr;
}

Status Store::close() {
  TRY(owner_.check());
  if (manifest_ && !read_only()) TRY(manifest_->set_last_recovery(recovery_.report()));
  if (manifest_) TRY(manifest_->close());
  lock_.reset();
  no_writers_.reset();
  return {};
}

}  // namespace firn
