// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/survey.h"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "tools/firn/human.h"

namespace firn::command {
namespace {

std::string field_text(const GeometryField& field) {
  if (const auto* number = std::get_if<uint64_t>(&field.value)) return fmt::format("{}", *number);
  return std::get<std::string>(field.value);
}

}  // namespace

Result<ArchiveSurvey> survey_archive(const PrunableArchive& archive) {
  ArchiveSurvey survey;
  const ArchiveStatistics statistics = archive.statistics();
  survey.items = statistics.records;
  survey.indices = statistics.items_tracked;
  survey.first_index = archive.first_index();
  survey.last_index = archive.last_index();
  survey.oldest_allowed = archive.oldest_allowed();
  survey.key_size_bytes = archive.key_size_bytes();
  survey.items_per_section = archive.items_per_section();
  const IndexedValueLog& log = archive.log();
  for (const Section section : log.sections()) {
    // Of a damaged section the files, or the last entry, may be unreadable: then all count as
    // referred to.
    const auto index_bytes = log.size(section);
    const uint64_t all_value_bytes = log.values().size(section).value_or(0);
    const auto value_bytes = log.value_size(section);
    ++survey.sections;
    survey.index_bytes += index_bytes.value_or(0);
    const uint64_t referred = std::min(value_bytes.value_or(all_value_bytes), all_value_bytes);
    survey.value_bytes += referred;
    survey.unreferenced_bytes += all_value_bytes - referred;
  }
  survey.was_clean = archive.recovery().was_clean;
  if (const Manifest* manifest = archive.manifest(); manifest != nullptr) {
    survey.has_manifest = true;
    survey.was_clean = manifest->was_clean();
    for (const GeometryField& field : manifest->geometry())
      survey.recorded.emplace_back(field.name, field_text(field));
  }
  return survey;
}

nlohmann::ordered_json describe_json(const ArchiveSurvey& survey) {
  nlohmann::ordered_json object = {{"items", survey.items}, {"indices", survey.indices}};
  object["first_index"] = nullptr;
  object["last_index"] = nullptr;
  if (survey.first_index) object["first_index"] = *survey.first_index;
  if (survey.last_index) object["last_index"] = *survey.last_index;
  object["oldest_allowed"] = survey.oldest_allowed;
  object["sections"] = survey.sections;
  object["index_bytes"] = survey.index_bytes;
  object["value_bytes"] = survey.value_bytes;
  object["key_size"] = survey.key_size_bytes;
  object["items_per_section"] = survey.items_per_section;
  object["manifest"] = survey.has_manifest;
  object["clean"] = nullptr;
  if (survey.has_manifest) object["clean"] = survey.was_clean;
  return object;
}

std::string describe_text(const ArchiveSurvey& survey) {
  std::string text = fmt::format("items        {}\n", human_count(survey.items, "item", "items"));
  if (survey.first_index)
    text += fmt::format("indices      {} to {}\n", *survey.first_index, *survey.last_index);
  if (survey.oldest_allowed > 0)
    text += fmt::format("pruned       everything below {}\n", survey.oldest_allowed);
  text += fmt::format("sections     {} of up to {}\n", survey.sections,
                      human_count(survey.items_per_section, "index", "indices"));
  text += fmt::format("bytes        {} of values, {} of index\n",
                      human_bytes(static_cast<double>(survey.value_bytes)),
                      human_bytes(static_cast<double>(survey.index_bytes)));
  text += fmt::format("keys         {} bytes\n", survey.key_size_bytes);
  text += fmt::format("closed       {}\n", !survey.has_manifest ? "unknown (no manifest)"
                                           : survey.was_clean
                                               ? "cleanly"
                                               : "no (a writer is at work, or was stopped)");
  return text;
}

}  // namespace firn::command
