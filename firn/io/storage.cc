// SPDX-License-Identifier: Apache-2.0
#include "firn/io/storage.h"

#include "firn/base/random.h"
#include "firn/base/text.h"

namespace firn {

Result<std::vector<Bytes>> Storage::scan(std::string_view partition) {
  TRY_INTO(PartitionListing listing, list(partition));
  if (listing.others.empty()) return std::move(listing.blobs);
  return fail(Errc::corrupt,
              concat("partition '", partition, "' of ", description(), " contains '",
                     listing.others.front(),
                     "', which is not a blob: expected a regular file with an even number of "
                     "lower-case hexadecimal digits as its name; move it away"));
}

Status Storage::read_many(std::span<const ReadRequest> requests) {
  for (const ReadRequest& request : requests)
    TRY(request.blob->read_at(request.offset, request.out));
  return {};
}

Status Storage::sync_many(std::span<Blob* const> blobs) {
  Status first_failure;
  for (Blob* blob : blobs) {
    Status synced = blob->sync();
    if (!synced && first_failure) first_failure = std::move(synced);
  }
  return first_failure;
}

uint64_t Storage::random_seed() {
  return random_seed_from_os();
}

}  // namespace firn
