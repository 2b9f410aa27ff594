// SPDX-License-Identifier: Apache-2.0
#include "firn/store/manifest.h"

#include <algorithm>

#include "firn/base/text.h"
#include "firn/store/floor_hints.h"
#include "firn/store/manifest_format.h"
#include "firn/store/role_floors.h"

namespace firn {

using store::decode_number;
using store::encode_key;
using store::encode_number;
using store::ManifestTag;
using store::own_version;

namespace {

constexpr size_t kGeometryNameMaxBytes = 255;
constexpr std::string_view kAdvice =
    ": restore the partition 'manifest' from a backup, or put what can be read into a new store "
    "with `firn salvage SRC DST`";

MetadataStoreOptions metadata_options(bool read_only) {
  MetadataStoreOptions options;
  options.partition = kManifestPartition;
  options.key_size_bytes = store::kManifestKeySizeBytes;
  options.read_only = read_only;
  return options;
}

// The first partition that belongs to a structure.
Result<std::optional<std::string>> find_data_partition(Storage& storage) {
  TRY_INTO(const auto partitions, storage.partitions());
  for (const std::string& partition : partitions)
    if (store::is_data_partition(partition)) return std::optional(partition);
  return std::optional<std::string>();
}

// The original has no partition of this name; firn fills it before it makes any other.
Status check_never_there(Storage& storage) {
  TRY_INTO(const auto partitions, storage.partitions());
  if (std::ranges::count(partitions, kManifestPartition) == 0) return {};
  TRY_INTO(const auto data_partition, find_data_partition(storage));
  if (!data_partition) return {};
  TRY_INTO(const auto names, storage.scan(kManifestPartition));
  if (!names.empty()) return {};  // a store that is just being made
  return fail(Errc::corrupt, concat("the files of the manifest in ", storage.description(),
                                    " are missing, although there is a partition '",
                                    *data_partition, "'", kAdvice));
}

// A writer uses the places of hints again once a commit has what they said. So hints, and then the
// newest commit, give the floors of one moment, however quick writers are: the commit is either
// that before the hints, or has them all.
Result<std::unique_ptr<FloorHints>> read_hints(Storage& storage, MetadataStore& metadata,
                                               RecoveryLog& recovery) {
  TRY_INTO(auto hints, FloorHints::open(storage, true, recovery));
  TRY(metadata.refresh());
  return hints;
}

std::string to_text(const std::variant<uint64_t, std::string>& value) {
  if (const auto* number = std::get_if<uint64_t>(&value)) return concat(*number);
  return std::get<std::string>(value);
}

StoreId random_id(Storage& storage) {
  StoreId id;
  store_big_endian<uint64_t>(id.data(), storage.random_seed());
  store_big_endian<uint64_t>(id.data() + 8, storage.random_seed());
  return id;
}

Status check_identity(const ManifestIdentity& identity) {
  if (identity.kind.empty()) return fail(Errc::invalid_argument, "a store needs a kind");
  for (const GeometryField& field : identity.geometry)
    if (field.name.empty() || field.name.size() > kGeometryNameMaxBytes)
      return fail(Errc::invalid_argument,
                  concat("geometry field '", field.name, "': names have 1 to 255 bytes"));
  return {};
}

}  // namespace

std::string_view store_role_name(StoreRole role) {
  switch (role) {
    case StoreRole::journal: return "journal";
    case StoreRole::index: return "index";
    case StoreRole::values: return "values";
    case StoreRole::table: return "table";
    case StoreRole::metadata: return "metadata";
    case StoreRole::ordinal: return "ordinal";
  }
  return "unknown role";
}

Manifest::Manifest(Storage& storage, std::unique_ptr<MetadataStore> metadata,
                   std::unique_ptr<FloorHints> hints, bool read_only)
    : storage_(storage),
      read_only_(read_only),
      metadata_(std::move(metadata)),
      hints_(std::move(hints)) {}

Manifest::~Manifest() = default;

Result<std::unique_ptr<Manifest>> Manifest::create(Storage& storage,
                                                   const ManifestIdentity& identity,
                                                   RecoveryLog& recovery) {
  TRY(check_identity(identity));
  TRY_INTO(const auto data_partition, find_data_partition(storage));
  if (data_partition)
    return fail(Errc::invalid_argument,
                concat("cannot make a store in ", storage.description(), ": it has a partition '",
                       *data_partition, "' already"));
  TRY_INTO(auto metadata, MetadataStore::open(storage, metadata_options(false), recovery));
  if (metadata->version() != 0)
    return fail(Errc::invalid_argument,
                concat("cannot make a store in ", storage.description(), ": it has one already"));
  TRY_INTO(auto hints, FloorHints::open(storage, false, recovery));
  std::unique_ptr<Manifest> manifest(
      new Manifest(storage, std::move(metadata), std::move(hints), false));
  MutexLock lock(manifest->mutex_);
  TRY(manifest->put_identity(identity));
  TRY(manifest->metadata_->sync_both());
  TRY(manifest->hints_->make_ready_for_writing());
  TRY(manifest->load());
  manifest->was_clean_ = true;
  manifest->writing_ = true;
  return manifest;
}

Result<std::unique_ptr<Manifest>> Manifest::open(Storage& storage, bool read_only,
                                                 RecoveryLog& recovery) {
  TRY_INTO(const auto names, storage.scan(kManifestPartition));
  if (names.empty()) {
    TRY(check_never_there(storage));
    return std::unique_ptr<Manifest>();
  }
  // Looked at before it is opened for writing, so that nothing is written to a damaged one.
  RecoveryLog look_only(storage, true);
  auto opened =
      MetadataStore::open(storage, metadata_options(true), read_only ? recovery : look_only);
  if (!opened && opened.error().code == Errc::not_found)
    return fail(Errc::corrupt, concat("both copies of the manifest in ", storage.description(),
                                      " are missing, but other files of it are there", kAdvice));
  TRY_INTO(auto metadata, std::move(opened));
  // That may have shown, out of the page cache, a commit whose sync had failed: it is gone here.
  if (!read_only && metadata->version() > 0) {
    TRY_INTO(metadata, MetadataStore::open(storage, metadata_options(false), recovery));
  }
  if (metadata->version() == 0) {
    TRY_INTO(const auto data_partition, find_data_partition(storage));
    if (!data_partition) return std::unique_ptr<Manifest>();
    if (read_only) TRY(metadata->refresh());  // a store that is just being made
  }
  if (metadata->version() == 0) {
    TRY_INTO(const auto data_partition, find_data_partition(storage));
    return fail(Errc::corrupt,
                concat("the manifest of ", storage.description(), " is empty, although there is a ",
                       "partition '", data_partition.value_or(""), "'", kAdvice));
  }
  TRY_INTO(auto hints, read_only ? read_hints(storage, *metadata, recovery)
                                 : FloorHints::open(storage, false, recovery));
  std::unique_ptr<Manifest> manifest(
      new Manifest(storage, std::move(metadata), std::move(hints), read_only));
  MutexLock lock(manifest->mutex_);
  TRY(manifest->load());
  // With one good copy the next rot would cost the store. Writing begins anyway at the first
  // change.
  if (!read_only && manifest->metadata_->opened_from_one_copy())
    TRY(manifest->poison_.watch(manifest->begin_writing_locked()));
  return manifest;
}

Status Manifest::put_identity(const ManifestIdentity& identity) {
  const auto put = [&metadata = *metadata_](store::ManifestKey key, ByteSpan value) {
    return metadata.put(encode_key(key), value);
  };
  TRY(put({ManifestTag::format}, encode_number(store::kManifestFormat)));
  TRY(put({ManifestTag::kind}, as_bytes(identity.kind)));
  TRY(put({ManifestTag::id}, identity.id.value_or(random_id(storage_))));
  TRY(put({ManifestTag::writer_version}, as_bytes(own_version())));
  TRY(put({ManifestTag::clean}, encode_number(0)));
  TRY(put({ManifestTag::generation}, encode_number(1)));
  for (uint64_t ordinal = 0; ordinal < identity.geometry.size(); ++ordinal)
    TRY(put({ManifestTag::geometry, 0, ordinal},
            store::encode_geometry(identity.geometry[ordinal])));
  for (const auto& [role, name] : identity.partitions)
    TRY(put({ManifestTag::partition, static_cast<uint32_t>(role)}, as_bytes(name)));
  return {};
}

Status Manifest::load() {
  if (const auto writer = metadata_->get(encode_key({ManifestTag::writer_version})))
    writer_version_ = as_text(*writer);
  const auto format = metadata_->get(encode_key({ManifestTag::format}));
  const auto format_number = format ? decode_number(*format) : std::nullopt;
  if (!format_number)
    return fail(Errc::corrupt, concat("the manifest records no format number", kAdvice));
  if (*format_number != store::kManifestFormat)
    return fail(
        Errc::unsupported_version,
        concat("the manifest has format ", *format_number, ", written by ", writer_version_,
               "; this is ", own_version(), ", which reads format ", store::kManifestFormat));
  for (const ManifestTag required :
       {ManifestTag::kind, ManifestTag::id, ManifestTag::clean, ManifestTag::generation})
    if (!metadata_->get(encode_key({required})))
      return fail(Errc::corrupt,
                  concat("the manifest lacks field ", static_cast<uint32_t>(required), kAdvice));
  Status outcome;
  metadata_->for_each([&](ByteSpan key, ByteSpan value) NO_THREAD_SAFETY_ANALYSIS {
    if (outcome) outcome = load_field(key, value);
  });
  TRY(outcome);
  if (metadata_->opened_from_one_copy()) was_clean_ = false;
  is_clean_now_ = was_clean_;
  load_hints();
  return {};
}

Status Manifest::load_field(ByteSpan key, ByteSpan value) {
  const store::ManifestKey field = store::decode_key(key);
  const auto role = static_cast<StoreRole>(field.role);
  const auto number = decode_number(value);
  bool is_valid = true;
  switch (field.tag) {
    case ManifestTag::kind: kind_ = as_text(value); break;
    case ManifestTag::id:
      is_valid = value.size() == id_.size();
      if (is_valid) copy_bytes(id_, value);
      break;
    case ManifestTag::clean:
      is_valid = number.has_value() && *number <= 1;
      was_clean_ = number == 1;
      break;
    case ManifestTag::generation:
      is_valid = number.has_value() && *number <= store::kGenerationMax;
      generation_ = number.value_or(0);
      break;
    case ManifestTag::geometry: return load_geometry(value);
    case ManifestTag::partition: partitions_[role] = as_text(value); break;
    case ManifestTag::boundary:
      is_valid = number.has_value();
      boundaries_[role] = Section(number.value_or(0));
      break;
    case ManifestTag::floor:
      is_valid = number.has_value() && *number > 0;
      floors_[{role, Section(field.section)}] = number.value_or(0);
      break;
    default: break;  // texts, records, and what a later version added
  }
  if (is_valid) return {};
  return fail(Errc::corrupt, concat("manifest field ", static_cast<uint32_t>(field.tag), " (key ",
                                    to_hex(key), ") has an impossible value of ", value.size(),
                                    " bytes, ", to_hex(value), kAdvice));
}

Status Manifest::load_geometry(ByteSpan value) {
  auto field = store::decode_geometry(value);
  if (!field)
    return fail(Errc::corrupt, concat("manifest geometry is malformed, ", to_hex(value), kAdvice));
  geometry_.push_back(std::move(*field));
  return {};
}

void Manifest::load_hints() {
  for (const FloorHint& hint : hints_->found()) {
    const auto boundary = boundaries_.find(hint.role);
    if (hint.generation != generation_ || hint.size == 0) continue;
    if (boundary != boundaries_.end() && hint.section < boundary->second) continue;
    uint64_t& floor = floors_[{hint.role, hint.section}];
    if (hint.size <= floor) continue;
    floor = hint.size;
    raised_.insert({hint.role, hint.section});
  }
}

std::optional<std::string> Manifest::partition(StoreRole role) const {
  const auto found = partitions_.find(role);
  if (found == partitions_.end()) return std::nullopt;
  return found->second;
}

Status Manifest::require_field(std::string_view name,
                               const std::variant<uint64_t, std::string>& value) const {
  const auto found = std::ranges::find(geometry_, name, &GeometryField::name);
  if (found == geometry_.end())
    return fail(Errc::invalid_argument,
                concat("the store does not record ", name, "; ", to_text(value), " was given"));
  if (found->value == value) return {};
  return fail(Errc::invalid_argument,
              concat("the store was made with ", name, " = ", to_text(found->value), "; ",
                     to_text(value), " was given: open it with the recorded value"));
}

std::optional<uint64_t> Manifest::number(std::string_view name) const {
  const auto found = std::ranges::find(geometry_, name, &GeometryField::name);
  if (found == geometry_.end()) return std::nullopt;
  const auto* value = std::get_if<uint64_t>(&found->value);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::string> Manifest::text(std::string_view name) const {
  const auto found = std::ranges::find(geometry_, name, &GeometryField::name);
  if (found == geometry_.end()) return std::nullopt;
  const auto* value = std::get_if<std::string>(&found->value);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

Status Manifest::require(std::string_view name, uint64_t value) const {
  return require_field(name, value);
}

Status Manifest::require(std::string_view name, std::string_view value) const {
  return require_field(name, std::string(value));
}

Status Manifest::require_kind(std::string_view kind) const {
  if (kind_ == kind) return {};
  return fail(Errc::invalid_argument,
              concat("the store is of kind ", kind_, "; ", kind, " was expected"));
}

Status Manifest::require_partition(StoreRole role, std::string_view name) const {
  const auto recorded = partition(role);
  if (recorded == name) return {};
  return fail(Errc::invalid_argument,
              concat("the store keeps its ", store_role_name(role), " in partition '",
                     recorded.value_or("(none)"), "'; '", name, "' was given"));
}

}  // namespace firn
