// SPDX-License-Identifier: Apache-2.0
#include "firn/metadata/metadata_salvage.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "firn/base/text.h"
#include "firn/metadata/metadata_image.h"

namespace firn {
namespace {

using metadata::ImagePair;
using metadata::kLeft;
using metadata::kRight;
using metadata::kSideNames;

// One of the two blobs.
struct SalvagedCopy {
  Buffer image;  // empty: nothing could be read, or nothing is there
  bool is_there = false;
  uint64_t version = 0;    // above 0: the checksum holds, and `pairs` are those of the image
  std::string problem;     // why it cannot be trusted
  bool is_unread = false;  // it could not be opened
  std::vector<ImagePair> pairs;
};

class CopySalvage {
 public:
  CopySalvage(Storage& source, const MetadataStoreOptions& options, SalvageLog& log)
      : source_(source), options_(options), log_(log) {}

  Result<SalvagedMap> run() {
    for (const size_t side : {kLeft, kRight})
      TRY(read(side));
    TRY(resolve_lone_copy());
    const size_t newest = copies_[kRight].version > copies_[kLeft].version ? kRight : kLeft;
    const SalvagedCopy& used = copies_[newest];
    for (const size_t side : {kLeft, kRight})
      if (!copies_[side].problem.empty()) TRY(lose(side, used));
    if (used.version == 0) {
      TRY(report_missing_commit());
      return SalvagedMap();
    }
    TRY(report_missing_copy(copies_[1 - newest], 1 - newest, used));
    SalvagedMap map;
    map.version = used.version;
    for (const ImagePair& pair : used.pairs)
      map.pairs.emplace_back(to_bytes(pair.key), to_bytes(pair.encoded.subspan(pair.prefix_size)));
    return map;
  }

 private:
  Status read(size_t side) {
    SalvagedCopy& copy = copies_[side];
    auto opened = io::open_salvaged(source_, options_.partition, as_bytes(kSideNames[side]));
    if (!opened) {
      copy.is_there = opened.error().code != Errc::not_found;
      if (copy.is_there) copy.problem = opened.error().message;
      copy.is_unread = opened.error().code == Errc::io;
      return {};
    }
    copy.is_there = true;
    if (opened->damage) TRY(lose_range(side, 0, *opened->damage, BlobRange::Copy::damaged));
    const uint64_t size = opened->blob->size();
    if (size > metadata::kImageSizeMaxBytes) {
      copy.problem =
          concat("has ", size, " bytes, at most ", metadata::kImageSizeMaxBytes, " expected");
      return {};
    }
    Buffer image(size);
    if (const auto got = opened->blob->read_at(0, image.mutable_bytes()); !got) {
      copy.problem = got.error().message;
      return {};
    }
    log_.has_read(size);
    copy.image = std::move(image);
    judge(copy, std::nullopt);
    return {};
  }

  // `version`: what the field should have been.
  void judge(SalvagedCopy& copy, std::optional<uint64_t> version) {
    const ByteSpan image = copy.image.bytes();
    copy.problem.clear();
    if (image.empty()) return;
    if (const auto why = metadata::why_invalid(image); why && !version) {
      copy.problem = *why;
      return;
    }
    const uint64_t stored = version.value_or(metadata::image_version(image).value_or(0));
    auto pairs = metadata::decode_pairs(image, options_, "it");
    if (stored == 0)
      copy.problem = "version 0 although the checksum is right";
    else if (!pairs)
      copy.problem = pairs.error().message;
    if (!copy.problem.empty()) return;
    copy.version = stored;
    copy.pairs = std::move(*pairs);
  }

  // What is told as an open tells it: see MetadataStore::resolve_lone_first_copy.
  Status resolve_lone_copy() {
    SalvagedCopy& first = copies_[kRight];
    const SalvagedCopy& other = copies_[kLeft];
    const ByteSpan image = first.image.bytes();
    if (other.version > 0 || !other.problem.empty() || image.empty() ||
        !metadata::why_invalid(image))
      return {};
    switch (metadata::judge_lone_copy(image)) {
      case metadata::LoneCopy::complete:
        judge(first, 1);
        if (const uint64_t field = metadata::image_version(image).value_or(0); field != 0)
          return lose_range(kRight, image.size(), metadata::describe_completed_copy(field), kind());
        return {};
      case metadata::LoneCopy::cut_off:
        if (options_.has_commit) return {};
        return lose_range(kRight, image.size(),
                          metadata::describe_cut_off_copy(std::exchange(first.problem, {})),
                          kind());
      case metadata::LoneCopy::damaged: return {};
    }
    return {};
  }

  // Copies without content have no problem of their own.
  Status report_missing_commit() {
    const bool is_told = std::ranges::any_of(
        copies_, [](const SalvagedCopy& copy) { return !copy.problem.empty(); });
    if (!options_.has_commit || is_told) return {};
    SalvageLoss loss;
    loss.range.partition = options_.partition;
    loss.range.reason = "neither copy has content, although a commit was acknowledged";
    return log_.lose(loss);
  }

  Status lose_range(size_t side, uint64_t size, std::string reason, BlobRange::Copy kind,
                    bool is_unread = false) {
    SalvageLoss loss;
    loss.range = {
        options_.partition, to_hex(as_bytes(kSideNames[side])), 0, size, std::move(reason), kind};
    loss.unread = is_unread;
    return log_.lose(loss);
  }

  // Of a copy that cannot be trusted, if a commit that was cut off may be the reason.
  [[nodiscard]] BlobRange::Copy kind() const {
    return options_.was_closed ? BlobRange::Copy::damaged : BlobRange::Copy::maybe_unfinished;
  }

  // A copy that is not trusted, and what it may say other than the one in use.
  Status lose(size_t side, const SalvagedCopy& used) {
    const SalvagedCopy& copy = copies_[side];
    const ByteSpan image = copy.image.bytes();
    const bool is_alone = copy.is_unread || used.version == 0;
    const BlobRange::Copy kind = is_alone ? BlobRange::Copy::none : this->kind();
    TRY(lose_range(side, image.size(),
                   used.version == 0
                       ? copy.problem
                       : metadata::describe_bad_copy(copy.problem, image, used.version),
                   kind, copy.is_unread));
    const bool is_older = used.version > 0 && image.size() >= metadata::kImageSizeMinBytes &&
                          metadata::image_version(image) == used.version - 1;
    if (is_older) return {};
    std::map<std::string_view, ByteSpan> known;
    for (const ImagePair& pair : used.pairs)
      known[as_text(pair.key)] = pair.encoded;
    for (const ImagePair& pair : metadata::decode_leading_pairs(image, options_)) {
      const auto found = known.find(as_text(pair.key));
      if (found != known.end() && equal_bytes(found->second, pair.encoded)) continue;
      SalvageLoss loss;
      loss.range = {options_.partition,
                    to_hex(as_bytes(kSideNames[side])),
                    pair.start,
                    pair.encoded.size(),
                    found == known.end() ? "a key that only the damaged copy has, if at all"
                                         : "the damaged copy may have another value of this key",
                    kind};
      loss.items = 1;
      loss.key = to_bytes(pair.key);
      loss.older_value_kept = found != known.end();
      TRY(log_.lose(loss));
    }
    return {};
  }

  // Every commit but the first leaves two copies.
  Status report_missing_copy(const SalvagedCopy& other, size_t side, const SalvagedCopy& used) {
    const bool is_lone_first = used.version == 1 && side != kRight && other.is_there;
    if (other.version > 0 || !other.problem.empty() || is_lone_first) return {};
    const std::string_view problem =
        other.is_there ? metadata::kHasNoContent : metadata::kIsMissing;
    return lose_range(side, 0, metadata::describe_bad_copy(problem, {}, used.version),
                      other.is_there ? kind() : BlobRange::Copy::damaged);
  }

  Storage& source_;
  const MetadataStoreOptions& options_;
  SalvageLog& log_;
  std::array<SalvagedCopy, 2> copies_;
};

}  // namespace

Result<SalvagedMap> salvage_metadata(Storage& source, const MetadataStoreOptions& options,
                                     SalvageLog& log) {
  return CopySalvage(source, options, log).run();
}

}  // namespace firn
