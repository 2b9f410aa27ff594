// SPDX-License-Identifier: Apache-2.0
#include "firn/io/memory_storage.h"

#include <algorithm>
#include <utility>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"
#include "firn/io/lock_counts.h"

namespace firn {
namespace {

constexpr size_t kHeaderSize = kBlobHeaderSizeBytes;
constexpr uint64_t kBlobSizeMaxBytes = uint64_t{64} * kGiB;

}  // namespace

struct MemoryStorage::Content {
  SharedMutex mutex;
  // Both include the header once the blob was opened for writing.
  Bytes visible GUARDED_BY(mutex);
  Bytes durable GUARDED_BY(mutex);
  // Outside [changed_begin, changed_end) the two agree, as far as both reach.
  size_t changed_begin GUARDED_BY(mutex) = SIZE_MAX;
  size_t changed_end GUARDED_BY(mutex) = 0;

  void mark_changed(size_t begin, size_t end) REQUIRES(mutex) {
    changed_begin = std::min(changed_begin, begin);
    changed_end = std::max(changed_end, end);
  }
  void make_durable() REQUIRES(mutex) {
    durable.resize(visible.size());
    const size_t end = std::min(changed_end, visible.size());
    if (changed_begin < end)
      std::copy(visible.data() + changed_begin, visible.data() + end,
                durable.data() + changed_begin);
    changed_begin = SIZE_MAX;
    changed_end = 0;
  }
  void lose_unsynced() REQUIRES(mutex) {
    visible = durable;
    changed_begin = SIZE_MAX;
    changed_end = 0;
  }
};

class MemoryStorage::MemoryBlob : public Blob {
 public:
  MemoryBlob(std::shared_ptr<Content> content, std::string what, uint16_t version, bool read_only)
      : content_(std::move(content)),
        what_(std::move(what)),
        version_(version),
        read_only_(read_only) {}

  [[nodiscard]] uint64_t size() const override {
    ReaderLock lock(content_->mutex);
    return payload_size(content_->visible);
  }

  [[nodiscard]] uint16_t version() const override { return version_; }

  [[nodiscard]] Status read_at(uint64_t offset, MutableByteSpan out) override {
    if (out.empty()) return {};
    ReaderLock lock(content_->mutex);
    const uint64_t size = payload_size(content_->visible);
    if (offset > size || out.size() > size - offset)
      return fail(Errc::out_of_range, concat(what_, ": read of ", out.size(), " bytes at offset ",
                                             offset, " beyond its size of ", size));
    copy_bytes(out, ByteSpan(content_->visible).subspan(kHeaderSize + offset, out.size()));
    return {};
  }

  [[nodiscard]] Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    TRY(check_writable());
    uint64_t end = offset;
    for (const ByteSpan buffer : buffers)
      if (!add_without_overflow(end, buffer.size(), end)) end = UINT64_MAX;
    TRY(check_size(end));
    if (end == offset) return {};
    WriterLock lock(content_->mutex);
    Bytes& visible = content_->visible;
    const size_t old_size = visible.size();
    if (visible.size() < kHeaderSize + end) visible.resize(kHeaderSize + end);
    size_t at = kHeaderSize + offset;
    content_->mark_changed(std::min(at, old_size), kHeaderSize + end);
    for (const ByteSpan buffer : buffers) {
      copy_bytes(MutableByteSpan(visible).subspan(at), buffer);
      at += buffer.size();
    }
    return {};
  }
  using Blob::write_at;

  [[nodiscard]] Status resize(uint64_t size) override {
    TRY(check_writable());
    TRY(check_size(size));
    WriterLock lock(content_->mutex);
    const size_t old_size = content_->visible.size();
    content_->visible.resize(kHeaderSize + size);
    if (content_->visible.size() > old_size)
      content_->mark_changed(old_size, content_->visible.size());
    return {};
  }

  [[nodiscard]] Status sync() override {
    TRY(check_writable());
    WriterLock lock(content_->mutex);
    content_->make_durable();
    return {};
  }

 private:
  static uint64_t payload_size(const Bytes& content) {
    return content.size() < kHeaderSize ? 0 : content.size() - kHeaderSize;
  }
  Status check_writable() const {
    if (read_only_)
      return fail(Errc::invalid_argument, concat(what_, ": mutation of a blob opened read-only"));
    return {};
  }
  Status check_size(uint64_t size) const {
    if (size > kBlobSizeMaxBytes)
      return fail(Errc::no_space, concat(what_, ": size of ", size, " bytes, at most ",
                                         kBlobSizeMaxBytes, " are supported in memory"));
    return {};
  }

  const std::shared_ptr<Content> content_;
  const std::string what_;
  const uint16_t version_;
  const bool read_only_;
};

struct MemoryStorage::LockState {
  Mutex mutex;
  io::LockCounts held GUARDED_BY(mutex);
};

class MemoryStorage::Lock : public StorageLock {
 public:
  Lock(std::shared_ptr<LockState> state, LockMode mode) : state_(std::move(state)), mode_(mode) {}
  ~Lock() override {
    MutexLock lock(state_->mutex);
    state_->held.release(mode_);
  }
  [[nodiscard]] Status settle() override {
    MutexLock lock(state_->mutex);
    if (mode_ == LockMode::exclusive) state_->held.settle();
    return {};
  }

 private:
  const std::shared_ptr<LockState> state_;
  const LockMode mode_;
};

MemoryStorage::MemoryStorage() : lock_state_(std::make_shared<LockState>()) {}

MemoryStorage::~MemoryStorage() = default;

Result<std::unique_ptr<Blob>> MemoryStorage::open(std::string_view partition, ByteSpan name,
                                                  OpenMode mode, BlobVersions versions) {
  TRY(check_partition_name(partition));
  TRY(check_blob_name(partition, name));
  TRY(check_blob_versions(versions));
  const std::string what = describe_blob(partition, name);
  const bool is_salvage = mode == OpenMode::salvage;
  const bool read_only = mode == OpenMode::read_only || is_salvage;
  const bool may_create = mode == OpenMode::create || mode == OpenMode::create_new;
  MutexLock lock(mutex_);
  std::shared_ptr<Content> content;
  if (const auto directory = partitions_.find(partition); directory != partitions_.end())
    if (const auto entry = directory->second.find(to_bytes(name)); entry != directory->second.end())
      content = entry->second;
  if (content != nullptr && mode == OpenMode::create_new)
    return fail(Errc::invalid_argument, concat(what, ": already exists"));
  if (content == nullptr) {
    if (!may_create) return fail(Errc::not_found, concat(what, ": does not exist"));
    content = std::make_shared<Content>();
    partitions_[std::string(partition)][to_bytes(name)] = content;
  }
  WriterLock content_lock(content->mutex);
  uint16_t version = versions.highest;
  if (content->visible.size() >= kHeaderSize && !is_salvage) {
    TRY_INTO(version, check_blob_header(ByteSpan(content->visible).first(kHeaderSize), versions,
                                        partition, name));
  } else if (!read_only) {
    content->durable = to_bytes(encode_blob_header(version));
    content->lose_unsynced();
  }
  return std::make_unique<MemoryBlob>(content, what, version, read_only);
}

Status MemoryStorage::remove(std::string_view partition, std::span<const Bytes> names) {
  TRY(check_partition_name(partition));
  MutexLock lock(mutex_);
  const auto directory = partitions_.find(partition);
  if (directory == partitions_.end()) return {};
  for (const Bytes& name : names)
    directory->second.erase(name);
  return {};
}

Status MemoryStorage::remove_partition(std::string_view partition) {
  TRY(check_partition_name(partition));
  MutexLock lock(mutex_);
  if (const auto directory = partitions_.find(partition); directory != partitions_.end())
    partitions_.erase(directory);
  return {};
}

Result<PartitionListing> MemoryStorage::list(std::string_view partition) {
  TRY(check_partition_name(partition));
  MutexLock lock(mutex_);
  PartitionListing listing;
  if (const auto directory = partitions_.find(partition); directory != partitions_.end())
    for (const auto& [name, content] : directory->second)
      listing.blobs.push_back(name);
  return listing;
}

Result<std::vector<std::string>> MemoryStorage::partitions() {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  names.reserve(partitions_.size());
  for (const auto& [name, directory] : partitions_)
    names.push_back(name);
  return names;
}

Result<std::unique_ptr<StorageLock>> MemoryStorage::lock(LockMode mode) {
  MutexLock lock(lock_state_->mutex);
  if (!lock_state_->held.take(mode))
    return fail(Errc::locked, concat(description(), ": locked by another user of this process"));
  return std::make_unique<Lock>(lock_state_, mode);
}

Result<std::optional<StorageWriter>> MemoryStorage::find_writer() {
  MutexLock lock(lock_state_->mutex);
  return lock_state_->held.find_writer();
}

StorageLimits MemoryStorage::limits() const {
  return {.blob_size_max_bytes = kBlobSizeMaxBytes, .open_blobs_max = SIZE_MAX, .durable = false};
}

std::string MemoryStorage::description() const {
  return "memory";
}

void MemoryStorage::lose_unsynced() {
  MutexLock lock(mutex_);
  for (auto& [partition, directory] : partitions_) {
    for (auto& [name, content] : directory) {
      WriterLock content_lock(content->mutex);
      content->lose_unsynced();
    }
  }
}

void MemoryStorage::for_each_durable(const DurableVisitor& visit) const {
  MutexLock lock(mutex_);
  for (const auto& [partition, directory] : partitions_) {
    for (const auto& [name, content] : directory) {
      ReaderLock content_lock(content->mutex);
      visit(partition, name, content->durable);
    }
  }
}

std::optional<Bytes> MemoryStorage::raw(std::string_view partition, ByteSpan name) const {
  MutexLock lock(mutex_);
  const auto directory = partitions_.find(partition);
  if (directory == partitions_.end()) return std::nullopt;
  const auto entry = directory->second.find(to_bytes(name));
  if (entry == directory->second.end()) return std::nullopt;
  ReaderLock content_lock(entry->second->mutex);
  return entry->second->visible;
}

void MemoryStorage::set_raw(std::string_view partition, ByteSpan name, Bytes bytes) {
  MutexLock lock(mutex_);
  std::shared_ptr<Content>& content = partitions_[std::string(partition)][to_bytes(name)];
  if (content == nullptr) content = std::make_shared<Content>();
  WriterLock content_lock(content->mutex);
  content->durable = std::move(bytes);
  content->lose_unsynced();
}

}  // namespace firn
