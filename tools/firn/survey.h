// SPDX-License-Identifier: Apache-2.0
//
// What an archive holds and how it was made: for stat and info.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "firn/archive/prunable_archive.h"
#include "firn/base/result.h"

namespace firn::command {

struct ArchiveSurvey {
  uint64_t items = 0;
  uint64_t indices = 0;  // fewer than items where several share one
  std::optional<uint64_t> first_index;
  std::optional<uint64_t> last_index;
  uint64_t oldest_allowed = 0;
  uint64_t sections = 0;
  uint64_t index_bytes = 0;
  uint64_t value_bytes = 0;         // that items refer to
  uint64_t unreferenced_bytes = 0;  // of values that no item refers to, after a crash
  uint64_t key_size_bytes = 0;
  uint64_t items_per_section = 0;
  std::vector<std::pair<std::string, std::string>> recorded;  // geometry, from the manifest
  bool has_manifest = false;
  bool was_clean = false;
};

[[nodiscard]] Result<ArchiveSurvey> survey_archive(const PrunableArchive& archive);

[[nodiscard]] nlohmann::ordered_json describe_json(const ArchiveSurvey& survey);
[[nodiscard]] std::string describe_text(const ArchiveSurvey& survey);

}  // namespace firn::command
