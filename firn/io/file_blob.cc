// SPDX-License-Identifier: Apache-2.0
#include "firn/io/file_blob.h"

#include <utility>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"

namespace firn {
namespace {

class MappingAfterHeader final : public Mapping {
 public:
  explicit MappingAfterHeader(std::unique_ptr<Mapping> file) : file_(std::move(file)) {}
  [[nodiscard]] ByteSpan bytes() const override {
    return file_->bytes().subspan(kBlobHeaderSizeBytes);
  }

 private:
  const std::unique_ptr<Mapping> file_;
};

class EmptyMapping final : public Mapping {
 public:
  [[nodiscard]] ByteSpan bytes() const override { return {}; }
};

}  // namespace

FileBlob::FileBlob(std::unique_ptr<File> file, Description description)
    : file_(std::move(file)), description_(std::move(description)), size_(description_.size) {}

Status FileBlob::check_writable() {
  TRY(owner_.check());
  if (!description_.writable)
    return fail(Errc::invalid_argument, concat(description_.blob, " was opened read-only"));
  if (!poisoned_.load(std::memory_order_acquire)) return {};
  MutexLock lock(failure_mutex_);
  return fail(Errc::poisoned, concat(description_.blob, " refuses changes after a failure (",
                                     first_failure_, "); reopen the store to recover"));
}

Status FileBlob::poison_unless_ok(Status outcome) {
  if (outcome) return outcome;
  MutexLock lock(failure_mutex_);
  if (!poisoned_.load(std::memory_order_relaxed)) {
    first_failure_ = outcome.error().message;
    poisoned_.store(true, std::memory_order_release);
  }
  return outcome;
}

Status FileBlob::read_at(uint64_t offset, MutableByteSpan out) {
  if (out.empty()) return {};
  TRY(owner_.check());
  const uint64_t size_now = size();
  if (offset > size_now || out.size() > size_now - offset)
    return fail(Errc::out_of_range,
                concat(description_.blob, ": read of ", out.size(), " bytes at offset ", offset,
                       " passes the end at ", size_now));
  Status read = file_->read_at(offset + kBlobHeaderSizeBytes, out);
  if (!read && read.error().code == Errc::out_of_range && offset + out.size() <= size())
    return fail(Errc::corrupt, concat(description_.blob, ": expected ", size_now,
                                      " bytes, but its file ends earlier; something other than "
                                      "firn cut it (",
                                      read.error().message, ")"));
  return read;
}

Status FileBlob::write_at(uint64_t offset, std::span<const ByteSpan> buffers) {
  TRY(check_writable());
  uint64_t end = offset;
  for (const ByteSpan buffer : buffers)
    if (!add_without_overflow(end, buffer.size(), end)) end = UINT64_MAX;
  if (end == offset) return {};
  if (end > description_.size_max)
    return fail(Errc::invalid_argument,
                concat(description_.blob, ": a write at offset ", offset, " ends at ", end,
                       ", above the largest size ", description_.size_max));
  TRY(poison_unless_ok(file_->write_at(offset + kBlobHeaderSizeBytes, buffers)));
  if (end > size_.load(std::memory_order_relaxed)) size_.store(end, std::memory_order_release);
  return {};
}

Status FileBlob::resize(uint64_t new_size) {
  TRY(check_writable());
  if (new_size > description_.size_max)
    return fail(Errc::invalid_argument,
                concat(description_.blob, ": resize to ", new_size, " is above the largest size ",
                       description_.size_max));
  // Readers must not be sent beyond the end of the file, so a cut becomes visible first.
  const uint64_t old_size = size_.load(std::memory_order_relaxed);
  if (new_size < old_size) size_.store(new_size, std::memory_order_release);
  TRY(poison_unless_ok(file_->resize(new_size + kBlobHeaderSizeBytes)));
  size_.store(new_size, std::memory_order_release);
  return {};
}

Status FileBlob::sync() {
  MutexLock lock(sync_mutex_);
  TRY(check_writable());
  return poison_unless_ok(file_->sync());
}

Result<std::unique_ptr<Mapping>> FileBlob::map(uint64_t size_to_map) {
  TRY(owner_.check());
  if (size_to_map > size())
    return fail(Errc::out_of_range, concat(description_.blob, ": cannot map ", size_to_map,
                                           " bytes, the blob has ", size()));
  if (size_to_map == 0) return std::make_unique<EmptyMapping>();
  TRY_INTO(std::unique_ptr<Mapping> mapping, file_->map(size_to_map + kBlobHeaderSizeBytes));
  if (mapping == nullptr) return std::unique_ptr<Mapping>();
  return std::make_unique<MappingAfterHeader>(std::move(mapping));
}

}  // namespace firn
