// SPDX-License-Identifier: Apache-2.0
#include "bench/emdb_design.h"
#include "bench/index_firn.h"
#include "bench/index_phases.h"

namespace firn::bench {
namespace {

using Writer = void (*)(uint64_t item, MutableByteSpan key);

// The keys of random items, one after the other.
Bytes sample_keys(Writer write, size_t size, uint64_t items, size_t count, uint64_t seed) {
  Bytes keys(count * size);
  Random random(seed);
  for (size_t i = 0; i < count; ++i)
    write(1 + random.below(items), MutableByteSpan(keys).subspan(i * size, size));
  return keys;
}

std::unique_ptr<FirnIndex> filled_index(Writer write, size_t size, uint64_t items) {
  auto index = std::make_unique<FirnIndex>();
  Bytes key(size);
  for (uint64_t item = 1; item <= items; ++item) {
    write(item, key);
    index->put_key(item, key);
  }
  return index;
}

// ns of a get and its hash.
double time_gets(FirnIndex& index, ByteSpan keys, size_t size) {
  size_t found = 0;
  const auto run = [&](unsigned) { found = index.get_keys(keys, size); };
  const size_t count = keys.size() / size;
  const double seconds = time_threads(1, run).processor;
  if (found != count) give_up("keys of a pattern are missing");
  return seconds * 1e9 / static_cast<double>(count);
}

double time_emdb(Writer write, size_t size, uint64_t items) {
  EmdbDesign design;
  Bytes key(size);
  for (uint64_t item = 1; item <= items; ++item) {
    write(item, key);
    design.put(fx_hash(key), item);
  }
  constexpr size_t kGets = 5000;
  const Bytes keys = sample_keys(write, size, items, kGets, 1);
  uint64_t sum = 0;
  const ThreadTimes times = time_threads(1, [&](unsigned) {
    for (size_t at = 0; at < keys.size(); at += size)
      sum += design.get(fx_hash(ByteSpan(keys).subspan(at, size)));
  });
  if (sum == 0) give_up("keys of a pattern are missing");
  return times.processor * 1e9 / kGets;
}

}  // namespace

void measure_key_patterns(const IndexPhases& phases, uint64_t items) {
  constexpr size_t kGets = 500'000;
  constexpr uint64_t kFewForEmdb = 64'000;
  for (const KeyPattern& pattern : key_patterns()) {
    const auto index = filled_index(pattern.write, pattern.size, items);
    const auto random = filled_index(write_random_key, pattern.size, items);
    std::vector<double> ours;
    std::vector<double> of_random;
    for (int repetition = 0; repetition <= phases.repetitions; ++repetition) {
      const auto seed = static_cast<uint64_t>(repetition) + 1;
      const auto sample = [&](Writer write) {
        return sample_keys(write, pattern.size, items, kGets, seed);
      };
      of_random.push_back(time_gets(*random, sample(write_random_key), pattern.size));
      ours.push_back(time_gets(*index, sample(pattern.write), pattern.size));
    }
    // The first one warms up.
    of_random.erase(of_random.begin());
    ours.erase(ours.begin());
    Row row{std::string("get ") + std::string(pattern.name) + ", " + size_name(items),
            "ns",
            Better::lower,
            median(ours),
            {},
            {},
            {}};
    row.counters["to random keys"] = median(ours) / median(of_random);
    row.counters["lines a hit"] = index->probes().average_lines;
    row.peers["emdb design at 64k"] = time_emdb(pattern.write, pattern.size, kFewForEmdb);
    phases.report.add(std::move(row));
  }
}

}  // namespace firn::bench
