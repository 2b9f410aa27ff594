// SPDX-License-Identifier: Apache-2.0
//
// SQLite: one table with an integer primary key and a unique key, write-ahead log,
// synchronous=FULL, prepared statements, one transaction a sync. No checksums.
#include <sqlite3.h>

#include "bench/engine.h"
#include "bench/report.h"

namespace firn::bench {
namespace {

class SqliteEngine final : public Engine {
 public:
  void open(const std::string& directory, const EngineOptions& engine) override {
    check(sqlite3_open((directory + "/store.db").c_str(), &database_));
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    run("PRAGMA cache_size=-" + std::to_string(engine.cache_bytes >> 10));
    run("PRAGMA mmap_size=17179869184");
    run("CREATE TABLE IF NOT EXISTS items(i INTEGER PRIMARY KEY, k BLOB UNIQUE, v BLOB)");
    insert_ = prepare("INSERT INTO items VALUES(?,?,?)");
    by_index_ = prepare("SELECT v FROM items WHERE i=?");
    by_key_ = prepare("SELECT v FROM items WHERE k=?");
  }

  void put(uint64_t index, ByteSpan key, ByteSpan value) override {
    if (!writing_) run("BEGIN");
    writing_ = true;
    check(sqlite3_bind_int64(insert_, 1, static_cast<sqlite3_int64>(index)));
    bind(insert_, 2, key);
    bind(insert_, 3, value);
    step_to_end(insert_);
  }

  void sync() override {
    if (writing_) run("COMMIT");
    writing_ = false;
  }

  uint64_t get(uint64_t index) override {
    check(sqlite3_bind_int64(by_index_, 1, static_cast<sqlite3_int64>(index)));
    return sum_of_row(by_index_);
  }

  uint64_t get(ByteSpan key) override {
    bind(by_key_, 1, key);
    return sum_of_row(by_key_);
  }

  void close() override {
    sync();
    sqlite3_finalize(insert_);
    sqlite3_finalize(by_index_);
    sqlite3_finalize(by_key_);
    check(sqlite3_close(database_));
  }

 private:
  void check(int code) {
    if (code != SQLITE_OK) give_up(std::string("sqlite: ") + sqlite3_errmsg(database_));
  }

  void run(const std::string& sql) {
    check(sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr));
  }

  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr));
    return statement;
  }

  void bind(sqlite3_stmt* statement, int column, ByteSpan bytes) {
    check(sqlite3_bind_blob(statement, column, bytes.data(), static_cast<int>(bytes.size()),
                            SQLITE_STATIC));
  }

  void step_to_end(sqlite3_stmt* statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) check(sqlite3_errcode(database_));
    check(sqlite3_reset(statement));
  }

  uint64_t sum_of_row(sqlite3_stmt* statement) {
    uint64_t sum = 0;
    if (sqlite3_step(statement) == SQLITE_ROW) {
      const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement, 0));
      sum = sum_words({bytes, static_cast<size_t>(sqlite3_column_bytes(statement, 0))});
    }
    check(sqlite3_reset(statement));
    return sum;
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* by_index_ = nullptr;
  sqlite3_stmt* by_key_ = nullptr;
  bool writing_ = false;
};

}  // namespace

std::unique_ptr<Engine> make_sqlite_engine() {
  return std::make_unique<SqliteEngine>();
}

}  // namespace firn::bench
