// SPDX-License-Identifier: Apache-2.0
#include "firn/io/storage.h"

namespace firn {

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

}  // namespace firn
