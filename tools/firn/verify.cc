// SPDX-License-Identifier: Apache-2.0
//
// firn verify: every index page and location, with --deep every value, too. Changes nothing.
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "tools/firn/human.h"
#include "tools/firn/store_kind.h"

namespace firn::command {
namespace {

using nlohmann::ordered_json;

std::string file_of(const BlobRange& range, const std::string& store) {
  return concat(store, "/", range.partition, range.blob.empty() ? "" : "/", range.blob);
}

// Offsets of files count their header, those of blobs do not.
uint64_t file_offset(const BlobRange& range) {
  return range.size_bytes == 0 ? 0 : range.offset + kBlobHeaderSizeBytes;
}

ordered_json damage_json(const BlobRange& range, const std::string& store) {
  return {{"partition", range.partition},  {"blob", range.blob},
          {"file", file_of(range, store)}, {"offset", file_offset(range)},
          {"length", range.size_bytes},    {"reason", range.reason}};
}

std::string damage_text(const BlobRange& range, const std::string& store) {
  if (range.size_bytes == 0)
    return fmt::format("damaged: {}: {}\n", file_of(range, store), range.reason);
  return fmt::format("damaged: {} at offset {}, {} bytes: {}\n", file_of(range, store),
                     file_offset(range), range.size_bytes, range.reason);
}

std::string cut_text(const CutRange& cut, const std::string& store) {
  return fmt::format("torn end, which the next writer will cut: {} at offset {}, {} bytes: {}\n",
                     file_of(cut.range, store), file_offset(cut.range), cut.range.size_bytes,
                     cut.range.reason);
}

// A program killed inside a commit leaves one of two copies half written, which cannot be told from
// rot. The store opens with the other copy and the next writer replaces this one, so there is
// nothing to restore: it is told, but no damage.
void note_torn_commits(Verified& verified, const std::string& store) {
  RecoveryReport& report = verified.report;
  const auto is_torn_commit = [&](const BlobRange& range) {
    return range.partition == kManifestPartition ||
           range.partition == verified.unfinished_partition;
  };
  for (const BlobRange& range : report.damage) {
    if (!is_torn_commit(range)) continue;
    report.notes.push_back(
        concat("one of two copies is bad, by a commit that was cut off or by "
               "damage, and the next writer replaces it: ",
               file_of(range, store), ": ", range.reason));
  }
  std::erase_if(report.damage, is_torn_commit);
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
  if (!verified.open_failure) note_torn_commits(verified, store);
  const double seconds = progress.seconds();
  progress.finish();

  const RecoveryReport& report = verified.report;
  ordered_json object = {{"store", store},
                         {"deep", request.deep},
                         {"checked_bytes", verified.checked_bytes},
                         {"seconds", seconds}};
  std::string text;
  object["opens"] = !verified.open_failure;
  if (verified.open_failure) {
    object["open_failure"] = verified.open_failure->message;
    text += fmt::format("damaged: {}\n", verified.open_failure->message);
  }
  object["damage"] = ordered_json::array();
  for (const BlobRange& range : report.damage) {
    object["damage"].push_back(damage_json(range, store));
    text += damage_text(range, store);
  }
  object["torn_ends"] = ordered_json::array();
  for (const CutRange& cut : report.cuts) {
    object["torn_ends"].push_back(damage_json(cut.range, store));
    text += cut_text(cut, store);
  }
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
        "{}: no damage; checked {} in {} ({}/s){}\n", store,
        human_bytes(static_cast<double>(verified.checked_bytes)), human_seconds(seconds),
        human_bytes(static_cast<double>(verified.checked_bytes) / std::max(seconds, 1e-9)),
        request.deep || verified.read_everything ? "" : "; values were not read, --deep does that");
  }
  return output.result(std::move(object), text, std::move(outcome));
}

}  // namespace firn::command
