// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <optional>

#include "bench/index_firn.h"
#include "bench/index_phases.h"
#include "bench/random_loads.h"

namespace firn::bench {
namespace {

// What each engine does in a repetition, and what the floor does instead.
struct Work {
  std::function<size_t(IndexEngine& engine, unsigned thread)> run;
  std::function<uint64_t(RandomLoads& loads, unsigned thread)> floor;  // or nothing
  std::optional<size_t> found;                                         // by all threads
};
using MakeWork = std::function<Work(int repetition)>;

// All engines with the same items.
class Contest {
 public:
  Contest(const IndexPhases& phases, uint64_t items)
      : phases_(phases), items_(items), operations_(500'000) {
    engines_.resize(index_engines().size());
  }

  void build(int repetitions);
  GetFigures measure_gets();
  void measure_mixes(Distribution distribution);
  void measure_churn();

 private:
  struct Figures {
    std::vector<double> wall;       // million operations in a second
    std::vector<double> processor;  // ns an operation of one thread
  };
  using ByName = std::map<std::string, Figures>;

  // Medians of processor time by name; "floor" is one. `warm`: a repetition is run before, untimed.
  std::map<std::string, double> measure(const std::string& phase, unsigned threads, bool warm,
                                        const MakeWork& make);
  void run_engine(const std::string& name, IndexEngine& engine, unsigned threads, const Work* warm,
                  const Work& work, ByName& figures);
  void sample(const std::string& name, unsigned threads, const std::function<void(unsigned)>& work,
              ByName& figures);
  std::map<std::string, double> add_row(const std::string& phase, unsigned threads,
                                        const ByName& figures);

  MakeWork gets(Distribution distribution, unsigned threads, bool absent);
  MakeWork mix(Distribution distribution, uint64_t puts_every);

  [[nodiscard]] std::string name_of(const std::string& phase) const {
    return phase + ", " + size_name(items_);
  }
  FirnIndex& firn() { return dynamic_cast<FirnIndex&>(*engines_.front()); }

  const IndexPhases& phases_;
  const uint64_t items_;
  const size_t operations_;  // of each thread in a repetition
  std::vector<std::unique_ptr<IndexEngine>> engines_;
  std::unique_ptr<RandomLoads> loads_;
  std::map<std::string, std::map<std::string, double>> one_thread_;  // by phase and name, wall
};

void Contest::build(int repetitions) {
  std::map<std::string, std::vector<double>> samples;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (size_t i = 0; i < engines_.size(); ++i) {
      const NamedIndexEngine& named = index_engines()[i];
      engines_[i].reset();
      engines_[i] = named.make();
      const ThreadTimes times = time_threads(1, [&](unsigned) { engines_[i]->fill(1, items_); });
      samples[named.name].push_back(times.processor * 1e9 / static_cast<double>(items_));
    }
  }
  Row row{name_of("put, growing from empty"), "ns", Better::lower, 0, {}, {}, {}};
  for (const auto& [name, values] : samples)
    (name == "firn" ? row.firn : row.peers[name]) = median(values);
  row.counters["repetitions"] = repetitions;
  phases_.report.add(row);
  loads_ = std::make_unique<RandomLoads>(firn().statistics().bytes_live);
}

void Contest::sample(const std::string& name, unsigned threads,
                     const std::function<void(unsigned)>& work, ByName& figures) {
  const ThreadTimes times = time_threads(threads, work);
  const auto operations = static_cast<double>(operations_);
  figures[name].wall.push_back(operations * threads / 1e6 / times.wall);
  figures[name].processor.push_back(times.processor * 1e9 / operations);
}

void Contest::run_engine(const std::string& name, IndexEngine& engine, unsigned threads,
                         const Work* warm, const Work& work, ByName& figures) {
  std::atomic<size_t> found = 0;
  if (warm != nullptr)
    run_threads(threads, [&](unsigned thread) { found += warm->run(engine, thread); });
  found = 0;
  sample(name, threads, [&](unsigned thread) { found += work.run(engine, thread); }, figures);
  if (work.found && *work.found != found) give_up(name + " gave a wrong answer");
}

std::map<std::string, double> Contest::measure(const std::string& phase, unsigned threads,
                                               bool warm, const MakeWork& make) {
  ByName figures;
  const std::optional<Work> first = warm ? std::optional(make(phases_.repetitions)) : std::nullopt;
  for (int repetition = 0; repetition < phases_.repetitions; ++repetition) {
    const Work work = make(repetition);
    std::atomic<uint64_t> sum = 0;
    if (work.floor) {
      if (first) run_threads(threads, [&](unsigned i) { sum += first->floor(*loads_, i); });
      sample("floor", threads, [&](unsigned i) { sum += work.floor(*loads_, i); }, figures);
    }
    for (size_t i = 0; i < engines_.size(); ++i) {
      if (threads == 1 || engines_[i]->has_threads())
        run_engine(index_engines()[i].name, *engines_[i], threads, first ? &*first : nullptr, work,
                   figures);
    }
  }
  return add_row(phase, threads, figures);
}

std::map<std::string, double> Contest::add_row(const std::string& phase, unsigned threads,
                                               const ByName& figures) {
  Row row;
  const bool wall = threads > 1;
  row.phase = name_of(phase + (wall ? ", 2 threads" : ""));
  row.unit = wall ? "Mops/s" : "ns";
  row.better = wall ? Better::higher : Better::lower;
  std::map<std::string, double> medians;
  for (const auto& [name, values] : figures) {
    medians[name] = median(values.processor);
    const double figure = wall ? median(values.wall) : medians[name];
    if (name == "floor")
      row.floor = figure;
    else
      (name == "firn" ? row.firn : row.peers[name]) = figure;
  }
  if (!wall) one_thread_[phase] = medians;
  for (const std::string name : {"firn", "floor"}) {
    if (!wall || !medians.contains(name)) continue;
    row.counters[name + " times 1 thread"] = 2 * one_thread_[phase][name] / medians[name];
  }
  phases_.report.add(row);
  return medians;
}

MakeWork Contest::gets(Distribution distribution, unsigned threads, bool absent) {
  return [this, distribution, threads, absent](int repetition) {
    std::vector<std::vector<uint64_t>> keys;
    for (uint64_t thread = 0; thread < threads; ++thread) {
      Picker picker(distribution, items_, static_cast<uint64_t>(repetition) * 2 + thread + 1);
      keys.push_back(make_gets(picker, operations_, absent));
    }
    return Work{
        .run = [keys](IndexEngine& engine, unsigned i) { return engine.gets(keys[i]); },
        .floor = [keys](RandomLoads& loads, unsigned i) { return loads.independent(keys[i]); },
        .found = absent ? 0 : operations_ * threads};
  };
}

MakeWork Contest::mix(Distribution distribution, uint64_t puts_every) {
  return [this, distribution, puts_every](int repetition) {
    std::vector<std::vector<Operation>> operations;
    for (uint64_t thread = 0; thread < 2; ++thread) {
      Picker picker(distribution, items_, static_cast<uint64_t>(repetition) * 2 + thread + 100);
      operations.push_back(make_mix(picker, operations_, puts_every));
    }
    return Work{
        .run = [operations](IndexEngine& engine, unsigned i) { return engine.run(operations[i]); },
        .floor = nullptr,
        .found = std::nullopt};
  };
}

GetFigures Contest::measure_gets() {
  GetFigures result;
  for (unsigned threads = 1; threads <= 2; ++threads) {
    const auto hits =
        measure("get hit, uniform", threads, true, gets(Distribution::uniform, threads, false));
    if (threads == 1) result.tbb = hits.at("tbb");
    measure("get hit, zipf", threads, true, gets(Distribution::zipf, threads, false));
    measure("get miss, uniform", threads, true, gets(Distribution::uniform, threads, true));
    measure("get miss, zipf", threads, true, gets(Distribution::zipf, threads, true));
  }
  const auto dependent = measure("get hit, dependent", 1, true, [&](int repetition) {
    Picker picker(Distribution::uniform, items_, static_cast<uint64_t>(repetition) + 1);
    return Work{
        .run = [keys = make_gets(picker, operations_)](
                   IndexEngine& engine, unsigned) { return engine.dependent_gets(keys); },
        .floor = [this](RandomLoads& loads, unsigned) { return loads.dependent(operations_); },
        .found = operations_};
  });
  result.floor = dependent.at("floor");
  result.firn = dependent.at("firn");

  ByName figures;
  Picker picker(Distribution::uniform, items_, 7);
  for (int repetition = 0; repetition <= phases_.repetitions; ++repetition) {
    const auto keys = make_gets(picker, operations_ / FirnIndex::kBatch * FirnIndex::kBatch);
    uint64_t sum = 0;
    if (repetition == 0) {  // to warm up
      sum += loads_->prefetched(keys) + firn().gets_batched(keys);
      continue;
    }
    sample("floor", 1, [&](unsigned) { sum += loads_->prefetched(keys); }, figures);
    sample("firn", 1, [&](unsigned) { sum += firn().gets_batched(keys); }, figures);
  }
  result.batched = add_row("find_many(128) hit", 1, figures).at("firn");
  return result;
}

void Contest::measure_mixes(Distribution distribution) {
  const std::string name = distribution == Distribution::zipf ? ", zipf" : ", uniform";
  for (unsigned threads = 1; threads <= 2; ++threads) {
    measure("95 % get, 5 % put" + name, threads, true, mix(distribution, 20));
    measure("half get, half put" + name, threads, true, mix(distribution, 2));
  }
}

void Contest::measure_churn() {
  uint64_t first = 1;
  for (unsigned threads = 1; threads <= 2; ++threads) {
    measure("insert + remove in turn", threads, false, [&](int) {
      std::vector<std::vector<Operation>> operations;
      for (unsigned thread = 0; thread < threads; ++thread)
        operations.push_back(
            make_churn(first + thread, first + items_ + thread, threads, operations_));
      first += threads * operations_ / 2;
      return Work{.run = [operations](IndexEngine& engine,
                                      unsigned i) { return engine.run(operations[i]); },
                  .floor = nullptr,
                  .found = std::nullopt};
    });
  }
  const LocationIndexStatistics statistics = firn().statistics();
  phases_.report.add({name_of("walk of all entries"),
                      "ns",
                      Better::lower,
                      firn().walk(),
                      std::nullopt,
                      {},
                      {{"rebuilds by churn", static_cast<double>(statistics.rebuilds)},
                       {"lines a hit then", firn().probes().average_lines}}});
}

}  // namespace

GetFigures measure_operations(const IndexPhases& phases, uint64_t items) {
  // Filling so many takes peers minutes: once is what there is time for.
  const uint64_t large = phases.arguments.quick ? 2'000'000 : 5'000'000;
  Contest contest(phases, items);
  contest.build(items > large ? 1 : phases.repetitions);
  const GetFigures figures = contest.measure_gets();
  contest.measure_mixes(Distribution::uniform);
  if (phases.arguments.quick && items > large) return figures;
  contest.measure_mixes(Distribution::zipf);
  contest.measure_churn();
  return figures;
}

}  // namespace firn::bench
