// SPDX-License-Identifier: Apache-2.0
//
// firn freezer import, put, get, contains, list, stat and rebuild: a permanent store of contents by
// their SHA-256, or by keys that the user gives. What a verb puts is durable when it ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/base/result.h"
#include "tools/firn/item_import.h"
#include "tools/firn/output.h"
#include "tools/firn/store_access.h"

namespace firn::command {

// An item that is there already, under the same key with the same value, is not put again.
struct FreezerImportRequest {
  StoreArguments store;
  ImportSources sources;
};
[[nodiscard]] Status run_freezer_import(const FreezerImportRequest& request, Output& output);

struct FreezerPutRequest {
  StoreArguments store;
  std::string key_hex;               // empty: the SHA-256 of the content
  std::optional<std::string> value;  // this or the file
  std::string file;                  // "-": standard input
};
[[nodiscard]] Status run_freezer_put(const FreezerPutRequest& request, Output& output);

struct FreezerGetRequest {
  StoreArguments store;
  std::string key_hex;
  bool raw = false;
};
[[nodiscard]] Status run_freezer_get(const FreezerGetRequest& request, Output& output);

struct FreezerContainsRequest {
  StoreArguments store;
  std::string key_hex;
};
[[nodiscard]] Status run_freezer_contains(const FreezerContainsRequest& request, Output& output);

struct FreezerListRequest {
  StoreArguments store;
  std::optional<uint64_t> limit;
};
[[nodiscard]] Status run_freezer_list(const FreezerListRequest& request, Output& output);

struct FreezerStatRequest {
  StoreArguments store;
};
[[nodiscard]] Status run_freezer_stat(const FreezerStatRequest& request, Output& output);

struct FreezerRebuildRequest {
  StoreArguments store;
};
[[nodiscard]] Status run_freezer_rebuild(const FreezerRebuildRequest& request, Output& output);

}  // namespace firn::command
