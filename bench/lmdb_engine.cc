// SPDX-License-Identifier: Apache-2.0
//
// LMDB: index -> value in an integer-keyed database, key -> index in another; one transaction a
// sync. No checksums.
#include <cstring>

#include <lmdb.h>

#include "bench/engine.h"
#include "bench/report.h"

namespace firn::bench {
namespace {

void check(int code) {
  if (code != MDB_SUCCESS) give_up(std::string("lmdb: ") + mdb_strerror(code));
}

class LmdbEngine final : public Engine {
 public:
  void open(const std::string& directory, const EngineOptions&) override {
    check(mdb_env_create(&env_));
    check(mdb_env_set_mapsize(env_, size_t{16} << 30));
    check(mdb_env_set_maxdbs(env_, 2));
    check(mdb_env_open(env_, directory.c_str(), 0, 0600));
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn));
    check(mdb_dbi_open(txn, "values", MDB_CREATE | MDB_INTEGERKEY, &values_));
    check(mdb_dbi_open(txn, "keys", MDB_CREATE, &keys_));
    check(mdb_txn_commit(txn));
  }

  void put(uint64_t index, ByteSpan key, ByteSpan value) override {
    end_read();
    if (write_ == nullptr) check(mdb_txn_begin(env_, nullptr, 0, &write_));
    MDB_val index_data{sizeof index, &index};
    MDB_val value_data = as_data(value);
    check(mdb_put(write_, values_, &index_data, &value_data, MDB_APPEND));
    MDB_val key_data = as_data(key);
    check(mdb_put(write_, keys_, &key_data, &index_data, 0));
  }

  void sync() override {
    if (write_ != nullptr) check(mdb_txn_commit(write_));
    write_ = nullptr;
  }

  uint64_t get(uint64_t index) override {
    begin_read();
    MDB_val index_data{sizeof index, &index};
    MDB_val value;
    const int code = mdb_get(read_, values_, &index_data, &value);
    if (code == MDB_NOTFOUND) return 0;
    check(code);
    return sum_words({static_cast<const std::byte*>(value.mv_data), value.mv_size});
  }

  uint64_t get(ByteSpan key) override {
    begin_read();
    MDB_val key_data = as_data(key);
    MDB_val index_data;
    const int code = mdb_get(read_, keys_, &key_data, &index_data);
    if (code == MDB_NOTFOUND) return 0;
    check(code);
    uint64_t index;
    std::memcpy(&index, index_data.mv_data, sizeof index);
    return get(index);
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

  // One long read transaction, the fastest way to read LMDB.
  void begin_read() {
    if (read_ == nullptr) check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &read_));
  }

  void end_read() {
    if (read_ != nullptr) mdb_txn_abort(read_);
    read_ = nullptr;
  }

  MDB_env* env_ = nullptr;
  MDB_dbi values_ = 0;
  MDB_dbi keys_ = 0;
  MDB_txn* write_ = nullptr;
  MDB_txn* read_ = nullptr;
};

}  // namespace

std::unique_ptr<Engine> make_lmdb_engine() {
  return std::make_unique<LmdbEngine>();
}

}  // namespace firn::bench
