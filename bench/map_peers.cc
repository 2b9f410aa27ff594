// SPDX-License-Identifier: Apache-2.0
//
// LMDB: one integer-keyed database, one transaction a sync, no checksums. RocksDB: one batch a
// sync, its log flushed with it. Both as durable as firn.
#include <filesystem>

#include <lmdb.h>
#include <rocksdb/db.h>

#include "bench/map_engine.h"
#include "bench/report.h"
#include "firn/base/endian.h"

namespace firn::bench {
namespace {

void check(int code) {
  if (code != MDB_SUCCESS) give_up(std::string("lmdb: ") + mdb_strerror(code));
}

void check(const rocksdb::Status& status) {
  if (!status.ok()) give_up("rocksdb: " + status.ToString());
}

class LmdbMap final : public MapEngine {
 public:
  void open(const std::string& directory) override {
    std::filesystem::create_directories(directory);
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, size_t{1} << 30));
    check(mdb_env_open(env_, directory.c_str(), 0, 0600));
    check(mdb_txn_begin(env_, nullptr, 0, &write_));
    check(mdb_dbi_open(write_, nullptr, MDB_CREATE | MDB_INTEGERKEY, &map_));
    sync();
  }
  void put(uint64_t key, ByteSpan value) override {
    if (write_ == nullptr) check(mdb_txn_begin(env_, nullptr, 0, &write_));
    MDB_val key_data{sizeof key, &key};
    MDB_val value_data{value.size(), const_cast<std::byte*>(value.data())};
    check(mdb_put(write_, map_, &key_data, &value_data, 0));
  }
  void sync() override {
    if (write_ != nullptr) check(mdb_txn_commit(write_));
    write_ = nullptr;
  }
  size_t value_size(uint64_t key) override {
    MDB_txn* read = nullptr;
    check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &read));
    MDB_val key_data{sizeof key, &key};
    MDB_val value{};
    const int code = mdb_get(read, map_, &key_data, &value);
    mdb_txn_abort(read);
    if (code == MDB_NOTFOUND) return 0;
    check(code);
    return value.mv_size;
  }
  void close() override {
    sync();
    mdb_env_close(env_);
    env_ = nullptr;
  }

 private:
  MDB_env* env_ = nullptr;
  MDB_dbi map_ = 0;
  MDB_txn* write_ = nullptr;
};

class RocksDbMap final : public MapEngine {
 public:
  void open(const std::string& directory) override {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    rocksdb::DB* database = nullptr;
    check(rocksdb::DB::Open(options, directory, &database));
    database_.reset(database);
  }
  void put(uint64_t key, ByteSpan value) override {
    store_big_endian(key_, key);
    batch_.Put({key_, sizeof key_}, {reinterpret_cast<const char*>(value.data()), value.size()});
  }
  void sync() override {
    if (batch_.Count() == 0) return;
    rocksdb::WriteOptions durable;
    durable.sync = true;
    check(database_->Write(durable, &batch_));
    batch_.Clear();
  }
  size_t value_size(uint64_t key) override {
    store_big_endian(key_, key);
    rocksdb::PinnableSlice value;
    const auto status =
        database_->Get({}, database_->DefaultColumnFamily(), {key_, sizeof key_}, &value);
    if (status.IsNotFound()) return 0;
    check(status);
    return value.size();
  }
  void close() override {
    check(database_->Close());
    database_.reset();
  }

 private:
  static void store_big_endian(char* out, uint64_t key) {
    firn::store_big_endian(reinterpret_cast<std::byte*>(out), key);
  }

  char key_[8] = {};
  std::unique_ptr<rocksdb::DB> database_;
  rocksdb::WriteBatch batch_;
};

}  // namespace

std::unique_ptr<MapEngine> make_lmdb_map() {
  return std::make_unique<LmdbMap>();
}

std::unique_ptr<MapEngine> make_rocksdb_map() {
  return std::make_unique<RocksDbMap>();
}

}  // namespace firn::bench
