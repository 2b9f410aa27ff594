// SPDX-License-Identifier: Apache-2.0
//
// Real file systems on loop devices: which there are, how they are made, mounted, checked, and shut
// down as if the power failed. All of it needs root.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "campaign/descriptor.h"
#include "firn/base/result.h"

namespace firn::campaign {

struct FileSystemKind {
  std::string_view name;
  const char* type;  // as mount(2) and /proc/filesystems know it
  uint64_t size_bytes;
  std::vector<std::string> make;   // the program that makes one; the device is its last argument
  std::vector<std::string> check;  // before each mount after a power cut; empty: mounting repairs
  const char* options;             // for mount(2)
};

[[nodiscard]] std::span<const FileSystemKind> file_system_kinds();

// A loop device over an open file, detached at the end.
class LoopDevice {
 public:
  LoopDevice(LoopDevice&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  LoopDevice& operator=(LoopDevice&&) = delete;
  ~LoopDevice();

  [[nodiscard]] static Result<LoopDevice> attach(int file);
  [[nodiscard]] const std::string& path() const { return path_; }
  // While nothing is mounted: what was changed below the device is read anew. The kernel drops what
  // it caches when the last user closes the device, but others may have it open: whoever looks for
  // a free one, for a moment.
  [[nodiscard]] Status forget_cache() const;

 private:
  explicit LoopDevice(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

// What a repair after a power cut did to files that had been synced.
enum class Repair : uint8_t {
  kept_files,
  // Without a journal the block that lists a file's extents may survive a cut that its inode's size
  // does not. e2fsck takes an extent away as a whole if it goes past the end of its file, and the
  // synced blocks in it, too.
  cut_files,
};

// In a table of cases, what such a one is that is not among them.
inline constexpr const char* kCutByRepair = "not judged: e2fsck took synced blocks away";

// A mounted file system; unmounted at the end of its life, by force if it must be.
class MountedFileSystem {
 public:
  MountedFileSystem(const FileSystemKind& kind, std::string device, std::string folder)
      : kind_(kind), device_(std::move(device)), folder_(std::move(folder)) {}
  MountedFileSystem(const MountedFileSystem&) = delete;
  MountedFileSystem& operator=(const MountedFileSystem&) = delete;
  ~MountedFileSystem();

  [[nodiscard]] Status mount();
  // The cache of its pages goes, too.
  [[nodiscard]] Status unmount();
  // From now on nothing reaches the device, and every call fails. The file system's log is not
  // flushed.
  [[nodiscard]] Status shut_down() const;
  // After a power cut: repairs what mounting does not.
  [[nodiscard]] Result<Repair> repair() const;

  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  const FileSystemKind& kind_;
  const std::string device_;
  const std::string folder_;
  bool is_mounted_ = false;
};

// An anonymous file in memory with a new file system of that kind in it.
[[nodiscard]] Result<Descriptor> make_image(const FileSystemKind& kind);

// From now on this process mounts for itself alone, if it may. Whoever else copied its mounts, as
// containers do, would keep a file system alive that was unmounted here. They end with the process.
[[nodiscard]] Status keep_mounts_private();

}  // namespace firn::campaign
