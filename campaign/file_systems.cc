// SPDX-License-Identifier: Apache-2.0
#include "campaign/file_systems.h"

#include <filesystem>

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "campaign/process.h"
#include "firn/base/units.h"

namespace firn::campaign {
namespace {

// XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN are the same, with the same flag for "lose the log, too".
constexpr unsigned long kShutDown = _IOR('X', 125, uint32_t);
constexpr uint32_t kWithoutLogFlush = 2;

// What a program says that must end with a code up to `worst`.
Result<std::string> run_tool(const std::vector<std::string>& command, int worst = 0) {
  if (::access(command.front().c_str(), X_OK) != 0)
    return fail(Errc::io,
                concat("there is no ", command.front(), ": run 'scripts/setup.sh campaign'"));
  TRY_INTO(Outcome outcome, run_program(command, {}));
  if (outcome.exit_code && *outcome.exit_code <= worst) return std::move(outcome.output);
  return fail(Errc::io, concat(command.front(), " failed: ", outcome.output, outcome.errors));
}

}  // namespace

std::span<const FileSystemKind> file_system_kinds() {
  static const std::vector<FileSystemKind> kKinds = {
      {"ext4",
       "ext4",
       64 * kMiB,
       {"/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "nodiscard"},
       {},
       ""},
      {"ext4-nojournal",
       "ext4",
       64 * kMiB,
       {"/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "nodiscard", "-O", "^has_journal"},
       {"/sbin/e2fsck", "-f", "-y"},
       ""},
      {"xfs", "xfs", 320 * kMiB, {"/sbin/mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096"}, {}, ""},
      {"btrfs", "btrfs", 160 * kMiB, {"/sbin/mkfs.btrfs", "-q", "-f", "-K"}, {}, "max_inline=0"},
  };
  return kKinds;
}

LoopDevice::~LoopDevice() {
  if (path_.empty()) return;
  const Descriptor device(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  ::ioctl(device.get(), LOOP_CLR_FD, 0);
}

Result<LoopDevice> LoopDevice::attach(int file) {
  constexpr std::string_view kNone =
      "no loop devices (run 'modprobe loop'; give a container the devices of its host)";
  const Descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.is_open()) return system_failure(concat(kNone, ": /dev/loop-control"));
  // Another process may take the free one first.
  constexpr int kTries = 20;
  for (int i = 0; i < kTries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return system_failure(concat(kNone, ": LOOP_CTL_GET_FREE"));
    const std::string path = concat("/dev/loop", number);
    const Descriptor device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device.is_open()) return system_failure(concat(kNone, ": ", path));
    loop_config config{};
    config.fd = static_cast<uint32_t>(file);
    config.block_size = 4096;
    if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return LoopDevice(path);
    if (errno != EBUSY) return system_failure(concat("LOOP_CONFIGURE of ", path));
  }
  return fail(Errc::io, "every free loop device was taken by somebody else");
}

Status LoopDevice::forget_cache() const {
  const Descriptor device(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.is_open() || ::ioctl(device.get(), BLKFLSBUF, 0) != 0) return system_failure(path_);
  return {};
}

MountedFileSystem::~MountedFileSystem() {
  if (is_mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  std::error_code none;
  std::filesystem::remove(folder_, none);
}

Status MountedFileSystem::mount() {
  std::filesystem::create_directories(folder_);
  if (::mount(device_.c_str(), folder_.c_str(), kind_.type, 0, kind_.options) != 0) {
    const std::string advice =
        errno == ENODEV ? concat(", which this kernel lacks (run 'modprobe ", kind_.type, "')")
                        : "";
    return system_failure(concat("mounting ", kind_.name, advice));
  }
  is_mounted_ = true;
  return {};
}

Status MountedFileSystem::unmount() {
  if (::umount2(folder_.c_str(), 0) != 0) return system_failure(concat("unmounting ", folder_));
  is_mounted_ = false;
  return {};
}

Status MountedFileSystem::shut_down() const {
  const Descriptor folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return system_failure(folder_);
  uint32_t flags = kWithoutLogFlush;
  if (::ioctl(folder.get(), kShutDown, &flags) != 0)
    return system_failure(
        concat("the shutdown ioctl of ", kind_.name, ", which takes a newer kernel"));
  return {};
}

Result<Repair> MountedFileSystem::repair() const {
  if (kind_.check.empty()) return Repair::kept_files;
  std::vector<std::string> command = kind_.check;
  command.push_back(device_);
  TRY_INTO(const std::string said, run_tool(command, 1));  // 1: errors were corrected
  return said.contains("end of extent exceeds allowed value") ? Repair::cut_files
                                                              : Repair::kept_files;
}

Result<Descriptor> make_image(const FileSystemKind& kind) {
  Descriptor image(::memfd_create("image", MFD_CLOEXEC));
  if (!image.is_open() || ::ftruncate(image.get(), static_cast<off_t>(kind.size_bytes)) != 0)
    return system_failure("memory for an image");
  std::vector<std::string> command = kind.make;
  command.push_back(concat("/proc/", ::getpid(), "/fd/", image.get()));
  TRY(run_tool(command));
  return image;
}

Status keep_mounts_private() {
  if (::geteuid() != 0) return fail(Errc::io, "mounting file systems needs root: run it with sudo");
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return system_failure("mounting needs CAP_SYS_ADMIN, as a privileged container has: unshare");
  return {};
}

}  // namespace firn::campaign
