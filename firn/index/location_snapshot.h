// SPDX-License-Identifier: Apache-2.0
//
// Snapshots of a LocationIndex. Entries are copied home by home under the home's lock, so that a
// key is in a snapshot at most once, into a private table of the right size, which is then written:
// what is on disk has no locks, no frozen copies and no drift. Loading checks every bit by
// checksums and every entry by looking for it.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/index/location_core.h"
#include "firn/index/location_home_entries.h"
#include "firn/index/location_index.h"
#include "firn/index/location_snapshot_file.h"

namespace firn {
namespace index {

inline std::unexpected<Error> no_snapshot_memory() {
  return fail(Errc::no_space, "no memory for a table of an index while its snapshot is copied");
}

// A table that only one thread knows, for as long as this lives.
template <class Policy>
struct PrivateTable {
  PrivateTable(const LocationCore<Policy>& owner, unsigned size_class)
      : core(owner), ref(owner.allocate_table(size_class)) {}
  ~PrivateTable() {
    if (ref) core.release_table(ref);
  }
  PrivateTable(const PrivateTable&) = delete;
  PrivateTable& operator=(const PrivateTable&) = delete;

  const LocationCore<Policy>& core;
  const LocationTableRef<Policy> ref;
};

// The image of one shard.
template <class Policy>
Status write_shard(const LocationCore<Policy>& core, const LocationShard<Policy>& shard,
                   SnapshotWriter& writer, SnapshotShard& written) {
  std::vector<LocationHomeEntry> entries;
  const auto add = [&](InShardHash hash, uint64_t word) {
    entries.push_back({.hash = hash, .word = word});
  };
  core.visit(shard, LocationVisitor::of(add));
  const unsigned size_class = core.class_for(entries.size(), shard);
  const PrivateTable<Policy> table(core, size_class);
  const LocationTableRef<Policy> ref = table.ref;
  if (!ref) return no_snapshot_memory();
  // What does not fit into its chain follows the table.
  std::vector<LocationHomeEntry> extras;
  for (const LocationHomeEntry& entry : entries)
    if (!core.add_private(ref, entry.hash, entry.word)) extras.push_back(entry);
  written = {.size_class = size_class,
             .extras = static_cast<uint32_t>(extras.size()),
             .entries = entries.size()};
  static constexpr std::array<std::byte, kSnapshotTableHead> kHead{};
  Status status = writer.write(kHead);
  for (uint32_t block = 0; status && block < ref.block_count(); ++block)
    status = writer.write(std::as_bytes(ref.block(block)));
  for (const LocationHomeEntry& entry : extras) {
    std::array<std::byte, kSnapshotExtra> bytes;
    store_big_endian<uint64_t>(bytes.data(), entry.hash.bits);
    store_big_endian(bytes.data() + sizeof(uint64_t), entry.word & kLocationMask);
    if (status) status = writer.write(bytes);
  }
  return status ? writer.pad() : std::move(status);
}

// Whether a lookup would find what is in this slot.
template <class Policy>
bool is_reachable(LocationTableRef<Policy> ref, uint32_t bucket, InShardHash hash) {
  const uint32_t home = hash.home(ref.bucket_count());
  ChainShape chain(home, ref.bucket_count());
  uint32_t at = home;
  while (at != bucket)
    if ((ref.bucket(at).load_header() & hash.class_bit()) == 0 || !chain.next(at)) return false;
  return true;
}

// The entries of a table that was read, or nothing if it is not one.
template <class Policy>
std::optional<uint64_t> count_valid(LocationTableRef<Policy> ref) {
  const uint32_t buckets = ref.bucket_count();
  uint64_t entries = 0;
  uint32_t number = 0;
  for (uint32_t block = 0; block < ref.block_count(); ++block) {
    for (LocationBucket<Policy>& bucket : ref.block(block)) {
      const uint64_t header = bucket.load_header();
      if ((header & (kLockBit | kMigratedBit)) != 0) return std::nullopt;
      for (unsigned slot = 0; slot < kSlots; ++slot) {
        const uint64_t word = bucket.load_slot(slot);
        if (word == 0) continue;
        if ((word & kFrozenBit) != 0 || (word & kLocationMask) == 0) return std::nullopt;
        const InShardHash hash = hash_of(header, slot, word);
        if (hash.home(buckets) != number && !is_reachable(ref, number, hash)) return std::nullopt;
        ++entries;
      }
      ++number;
    }
  }
  return entries;
}

// Tables that are read but do not belong to a shard yet.
template <class Policy>
class LoadedTables {
 public:
  explicit LoadedTables(LocationCore<Policy>& core) : core_(core) {
    tables_.reserve(core.shard_count());
  }
  ~LoadedTables() {
    for (const auto& [ref, entries] : tables_)
      core_.release_table(ref);
  }
  LoadedTables(const LoadedTables&) = delete;
  LoadedTables& operator=(const LoadedTables&) = delete;

  // Reads the next shard: into a new table, or, where the image is in memory, beside it.
  Status read(SnapshotReader& reader, const SnapshotShard& shard, std::byte* in_place) {
    TRY(read_head(reader));
    LocationTableRef<Policy> ref;
    const uint64_t bucket_bytes = uint64_t{kBucketCounts[shard.size_class]} * kSnapshotBucket;
    ref = in_place == nullptr
              ? core_.allocate_table(shard.size_class)
              : core_.allocate_table_in_place(shard.size_class, in_place + kSnapshotTableHead);
    if (!ref) return no_snapshot_memory();
    tables_.emplace_back(ref, shard.entries);
    if (in_place != nullptr) TRY(reader.skip(bucket_bytes));
    for (uint32_t block = 0; in_place == nullptr && block < ref.block_count(); ++block)
      TRY(reader.read(std::as_writable_bytes(ref.block(block))));
    const auto entries = count_valid(ref);
    if (!entries || *entries + shard.extras != shard.entries)
      return fail(Errc::corrupt,
                  "snapshot of an index: a table is not consistent; rebuild the "
                  "index from the log");
    for (uint32_t i = 0; i < shard.extras; ++i)
      TRY(read_extra(reader, ref));
    const uint64_t used = kSnapshotTableHead + bucket_bytes + shard.extras * kSnapshotExtra;
    return reader.skip(shard.image_bytes() - used);
  }

  void install() {
    for (size_t i = 0; i < tables_.size(); ++i)
      core_.install(core_.shard(i), tables_[i].first, tables_[i].second);
    tables_.clear();
  }

 private:
  // In memory pointers are here, so nothing else than zeros may come from a file.
  static Status read_head(SnapshotReader& reader) {
    std::array<std::byte, kSnapshotTableHead> head;
    TRY(reader.read(head));
    if (std::ranges::all_of(head, [](std::byte byte) { return byte == std::byte{0}; })) return {};
    return fail(Errc::corrupt,
                "snapshot of an index: the head of a table is not empty; rebuild the "
                "index from the log");
  }

  Status read_extra(SnapshotReader& reader, LocationTableRef<Policy> ref) {
    std::array<std::byte, kSnapshotExtra> bytes;
    TRY(reader.read(bytes));
    const auto hash = load_big_endian<uint64_t>(bytes.data());
    const auto location = load_big_endian<uint64_t>(bytes.data() + sizeof hash);
    if (hash >> kInShardBits != 0 || location - 1 >= kLocationMax)
      return fail(Errc::corrupt,
                  "snapshot of an index: an entry beyond its table is not one; "
                  "rebuild the index from the log");
    const InShardHash in_shard{static_cast<uint32_t>(hash)};
    if (!core_.add_stashed(ref, in_shard, in_shard.word(Location(location))))
      return no_snapshot_memory();
    return {};
  }

  LocationCore<Policy>& core_;
  std::vector<std::pair<LocationTableRef<Policy>, uint64_t>> tables_;
};

// A snapshot that is in memory as a whole.
class ImageSource final : public SnapshotSource {
 public:
  explicit ImageSource(ByteSpan image) : image_(image) {}

  [[nodiscard]] uint64_t size() const override { return image_.size(); }
  Status read(uint64_t offset, MutableByteSpan target) override {
    copy_bytes(target, image_.subspan(offset, target.size()));
    return {};
  }

 private:
  ByteSpan image_;
};

}  // namespace index

template <class Policy>
Result<SnapshotRange> BasicLocationIndex<Policy>::snapshot(Session& session, SnapshotSink& sink,
                                                           uint64_t log_begin) const {
  static_assert(sizeof(index::LocationBucket<Policy>) == index::kSnapshotBucket);
  index::SnapshotWriter writer(sink);
  TRY(writer.begin(
      {.hasher = hasher_.fingerprint(), .shard_bits = shard_bits_, .log_begin = log_begin}));
  std::vector<index::SnapshotShard> shards(shard_count());
  for (size_t i = 0; i < shards.size(); ++i) {
    const Pin pin(session);
    TRY(index::write_shard(core_, core_.shard(i), writer, shards[i]));
  }
  const SnapshotRange range{.log_begin = log_begin, .log_end = sink.log_end()};
  TRY(writer.finish(shards, range.log_end));
  return range;
}

template <class Policy>
Result<SnapshotRange> BasicLocationIndex<Policy>::load_tables(SnapshotSource& source,
                                                              std::byte* in_place) {
  if (size() != 0 || !core_.is_quiet())
    return fail(Errc::invalid_argument, "an index is loaded when it was just opened");
  TRY_INTO(index::SnapshotReader reader, index::SnapshotReader::open(source));
  if (reader.header().hasher != hasher_.fingerprint())
    return fail(Errc::invalid_argument,
                "the snapshot is of an index with another seed or mode of "
                "its hash; rebuild the index from the log");
  if (reader.header().shard_bits != shard_bits_)
    return fail(Errc::invalid_argument, "the snapshot has 2^" +
                                            std::to_string(reader.header().shard_bits) +
                                            " shards, the index 2^" + std::to_string(shard_bits_) +
                                            "; rebuild the index from the log");
  index::LoadedTables<Policy> tables(core_);
  uint64_t offset = index::kSnapshotPage;
  for (const index::SnapshotShard& shard : reader.shards()) {
    TRY(tables.read(reader, shard, in_place == nullptr ? nullptr : in_place + offset));
    offset += shard.image_bytes();
  }
  tables.install();
  return reader.range();
}

template <class Policy>
Result<SnapshotRange> BasicLocationIndex<Policy>::load(SnapshotSource& source) {
  return load_tables(source, nullptr);
}

template <class Policy>
Result<SnapshotRange> BasicLocationIndex<Policy>::load_in_place(MutableByteSpan image) {
  if (reinterpret_cast<uintptr_t>(image.data()) % index::kSnapshotPage != 0)
    return fail(Errc::invalid_argument, "a snapshot is loaded in place at a multiple of 4096");
  index::ImageSource source(image);
  return load_tables(source, image.data());
}

}  // namespace firn
