// SPDX-License-Identifier: Apache-2.0
//
// RecordedDisk: a disk in memory, served as a file through FUSE, to put a loop device and a file
// system on. It records every write and flush that the kernel sends, can be put into any state that
// a power cut may leave, and fails the writes that it is told to.
//
// Only while nothing is mounted on it may its content be changed by hand. Threads: FUSE serves from
// a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "campaign/descriptor.h"
#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/random.h"
#include "firn/base/result.h"

struct fuse;

namespace firn::campaign {

// What a power cut leaves alone or replaces as a whole. Smaller tears are the simulation's: file
// systems themselves rely on this much.
inline constexpr size_t kDiskBlockBytes = 4096;

struct DiskRecord {
  bool is_flush = false;
  uint64_t offset = 0;
  Bytes bytes;
  uint64_t output_size = 0;  // of the watched file, when this arrived
};

class RecordedDisk {
 public:
  // `image` is what the disk holds; it changes at commit() only. Mounts on `folder`.
  [[nodiscard]] static Result<std::unique_ptr<RecordedDisk>> serve(int image, uint64_t size,
                                                                   const std::string& folder);
  ~RecordedDisk();
  RecordedDisk(const RecordedDisk&) = delete;
  RecordedDisk& operator=(const RecordedDisk&) = delete;

  // The disk as a file.
  [[nodiscard]] int file() const { return file_.get(); }

  void start_recording();
  // Records note how long this file is from now on.
  void watch(int output);
  [[nodiscard]] size_t record_count() const;
  [[nodiscard]] std::vector<DiskRecord> stop_recording();

  // What was committed last.
  void reset();
  void apply(uint64_t offset, ByteSpan bytes);
  void commit();

  // Writes that contain one of these blocks fail, until heal().
  void fail_writes_of(std::unordered_set<uint64_t> block_hashes);
  // Writes that contain another block than these fail.
  void fail_writes_beside(std::unordered_set<uint64_t> block_hashes);
  // All writes fail, and flushes do, too.
  void fail_everything();
  // The number of writes and flushes that failed.
  uint64_t heal();
  [[nodiscard]] static uint64_t hash_of_block(ByteSpan block);

  // For the functions that FUSE calls. A negative errno, or the size.
  [[nodiscard]] int read(uint64_t offset, MutableByteSpan target);
  [[nodiscard]] int write(uint64_t offset, ByteSpan bytes);
  [[nodiscard]] int flush();
  [[nodiscard]] uint64_t size() const { return view_.size(); }

 private:
  enum class Failing : uint8_t { nothing, named_blocks, other_blocks, everything };

  RecordedDisk(int image, MutableByteSpan view, std::string folder)
      : image_(image), view_(view), folder_(std::move(folder)) {}
  [[nodiscard]] uint64_t output_size() const REQUIRES(mutex_);
  void begin_failing(Failing failing, std::unordered_set<uint64_t> block_hashes);
  [[nodiscard]] bool must_fail(uint64_t offset, ByteSpan bytes) const REQUIRES(mutex_);
  void store(uint64_t offset, ByteSpan bytes) REQUIRES(mutex_);

  const int image_;
  const MutableByteSpan view_;  // private pages over the image
  const std::string folder_;
  fuse* fuse_ = nullptr;
  std::thread thread_;
  Descriptor file_;

  mutable Mutex mutex_;
  bool is_recording_ GUARDED_BY(mutex_) = false;
  Descriptor output_ GUARDED_BY(mutex_);
  std::vector<DiskRecord> records_ GUARDED_BY(mutex_);
  std::unordered_set<uint64_t> changed_blocks_ GUARDED_BY(mutex_);
  Failing failing_ GUARDED_BY(mutex_) = Failing::nothing;
  std::unordered_set<uint64_t> named_blocks_ GUARDED_BY(mutex_);
  uint64_t failures_ GUARDED_BY(mutex_) = 0;
};

// Puts `disk` into a state that a power cut before record `end` may leave: whatever was written
// before the last flush, and any part of what was written since, block by block.
void cut_power(RecordedDisk& disk, const std::vector<DiskRecord>& records, size_t end,
               Random& random);

}  // namespace firn::campaign
