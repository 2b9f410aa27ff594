// SPDX-License-Identifier: Apache-2.0
#include "firn/metadata/metadata_store.h"

#include <algorithm>

#include "firn/base/text.h"
#include "firn/metadata/metadata_image.h"

namespace firn {

using metadata::kImageSizeMaxBytes;
using metadata::kImageSizeMinBytes;

bool MetadataStore::KeyOrder::operator()(ByteSpan a, ByteSpan b) const {
  return std::ranges::lexicographical_compare(a, b);
}

MetadataStore::MetadataStore(Storage& storage, const MetadataStoreOptions& options)
    : storage_(storage), options_(options), image_size_(kImageSizeMinBytes) {}

MetadataStore::~MetadataStore() = default;

Status MetadataStore::look_strictly(Storage& storage, MetadataStoreOptions options) {
  options.strict = false;
  options.read_only = true;
  RecoveryLog look_only(storage, true);
  auto looked = open(storage, options, look_only);
  if (!looked && looked.error().code != Errc::not_found) return pass_on(looked);
  return refuse_damage_and_cuts(look_only.report());
}

Result<std::unique_ptr<MetadataStore>> MetadataStore::open(Storage& storage,
                                                           const MetadataStoreOptions& options,
                                                           RecoveryLog& recovery) {
  if (options.key_size_bytes == 0 || options.key_size_bytes > kMetadataKeySizeMaxBytes)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options.partition, ": key_size_bytes is ",
                       options.key_size_bytes, ", 1 to ", kMetadataKeySizeMaxBytes, " expected"));
  if (options.strict) TRY(look_strictly(storage, options));
  std::unique_ptr<MetadataStore> store(new MetadataStore(storage, options));
  MutexLock writer(store->writer_);
  WriterLock state(store->state_);
  TRY(store->load(recovery));
  return store;
}

std::optional<Bytes> MetadataStore::get(ByteSpan key) const {
  ReaderLock lock(state_);
  const auto found = map_.find(key);
  if (found == map_.end()) return std::nullopt;
  return to_bytes(found->second.value());
}

void MetadataStore::for_each(const Visitor& visit) const {
  for_each_with_prefix({}, visit);
}

void MetadataStore::for_each_with_prefix(ByteSpan prefix, const Visitor& visit) const {
  ReaderLock lock(state_);
  for (auto at = map_.lower_bound(prefix); at != map_.end(); ++at) {
    if (at->first.size() < prefix.size() ||
        !equal_bytes(ByteSpan(at->first).first(prefix.size()), prefix))
      return;
    visit(at->first, at->second.value());
  }
}

uint64_t MetadataStore::version() const {
  ReaderLock lock(state_);
  return version_;
}

MetadataStatistics MetadataStore::statistics() const {
  ReaderLock lock(state_);
  MetadataStatistics statistics = statistics_;
  statistics.keys = map_.size();
  statistics.image_bytes = image_size_;
  return statistics;
}

Status MetadataStore::put(ByteSpan key, ByteSpan value) {
  MutexLock lock(writer_);
  const Change only{key, value};
  return change({&only, 1});
}

Status MetadataStore::remove(ByteSpan key) {
  MutexLock lock(writer_);
  const Change only{key, std::nullopt};
  return change({&only, 1});
}

Status MetadataStore::apply(const MetadataBatch& batch) {
  MutexLock lock(writer_);
  std::vector<Change> changes;
  changes.reserve(batch.changes_.size());
  for (const auto& [key, value] : batch.changes_)
    changes.push_back({key, value ? std::optional<ByteSpan>(*value) : std::nullopt});
  return change(changes);
}

Result<MetadataStore::Comparison> MetadataStore::compare_and_set(ByteSpan key,
                                                                 std::optional<ByteSpan> expected,
                                                                 std::optional<ByteSpan> desired) {
  MutexLock lock(writer_);
  const Change wanted{key, desired};
  TRY(check_writable());
  TRY(check_change(wanted));
  {
    ReaderLock reader(state_);
    const auto found = map_.find(key);
    const bool is_expected =
        found == map_.end() ? !expected : expected && equal_bytes(found->second.value(), *expected);
    if (!is_expected) return Comparison::different;
  }
  TRY(change({&wanted, 1}));
  return Comparison::equal;
}

Status MetadataStore::retain(const std::function<bool(ByteSpan, ByteSpan)>& keep) {
  MutexLock lock(writer_);
  std::vector<Bytes> dropped;
  {
    ReaderLock reader(state_);
    for (const auto& [key, entry] : map_)
      if (!keep(key, entry.value())) dropped.push_back(key);
  }
  std::vector<Change> changes;
  changes.reserve(dropped.size());
  for (const Bytes& key : dropped)
    changes.push_back({key, std::nullopt});
  return change(changes);
}

Status MetadataStore::clear() {
  MutexLock lock(writer_);
  const Poison::Guard guard(poison_);
  TRY(check_writable());
  WriterLock state(state_);
  map_.clear();
  image_size_ = kImageSizeMinBytes;
  mark_stale();
  return {};
}

Status MetadataStore::check_writable() const {
  if (options_.read_only)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, " is open read-only"));
  return poison_.check();
}

Status MetadataStore::check_change(const Change& change) const {
  const auto refuse = [&](const std::string& why) {
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, ": ", why));
  };
  if (change.key.size() != options_.key_size_bytes)
    return refuse(
        concat("a key of ", change.key.size(), " bytes; keys have ", options_.key_size_bytes));
  if (!change.value) return {};
  const ByteSpan value = *change.value;
  if (value.size() > options_.value_size_max_bytes)
    return refuse(concat("a value of ", value.size(), " bytes for key ", to_hex(change.key),
                         "; the limit is ", options_.value_size_max_bytes));
  if (options_.self_delimiting && options_.self_delimiting(value) != value.size())
    return refuse(concat("the value for key ", to_hex(change.key), " is not self-delimiting"));
  return {};
}

// All or nothing: whatever can be refused is refused before the first change.
Status MetadataStore::change(std::span<const Change> changes) {
  TRY(check_writable());
  std::map<ByteSpan, std::optional<metadata::EncodedValue>, KeyOrder> last;
  for (const Change& change : changes) {
    TRY(check_change(change));
    auto& encoded = last[change.key];
    encoded.reset();
    if (change.value) encoded = metadata::encode_value(*change.value, options_);
  }
  WriterLock lock(state_);
  uint64_t image_size = image_size_;
  for (const auto& [key, encoded] : last) {
    const auto found = map_.find(key);
    if (found != map_.end()) image_size -= key.size() + found->second.encoded.size();
    if (encoded) image_size += key.size() + encoded->bytes.size();
  }
  if (image_size > kImageSizeMaxBytes)
    return fail(Errc::invalid_argument,
                concat("metadata partition ", options_.partition, " would grow to ", image_size,
                       " bytes: the limit is ", kImageSizeMaxBytes));
  const Poison::Guard guard(poison_);
  image_size_ = image_size;
  for (auto& [key, encoded] : last) {
    if (encoded)
      set_value(key, std::move(*encoded));
    else if (map_.erase(to_bytes(key)) > 0)
      mark_stale();
  }
  return {};
}

// Each copy keeps note of the value that it holds, as long as that is another one.
void MetadataStore::set_value(ByteSpan key, metadata::EncodedValue&& encoded) {
  const auto found = map_.find(key);
  if (found == map_.end()) {
    map_.emplace(to_bytes(key), Entry{std::move(encoded.bytes), encoded.prefix_size, {}});
    mark_stale();
    return;
  }
  Entry& entry = found->second;
  if (equal_bytes(entry.encoded, encoded.bytes)) return;
  for (Copy& copy : copies_) {
    if (copy.stale) continue;
    const auto [held, is_new] = copy.outdated.try_emplace(found->first, entry.encoded);
    if (!is_new && equal_bytes(held->second, encoded.bytes)) copy.outdated.erase(held);
  }
  entry.encoded = std::move(encoded.bytes);
  entry.prefix_size = encoded.prefix_size;
}

void MetadataStore::mark_stale() {
  for (Copy& copy : copies_) {
    copy.stale = true;
    copy.outdated.clear();
  }
}

}  // namespace firn
