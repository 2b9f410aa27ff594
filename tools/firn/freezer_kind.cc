// SPDX-License-Identifier: Apache-2.0
//
// What info, stat and verify do with a freezer.
#include <algorithm>

#include <fmt/core.h>

#include "firn/base/text.h"
#include "firn/freezer/damage_advice.h"
#include "firn/freezer/disk_table.h"
#include "firn/freezer/format.h"
#include "tools/firn/content_keys.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/freezer_access.h"
#include "tools/firn/human.h"
#include "tools/firn/store_kind.h"

namespace firn::command {

Result<StoreSurvey> survey_freezer_store(const StoreArguments& arguments) {
  TRY_INTO(const auto opened, open_freezer(arguments, Access::read));
  const Freezer& freezer = *opened.freezer;
  const FreezerStatistics statistics = freezer.statistics();
  TRY_INTO(const FreezerChains chains, freezer.chains());
  uint64_t sections = 0;
  uint64_t key_bytes = 0;
  uint64_t value_bytes = 0;
  for (const Section section : freezer.log().sections()) {
    TRY_INTO(const uint64_t section_key_bytes, freezer::advise(freezer.log().size(section)));
    TRY_INTO(const uint64_t section_value_bytes,
             freezer::advise(freezer.log().values().size(section)));
    ++sections;
    key_bytes += section_key_bytes;
    value_bytes += section_value_bytes;
  }
  const Manifest* const manifest = freezer.manifest();
  StoreSurvey survey;
  survey.facts = {{"items", statistics.items},
                  {"sections", sections},
                  {"key_bytes", key_bytes},
                  {"value_bytes", value_bytes},
                  {"key_size", freezer.key_size_bytes()},
                  {"table_size", statistics.table_size},
                  {"load", statistics.load},
                  {"longest_chain", chains.longest},
                  {"records_per_hit", chains.records_per_hit},
                  {"records_per_miss", chains.records_per_miss},
                  {"manifest", manifest != nullptr},
                  {"clean", nullptr},
                  {"damaged_sections", freezer.damaged_sections().size()}};
  if (manifest != nullptr) survey.facts["clean"] = manifest->was_clean();
  survey.text = fmt::format(
      "items        {}\nsections     {}\nbytes        {} of values, {} of keys\nkeys         {} "
      "bytes\ntable        {}, load {:.2f}\nchains       on disk {:.2f} records to a key, {:.2f} "
      "to its absence, {} at most\n",
      human_count(statistics.items, "item", "items"), sections,
      human_bytes(static_cast<double>(value_bytes)), human_bytes(static_cast<double>(key_bytes)),
      freezer.key_size_bytes(), human_count(statistics.table_size, "position", "positions"),
      statistics.load, chains.records_per_hit, chains.records_per_miss, chains.longest);
  survey.text += fmt::format("closed       {}\n", manifest == nullptr ? "unknown (no manifest)"
                                                  : manifest->was_clean()
                                                      ? "cleanly"
                                                      : "no (a writer is at work, or was stopped)");
  survey.live_bytes = key_bytes + value_bytes;
  survey.pending = freezer.recovery();
  return survey;
}

Status verify_freezer_store(const VerifyRequest& request, Verified& verified, Progress& progress) {
  const auto opened = open_freezer(request.store, Access::read);
  if (!opened) {
    if (exit_code_of(opened.error().code) != ExitCode::corrupt)
      return fail(opened.error().code, opened.error().message);
    verified.open_failure = opened.error();
    return {};
  }
  if (request.content) TRY(require_content_keys(opened->freezer->key_size_bytes()));
  RecoveryLog findings(*opened->storage, true);
  progress.expect(bytes_to_verify(opened->freezer->log(), request.deep) +
                  opened->freezer->statistics().table_size * uint64_t{freezer::kPairSizeBytes});
  const FreezerDepth depth = request.deep ? FreezerDepth::values : FreezerDepth::keys;
  Status checked = opened->freezer->verify(depth, findings, [&](uint64_t bytes) {
    verified.checked_bytes += bytes;
    progress.add(bytes);
  });
  if (!checked) {
    if (exit_code_of(checked.error().code) != ExitCode::corrupt) return checked;
    verified.open_failure = checked.error();
  }
  if (request.content && checked) {
    TRY_INTO(verified.compared_values, check_contents(*opened->freezer, findings));
  }
  verified.report = findings.report();
  // Opening looks at less, and its notes about torn ends are worth telling.
  const RecoveryReport& opening = opened->freezer->recovery();
  verified.report.was_clean = opening.was_clean;
  verified.report.cuts = opening.cuts;
  verified.report.notes.insert(verified.report.notes.end(), opening.notes.begin(),
                               opening.notes.end());
  if (verified.report.damage.empty()) verified.report.damage = opening.damage;
  const Manifest* const manifest = opened->freezer->manifest();
  const auto recorded = manifest == nullptr ? std::nullopt : manifest->partition(StoreRole::table);
  const std::string table = request.store.table_partition.value_or(recorded.value_or("table"));
  const auto is_of_table = [&](const BlobRange& range) { return range.partition == table; };
  if (!verified.open_failure && std::ranges::all_of(verified.report.damage, is_of_table)) {
    // What is no file, no rebuild takes away.
    const auto listing = opened->storage->list(table);
    const bool is_obstructed =
        !listing ||
        std::ranges::count(listing->others, to_hex(freezer::DiskTable::blob_name())) > 0;
    verified.mending = concat(
        "nothing is lost", is_obstructed ? ": move away what is in the table's place, then " : ", ",
        "'firn freezer rebuild ", request.store.path, "' makes the table anew from the keys");
  }
  return {};
}

}  // namespace firn::command
