// SPDX-License-Identifier: Apache-2.0
#include "campaign/recorded_disk.h"

#define FUSE_USE_VERSION 31
#include <algorithm>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <fuse.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "firn/base/check.h"

namespace firn::campaign {
namespace {

constexpr const char* kName = "/disk";

RecordedDisk& disk() {
  return *static_cast<RecordedDisk*>(fuse_get_context()->private_data);
}

int get_attributes(const char* path, struct stat* status, fuse_file_info*) {
  *status = {};
  const bool is_root = std::string_view(path) == "/";
  if (!is_root && std::string_view(path) != kName) return -ENOENT;
  status->st_mode = is_root ? S_IFDIR | 0700 : S_IFREG | 0600;
  status->st_nlink = is_root ? 2 : 1;
  status->st_size = is_root ? 0 : static_cast<off_t>(disk().size());
  return 0;
}

int open_disk(const char*, fuse_file_info* info) {
  info->direct_io = 1;  // each write arrives at once
  return 0;
}

int read_disk(const char*, char* target, size_t size, off_t offset, fuse_file_info*) {
  return disk().read(static_cast<uint64_t>(offset),
                     std::as_writable_bytes(std::span(target, size)));
}

int write_disk(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info*) {
  return disk().write(static_cast<uint64_t>(offset), std::as_bytes(std::span(bytes, size)));
}

int flush_disk(const char*, int, fuse_file_info*) {
  return disk().flush();
}

fuse_operations operations() {
  fuse_operations all{};
  all.getattr = get_attributes;
  all.open = open_disk;
  all.read = read_disk;
  all.write = write_disk;
  all.fsync = flush_disk;
  return all;
}

}  // namespace

Result<std::unique_ptr<RecordedDisk>> RecordedDisk::serve(int image, uint64_t size,
                                                          const std::string& folder) {
  std::filesystem::create_directories(folder);
  void* const pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, image, 0);
  if (pages == MAP_FAILED) return system_failure("mapping an image");
  std::unique_ptr<RecordedDisk> disk(
      new RecordedDisk(image, MutableByteSpan(static_cast<std::byte*>(pages), size), folder));

  static const fuse_operations kOperations = operations();
  std::string program = "firn_powercut";
  char* words[] = {program.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, words);
  disk->fuse_ = fuse_new(&arguments, &kOperations, sizeof kOperations, disk.get());
  fuse_opt_free_args(&arguments);
  if (disk->fuse_ == nullptr || fuse_mount(disk->fuse_, folder.c_str()) != 0)
    return fail(Errc::io, "no FUSE (run 'modprobe fuse'; give a container /dev/fuse)");
  disk->thread_ = std::thread([served = disk->fuse_] { fuse_loop(served); });
  disk->file_ = Descriptor(::open(concat(folder, kName).c_str(), O_RDWR | O_CLOEXEC));
  if (!disk->file_.is_open()) return system_failure(concat(folder, kName));
  return disk;
}

RecordedDisk::~RecordedDisk() {
  file_.reset();
  if (fuse_ != nullptr) {
    // Either ends the loop; the second also while something still uses the disk.
    if (::umount2(folder_.c_str(), 0) != 0) ::umount2(folder_.c_str(), MNT_FORCE | MNT_DETACH);
    if (thread_.joinable()) thread_.join();
    fuse_unmount(fuse_);
    fuse_destroy(fuse_);
  }
  std::error_code none;
  std::filesystem::remove(folder_, none);
  ::munmap(view_.data(), view_.size());
}

void RecordedDisk::start_recording() {
  const MutexLock lock(mutex_);
  records_.clear();
  output_.reset();
  is_recording_ = true;
}

void RecordedDisk::watch(int output) {
  const MutexLock lock(mutex_);
  output_ = Descriptor(::dup(output));
}

size_t RecordedDisk::record_count() const {
  const MutexLock lock(mutex_);
  return records_.size();
}

std::vector<DiskRecord> RecordedDisk::stop_recording() {
  const MutexLock lock(mutex_);
  is_recording_ = false;
  return std::exchange(records_, {});
}

void RecordedDisk::reset() {
  const MutexLock lock(mutex_);
  CHECK(::madvise(view_.data(), view_.size(), MADV_DONTNEED) == 0, "drops the private pages");
  changed_blocks_.clear();
}

void RecordedDisk::apply(uint64_t offset, ByteSpan bytes) {
  const MutexLock lock(mutex_);
  store(offset, bytes);
}

void RecordedDisk::commit() {
  const MutexLock lock(mutex_);
  for (const uint64_t block : changed_blocks_) {
    const ByteSpan bytes = view_.subspan(block * kDiskBlockBytes, kDiskBlockBytes);
    const ssize_t written =
        ::pwrite(image_, bytes.data(), bytes.size(), static_cast<off_t>(block * kDiskBlockBytes));
    CHECK(written == static_cast<ssize_t>(bytes.size()), "the image is a file in memory");
  }
  changed_blocks_.clear();
}

void RecordedDisk::fail_writes_of(std::unordered_set<uint64_t> block_hashes) {
  begin_failing(Failing::named_blocks, std::move(block_hashes));
}

void RecordedDisk::fail_writes_beside(std::unordered_set<uint64_t> block_hashes) {
  begin_failing(Failing::other_blocks, std::move(block_hashes));
}

void RecordedDisk::fail_everything() {
  begin_failing(Failing::everything, {});
}

void RecordedDisk::begin_failing(Failing failing, std::unordered_set<uint64_t> block_hashes) {
  const MutexLock lock(mutex_);
  failing_ = failing;
  named_blocks_ = std::move(block_hashes);
  failures_ = 0;
}

uint64_t RecordedDisk::heal() {
  const MutexLock lock(mutex_);
  failing_ = Failing::nothing;
  named_blocks_.clear();
  return std::exchange(failures_, 0);
}

uint64_t RecordedDisk::hash_of_block(ByteSpan block) {
  return std::hash<std::string_view>()(
      std::string_view(reinterpret_cast<const char*>(block.data()), block.size()));
}

int RecordedDisk::read(uint64_t offset, MutableByteSpan target) {
  const MutexLock lock(mutex_);
  if (offset >= view_.size()) return 0;
  const size_t size = std::min<uint64_t>(target.size(), view_.size() - offset);
  std::copy_n(view_.data() + offset, size, target.data());
  return static_cast<int>(size);
}

int RecordedDisk::write(uint64_t offset, ByteSpan bytes) {
  const MutexLock lock(mutex_);
  if (offset > view_.size() || bytes.size() > view_.size() - offset) return -ENOSPC;
  if (must_fail(offset, bytes)) {
    ++failures_;
    return -EIO;
  }
  if (is_recording_) records_.push_back({false, offset, to_bytes(bytes), output_size()});
  store(offset, bytes);
  return static_cast<int>(bytes.size());
}

int RecordedDisk::flush() {
  const MutexLock lock(mutex_);
  if (failing_ == Failing::everything) {
    ++failures_;
    return -EIO;
  }
  if (is_recording_) records_.push_back({true, 0, {}, output_size()});
  return 0;
}

uint64_t RecordedDisk::output_size() const {
  struct stat status;
  if (!output_.is_open() || ::fstat(output_.get(), &status) != 0) return 0;
  return static_cast<uint64_t>(status.st_size);
}

bool RecordedDisk::must_fail(uint64_t offset, ByteSpan bytes) const {
  if (failing_ == Failing::nothing || failing_ == Failing::everything)
    return failing_ == Failing::everything;
  const uint64_t skip = (kDiskBlockBytes - offset % kDiskBlockBytes) % kDiskBlockBytes;
  for (uint64_t at = skip; at + kDiskBlockBytes <= bytes.size(); at += kDiskBlockBytes) {
    const bool is_named = named_blocks_.contains(hash_of_block(bytes.subspan(at, kDiskBlockBytes)));
    if (is_named == (failing_ == Failing::named_blocks)) return true;
  }
  return false;
}

void RecordedDisk::store(uint64_t offset, ByteSpan bytes) {
  if (bytes.empty()) return;
  std::ranges::copy(bytes, view_.begin() + static_cast<ptrdiff_t>(offset));
  const uint64_t last = (offset + bytes.size() - 1) / kDiskBlockBytes;
  for (uint64_t block = offset / kDiskBlockBytes; block <= last; ++block)
    changed_blocks_.insert(block);
}

void cut_power(RecordedDisk& disk, const std::vector<DiskRecord>& records, size_t end,
               Random& random) {
  CHECK(end <= records.size(), "a moment of the recording");
  size_t settled = 0;
  for (size_t i = 0; i < end; ++i)
    if (records[i].is_flush) settled = i;
  disk.reset();
  for (size_t i = 0; i < settled; ++i)
    disk.apply(records[i].offset, records[i].bytes);
  // Evenly random subsets almost never keep nearly all or nearly none, so that a mood is drawn,
  // too.
  const uint64_t piece_bytes = random.one_in(3) ? UINT64_MAX / 2 : kDiskBlockBytes;
  const uint64_t kept_of_16 = random.below(17);
  for (size_t i = settled; i < end; ++i) {
    const DiskRecord& record = records[i];
    for (uint64_t at = 0; at < record.bytes.size(); at += piece_bytes) {
      const uint64_t size = std::min(piece_bytes, record.bytes.size() - at);
      if (random.below(16) < kept_of_16)
        disk.apply(record.offset + at, ByteSpan(record.bytes).subspan(at, size));
    }
  }
}

}  // namespace firn::campaign
