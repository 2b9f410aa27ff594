// SPDX-License-Identifier: Apache-2.0
//
// absl::flat_hash_map in the benchmark of indexes: what a table without threads takes. It is apart
// from the other peers because its headers define macros of the names that ours have.
#include <absl/container/flat_hash_map.h>

#include "bench/index_engine_loops.h"

namespace firn::bench {
namespace {

struct KeyAsHash {
  size_t operator()(uint64_t key) const { return key; }
};

class AbslMap {
 public:
  static constexpr bool kThreads = false;
  AbslMap& access() { return *this; }

  uint64_t get(uint64_t key) const {
    const auto found = map_.find(key);
    return found == map_.end() ? 0 : found->second;
  }
  void put(uint64_t key, uint64_t value) { map_[key] = value; }
  void remove(uint64_t key) { map_.erase(key); }

 private:
  absl::flat_hash_map<uint64_t, uint64_t, KeyAsHash> map_;
};

}  // namespace

std::unique_ptr<IndexEngine> make_absl_index() {
  return std::make_unique<IndexEngineOf<AbslMap>>();
}

}  // namespace firn::bench
