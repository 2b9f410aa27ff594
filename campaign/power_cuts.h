// SPDX-License-Identifier: Apache-2.0
//
// Lives of a store on a real file system whose device fails. Each life is one run of a seed.
#pragma once

#include <span>

#include "campaign/file_systems.h"
#include "campaign/stage.h"
#include "campaign/subject.h"

namespace firn::campaign {

enum class PowerSwitch : uint8_t { shutdown_ioctl, recorded_disk };

struct DeviceRow {
  std::string name;  // of the table
  const FileSystemKind& file_system;
  PowerSwitch power_switch;
  // A failure is a violation.
  Status (*live)(const DeviceRow& row, Stage& stage, const SubjectKind& kind, uint64_t seed);
};

// The file system is shut down under the command: what it had not written to the device is gone.
[[nodiscard]] Status live_with_shutdowns(const DeviceRow& row, Stage& stage,
                                         const SubjectKind& kind, uint64_t seed);

// The device records what the file system sends; after each call it is put into several states that
// a power cut may leave: any part of what was written after the last flush.
[[nodiscard]] Status live_with_lost_writes(const DeviceRow& row, Stage& stage,
                                           const SubjectKind& kind, uint64_t seed);

// From a sync on the device fails what the sync is about to write of files, or the file system's
// own blocks, or everything; after the call it works again.
[[nodiscard]] Status live_with_failed_writes(const DeviceRow& row, Stage& stage,
                                             const SubjectKind& kind, uint64_t seed);

}  // namespace firn::campaign
