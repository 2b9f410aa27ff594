// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/value_segment.h"

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn::journal {
namespace {

// A new mapping is made when this much (and a quarter) more is durable, or after so many reads of
// bytes behind the present one.
constexpr uint64_t kMapStepBytes = 256 << 10;
constexpr uint64_t kUnmappedMax = 256;
// What is loaded ahead of a value whose size is not known: the processor goes on by itself.
constexpr size_t kFetchBytes = 256;

}  // namespace

ValueSegment::ValueSegment(std::unique_ptr<Blob> blob, uint64_t size, uint64_t durable_size,
                           size_t buffer_bytes, const std::atomic<bool>& only_grows,
                           PageCache* cache, uint64_t cache_id)
    : blob_(std::move(blob)),
      buffer_bytes_(buffer_bytes),
      only_grows_(only_grows),
      cache_(cache),
      cache_id_(cache_id),
      size_(size),
      written_size_(size),
      durable_size_(durable_size) {
  CHECK(size <= blob_->size() && durable_size <= size, "what is durable is in the blob");
}

Result<uint64_t> ValueSegment::append(std::span<const ByteSpan> buffers) {
  size_t total_bytes = 0;
  for (const ByteSpan buffer : buffers)
    total_bytes += buffer.size();
  const uint64_t offset = size_.load(std::memory_order_relaxed);

  MutexLock lock(mutex_);
  if (buffer_.size() + total_bytes > buffer_bytes_) TRY(flush());
  if (total_bytes > buffer_bytes_) {
    TRY(blob_->write_at(offset, buffers));
    written_size_.store(offset + total_bytes, std::memory_order_release);
  } else {
    if (buffer_.capacity() == 0) buffer_.reserve(buffer_bytes_);
    for (const ByteSpan buffer : buffers)
      buffer_.insert(buffer_.end(), buffer.begin(), buffer.end());
  }
  size_.store(offset + total_bytes, std::memory_order_release);
  return offset;
}

Status ValueSegment::flush() {
  if (buffer_.empty()) return {};
  const uint64_t offset = written_size_.load(std::memory_order_relaxed);
  TRY(blob_->write_at(offset, ByteSpan(buffer_)));
  written_size_.store(offset + buffer_.size(), std::memory_order_release);
  buffer_.clear();
  return {};
}

Status ValueSegment::read(uint64_t offset, MutableByteSpan out) const {
  const uint64_t end = size();
  if (offset > end || out.size() > end - offset) {
    return fail(Errc::out_of_range, concat("value at offset ", offset, " of ", out.size(),
                                           " bytes ends beyond the ", end, " bytes stored"));
  }
  if (offset + out.size() <= written_size_.load(std::memory_order_acquire))
    return blob_->read_at(offset, out);

  MutexLock lock(mutex_);
  const uint64_t written = written_size_.load(std::memory_order_relaxed);
  size_t from_blob = 0;
  if (offset < written) {
    from_blob = std::min<uint64_t>(written - offset, out.size());
    TRY(blob_->read_at(offset, out.first(from_blob)));
  }
  const MutableByteSpan rest = out.subspan(from_blob);  // nothing, if it was written meanwhile
  const uint64_t in_buffer = std::max(offset, written) - written;
  copy_bytes(rest, ByteSpan(buffer_).subspan(in_buffer).first(rest.size()));
  return {};
}

uint64_t ValueSegment::cacheable_bytes() const {
  if (cache_ == nullptr || !only_grows_.load(std::memory_order_relaxed)) return 0;
  return durable_size() / kBlockBytes * kBlockBytes;
}

Status ValueSegment::read_cached(uint64_t offset, MutableByteSpan out) const {
  const uint64_t cacheable = cacheable_bytes();
  if (out.size() > kBlockBytes || offset > cacheable || out.size() > cacheable - offset)
    return read(offset, out);
  while (!out.empty()) {
    const uint64_t block = offset / kBlockBytes;
    const uint64_t in_block = offset % kBlockBytes;
    const size_t count = std::min<size_t>(kBlockBytes - in_block, out.size());
    if (!cache_->read(cache_id_, block, in_block, out.first(count))) {
      if (!cache_->is_wanted(cache_id_, block)) return blob_->read_at(offset, out);
      std::byte whole[kBlockBytes];
      TRY(blob_->read_at(block * kBlockBytes, whole));
      cache_->insert(cache_id_, block, whole);
      copy_bytes(out, ByteSpan(whole).subspan(in_block, count));
    }
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

bool ValueSegment::find_cached(uint64_t offset, MutableByteSpan out) const {
  const uint64_t cacheable = cacheable_bytes();
  if (offset > cacheable || out.size() > cacheable - offset) return false;
  return out.empty() || cache_->read_range(cache_id_, kBlockBytes, offset, out);
}

void ValueSegment::fetch(uint64_t offset) const {
  if (offset >= cacheable_bytes()) return;
  cache_->fetch(cache_id_, offset / kBlockBytes, offset % kBlockBytes, kFetchBytes);
}

std::optional<ValueSegment::Mapped> ValueSegment::read_mapped(uint64_t offset,
                                                              uint64_t size_bytes) const {
  if (!only_grows_.load(std::memory_order_relaxed) || cannot_map_.load(std::memory_order_relaxed))
    return std::nullopt;
  const uint64_t durable = durable_size();
  if (offset > durable || size_bytes > durable - offset) return std::nullopt;
  MutexLock lock(map_mutex_);
  const uint64_t mapped_size = mapping_ == nullptr ? 0 : mapping_->bytes().size();
  if (offset + size_bytes > mapped_size) {
    // Not for every sync: a new mapping starts with no page in place.
    const bool worth_it = durable >= mapped_size + mapped_size / 4 + kMapStepBytes ||
                          ++unmapped_reads_ > kUnmappedMax;
    if (!worth_it) return std::nullopt;
    unmapped_reads_ = 0;
    auto mapped = blob_->map(durable);
    cannot_map_ = !mapped || *mapped == nullptr;
    if (cannot_map_) return std::nullopt;
    mapping_ = std::move(*mapped);
  }
  return Mapped{mapping_, mapping_->bytes().subspan(offset, size_bytes)};
}

Status ValueSegment::sync() {
  if (!dirty()) return {};
  const uint64_t covered = size();
  {
    MutexLock lock(mutex_);
    TRY(flush());
  }
  TRY(blob_->sync());
  durable_size_ = covered;
  return {};
}

Status ValueSegment::truncate(uint64_t size) {
  if (size >= this->size()) return {};
  {
    MutexLock lock(map_mutex_);
    CHECK(mapping_ == nullptr, "a mapped segment is never truncated");
    cannot_map_ = true;
  }
  MutexLock lock(mutex_);
  TRY(flush());
  size_.store(size, std::memory_order_release);
  written_size_.store(size, std::memory_order_release);
  TRY(blob_->resize(size));
  TRY(blob_->sync());
  durable_size_ = size;
  return {};
}

}  // namespace firn::journal
