// SPDX-License-Identifier: Apache-2.0
#include "bench/key_engine.h"

#include "bench/report.h"
#include "firn/freezer/freezer.h"
#include "firn/io/posix_storage.h"

namespace firn::bench {
namespace {

class FirnKeys final : public KeyEngine {
 public:
  explicit FirnKeys(bool map_reads) : map_reads_(map_reads) {}

  void open(const std::string& directory, const KeyEngineOptions& engine) override {
    auto storage = open_posix_storage(directory, {.create = true, .map_reads = map_reads_});
    if (!storage) give_up(storage.error().message);
    storage_ = std::move(*storage);
    FreezerOptions options;
    options.key_size_bytes = static_cast<uint32_t>(engine.key_size_bytes);
    options.page_cache_bytes = engine.cache_bytes;
    auto freezer = Freezer::open(*storage_, options);
    if (!freezer) give_up(freezer.error().message);
    freezer_ = std::move(*freezer);
  }

  void put(ByteSpan key, ByteSpan value) override {
    const auto outcome = freezer_->put(key, value);
    if (!outcome) give_up(outcome.error().message);
  }

  void sync() override {
    const auto synced = freezer_->sync();
    if (!synced) give_up(synced.error().message);
  }

  uint64_t get(ByteSpan key) override { return sum_of(freezer_->get(key)); }

  uint64_t get_many(std::span<const ByteSpan> keys) override {
    uint64_t sum = 0;
    for (const auto& answer : freezer_->get_many(keys))
      sum += sum_of(answer);
    return sum;
  }

  std::map<std::string, double> counters() override {
    const FreezerStatistics statistics = freezer_->statistics();
    const auto chains = freezer_->chains();
    if (!chains) give_up(chains.error().message);
    const auto gets = static_cast<double>(statistics.gets);
    return {{"memory bytes a record",
             static_cast<double>(statistics.memory_bytes) / static_cast<double>(statistics.items)},
            {"unneeded records read a get",
             gets > 0 ? static_cast<double>(statistics.unnecessary_reads) / gets : 0},
            {"records a hit without memory", chains->records_per_hit},
            {"records a miss without memory", chains->records_per_miss}};
  }

  void close() override {
    const auto closed = freezer_->close();
    if (!closed) give_up(closed.error().message);
    freezer_.reset();
    storage_.reset();
  }

 private:
  static uint64_t sum_of(const Result<std::optional<Value>>& answer) {
    if (!answer) give_up(answer.error().message);
    return *answer ? sum_words((*answer)->bytes()) : 0;
  }

  const bool map_reads_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Freezer> freezer_;
};

}  // namespace

std::unique_ptr<KeyEngine> make_firn_keys() {
  return std::make_unique<FirnKeys>(false);
}

std::unique_ptr<KeyEngine> make_mapped_firn_keys() {
  return std::make_unique<FirnKeys>(true);
}

const std::vector<NamedKeyEngine>& key_engines() {
  static const std::vector<NamedKeyEngine> all = {
      {"firn", make_firn_keys},   {"firn-mapped", make_mapped_firn_keys},
      {"lmdb", make_lmdb_keys},   {"rocksdb", make_rocksdb_keys},
      {"tkrzw", make_tkrzw_keys}, {"kyoto", make_kyoto_keys}};
  return all;
}

const NamedKeyEngine& key_engine_of(const std::string& name) {
  for (const NamedKeyEngine& engine : key_engines())
    if (engine.name == name) return engine;
  give_up("no engine " + name);
}

}  // namespace firn::bench
