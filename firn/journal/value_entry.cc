// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/value_entry.h"

#include <memory>
#include <new>
#include <utility>

#include <zstd.h>
#include <zstd_errors.h>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/per_thread.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/codec/varint.h"
#include "firn/io/blob_header.h"
#include "firn/journal/section_name.h"

namespace firn::journal {
namespace {

// A zstd block of at most 128 KiB takes at least 4 bytes, so a frame that claims more is a lie.
constexpr uint64_t kFrameExpansionMax = (128u << 10) / 4;

// What all frames claim to decompress to; nullopt if there is garbage or a frame does not say.
std::optional<uint64_t> claimed_size(ByteSpan frames) {
  uint64_t total = 0;
  while (!frames.empty()) {
    const unsigned long long claimed = ZSTD_getFrameContentSize(frames.data(), frames.size());
    const size_t frame_bytes = ZSTD_findFrameCompressedSize(frames.data(), frames.size());
    if (claimed == ZSTD_CONTENTSIZE_ERROR || claimed == ZSTD_CONTENTSIZE_UNKNOWN ||
        ZSTD_isError(frame_bytes) != 0 || !add_without_overflow(total, claimed, total))
      return std::nullopt;
    frames = frames.subspan(frame_bytes);
  }
  return total;
}

bool is_possible(uint64_t claimed, ByteSpan frames) {
  return claimed <= (frames.size() + 1) * kFrameExpansionMax;
}

struct Decompressor {
  Decompressor() : context(ZSTD_createDCtx()) {
    if (context == nullptr) throw std::bad_alloc();
  }
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::unique_ptr<ZSTD_DCtx, Free> context;
};

}  // namespace

Result<Value> check_entry(Value entry, const EntryPlace& place) {
  const size_t payload_bytes = entry.size() - kChecksumSizeBytes;
  const uint32_t stored = load_big_endian<uint32_t>(entry.bytes().data() + payload_bytes);
  const uint32_t computed = crc32c(entry.bytes().first(payload_bytes));
  if (stored != computed) {
    return fail(Errc::corrupt, concat("value at file offset ", file_offset(place.location.offset),
                                      " of ", place.partition, "/", section_hex(place.section),
                                      " (", place.location.size_bytes, " bytes): its checksum is ",
                                      computed, ", stored is ", stored));
  }
  entry.remove_suffix(kChecksumSizeBytes);
  return entry;
}

Result<Value> decompress_entry(ByteSpan frames, uint32_t size_max_bytes, const EntryPlace& place) {
  const auto damaged = [&](std::string_view what) {
    return fail(Errc::corrupt, concat("value at file offset ", file_offset(place.location.offset),
                                      " of ", place.partition, "/", section_hex(place.section),
                                      " does not decompress: ", what,
                                      "; was the store written without compression?"));
  };
  const std::optional<uint64_t> claimed = claimed_size(frames);
  if (!claimed) return damaged("it is no zstd frame of known size");
  if (*claimed > size_max_bytes || !is_possible(*claimed, frames))
    return damaged("it claims an impossible size");
  Buffer plain(*claimed);
  thread_local constinit PerThread<Decompressor> kept;
  ZSTD_DCtx* const context = kept.get().context.get();
  const size_t size = ZSTD_decompressDCtx(context, plain.mutable_bytes().data(), plain.size(),
                                          frames.data(), frames.size());
  if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation) throw std::bad_alloc();
  if (ZSTD_isError(size) != 0) return damaged(ZSTD_getErrorName(size));
  return Value(std::move(plain), 0, size);
}

bool is_compressed(ByteSpan payload) {
  if (payload.empty()) return false;
  const std::optional<uint64_t> claimed = claimed_size(payload);
  return claimed && is_possible(*claimed, payload);
}

std::optional<uint64_t> guess_entry_size(ByteSpan bytes, bool compressed) {
  uint64_t size = 0;
  if (compressed) {
    const size_t frame = ZSTD_findFrameCompressedSize(bytes.data(), bytes.size());
    if (ZSTD_isError(frame) != 0) return std::nullopt;
    size = frame;
  } else {
    const VarintRead length = read_varint<uint32_t>(bytes);
    if (length.outcome != VarintOutcome::complete) return std::nullopt;
    size = length.size + uint64_t{length.value};
  }
  if (size + kChecksumSizeBytes > bytes.size()) return std::nullopt;
  const uint32_t stored = load_big_endian<uint32_t>(bytes.data() + size);
  if (crc32c(bytes.first(size)) != stored) return std::nullopt;
  return size + kChecksumSizeBytes;
}

}  // namespace firn::journal
