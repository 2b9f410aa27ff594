// SPDX-License-Identifier: Apache-2.0
//
// The verbs of the command: what each is asked for, and the function that does it. A verb returns
// the error that decides the exit code; main prints it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/result.h"
#include "tools/firn/item_import.h"
#include "tools/firn/output.h"
#include "tools/firn/store_access.h"

namespace firn::command {

// A verb with its request, ready to run.
using Verb = std::function<Status(Output&)>;

struct ImportRequest {
  StoreArguments store;
  ImportSources sources;
};
[[nodiscard]] Status run_import(const ImportRequest& request, Output& output);

struct GetRequest {
  StoreArguments store;
  std::optional<uint64_t> index;  // this or the key
  std::string key_hex;
  bool raw = false;
};
[[nodiscard]] Status run_get(const GetRequest& request, Output& output);

struct ListRequest {
  StoreArguments store;
  std::optional<uint64_t> from;
  std::optional<uint64_t> limit;
  bool reverse = false;
};
[[nodiscard]] Status run_list(const ListRequest& request, Output& output);

struct StatRequest {
  StoreArguments store;
};
[[nodiscard]] Status run_stat(const StatRequest& request, Output& output);

struct GapsRequest {
  StoreArguments store;
  std::optional<uint64_t> limit;
};
[[nodiscard]] Status run_gaps(const GapsRequest& request, Output& output);

struct PruneRequest {
  StoreArguments store;
  std::optional<uint64_t> before;  // required
  bool dry_run = false;
};
[[nodiscard]] Status run_prune(const PruneRequest& request, Output& output);

struct ExportRequest {
  StoreArguments store;
  std::string directory;  // empty with `lines`
  bool lines = false;     // every item and a newline to standard output
};
[[nodiscard]] Status run_export(const ExportRequest& request, Output& output);

struct InfoRequest {
  StoreArguments store;
};
[[nodiscard]] Status run_info(const InfoRequest& request, Output& output);

struct VerifyRequest {
  StoreArguments store;
  bool deep = false;
  bool content = false;  // keys are the SHA-256 of the content; with deep
};
[[nodiscard]] Status run_verify(const VerifyRequest& request, Output& output);

struct VersionRequest {};
[[nodiscard]] Status run_version(const VersionRequest& request, Output& output);

}  // namespace firn::command
