// SPDX-License-Identifier: Apache-2.0
#include "firn/metadata/metadata_store.h"

#include <algorithm>

#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/metadata/metadata_image.h"

namespace firn {

using metadata::kCrcSizeBytes;
using metadata::kImageSizeMaxBytes;
using metadata::kImageSizeMinBytes;
using metadata::kVersionSizeBytes;

namespace {

constexpr std::array<std::string_view, 2> kSideNames = {"left", "right"};

Bytes name_of(size_t side) {
  return to_bytes(as_bytes(kSideNames[side]));
}

}  // namespace

bool MetadataStore::KeyOrder::operator()(ByteSpan a, ByteSpan b) const {
  return std::ranges::lexicographical_compare(a, b);
}

MetadataStore::MetadataStore(Storage& storage, const MetadataStoreOptions& options)
    : storage_(storage), options_(options), image_size_(kImageSizeMinBytes) {}

MetadataStore::~MetadataStore() = default;

Result<std::unique_ptr<MetadataStore>> MetadataStore::open(Storage& storage,
                                                           const MetadataStoreOptions& options,
                                                           RecoveryLog& recovery) {
  if (options.key_size_bytes == 0)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options.partition, ": key_size_bytes is 0"));
  std::unique_ptr<MetadataStore> store(new MetadataStore(storage, options));
  TRY(store->load(recovery));
  return store;
}

std::optional<ByteSpan> MetadataStore::get(ByteSpan key) const {
  const auto found = map_.find(key);
  if (found == map_.end()) return std::nullopt;
  return found->second.value();
}

Status MetadataStore::put(ByteSpan key, ByteSpan value) {
  TRY(check_writable(key));
  if (value.size() > options_.value_size_max_bytes)
    return fail(Errc::invalid_argument,
                concat("metadata value of ", value.size(), " bytes for key ", to_hex(key), " in ",
                       options_.partition, ": the limit is ", options_.value_size_max_bytes));
  if (options_.self_delimiting && options_.self_delimiting(value) != value.size())
    return fail(Errc::invalid_argument, concat("metadata value for key ", to_hex(key), " in ",
                                               options_.partition, " is not self-delimiting"));
  const auto found = map_.find(key);
  const size_t replaced_size = found == map_.end() ? 0 : found->second.encoded.size();
  metadata::EncodedValue encoded = metadata::encode_value(value, options_);
  const uint64_t image_size =
      image_size_ - replaced_size + encoded.bytes.size() + (found == map_.end() ? key.size() : 0);
  if (image_size > kImageSizeMaxBytes)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, " would grow to ", image_size,
                       " bytes: the limit is ", kImageSizeMaxBytes));
  image_size_ = image_size;
  if (found == map_.end()) {
    map_.emplace(to_bytes(key), Entry{std::move(encoded.bytes), encoded.prefix_size, {}});
    mark_stale();
    return {};
  }
  if (equal_bytes(found->second.encoded, encoded.bytes)) return {};
  mark_outdated(found->first, found->second);
  found->second.encoded = std::move(encoded.bytes);
  found->second.prefix_size = encoded.prefix_size;
  return {};
}

Status MetadataStore::remove(ByteSpan key) {
  TRY(check_writable(key));
  const auto found = map_.find(key);
  if (found == map_.end()) return {};
  image_size_ -= key.size() + found->second.encoded.size();
  map_.erase(found);
  mark_stale();
  return {};
}

void MetadataStore::clear() {
  map_.clear();
  image_size_ = kImageSizeMinBytes;
  mark_stale();
}

void MetadataStore::for_each(const std::function<void(ByteSpan, ByteSpan)>& visit) const {
  for (const auto& [key, entry] : map_)
    visit(key, entry.value());
}

void MetadataStore::for_each_with_prefix(
    ByteSpan prefix, const std::function<void(ByteSpan, ByteSpan)>& visit) const {
  for (auto at = map_.lower_bound(prefix); at != map_.end(); ++at) {
    if (at->first.size() < prefix.size() ||
        !equal_bytes(ByteSpan(at->first).first(prefix.size()), prefix))
      return;
    visit(at->first, at->second.value());
  }
}

MetadataStatistics MetadataStore::statistics() const {
  MetadataStatistics statistics = statistics_;
  statistics.keys = map_.size();
  return statistics;
}

std::string MetadataStore::blob_name(size_t side) const {
  return concat(options_.partition, "/", to_hex(name_of(side)), " (", kSideNames[side], ")");
}

Status MetadataStore::check_writable(ByteSpan key) const {
  if (options_.read_only)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, " is open read-only"));
  if (key.size() != options_.key_size_bytes)
    return fail(Errc::invalid_argument,
                concat("metadata key of ", key.size(), " bytes in ", options_.partition,
                       ": keys have ", options_.key_size_bytes));
  return poison_.check();
}

// Keeps, for each copy, the value that it still holds.
void MetadataStore::mark_outdated(const Bytes& key, const Entry& entry) {
  for (Copy& copy : copies_)
    if (!copy.stale) copy.outdated.try_emplace(key, entry.encoded);
}

void MetadataStore::mark_stale() {
  for (Copy& copy : copies_) {
    copy.stale = true;
    copy.outdated.clear();
  }
}

Status MetadataStore::sync() {
  TRY(poison_.check());
  const size_t side = 1 - newest_;
  if (!copies_[side].stale && copies_[side].outdated.empty()) return {};
  if (options_.read_only)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, " is open read-only"));
  return poison_.watch(write_newer(side));
}

Status MetadataStore::sync_both() {
  TRY(sync());
  return sync();
}

// Nothing in memory says that the write happened before it is durable.
Status MetadataStore::write_newer(size_t side) {
  if (!copies_[side].blob) TRY(recreate_blob(side));
  if (copies_[side].has_leftover) TRY(drop_leftover(copies_[side]));
  const uint64_t version = version_ + 1;
  if (can_overwrite(copies_[side]))
    TRY(overwrite(side, version));
  else
    TRY(rewrite(side, version));
  newest_ = side;
  version_ = version;
  return {};
}

bool MetadataStore::can_overwrite(const Copy& target) const {
  if (target.stale) return false;
  return std::ranges::all_of(target.outdated, [&](const auto& outdated) {
    const auto current = map_.find(outdated.first);
    return current->second.encoded.size() == outdated.second.size();
  });
}

Status MetadataStore::overwrite(size_t side, uint64_t version) {
  Copy& copy = copies_[side];
  const uint64_t size = copy.blob->size();
  if (size != image_size_)
    return fail(Errc::corrupt, concat(blob_name(side), " has ", size, " bytes, ", image_size_,
                                      " expected: it was changed from outside"));
  const uint64_t crc_offset = size - kCrcSizeBytes;
  uint32_t crc = copy.crc;
  const auto replace = [&](uint64_t offset, ByteSpan before, ByteSpan after) {
    crc = patch_crc32c(crc, crc32c(before), crc32c(after), crc_offset - offset - after.size());
    return copy.blob->write_at(offset, after);
  };
  for (const auto& [key, held] : copy.outdated) {
    const Entry& entry = map_.find(key)->second;
    TRY(replace(entry.start[side], held, entry.encoded));
  }
  std::array<std::byte, kVersionSizeBytes> held_version;
  store_big_endian<uint64_t>(held_version.data(), copy.version);
  std::array<std::byte, kVersionSizeBytes> new_version;
  store_big_endian<uint64_t>(new_version.data(), version);
  TRY(replace(0, held_version, new_version));
  std::array<std::byte, kCrcSizeBytes> crc_field;
  store_big_endian<uint32_t>(crc_field.data(), crc);
  TRY(copy.blob->write_at(crc_offset, ByteSpan(crc_field)));
  TRY(copy.blob->sync());
  copy.crc = crc;
  copy.version = version;
  copy.outdated.clear();
  ++statistics_.sync_overwrites;
  return {};
}

Status MetadataStore::rewrite(size_t side, uint64_t version) {
  Buffer image(image_size_);
  MutableByteSpan out = image.mutable_bytes();
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
  const uint32_t crc = crc32c(out.first(offset));
  store_big_endian<uint32_t>(out.data() + offset, crc);

  Copy& copy = copies_[side];
  if (version_ == 0) {
    TRY(write_first_image(*copy.blob, image.bytes()));
  } else {
    TRY(copy.blob->write_at(0, image.bytes()));
    if (copy.blob->size() > image_size_) TRY(copy.blob->resize(image_size_));
    TRY(copy.blob->sync());
  }
  copy.crc = crc;
  copy.version = version;
  copy.stale = false;
  copy.outdated.clear();
  ++statistics_.sync_rewrites;
  return {};
}

// No other copy backs up the first commit. Its version field becomes durable last, so that a torn
// first commit can be told from a damaged one.
Status MetadataStore::write_first_image(Blob& blob, ByteSpan image) {
  TRY(blob.write_at(kVersionSizeBytes, image.subspan(kVersionSizeBytes)));
  if (blob.size() > image.size()) TRY(blob.resize(image.size()));
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
