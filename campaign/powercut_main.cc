// SPDX-License-Identifier: Apache-2.0
//
// firn_powercut: the command on real file systems whose power is cut or whose device fails.
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

// Nothing is run if something is missing.
Status expect_everything_is_there(const std::vector<DeviceRow>& rows) {
  for (const DeviceRow& row : rows)
    TRY(why_unavailable(row.file_system));
  return {};
}

Status run_all(Stage& stage) {
  const std::vector<DeviceRow> rows = all_rows();
  TRY(expect_everything_is_there(rows));
  TRY(keep_mounts_private());
  const std::span<const SubjectKind> kinds = subject_kinds();
  stage.run_in_turns(rows, [&](const DeviceRow& row, uint64_t seed) {
    const SubjectKind& kind = kinds[seed % kinds.size()];
    const Status lived = row.live(row, stage, kind, seed);
    if (!lived)
      stage.add_violation(row.name, seed,
                          concat(std::string(kind.name), ", ", lived.error().message));
  });
  return {};
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  using namespace firn::campaign;
  return stage_main(argc, argv, {"powercut", names_of(all_rows())}, run_all);
}
