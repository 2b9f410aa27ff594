// SPDX-License-Identifier: Apache-2.0
//
// The peers of the benchmark of indexes, as their users would take them: with their own allocators.
// Keys are hashes already, so all but TBB, which mixes them once more, take them as they are.
#include <unordered_map>

#include <libcuckoo/cuckoohash_map.hh>
#include <tbb/concurrent_hash_map.h>

#include "bench/emdb_design.h"
#include "bench/index_engine_loops.h"
#include "firn/base/mutex.h"

namespace firn::bench {
namespace {

struct KeyAsHash {
  size_t operator()(uint64_t key) const { return key; }
};

class TbbMap {
 public:
  static constexpr bool kThreads = true;
  TbbMap& access() { return *this; }

  uint64_t get(uint64_t key) const {
    Map::const_accessor found;
    return map_.find(found, key) ? found->second : 0;
  }
  void put(uint64_t key, uint64_t value) {
    Map::accessor place;
    map_.insert(place, key);
    place->second = value;
  }
  void remove(uint64_t key) { map_.erase(key); }

 private:
  using Map = tbb::concurrent_hash_map<uint64_t, uint64_t>;
  Map map_;
};

class CuckooMap {
 public:
  static constexpr bool kThreads = true;
  CuckooMap& access() { return *this; }

  uint64_t get(uint64_t key) const {
    uint64_t value = 0;
    return map_.find(key, value) ? value : 0;
  }
  void put(uint64_t key, uint64_t value) { map_.insert_or_assign(key, value); }
  void remove(uint64_t key) { map_.erase(key); }

 private:
  libcuckoo::cuckoohash_map<uint64_t, uint64_t, KeyAsHash> map_;
};

class LockedMap {
 public:
  static constexpr bool kThreads = true;
  LockedMap& access() { return *this; }

  uint64_t get(uint64_t key) {
    ReaderLock lock(mutex_);
    const auto found = map_.find(key);
    return found == map_.end() ? 0 : found->second;
  }
  void put(uint64_t key, uint64_t value) {
    WriterLock lock(mutex_);
    map_[key] = value;
  }
  void remove(uint64_t key) {
    WriterLock lock(mutex_);
    map_.erase(key);
  }

 private:
  SharedMutex mutex_;
  std::unordered_map<uint64_t, uint64_t, KeyAsHash> map_ GUARDED_BY(mutex_);
};

class EmdbMap {
 public:
  static constexpr bool kThreads = true;
  EmdbMap& access() { return *this; }

  uint64_t get(uint64_t key) { return design_.get(fx_hash(key)); }
  void put(uint64_t key, uint64_t value) { design_.put(fx_hash(key), value); }
  void remove(uint64_t key) { design_.remove(fx_hash(key)); }

 private:
  EmdbDesign design_;
};

}  // namespace

std::unique_ptr<IndexEngine> make_tbb_index() {
  return std::make_unique<IndexEngineOf<TbbMap>>();
}

std::unique_ptr<IndexEngine> make_cuckoo_index() {
  return std::make_unique<IndexEngineOf<CuckooMap>>();
}

std::unique_ptr<IndexEngine> make_unordered_index() {
  return std::make_unique<IndexEngineOf<LockedMap>>();
}

std::unique_ptr<IndexEngine> make_emdb_index() {
  return std::make_unique<IndexEngineOf<EmdbMap>>();
}

const std::vector<NamedIndexEngine>& index_engines() {
  static const std::vector<NamedIndexEngine> all = {
      {"firn", make_firn_index},           {"tbb", make_tbb_index},
      {"libcuckoo", make_cuckoo_index},    {"absl 1-thread", make_absl_index},
      {"unordered", make_unordered_index}, {"emdb design", make_emdb_index}};
  return all;
}

}  // namespace firn::bench
