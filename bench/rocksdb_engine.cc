// SPDX-License-Identifier: Apache-2.0
//
// RocksDB: index -> value (BlobDB for large values) and key -> index in two column families, 10-bit
// bloom filters, no compression; the write-ahead log is flushed by sync. Checksums are on.
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "bench/engine.h"
#include "bench/report.h"
#include "firn/base/endian.h"

namespace firn::bench {
namespace {

void check(const rocksdb::Status& status) {
  if (!status.ok()) give_up("rocksdb: " + status.ToString());
}

rocksdb::Slice as_slice(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class RocksDbEngine final : public Engine {
 public:
  void open(const std::string& directory, const EngineOptions& engine) override {
    rocksdb::DBOptions options;
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.IncreaseParallelism(2);
    options.manual_wal_flush = true;
    rocksdb::ColumnFamilyOptions family;
    family.compression = rocksdb::kNoCompression;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(engine.cache_bytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::ColumnFamilyOptions values = family;
    values.enable_blob_files = engine.large_values;
    values.min_blob_size = 4096;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* database = nullptr;
    check(rocksdb::DB::Open(options, directory,
                            {{rocksdb::kDefaultColumnFamilyName, values}, {"keys", family}},
                            &handles, &database));
    database_.reset(database);
    values_ = handles[0];
    keys_ = handles[1];
  }

  void put(uint64_t index, ByteSpan key, ByteSpan value) override {
    std::byte index_bytes[8];
    store_big_endian(index_bytes, index);
    batch_.Put(values_, as_slice(index_bytes), as_slice(value));
    batch_.Put(keys_, as_slice(key), as_slice(index_bytes));
    if (batch_.GetDataSize() > (1u << 20)) write_batch();
  }

  void sync() override {
    write_batch();
    check(database_->FlushWAL(true));
  }

  uint64_t get(uint64_t index) override {
    std::byte index_bytes[8];
    store_big_endian(index_bytes, index);
    return get_value(as_slice(index_bytes));
  }

  uint64_t get(ByteSpan key) override {
    rocksdb::PinnableSlice index;
    const auto status = database_->Get({}, keys_, as_slice(key), &index);
    if (status.IsNotFound()) return 0;
    check(status);
    return get_value(index);
  }

  uint64_t get_many(std::span<const uint64_t> indices) override {
    std::vector<std::array<std::byte, 8>> bytes(indices.size());
    std::vector<rocksdb::Slice> slices(indices.size());
    for (size_t i = 0; i < indices.size(); ++i) {
      store_big_endian(bytes[i].data(), indices[i]);
      slices[i] = as_slice(bytes[i]);
    }
    return sum_of_many(values_, slices);
  }

  uint64_t get_many(std::span<const ByteSpan> keys) override {
    std::vector<rocksdb::Slice> slices(keys.size());
    for (size_t i = 0; i < keys.size(); ++i)
      slices[i] = as_slice(keys[i]);
    std::vector<rocksdb::PinnableSlice> found(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    database_->MultiGet({}, keys_, slices.size(), slices.data(), found.data(), statuses.data());
    std::vector<rocksdb::Slice> indices;
    for (size_t i = 0; i < keys.size(); ++i)
      if (statuses[i].ok()) indices.push_back(found[i]);
    return sum_of_many(values_, indices);
  }

  void close() override {
    sync();
    check(database_->DestroyColumnFamilyHandle(values_));
    check(database_->DestroyColumnFamilyHandle(keys_));
    check(database_->Close());
    database_.reset();
  }

 private:
  void write_batch() {
    check(database_->Write({}, &batch_));
    batch_.Clear();
  }

  uint64_t get_value(const rocksdb::Slice& index) {
    rocksdb::PinnableSlice value;
    const auto status = database_->Get({}, values_, index, &value);
    if (status.IsNotFound()) return 0;
    check(status);
    return sum_words(as_bytes(std::string_view(value.data(), value.size())));
  }

  uint64_t sum_of_many(rocksdb::ColumnFamilyHandle* family,
                       const std::vector<rocksdb::Slice>& slices) {
    std::vector<rocksdb::PinnableSlice> found(slices.size());
    std::vector<rocksdb::Status> statuses(slices.size());
    database_->MultiGet({}, family, slices.size(), slices.data(), found.data(), statuses.data());
    uint64_t sum = 0;
    for (size_t i = 0; i < slices.size(); ++i)
      if (statuses[i].ok())
        sum += sum_words(as_bytes(std::string_view(found[i].data(), found[i].size())));
    return sum;
  }

  std::unique_ptr<rocksdb::DB> database_;
  rocksdb::ColumnFamilyHandle* values_ = nullptr;
  rocksdb::ColumnFamilyHandle* keys_ = nullptr;
  rocksdb::WriteBatch batch_;
};

}  // namespace

std::unique_ptr<Engine> make_rocksdb_engine() {
  return std::make_unique<RocksDbEngine>();
}

}  // namespace firn::bench
