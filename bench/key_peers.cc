// SPDX-License-Identifier: Apache-2.0
//
// LMDB: one database, one transaction a sync; no checksums. RocksDB: 10-bit bloom filters, hashed
// blocks, no compression; the write-ahead log is flushed by sync; checksums are on.
#include <lmdb.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "bench/key_engine.h"
#include "bench/report.h"

namespace firn::bench {
namespace {

void check(int code) {
  if (code != MDB_SUCCESS) give_up(std::string("lmdb: ") + mdb_strerror(code));
}

void check(const rocksdb::Status& status) {
  if (!status.ok()) give_up("rocksdb: " + status.ToString());
}

class LmdbKeys final : public KeyEngine {
 public:
  void open(const std::string& directory, const KeyEngineOptions& options) override {
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, size_t{32} << 30));
    check(mdb_env_open(env_, directory.c_str(), options.exceeds_memory ? MDB_NORDAHEAD : 0, 0600));
    check(mdb_txn_begin(env_, nullptr, 0, &write_));
    check(mdb_dbi_open(write_, nullptr, MDB_CREATE, &map_));
    sync();
  }

  void put(ByteSpan key, ByteSpan value) override {
    end_read();
    if (write_ == nullptr) check(mdb_txn_begin(env_, nullptr, 0, &write_));
    MDB_val key_data = as_data(key);
    MDB_val value_data = as_data(value);
    check(mdb_put(write_, map_, &key_data, &value_data, 0));
  }

  void sync() override {
    if (write_ != nullptr) check(mdb_txn_commit(write_));
    write_ = nullptr;
  }

  // One long read transaction, the fastest way to read LMDB.
  uint64_t get(ByteSpan key) override {
    if (read_ == nullptr) check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &read_));
    MDB_val key_data = as_data(key);
    MDB_val value;
    const int code = mdb_get(read_, map_, &key_data, &value);
    if (code == MDB_NOTFOUND) return 0;
    check(code);
    return sum_words({static_cast<const std::byte*>(value.mv_data), value.mv_size});
  }

  void close() override {
    end_read();
    sync();
    mdb_env_close(env_);
    env_ = nullptr;
  }

 private:
  static MDB_val as_data(ByteSpan bytes) {
    return {bytes.size(), const_cast<std::byte*>(bytes.data())};
  }
  void end_read() {
    if (read_ != nullptr) mdb_txn_abort(read_);
    read_ = nullptr;
  }

  MDB_env* env_ = nullptr;
  MDB_dbi map_ = 0;
  MDB_txn* write_ = nullptr;
  MDB_txn* read_ = nullptr;
};

rocksdb::Slice as_slice(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class RocksDbKeys final : public KeyEngine {
 public:
  void open(const std::string& directory, const KeyEngineOptions& engine) override {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.IncreaseParallelism(2);
    options.manual_wal_flush = true;
    options.compression = rocksdb::kNoCompression;
    options.advise_random_on_open = true;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(engine.cache_bytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* database = nullptr;
    check(rocksdb::DB::Open(options, directory, &database));
    database_.reset(database);
  }

  void put(ByteSpan key, ByteSpan value) override {
    batch_.Put(as_slice(key), as_slice(value));
    if (batch_.GetDataSize() > (1u << 20)) write_batch();
  }

  void sync() override {
    write_batch();
    check(database_->FlushWAL(true));
  }

  void settle() override {
    check(database_->Flush({}));
    check(database_->CompactRange({}, nullptr, nullptr));
  }

  uint64_t get(ByteSpan key) override {
    found_.Reset();
    const auto status =
        database_->Get({}, database_->DefaultColumnFamily(), as_slice(key), &found_);
    if (status.IsNotFound()) return 0;
    check(status);
    return sum_of(found_);
  }

  uint64_t get_many(std::span<const ByteSpan> keys) override {
    std::vector<rocksdb::Slice> slices;
    for (const ByteSpan key : keys)
      slices.push_back(as_slice(key));
    std::vector<rocksdb::PinnableSlice> found(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    database_->MultiGet({}, database_->DefaultColumnFamily(), slices.size(), slices.data(),
                        found.data(), statuses.data());
    uint64_t sum = 0;
    for (size_t i = 0; i < keys.size(); ++i)
      if (statuses[i].ok()) sum += sum_of(found[i]);
    return sum;
  }

  void close() override {
    sync();
    found_.Reset();
    check(database_->Close());
    database_.reset();
  }

 private:
  static uint64_t sum_of(const rocksdb::Slice& value) {
    return sum_words(as_bytes(std::string_view(value.data(), value.size())));
  }
  void write_batch() {
    check(database_->Write({}, &batch_));
    batch_.Clear();
  }

  std::unique_ptr<rocksdb::DB> database_;
  rocksdb::PinnableSlice found_;
  rocksdb::WriteBatch batch_;
};

}  // namespace

std::unique_ptr<KeyEngine> make_lmdb_keys() {
  return std::make_unique<LmdbKeys>();
}

std::unique_ptr<KeyEngine> make_rocksdb_keys() {
  return std::make_unique<RocksDbKeys>();
}

}  // namespace firn::bench
