// SPDX-License-Identifier: Apache-2.0
//
// Engine: what the archive benchmark asks of firn and of every peer: items found by an index and by
// a key, with the same durability. Each peer uses its own best documented way to do that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/items.h"
#include "firn/base/bytes.h"

namespace firn::bench {

struct EngineOptions {
  size_t key_size_bytes = 64;
  bool large_values = false;       // values of tens of KiB
  size_t cache_bytes = 256 << 20;  // for engines that own a cache
};

class Engine {
 public:
  virtual ~Engine() = default;
  // Opens or creates the store in `directory`.
  virtual void open(const std::string& directory, const EngineOptions& options) = 0;
  // Not durable before sync().
  virtual void put(uint64_t index, ByteSpan key, ByteSpan value) = 0;
  // Survives power loss on return.
  virtual void sync() = 0;
  // The sum over all 8-byte words of the value: the caller reads every byte. 0: not found.
  [[nodiscard]] virtual uint64_t get(uint64_t index) = 0;
  [[nodiscard]] virtual uint64_t get(ByteSpan key) = 0;
  [[nodiscard]] virtual uint64_t get_many(std::span<const uint64_t> indices) {
    uint64_t sum = 0;
    for (const uint64_t index : indices)
      sum += get(index);
    return sum;
  }
  [[nodiscard]] virtual uint64_t get_many(std::span<const ByteSpan> keys) {
    uint64_t sum = 0;
    for (const ByteSpan key : keys)
      sum += get(key);
    return sum;
  }
  virtual void close() = 0;
};

struct NamedEngine {
  std::string name;
  std::function<std::unique_ptr<Engine>()> make;
};

[[nodiscard]] std::unique_ptr<Engine> make_firn_engine();
// With PosixOptions::map_reads, as LMDB and SQLite (here) read.
[[nodiscard]] std::unique_ptr<Engine> make_mapped_firn_engine();
[[nodiscard]] std::unique_ptr<Engine> make_lmdb_engine();
[[nodiscard]] std::unique_ptr<Engine> make_rocksdb_engine();
[[nodiscard]] std::unique_ptr<Engine> make_sqlite_engine();

}  // namespace firn::bench
