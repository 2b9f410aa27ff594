// SPDX-License-Identifier: Apache-2.0
//
// How a MetadataStore makes its map durable.
#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/metadata/metadata_image.h"
#include "firn/metadata/metadata_store.h"

namespace firn {

using metadata::kCrcSizeBytes;
using metadata::kSideNames;
using metadata::kVersionSizeBytes;

namespace {

constexpr size_t kOverwritesMin = 128;     // changed values that are always written in place
constexpr uint64_t kPageSizeBytes = 4096;  // of the operating system

Bytes name_of(size_t side) {
  return to_bytes(as_bytes(kSideNames[side]));
}

std::array<std::byte, kVersionSizeBytes> version_field(uint64_t version) {
  std::array<std::byte, kVersionSizeBytes> field;
  store_big_endian<uint64_t>(field.data(), version);
  return field;
}

}  // namespace

std::string MetadataStore::blob_name(size_t side) const {
  return concat(options_.partition, "/", to_hex(name_of(side)), " (", kSideNames[side], ")");
}

// Whoever synced while this call waited for the lock began after every change that was made before
// the call: changes need the same lock.
Status MetadataStore::sync() {
  const uint64_t before = version();
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  if (version() != before) return {};
  return sync_locked();
}

Status MetadataStore::sync_both() {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  TRY(sync_locked());
  return sync_locked();
}

Status MetadataStore::sync_locked() {
  TRY(poison_.check());
  const size_t side = 1 - newest_;
  // A value that was put back may be what the older copy holds: then the newest one is behind.
  if (copies_[side].is_current() && copies_[newest_].is_current()) return {};
  TRY(check_writable());
  if (version() == metadata::kVersionMax)
    return fail(Errc::no_space,
                concat("version ", version(),
                       " of the metadata is the last one: put its pairs into a new store"));
  return poison_.watch(write_newer(side));
}

// Nothing in memory says that the write happened before it is durable.
Status MetadataStore::write_newer(size_t side) {
  Copy& copy = copies_[side];
  if (!copy.blob) TRY(recreate_blob(side));
  if (copy.has_leftover) TRY(drop_leftover(copy));
  const uint64_t version = this->version() + 1;
  const bool in_place = can_overwrite(copy);
  TRY(in_place ? overwrite(side, version) : rewrite(side, version));
  copy.version = version;
  copy.stale = false;
  copy.outdated.clear();
  newest_ = side;
  WriterLock lock(state_);
  version_ = version;
  ++(in_place ? statistics_.sync_overwrites : statistics_.sync_rewrites);
  return {};
}

// Where more values have changed than the image has pages, one write of all of it is cheaper.
bool MetadataStore::can_overwrite(const Copy& target) const {
  if (target.stale) return false;
  ReaderLock lock(state_);
  if (target.outdated.size() > std::max<size_t>(kOverwritesMin, image_size_ / kPageSizeBytes))
    return false;
  return std::ranges::all_of(target.outdated, [&](const auto& outdated) NO_THREAD_SAFETY_ANALYSIS {
    return map_.find(outdated.first)->second.encoded.size() == outdated.second.size();
  });
}

Status MetadataStore::overwrite(size_t side, uint64_t version) {
  struct Patch {
    uint64_t offset;
    ByteSpan before;
    ByteSpan after;  // as long
  };
  Copy& copy = copies_[side];
  const auto held_version = version_field(copy.version);
  const auto new_version = version_field(version);
  std::vector<Patch> patches;
  uint64_t size = 0;
  {
    ReaderLock lock(state_);
    size = image_size_;
    for (const auto& [key, held] : copy.outdated) {
      // Stays where it is without the lock, too: who changes values holds writer_.
      const Entry& entry = map_.find(key)->second;
      patches.push_back({entry.start[side], held, entry.encoded});
    }
  }
  patches.push_back({0, held_version, new_version});
  if (copy.blob->size() != size)
    return fail(Errc::corrupt, concat(blob_name(side), " has ", copy.blob->size(), " bytes, ", size,
                                      " expected: it was changed from outside"));
  const uint64_t crc_offset = size - kCrcSizeBytes;
  uint32_t crc = copy.crc;
  for (const Patch& patch : patches) {
    const uint64_t after_patch = crc_offset - patch.offset - patch.after.size();
    crc = patch_crc32c(crc, crc32c(patch.before), crc32c(patch.after), after_patch);
    TRY(copy.blob->write_at(patch.offset, patch.after));
  }
  std::array<std::byte, kCrcSizeBytes> crc_field;
  store_big_endian<uint32_t>(crc_field.data(), crc);
  TRY(copy.blob->write_at(crc_offset, ByteSpan(crc_field)));
  TRY(copy.blob->sync());
  copy.crc = crc;
  return {};
}

Buffer MetadataStore::build_image(size_t side, uint64_t version) {
  WriterLock lock(state_);
  Buffer image(image_size_);
  const MutableByteSpan out = image.mutable_bytes();
  store_big_endian<uint64_t>(out.data(), version);
  size_t offset = kVersionSizeBytes;
  for (auto& [key, entry] : map_) {
    copy_bytes(out.subspan(offset), key);
    offset += key.size();
    entry.start[side] = offset;
    copy_bytes(out.subspan(offset), entry.encoded);
    offset += entry.encoded.size();
  }
  CHECK(offset + kCrcSizeBytes == image_size_, "the size of the image is kept up to date");
  store_big_endian<uint32_t>(out.data() + offset, crc32c(out.first(offset)));
  return image;
}

Status MetadataStore::rewrite(size_t side, uint64_t version) {
  const Buffer image = build_image(side, version);
  const ByteSpan bytes = image.bytes();
  Copy& copy = copies_[side];
  if (version == 1) {
    TRY(write_first_image(*copy.blob, bytes));
  } else {
    TRY(copy.blob->write_at(0, bytes));
    if (copy.blob->size() > bytes.size()) TRY(copy.blob->resize(bytes.size()));
    TRY(copy.blob->sync());
  }
  copy.crc = metadata::stored_crc(bytes);
  return {};
}

// No other copy backs up the first commit. Its version field becomes durable last, so that a torn
// first commit can be told from a damaged one. The blob is empty: a leftover was dropped.
Status MetadataStore::write_first_image(Blob& blob, ByteSpan image) {
  TRY(blob.write_at(kVersionSizeBytes, image.subspan(kVersionSizeBytes)));
  TRY(blob.sync());
  TRY(blob.write_at(0, image.first(kVersionSizeBytes)));
  return blob.sync();
}

// The next commit has the version that the leftover may have had, and may be as long: torn over it,
// the two could make up a commit that was given up.
Status MetadataStore::drop_leftover(Copy& copy) {
  TRY(copy.blob->resize(0));
  TRY(copy.blob->sync());
  copy.has_leftover = false;
  return {};
}

// A blob whose header is damaged cannot be opened. It is not the newest copy, and its turn to be
// overwritten has come.
Status MetadataStore::recreate_blob(size_t side) {
  const Bytes name = name_of(side);
  if (copies_[side].damaged_header) TRY(storage_.remove(options_.partition, std::span(&name, 1)));
  TRY_INTO(copies_[side].blob, storage_.open(options_.partition, name, OpenMode::create_new));
  return {};
}

}  // namespace firn
