// SPDX-License-Identifier: Apache-2.0
//
// firn metadata put, get, remove, list and cas: a store of kind "metadata", which is a
// MetadataStore with a lock and a manifest. What a verb changes is durable, in both copies, when it
// ends.
//
// A key is text, filled up with zero bytes to the size of the store's keys, or 0x and exactly as
// many bytes in hexadecimal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "firn/base/result.h"
#include "tools/firn/output.h"
#include "tools/firn/store_access.h"

namespace firn::command {

struct MetadataPutRequest {
  StoreArguments store;
  std::string key;
  std::optional<std::string> value;  // this or the file
  std::string file;                  // "-": standard input
};
[[nodiscard]] Status run_metadata_put(const MetadataPutRequest& request, Output& output);

struct MetadataKeyRequest {
  StoreArguments store;
  std::string key;
};
[[nodiscard]] Status run_metadata_get(const MetadataKeyRequest& request, Output& output);
[[nodiscard]] Status run_metadata_remove(const MetadataKeyRequest& request, Output& output);

struct MetadataListRequest {
  StoreArguments store;
  std::string prefix;  // as a key, of any size
};
[[nodiscard]] Status run_metadata_list(const MetadataListRequest& request, Output& output);

struct MetadataCasRequest {
  StoreArguments store;
  std::string key;
  std::vector<std::string> values;  // expected and new; new only with `absent`
  bool absent = false;
};
[[nodiscard]] Status run_metadata_cas(const MetadataCasRequest& request, Output& output);

}  // namespace firn::command
