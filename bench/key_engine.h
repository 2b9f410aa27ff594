// SPDX-License-Identifier: Apache-2.0
//
// KeyEngine: what the freezer benchmark asks of firn and of every peer: values by key that are put
// once and kept, with the same durability. Each peer uses its own best documented way to do that.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/items.h"
#include "firn/base/bytes.h"

namespace firn::bench {

struct KeyEngineOptions {
  size_t key_size_bytes = 64;
  size_t items_expected = 1'000'000;  // for engines that want to know their size
  size_t cache_bytes = 256 << 20;     // for engines that own a cache
  bool exceeds_memory = false;        // random reads come from the device: no read-ahead
};

class KeyEngine {
 public:
  virtual ~KeyEngine() = default;
  // Opens or creates the store in `directory`.
  virtual void open(const std::string& directory, const KeyEngineOptions& options) = 0;
  // Not durable before sync().
  virtual void put(ByteSpan key, ByteSpan value) = 0;
  // Survives power loss on return.
  virtual void sync() = 0;
  // What the engine would do in its own time after a load.
  virtual void settle() {}
  // sum_words() of the value. 0: not found.
  [[nodiscard]] virtual uint64_t get(ByteSpan key) = 0;
  [[nodiscard]] virtual uint64_t get_many(std::span<const ByteSpan> keys) {
    uint64_t sum = 0;
    for (const ByteSpan key : keys)
      sum += get(key);
    return sum;
  }
  [[nodiscard]] virtual std::map<std::string, double> counters() { return {}; }
  virtual void close() = 0;
};

struct NamedKeyEngine {
  std::string name;
  std::function<std::unique_ptr<KeyEngine>()> make;
};

// firn first.
[[nodiscard]] const std::vector<NamedKeyEngine>& key_engines();
[[nodiscard]] const NamedKeyEngine& key_engine_of(const std::string& name);

[[nodiscard]] std::unique_ptr<KeyEngine> make_firn_keys();
// With PosixOptions::map_reads, as LMDB, tkrzw and Kyoto Cabinet read.
[[nodiscard]] std::unique_ptr<KeyEngine> make_mapped_firn_keys();
[[nodiscard]] std::unique_ptr<KeyEngine> make_lmdb_keys();
[[nodiscard]] std::unique_ptr<KeyEngine> make_rocksdb_keys();
[[nodiscard]] std::unique_ptr<KeyEngine> make_tkrzw_keys();
[[nodiscard]] std::unique_ptr<KeyEngine> make_kyoto_keys();

}  // namespace firn::bench
