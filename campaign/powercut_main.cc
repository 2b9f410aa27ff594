// SPDX-License-Identifier: Apache-2.0
//
// firn_powercut: the command on real file systems whose power is cut or whose device fails.
#include <map>
#include <memory>
#include <vector>

#include "campaign/power_cuts.h"
#include "campaign/recorded_disk.h"
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
    rows.push_back({concat("shutdown-", name), file_system(name), PowerSwitch::shutdown_ioctl,
                    live_with_shutdowns});
  for (const FileSystemKind& kind : file_system_kinds()) {
    rows.push_back(
        {concat("replay-", kind.name), kind, PowerSwitch::recorded_disk, live_with_lost_writes});
    rows.push_back(
        {concat("failure-", kind.name), kind, PowerSwitch::recorded_disk, live_with_failed_writes});
  }
  return rows;
}

// Does once, without a store, what each life of the row does. A failure says what is missing here.
Status try_out(const DeviceRow& row, const std::string& directory) {
  TRY_INTO(const Descriptor image, make_image(row.file_system));
  std::unique_ptr<RecordedDisk> device;
  if (row.power_switch == PowerSwitch::recorded_disk) {
    TRY_INTO(device, RecordedDisk::serve(image.get(), row.file_system.size_bytes,
                                         directory + "/device-tried"));
  }
  TRY_INTO(const LoopDevice loop, LoopDevice::attach(device ? device->file() : image.get()));
  MountedFileSystem disk(row.file_system, loop.path(), directory + "/tried");
  TRY(disk.mount());
  if (row.power_switch == PowerSwitch::shutdown_ioctl) TRY(disk.shut_down());
  TRY(disk.unmount());
  TRY(disk.repair());
  return {};
}

// Nothing is run if something is missing: a table without some of its rows would look complete.
Status expect_everything_is_there(const Stage& stage, const std::vector<DeviceRow>& rows) {
  TRY(keep_mounts_private());
  std::map<std::string, std::string> rows_without;  // what is missing
  for (const DeviceRow& row : rows) {
    if (!stage.wants_more(row.name)) continue;
    const Status available = try_out(row, stage.arguments().directory);
    if (!available) rows_without[available.error().message] += concat(" ", row.name);
  }
  if (rows_without.empty()) return {};
  std::string message = "something is missing here:";
  for (const auto& [missing, names] : rows_without)
    message += concat("\n  ", missing, "; rows that need it:", names);
  return fail(Errc::io, std::move(message));
}

Status run_all(Stage& stage) {
  const std::vector<DeviceRow> rows = all_rows();
  TRY(expect_everything_is_there(stage, rows));
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
