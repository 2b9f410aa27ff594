// SPDX-License-Identifier: Apache-2.0
#include "firn/io/salvage.h"

#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn::io {

Status check_salvage_target(Storage& target) {
  TRY_INTO(const auto names, target.partitions());
  if (names.empty()) return {};
  return fail(Errc::invalid_argument,
              concat("cannot salvage into ", target.description(), ": it has a partition '",
                     names.front(), "' already; name a place that is empty"));
}

Result<SalvagedBlob> open_salvaged(Storage& storage, std::string_view partition, ByteSpan name) {
  auto opened = storage.open(partition, name, OpenMode::read_only);
  if (opened) return SalvagedBlob{std::move(*opened), std::nullopt};
  const Error& error = opened.error();
  if (error.code != Errc::corrupt && error.code != Errc::unsupported_version)
    return pass_on(opened);
  TRY_INTO(auto blob, storage.open(partition, name, OpenMode::salvage));
  return SalvagedBlob{std::move(blob), error.message};
}

Result<std::unique_ptr<Blob>> SalvageView::open(std::string_view partition, ByteSpan name,
                                                OpenMode mode, BlobVersions /*versions*/) {
  CHECK(mode == OpenMode::read_only, "salvage never writes to its source");
  if (hidden_.first == partition && equal_bytes(hidden_.second, name))
    return fail(Errc::not_found, concat(describe_blob(partition, name), " is left out"));
  TRY_INTO(SalvagedBlob opened, open_salvaged(storage_, partition, name));
  if (opened.damage)
    damage_.push_back({std::string(partition), to_hex(name), 0, 0, std::move(*opened.damage)});
  return std::move(opened.blob);
}

Status SalvageView::remove(std::string_view /*partition*/, std::span<const Bytes> /*names*/) {
  return fail(Errc::invalid_argument, "salvage never writes to its source");
}

Status SalvageView::remove_partition(std::string_view /*partition*/) {
  return fail(Errc::invalid_argument, "salvage never writes to its source");
}

Result<PartitionListing> SalvageView::list(std::string_view partition) {
  TRY_INTO(PartitionListing listing, storage_.list(partition));
  for (const std::string& name : listing.others)
    damage_.push_back({std::string(partition), name, 0, 0, "it is no blob"});
  listing.others.clear();
  return listing;
}

}  // namespace firn::io
