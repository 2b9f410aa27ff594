// SPDX-License-Identifier: Apache-2.0
//
// firn archive stat, gaps and prune: what there is, what is missing, and dropping the oldest.
#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/human.h"
#include "tools/firn/progress.h"
#include "tools/firn/survey.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

// Each prune is durable, whatever happens to the next one. So many sections take no half second.
constexpr uint64_t kSectionsPruned = 64;

// The absent indices between two present ones, and those before the first that may still exist.
std::vector<IndexRange> missing_ranges(const PrunableArchive& archive, uint64_t max) {
  std::vector<IndexRange> missing;
  uint64_t next = archive.oldest_allowed();
  while (missing.size() < max) {
    IndexGap gap = archive.next_gap(next);
    if (gap.current_end == UINT64_MAX) break;
    if (gap.current_end) next = *gap.current_end + 1;
    if (!gap.next_start) break;
    missing.push_back({next, *gap.next_start - 1});
    next = *gap.next_start;
  }
  return missing;
}

// What is missing in a damaged section cannot be told, so it is left out.
Status check_undamaged(const PrunableArchive& archive) {
  const auto damaged = archive.damaged_sections();
  if (damaged.empty()) return {};
  return fail(Errc::corrupt,
              concat(counted(damaged.size(), "damaged section"), ", the first is ", damaged.front(),
                     ": what is missing there is not counted; 'firn verify' tells more"));
}

}  // namespace

Status run_stat(const StatRequest& request, Output& output) {
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::read));
  const PrunableArchive& archive = *opened.archive;
  TRY_INTO(const ArchiveSurvey survey, survey_archive(archive));
  uint64_t missing = 0;
  const auto gaps = missing_ranges(archive, UINT64_MAX);
  for (const IndexRange& gap : gaps)
    missing += gap.end - gap.start + 1;

  ordered_json object = describe_json(survey);
  object["damaged_sections"] = archive.damaged_sections().size();
  object["missing"] = missing;
  object["gaps"] = gaps.size();
  std::string text = describe_text(survey);
  text += fmt::format("missing      {} in {}\n", human_count(missing, "index", "indices"),
                      human_count(gaps.size(), "gap", "gaps"));
  return output.result(std::move(object), text, check_undamaged(archive));
}

Status run_gaps(const GapsRequest& request, Output& output) {
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::read));
  for (const IndexRange& gap :
       missing_ranges(*opened.archive, request.limit.value_or(UINT64_MAX))) {
    const uint64_t count = gap.end - gap.start + 1;
    if (output.json())
      TRY(output.object({{"start", gap.start}, {"end", gap.end}, {"count", count}}));
    else
      TRY(output.line(fmt::format("{}\t{}\t{}", gap.start, gap.end, count)));
  }
  TRY(output.flush());
  return check_undamaged(*opened.archive);
}

Status run_prune(const PruneRequest& request, Output& output) {
  const uint64_t before = request.before.value_or(0);
  const Access access = request.dry_run ? Access::read : Access::write;
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, access));
  PrunableArchive& archive = *opened.archive;
  const uint64_t boundary = before - before % archive.items_per_section();
  std::vector<Section> doomed = archive.log().sections();
  doomed.erase(std::ranges::lower_bound(doomed, Section(boundary)), doomed.end());
  uint64_t sections = 0;
  uint64_t items = 0;
  uint64_t bytes = 0;
  Progress progress("pruning", doomed.size(), "sections");
  for (const Section section : doomed) {
    if (sections > 0 && sections % kSectionsPruned == 0 && !request.dry_run)
      TRY(archive.prune(section.value));
    // A damaged section goes, too, whatever can be told of it.
    const uint64_t entries = archive.log().entry_count(section).value_or(0);
    const uint64_t index_bytes = archive.log().size(section).value_or(0);
    const uint64_t value_bytes = archive.log().values().size(section).value_or(0);
    ++sections;
    items += entries;
    bytes += index_bytes + value_bytes;
    progress.add(1);
  }
  if (!request.dry_run) {
    TRY(archive.prune(before));
    TRY(archive.close());
  }
  progress.finish();
  const uint64_t oldest = std::max(boundary, archive.oldest_allowed());
  ordered_json object = {{"sections", sections},
                         {"items", items},
                         {"bytes", bytes},
                         {"oldest_allowed", oldest},
                         {"dry_run", request.dry_run}};
  const std::string text = fmt::format(
      "{} {} with {}, {}; the oldest index that can exist is {}{}\n",
      request.dry_run ? "would prune" : "pruned", human_count(sections, "section", "sections"),
      human_count(items, "item", "items"), human_bytes(static_cast<double>(bytes)), oldest,
      oldest < before ? fmt::format(" (sections of {} are dropped as a whole)",
                                    human_count(archive.items_per_section(), "index", "indices"))
                      : "");
  return output.result(std::move(object), text, {});
}

}  // namespace firn::command
