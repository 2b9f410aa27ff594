// SPDX-License-Identifier: Apache-2.0
//
// StoreKind: what the verbs that work on every kind of store, info and verify, need of each. A new
// kind is a row in store_kind.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "tools/firn/progress.h"
#include "tools/firn/verbs.h"

namespace firn::command {

// What an opened store holds.
struct StoreSurvey {
  nlohmann::ordered_json facts;
  std::string text;
  uint64_t live_bytes = 0;
  uint64_t reclaimable_bytes = 0;
  RecoveryReport pending;  // what the next writer will recover
};

// What a look for damage found.
struct Verified {
  RecoveryReport report;
  std::optional<Error> open_failure;
  uint64_t checked_bytes = 0;
  std::optional<uint64_t> compared_values;  // with their keys, if that was asked for
  bool read_everything = false;             // --deep would not read more
  // What mends all of the damage without another copy, as the end of a sentence.
  std::string mending;
};

struct StoreKind {
  std::string_view name;  // as manifests record it
  Result<StoreSurvey> (*survey)(const StoreArguments& arguments);
  Status (*verify)(const VerifyRequest& request, Verified& verified, Progress& progress);
};

// The kind that the manifest records, or, without one, that options and partitions tell; an archive
// if they do not. Null: a kind that this version does not know.
[[nodiscard]] const StoreKind* kind_of_store(Storage& storage, const Manifest* manifest,
                                             const StoreArguments& arguments);

// What a look for damage reads of the journals, for the time that is left.
[[nodiscard]] uint64_t bytes_to_verify(const IndexedValueLog& log, bool deep);

[[nodiscard]] Result<StoreSurvey> survey_archive_store(const StoreArguments& arguments);
[[nodiscard]] Status verify_archive_store(const VerifyRequest& request, Verified& verified,
                                          Progress& progress);
[[nodiscard]] Result<StoreSurvey> survey_freezer_store(const StoreArguments& arguments);
[[nodiscard]] Status verify_freezer_store(const VerifyRequest& request, Verified& verified,
                                          Progress& progress);
[[nodiscard]] Result<StoreSurvey> survey_metadata_store(const StoreArguments& arguments);
[[nodiscard]] Status verify_metadata_store(const VerifyRequest& request, Verified& verified,
                                           Progress& progress);

}  // namespace firn::command
