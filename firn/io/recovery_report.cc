// SPDX-License-Identifier: Apache-2.0
#include "firn/io/recovery_report.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/blob_header.h"

namespace firn {
namespace {

constexpr size_t kChunkSizeBytes = 1 * kMiB;
constexpr uint32_t kCopiesMax = 1000;  // of one range: crashes while saving leave partial ones

// Walks over a range of a blob in chunks that all use one buffer.
class ChunkReader {
 public:
  ChunkReader(Blob& blob, uint64_t offset, uint64_t size_bytes)
      : blob_(blob),
        offset_(offset),
        left_(size_bytes),
        buffer_(static_cast<size_t>(std::min<uint64_t>(size_bytes, kChunkSizeBytes))) {}

  [[nodiscard]] bool done() const { return left_ == 0; }

  // The next chunk, valid until the next call.
  [[nodiscard]] Result<ByteSpan> next() {
    const auto size = static_cast<size_t>(std::min<uint64_t>(left_, buffer_.size()));
    const MutableByteSpan chunk = buffer_.mutable_bytes().first(size);
    TRY(blob_.read_at(offset_, chunk));
    offset_ += size;
    left_ -= size;
    return ByteSpan(chunk);
  }

 private:
  Blob& blob_;
  uint64_t offset_;
  uint64_t left_;
  Buffer buffer_;
};

enum class Content : uint8_t { all_zero, worth_saving };

Result<Content> examine(Blob& blob, const BlobRange& range) {
  ChunkReader chunks(blob, range.offset, range.size_bytes);
  while (!chunks.done()) {
    TRY_INTO(const ByteSpan chunk, chunks.next());
    if (!std::ranges::all_of(chunk, [](std::byte b) { return b == std::byte{0}; }))
      return Content::worth_saving;
  }
  return Content::all_zero;
}

enum class Comparison : uint8_t { equal, different };

Result<Comparison> compare(Blob& saved, Blob& blob, uint64_t offset, uint64_t size_bytes) {
  if (saved.size() != size_bytes) return Comparison::different;
  ChunkReader saved_chunks(saved, 0, size_bytes);
  ChunkReader chunks(blob, offset, size_bytes);
  while (!chunks.done()) {
    TRY_INTO(const ByteSpan saved_chunk, saved_chunks.next());
    TRY_INTO(const ByteSpan chunk, chunks.next());
    if (!equal_bytes(saved_chunk, chunk)) return Comparison::different;
  }
  return Comparison::equal;
}

Status copy_durably(Blob& target, Blob& blob, uint64_t offset, uint64_t size_bytes) {
  ChunkReader chunks(blob, offset, size_bytes);
  for (uint64_t done = 0; !chunks.done();) {
    TRY_INTO(const ByteSpan chunk, chunks.next());
    TRY(target.write_at(done, chunk));
    done += chunk.size();
  }
  return target.sync();
}

// "index/0000000000000001@4096", and "~2" for a second, different copy of the same range. A blob's
// name has at most 127 bytes, so long names are cut; 48 + 1 + 40 + 1 + 20 + 1 + 4 = 115.
std::string lost_found_name(const BlobRange& range, uint32_t copy) {
  constexpr size_t kPartitionShownMaxBytes = 48;
  constexpr size_t kBlobShownMaxBytes = 40;
  std::string name =
      concat(std::string_view(range.partition).substr(0, kPartitionShownMaxBytes), "/",
             std::string_view(range.blob).substr(0, kBlobShownMaxBytes), "@", range.offset);
  if (copy > 1) name += concat("~", copy);
  return name;
}

struct Copy {
  std::string name;
  bool is_there = false;
};

// A copy that an interrupted recovery made of the range, flushed; or the first free name.
Result<Copy> find_copy(Storage& storage, Blob& blob, const BlobRange& range, uint64_t size_bytes) {
  for (uint32_t copy = 1; copy <= kCopiesMax; ++copy) {
    const std::string name = lost_found_name(range, copy);
    auto saved = storage.open(kLostFoundPartition, as_bytes(name), OpenMode::read_write);
    if (saved) {
      TRY_INTO(const Comparison comparison, compare(**saved, blob, range.offset, size_bytes));
      if (comparison == Comparison::different) continue;
      TRY((*saved)->sync());
      return Copy{name, true};
    }
    if (saved.error().code == Errc::corrupt) continue;  // a damaged old copy blocks nothing
    if (saved.error().code != Errc::not_found) return pass_on(saved);
    return Copy{name, false};
  }
  return fail(
      Errc::no_space,
      concat("partition '", kLostFoundPartition, "' of ", storage.description(), " already holds ",
             kCopiesMax, " different copies of '", lost_found_name(range, 1), "'; move them away"));
}

// Returns the blob's hexadecimal name.
Result<std::string> save(Storage& storage, Blob& blob, const BlobRange& range,
                         uint64_t size_bytes) {
  TRY_INTO(const Copy copy, find_copy(storage, blob, range, size_bytes));
  if (!copy.is_there) {
    TRY_INTO(const std::unique_ptr<Blob> target,
             storage.open(kLostFoundPartition, as_bytes(copy.name), OpenMode::create_new));
    TRY(copy_durably(*target, blob, range.offset, size_bytes));
  }
  return to_hex(as_bytes(copy.name));
}

std::string place_of(const BlobRange& range) {
  const std::string blob = concat(range.partition, range.blob.empty() ? "" : "/", range.blob);
  if (range.size_bytes == 0) return blob;
  return concat(blob, " at file offset ", file_offset(range.offset), ", ",
                counted(range.size_bytes, "byte"));
}

}  // namespace

Status RecoveryLog::save_before_cut(Blob& blob, BlobRange range) {
  CutRange cut{.range = std::move(range), .saved_as = {}, .saved_size_bytes = 0};
  if (!read_only_ && cut.range.size_bytes > 0) {
    TRY_INTO(const Content content, examine(blob, cut.range));
    if (content == Content::worth_saving) {
      const uint64_t size_bytes = std::min(cut.range.size_bytes, kSavedPerCutMaxBytes);
      TRY_INTO(cut.saved_as, save(storage_, blob, cut.range, size_bytes));
      cut.saved_size_bytes = size_bytes;
    }
  }
  report_.cuts.push_back(std::move(cut));
  return {};
}

Status RecoveryLog::note_cut(Blob& blob, BlobRange range) {
  CutRange cut{.range = std::move(range), .saved_as = {}, .saved_size_bytes = 0};
  const uint64_t size_bytes = std::min(cut.range.size_bytes, kSavedPerCutMaxBytes);
  auto copy = read_only_ ? Result<Copy>() : find_copy(storage_, blob, cut.range, size_bytes);
  // Names that are all taken by other copies are in nobody's way here.
  if (!copy && copy.error().code != Errc::no_space) return pass_on(copy);
  if (copy && copy->is_there) {
    cut.saved_as = to_hex(as_bytes(copy->name));
    cut.saved_size_bytes = size_bytes;
  }
  report_.cuts.push_back(std::move(cut));
  return {};
}

std::string describe(const BlobRange& range) {
  return concat(place_of(range), ": ", range.reason);
}

std::string describe(const CutRange& made) {
  const uint64_t saved = made.saved_size_bytes;
  const std::string part =
      saved < made.range.size_bytes ? concat("the first ", saved, " of them ") : std::string();
  const std::string copy = concat(part, "saved as ", kLostFoundPartition, "/", made.saved_as);
  return concat(place_of(made.range), ", ", made.saved_as.empty() ? "not saved" : copy, ": ",
                made.range.reason);
}

Status refuse_damage_and_cuts(const RecoveryReport& report) {
  const auto refuse = [](std::string_view what, const BlobRange& range) {
    return fail(Errc::corrupt, concat("refused, as `strict` asks, and nothing was changed: ", what,
                                      describe(range)));
  };
  if (!report.damage.empty()) return refuse("damaged: ", report.damage.front());
  if (!report.cuts.empty()) return refuse("would be cut: ", report.cuts.front().range);
  return {};
}

}  // namespace firn
