// SPDX-License-Identifier: Apache-2.0
//
// firn_powercut: the command on real file systems whose power is cut or whose device fails.
#include <cstdio>
#include <filesystem>
#include <vector>

#include "campaign/power_cuts.h"
#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

const FileSystemKind& file_system(std::string_view name) {
  for (const FileSystemKind& kind : file_system_kinds())
    if (kind.name == name) return kind;
  UNREACHABLE("a name of the table");
}

std::vector<DeviceRow> all_rows() {
  std::vector<DeviceRow> rows;
  for (const std::string_view name : {"ext4", "ext4-nojournal", "xfs"})
    rows.push_back({concat("shutdown-", name), file_system(name), live_with_shutdowns});
  for (const FileSystemKind& kind : file_system_kinds()) {
    rows.push_back({concat("replay-", std::string(kind.name)), kind, live_with_lost_writes});
    rows.push_back({concat("failure-", std::string(kind.name)), kind, live_with_failed_writes});
  }
  return rows;
}

// Says what is missing here, if something is: then nothing is run, and that is a failure.
bool everything_is_there(const std::vector<DeviceRow>& rows) {
  bool is_there = true;
  for (const DeviceRow& row : rows) {
    const Status available = why_unavailable(row.file_system);
    if (available) continue;
    std::fprintf(stderr, "%s cannot run here: %s\n", row.name.c_str(),
                 available.error().message.c_str());
    is_there = false;
  }
  return is_there;
}

int run_all(const StageArguments& arguments) {
  Stage stage("powercut", arguments);
  std::filesystem::create_directories(arguments.directory);
  const std::vector<DeviceRow> rows = all_rows();
  if (!everything_is_there(rows)) return 1;
  if (const Status is_private = keep_mounts_private(); !is_private) {
    std::fprintf(stderr, "cannot run here: %s\n", is_private.error().message.c_str());
    return 1;
  }
  const std::span<const SubjectKind> kinds = subject_kinds();
  stage.run_in_turns(rows, [&](const DeviceRow& row, uint64_t seed) {
    const SubjectKind& kind = kinds[seed % kinds.size()];
    const Status lived = row.live(row, stage, kind, seed);
    if (!lived)
      stage.add_violation(row.name, seed,
                          concat(std::string(kind.name), ", ", lived.error().message));
  });
  return stage.finish();
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  using namespace firn::campaign;
  const auto arguments = parse_stage_arguments(argc, argv, names_of(all_rows()));
  if (arguments) return run_all(*arguments);
  std::fprintf(stderr, "%s\n", arguments.error().message.c_str());
  return 2;
}
