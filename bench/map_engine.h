// SPDX-License-Identifier: Apache-2.0
//
// MapEngine: what the metadata benchmark asks of firn and of every peer: a map of u64 keys whose
// changes become durable together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/bytes.h"

namespace firn::bench {

class MapEngine {
 public:
  virtual ~MapEngine() = default;
  // Opens or creates the map in `directory`.
  virtual void open(const std::string& directory) = 0;
  virtual void put(uint64_t key, ByteSpan value) = 0;
  // All puts survive power loss on return, or none does.
  virtual void sync() = 0;
  [[nodiscard]] virtual size_t value_size(uint64_t key) = 0;  // 0: not there
  virtual void close() = 0;
};

struct NamedMapEngine {
  std::string name;
  std::function<std::unique_ptr<MapEngine>()> make;
};

// firn first.
[[nodiscard]] std::vector<NamedMapEngine> map_engines();

[[nodiscard]] std::unique_ptr<MapEngine> make_firn_map();
// The whole map is written to a new file, which is flushed and takes the name of the old one.
[[nodiscard]] std::unique_ptr<MapEngine> make_rename_map();
[[nodiscard]] std::unique_ptr<MapEngine> make_lmdb_map();
[[nodiscard]] std::unique_ptr<MapEngine> make_rocksdb_map();

}  // namespace firn::bench
