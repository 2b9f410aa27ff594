// SPDX-License-Identifier: Apache-2.0
//
// firn verify: every index page and location, with --deep every value, too. Changes nothing.
#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/finding.h"
#include "tools/firn/human.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

ordered_json damage_json(const BlobRange& range, const std::string& store) {
  return {{"partition", range.partition},  {"blob", range.blob},
          {"file", file_of(range, store)}, {"offset", offset_of(range)},
          {"length", range.size_bytes},    {"reason", range.reason}};
}

// A program killed inside a commit leaves one of two copies half written, which cannot be told from
// rot. The store opens with the other copy and the next writer replaces this one, so there is
// nothing to restore: it is found, but no damage.
std::vector<BlobRange> take_unfinished_copies(RecoveryReport& report) {
  const auto rest = std::ranges::stable_partition(report.damage, [](const BlobRange& range) {
    return range.copy != BlobRange::Copy::maybe_unfinished;
  });
  std::vector<BlobRange> copies(rest.begin(), rest.end());
  report.damage.erase(rest.begin(), rest.end());
  return copies;
}

// A writer that closed the store left no torn end: somebody else wrote to these files.
void condemn_added_bytes(Verified& verified) {
  RecoveryReport& report = verified.report;
  if (!report.was_clean || report.cuts.empty()) return;
  if (report.damage.empty())
    verified.mending = concat("nothing is lost, the next writer saves what was added in '",
                              kLostFoundPartition, "' and cuts it off");
  for (CutRange& cut : report.cuts) {
    cut.range.reason = concat("added after the store was closed: ", cut.range.reason);
    report.damage.push_back(std::move(cut.range));
  }
  report.cuts.clear();
}

// Nothing but one of two copies is damaged, and the store opens with the other one.
void advise_on_copies(Verified& verified) {
  const std::vector<BlobRange>& damage = verified.report.damage;
  const bool is_of_copies = std::ranges::all_of(
      damage, [](const BlobRange& range) { return range.copy != BlobRange::Copy::none; });
  if (verified.open_failure || damage.empty() || !is_of_copies) return;
  verified.mending =
      "the other copy is in use, and the next commit writes this one again; where a newer commit "
      "may be missing, a backup of the file may have it: restore that first";
}

void add_notes(const VerifyRequest& request, Verified& verified) {
  std::vector<std::string>& notes = verified.report.notes;
  for (const std::string& stray : strays_of(request.store.path))
    notes.push_back(concat(request.store.path, "/", stray, " is not firn's; it is ignored"));
  if (request.content && !verified.compared_values)
    notes.emplace_back("no value was compared with its key, because the store does not open");
}

// A manifest that cannot be read says nothing about the kind; whoever verifies it reports it.
Result<const StoreKind*> kind_of(const StoreArguments& arguments) {
  TRY_INTO(const auto storage, open_storage(arguments.path, Access::read));
  RecoveryLog unused(*storage, true);
  const auto manifest = Manifest::open(*storage, true, unused);
  const StoreKind* const kind =
      kind_of_store(*storage, manifest ? manifest->get() : nullptr, arguments);
  if (kind != nullptr) return kind;
  return fail(Errc::invalid_argument,
              concat("'", arguments.path, "' is a store of kind '", (*manifest)->kind(),
                     "', which this firn cannot verify"));
}

}  // namespace

uint64_t bytes_to_verify(const IndexedValueLog& log, bool deep) {
  uint64_t bytes = 0;
  for (const Section section : log.sections())
    bytes += log.size(section).value_or(0) + (deep ? log.values().size(section).value_or(0) : 0);
  return bytes;
}

Status run_verify(const VerifyRequest& request, Output& output) {
  const std::string& store = request.store.path;
  Verified verified;
  Progress progress("verifying", 0);
  TRY_INTO(const StoreKind* const kind, kind_of(request.store));
  TRY(kind->verify(request, verified, progress));
  std::vector<BlobRange> copies;
  if (!verified.open_failure) copies = take_unfinished_copies(verified.report);
  condemn_added_bytes(verified);
  advise_on_copies(verified);
  add_notes(request, verified);
  const double seconds = progress.seconds();
  progress.finish();

  const RecoveryReport& report = verified.report;
  ordered_json object = {{"store", store},
                         {"deep", request.deep},
                         {"checked_bytes", verified.checked_bytes},
                         {"seconds", seconds}};
  if (verified.compared_values) object["compared_values"] = *verified.compared_values;
  std::string text;
  const auto list = [&](const char* name, std::string_view label, const BlobRange& range) {
    object[name].push_back(damage_json(range, store));
    text += finding_text(label, range, store) + "\n";
  };
  object["opens"] = !verified.open_failure;
  if (verified.open_failure) {
    object["open_failure"] = verified.open_failure->message;
    text += fmt::format("damaged: {}\n", verified.open_failure->message);
  }
  object["damage"] = ordered_json::array();
  for (const BlobRange& range : report.damage)
    list("damage", "damaged", range);
  object["damaged_copies"] = ordered_json::array();
  for (const BlobRange& range : copies)
    list("damaged_copies", "damaged copy", range);
  object["torn_ends"] = ordered_json::array();
  for (const CutRange& cut : report.cuts)
    list("torn_ends", "torn end, which the next writer will cut", cut.range);
  object["notes"] = report.notes;
  for (const std::string& note : report.notes)
    text += fmt::format("note: {}\n", note);

  Status outcome;
  if (!report.damage.empty() || verified.open_failure) {
    outcome = fail(
        Errc::corrupt,
        concat("'", store, "' ",
               verified.open_failure
                   ? "does not open"
                   : concat("is damaged in ", human_count(report.damage.size(), "place", "places")),
               ": ",
               verified.mending.empty()
                   ? concat("restore the damaged files from a copy, or put what can be "
                            "read into a new store with 'firn salvage ",
                            store, " DST'")
                   : verified.mending));
  } else {
    text += fmt::format(
        "{}: no damage{}; checked {} in {} ({}/s){}\n", store,
        copies.empty() ? "" : " but to one of two copies, which the next writer replaces",
        human_bytes(static_cast<double>(verified.checked_bytes)), human_seconds(seconds),
        human_bytes(static_cast<double>(verified.checked_bytes) / std::max(seconds, 1e-9)),
        request.deep || verified.read_everything ? "" : "; values were not read, --deep does that");
  }
  return output.result(std::move(object), text, std::move(outcome));
}

}  // namespace firn::command
