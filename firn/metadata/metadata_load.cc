// SPDX-License-Identifier: Apache-2.0
//
// How a MetadataStore is opened: which of the two copies counts, and what is told about the other.
#include <algorithm>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/blob_header.h"
#include "firn/metadata/metadata_image.h"
#include "firn/metadata/metadata_store.h"

namespace firn {

using metadata::kImageSizeMaxBytes;
using metadata::kLeft;
using metadata::kRight;
using metadata::kSideNames;

namespace {

constexpr std::string_view kAdvice =
    " restore both from a backup, or put what can be read into a new store with `firn salvage SRC "
    "DST`";
// How often a reader reads again what a writer may have been inside of.
constexpr int kTornReadsMax = 64;

BlobRange whole_copy(const MetadataStoreOptions& options, size_t side, uint64_t size,
                     std::string reason) {
  const auto copy =
      options.was_closed ? BlobRange::Copy::damaged : BlobRange::Copy::maybe_unfinished;
  return {options.partition, to_hex(as_bytes(kSideNames[side])), 0, size, std::move(reason), copy};
}

}  // namespace

Status MetadataStore::load(RecoveryLog& recovery) {
  std::array<Loaded, 2> loaded;
  TRY(read_copies(loaded));
  const bool nothing_there = std::ranges::none_of(
      copies_, [](const Copy& copy) { return copy.blob != nullptr || copy.damaged_header; });
  if (nothing_there && options_.read_only && !options_.has_commit)
    return fail(Errc::not_found, concat("metadata partition ", options_.partition, " in ",
                                        storage_.description(), " does not exist"));
  if (loaded[kLeft].version == 0 && loaded[kRight].version == 0)
    TRY(resolve_lone_first_copy(loaded, recovery));
  newest_ = loaded[kRight].version > loaded[kLeft].version ? kRight : kLeft;
  version_ = loaded[newest_].version;
  if (version_ == 0 && options_.has_commit)
    return fail(Errc::corrupt,
                concat("no copy of the metadata has content, ", blob_name(kLeft), " and ",
                       blob_name(kRight), ", although a commit was acknowledged:", kAdvice));
  if (version_ > 0) {
    report_other_copy(loaded[1 - newest_], recovery);
    TRY(adopt(loaded));
  }
  for (const size_t side : {kLeft, kRight})
    copies_[side].has_leftover = copies_[side].blob && !loaded[side].invalid_because.empty();
  if (options_.read_only) return {};
  return make_ready_for_writing(loaded[newest_]);
}

// A reader may look at a copy while the writer is inside it. The other copy is whole then, but was
// read at another time. So both are read again until they are valid, or stay as they are.
Status MetadataStore::read_copies(std::array<Loaded, 2>& loaded) {
  std::array<Loaded, 2> before;
  for (int attempt = 0;; ++attempt) {
    for (const size_t side : {kLeft, kRight})
      TRY(read_copy(side, loaded[side]));
    const bool is_valid = std::ranges::all_of(
        loaded, [](const Loaded& copy) { return copy.invalid_because.empty(); });
    const bool is_settled =
        attempt > 0 && std::ranges::equal(loaded, before, [](const Loaded& a, const Loaded& b) {
          return equal_bytes(a.image.bytes(), b.image.bytes()) &&
                 a.invalid_because == b.invalid_because;
        });
    if (!options_.read_only || is_valid || is_settled || attempt == kTornReadsMax) return {};
    before = std::exchange(loaded, {});
    for (Copy& copy : copies_)
      copy = {};
  }
}

// Opens and checks one blob. Damage is not a failure here; what cannot be judged is.
Status MetadataStore::read_copy(size_t side, Loaded& loaded) {
  Copy& copy = copies_[side];
  const OpenMode mode = options_.read_only ? OpenMode::read_only : OpenMode::read_write;
  auto opened = storage_.open(options_.partition, as_bytes(kSideNames[side]), mode);
  if (!opened) {
    const Errc code = opened.error().code;
    if (code == Errc::not_found) return {};
    if (code != Errc::corrupt && code != Errc::unsupported_version) return pass_on(opened);
    copy.damaged_header = true;
    loaded.has_unsupported_version = code == Errc::unsupported_version;
    loaded.invalid_because = opened.error().message;
    return {};
  }
  copy.blob = std::move(*opened);
  const uint64_t size = copy.blob->size();
  if (size == 0) return {};
  if (size > kImageSizeMaxBytes) {
    loaded.invalid_because =
        concat("has ", size, " bytes, at most ", kImageSizeMaxBytes, " expected");
    return {};
  }
  loaded.image = Buffer(size);
  Status read = copy.blob->read_at(0, loaded.image.mutable_bytes());
  if (!read && options_.read_only &&
      (read.error().code == Errc::out_of_range || read.error().code == Errc::corrupt)) {
    // The writer is making it shorter.
    loaded.image = Buffer();
    loaded.invalid_because = read.error().message;
    return {};
  }
  TRY(std::move(read));
  const ByteSpan image = loaded.image.bytes();
  if (auto why = metadata::why_invalid(image)) {
    loaded.invalid_because = std::move(*why);
    return {};
  }
  loaded.version = metadata::image_version(image).value_or(0);
  if (loaded.version == 0 || loaded.version > metadata::kVersionMax)
    return fail(Errc::corrupt,
                concat(blob_name(side), ", file offset ", file_offset(0), ": version ",
                       loaded.version, " although the checksum is right"));
  return {};
}

Result<uint64_t> MetadataStore::refresh() {
  if (!options_.read_only)
    return fail(Errc::invalid_argument, concat("metadata partition ", options_.partition,
                                               " is open for writing: only readers follow"));
  MutexLock writer(writer_);
  RecoveryLog unused(storage_, true);
  MetadataStoreOptions options = options_;
  options.strict = false;  // beside a writer, one copy may be half written
  for (int attempt = 0; attempt < kTornReadsMax; ++attempt) {
    TRY_INTO(const auto found, open(storage_, options, unused));
    const uint64_t known = version();
    // One copy was read before a commit, the other one inside the next.
    if (found->version() < known) continue;
    if (found->version() > known) adopt(*found);
    return found->version();
  }
  return fail(Errc::locked,
              concat("metadata partition ", options_.partition, " in ", storage_.description(),
                     " was rewritten during each of ", kTornReadsMax,
                     " attempts to read it, or holds an older version than before: "
                     "try again"));
}

void MetadataStore::adopt(MetadataStore& newer) {
  WriterLock newer_state(newer.state_);
  WriterLock state(state_);
  map_.swap(newer.map_);
  image_size_ = newer.image_size_;
  version_ = newer.version_;
}

// Neither copy is valid. That is a new store, a first sync that was cut off, or damage.
Status MetadataStore::resolve_lone_first_copy(std::array<Loaded, 2>& loaded,
                                              RecoveryLog& recovery) {
  Loaded& first = loaded[kRight];
  if (first.invalid_because.empty() && loaded[kLeft].invalid_because.empty()) return {};

  const ByteSpan image = first.image.bytes();
  const bool is_lone = loaded[kLeft].invalid_because.empty() && !image.empty();
  const auto told = [&](std::string reason) {
    recovery.note_damage(whole_copy(options_, kRight, image.size(), std::move(reason)));
  };
  switch (is_lone ? metadata::judge_lone_copy(image) : metadata::LoneCopy::damaged) {
    case metadata::LoneCopy::complete:
      if (const uint64_t field = metadata::image_version(image).value_or(0); field != 0)
        told(metadata::describe_completed_copy(field));
      first.version = 1;
      first.invalid_because.clear();
      return {};
    case metadata::LoneCopy::cut_off:
      if (!options_.has_commit) told(metadata::describe_cut_off_copy(first.invalid_because));
      return {};
    case metadata::LoneCopy::damaged: break;
  }
  std::string message = "no copy of the metadata is readable:";
  for (const size_t side : {kLeft, kRight})
    message += concat(" ", blob_name(side), " ",
                      loaded[side].invalid_because.empty() ? std::string("is empty")
                                                           : loaded[side].invalid_because,
                      ";");
  if (loaded[kLeft].has_unsupported_version || loaded[kRight].has_unsupported_version)
    return fail(Errc::unsupported_version,
                concat(message, " use the firn that wrote them, or restore both from a backup"));
  return fail(Errc::corrupt, concat(message, kAdvice));
}

// The copy in use is the newest valid one. Was there a newer one?
void MetadataStore::report_other_copy(const Loaded& other, RecoveryLog& recovery) {
  const size_t side = 1 - newest_;
  const bool is_missing = copies_[side].blob == nullptr;  // or its header is bad: no commit's doing
  std::string_view problem = other.invalid_because;
  if (problem.empty()) {
    if (other.version > 0) return;
    // Both blobs are made before the first commit, which leaves one without content.
    if (version_ == 1 && newest_ == kRight && !is_missing) return;
    problem = is_missing ? metadata::kIsMissing : metadata::kHasNoContent;
  }
  opened_from_one_copy_ = true;
  const ByteSpan image = other.image.bytes();
  BlobRange found = whole_copy(options_, side, image.size(),
                               metadata::describe_bad_copy(problem, image, version_));
  if (is_missing) found.copy = BlobRange::Copy::damaged;
  recovery.note_damage(std::move(found));
}

Status MetadataStore::adopt(const std::array<Loaded, 2>& loaded) {
  const Loaded& newest = loaded[newest_];
  const ByteSpan image = newest.image.bytes();
  TRY_INTO(const auto pairs, metadata::decode_pairs(image, options_, blob_name(newest_)));
  for (const metadata::ImagePair& pair : pairs) {
    Entry entry{to_bytes(pair.encoded), pair.prefix_size, {}};
    entry.start[newest_] = pair.start;
    map_.emplace_hint(map_.end(), to_bytes(pair.key), std::move(entry));
  }
  image_size_ = image.size();
  copies_[newest_].version = version_;
  copies_[newest_].crc = metadata::stored_crc(image);
  copies_[newest_].stale = false;
  if (loaded[1 - newest_].version == 0) return {};
  return compare_older_copy(1 - newest_, loaded[1 - newest_]);
}

// Learns what the older copy lacks, so that the next sync writes no more than that.
Status MetadataStore::compare_older_copy(size_t side, const Loaded& older) {
  const ByteSpan image = older.image.bytes();
  TRY_INTO(const auto pairs, metadata::decode_pairs(image, options_, blob_name(side)));
  if (pairs.size() != map_.size()) return {};
  Copy& copy = copies_[side];
  auto pair = pairs.begin();
  for (auto& [key, entry] : map_) {
    if (!equal_bytes(key, pair->key)) {
      copy.outdated.clear();
      return {};
    }
    entry.start[side] = pair->start;
    if (!equal_bytes(entry.encoded, pair->encoded))
      copy.outdated.emplace(key, to_bytes(pair->encoded));
    ++pair;
  }
  copy.version = older.version;
  copy.crc = metadata::stored_crc(image);
  copy.stale = false;
  return {};
}

// A killed process may have left the newest commit unflushed, and a first commit may lack its
// version; from now on it counts.
Status MetadataStore::make_ready_for_writing(const Loaded& newest) {
  if (version_ > 0) {
    Blob& blob = *copies_[newest_].blob;
    TRY(blob.sync());
    if (metadata::image_version(newest.image.bytes()) != version_) {
      std::array<std::byte, metadata::kVersionSizeBytes> field;
      store_big_endian<uint64_t>(field.data(), version_);
      TRY(blob.write_at(0, ByteSpan(field)));
      TRY(blob.sync());
    }
  }
  for (const size_t side : {kLeft, kRight})
    if (!copies_[side].blob && !copies_[side].damaged_header) TRY(recreate_blob(side));
  return {};
}

}  // namespace firn
