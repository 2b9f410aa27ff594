// SPDX-License-Identifier: Apache-2.0
//
// firn archive export: files go back below a directory, or every item becomes a line.
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "firn/base/text.h"
#include "tools/firn/human.h"
#include "tools/firn/item.h"
#include "tools/firn/progress.h"
#include "tools/firn/restore_tree.h"
#include "tools/firn/verbs.h"

namespace firn::command {
namespace {

constexpr std::string_view kExportVerb = "export";

struct Exported {
  uint64_t items = 0;
  uint64_t bytes = 0;
  uint64_t other = 0;  // items that are no files
  uint64_t failed = 0;
  std::optional<Error> failure;  // the first one
};

// Restores one item. An item that cannot be restored is noted, and the export goes on; what hits
// every item (no space) ends it.
Status export_file(const PrunableArchive& archive, const ArchiveItem& found, RestoreTree& tree,
                   Progress& progress, Exported& exported) {
  const auto note_failure = [&](const Error& error) {
    progress.finish();
    warn(kExportVerb, concat("index ", found.index, ": ", error.message));
    ++exported.failed;
    if (!exported.failure) exported.failure = error;
  };
  const auto value = archive.read_value(found);
  if (!value) {
    if (value.error().code != Errc::corrupt) return fail(value.error().code, value.error().message);
    note_failure(value.error());
    return {};
  }
  const Item item = decode_item(value->bytes());
  progress.add(value->size());
  if (!item.file) {
    ++exported.other;
    return {};
  }
  auto restored = tree.restore(*item.file, item.content);
  if (!restored) {
    if (restored.error().code == Errc::no_space) return restored;
    note_failure(restored.error());
    return {};
  }
  ++exported.items;
  exported.bytes += item.content.size();
  return {};
}

Status export_line(const PrunableArchive& archive, const ArchiveItem& found, Progress& progress,
                   Output& output) {
  TRY_INTO(const Value value, archive.read_value(found));
  progress.add(value.size());
  TRY(output.write(decode_item(value.bytes()).content));
  return output.write("\n");
}

Status visit_all(const PrunableArchive& archive,
                 const std::function<Status(const ArchiveItem&)>& visit) {
  Status outcome;
  const Status visited = archive.visit(0, UINT64_MAX, false, [&](const ArchiveItem& found) {
    outcome = visit(found);
    return outcome.has_value();
  });
  return outcome ? visited : outcome;
}

Status outcome_of(const Exported& exported) {
  if (exported.failure) {
    return fail(exported.failure->code,
                concat(counted(exported.failed, "item"),
                       " could not be restored, the first because: ", exported.failure->message));
  }
  if (exported.other > 0) {
    return fail(Errc::invalid_argument,
                concat("left out ", counted(exported.other, "item"),
                       ", no files, imported with --lines or by another program: 'export --lines' "
                       "prints what is left out"));
  }
  return {};
}

}  // namespace

Status run_export(const ExportRequest& request, Output& output) {
  if (request.lines && output.json()) {
    return fail(Errc::invalid_argument,
                "--lines prints the items themselves, which --json does not allow: 'firn archive "
                "get --json' prints one as JSON");
  }
  TRY_INTO(const OpenedArchive opened, open_archive(request.store, Access::read));
  const PrunableArchive& archive = *opened.archive;
  uint64_t total_bytes = 0;
  for (const Section section : archive.log().sections())
    total_bytes += archive.log().values().size(section).value_or(0);
  if (request.lines) {
    Progress progress("exporting", total_bytes);
    progress.leave_room_for_output();
    TRY(visit_all(archive, [&](const ArchiveItem& found) {
      return export_line(archive, found, progress, output);
    }));
    return output.flush();
  }

  TRY_INTO(RestoreTree tree, RestoreTree::open(request.directory, request.store.path));
  Progress progress("exporting", total_bytes);
  Exported exported;
  Status visited = visit_all(archive, [&](const ArchiveItem& found) {
    return export_file(archive, found, tree, progress, exported);
  });
  const double seconds = progress.seconds();
  progress.finish();
  Status outcome = visited ? outcome_of(exported) : std::move(visited);
  const auto bytes = static_cast<double>(exported.bytes);
  if (!output.json()) {
    fmt::print(stderr, "exported {}, {}, in {} ({}/s)\n",
               human_count(exported.items, "file", "files"), human_bytes(bytes),
               human_seconds(seconds), human_bytes(bytes / std::max(seconds, 1e-9)));
    return outcome;
  }
  return output.result({{"items", exported.items},
                        {"bytes", exported.bytes},
                        {"not_files", exported.other},
                        {"failed", exported.failed},
                        {"seconds", seconds}},
                       {}, std::move(outcome));
}

}  // namespace firn::command
