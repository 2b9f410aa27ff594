// SPDX-License-Identifier: Apache-2.0
//
// firn_relacy: the code of LocationIndex and EpochDomain under Relacy, which simulates the memory
// model of C++: a load may answer an old value unless an order forbids it, also where x86-64 would
// not. Each script is a test of two or three threads whose history must be linearizable.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/index/location_index_internals.h"
#include "tests/histories/worker.h"

// Comes last, as it redefines words of the language.
// clang-format off
#include <relacy/relacy.hpp>
// clang-format on
#undef assert
#undef calloc
#undef delete
#undef errno
#undef free
#undef malloc
#undef memory_order_acq_rel
#undef memory_order_acquire
#undef memory_order_consume
#undef memory_order_relaxed
#undef memory_order_release
#undef memory_order_seq_cst
#undef new
#undef realloc

namespace firn::relacy {
namespace {

using Atomic = rl::generic_atomic<uint64_t, true>;

// The simulated word that stands for a word of the index: words stay plain numbers in zeroed
// memory, which is what the index makes them from.
class Words {
 public:
  Atomic& at(uint64_t& word) {
    Place& place = find(&word);
    if (place.made && place.latest == word) return place.atomic();
    // First seen, or zeroed since: the memory is that of a new table.
    if (place.made) place.atomic().~Atomic();
    new (place.storage) Atomic();
    place.made = true;
    place.latest = word;
    // Only what was stored may be missed by other threads later.
    rl::ctx().disable_preemption();
    place.atomic().store(word, rl::mo_relaxed, $);
    rl::ctx().enable_preemption();
    return place.atomic();
  }
  // Everybody who writes a word says so.
  void written(uint64_t& word, uint64_t value) {
    word = value;
    find(&word).latest = value;
  }
  // Before an iteration: one that failed was left in the middle, and its simulated words with it.
  void forget() {
    for (Place& place : places_)
      place = {};
  }
  // At the end of an iteration, when nothing accesses words any more.
  void clear() {
    for (Place& place : places_) {
      if (place.made) place.atomic().~Atomic();
      place = {};
    }
  }

 private:
  struct Place {
    uint64_t* word = nullptr;
    uint64_t latest = 0;
    bool made = false;
    alignas(Atomic) std::byte storage[sizeof(Atomic)];
    Atomic& atomic() { return *reinterpret_cast<Atomic*>(storage); }
  };
  static constexpr size_t kPlaces = 1 << 12;

  Place& find(uint64_t* word) {
    size_t i = (reinterpret_cast<uintptr_t>(word) >> 3) * 0x9E3779B97F4A7C15 >> 52;
    while (places_[i].word != nullptr && places_[i].word != word)
      i = (i + 1) % kPlaces;
    places_[i].word = word;
    return places_[i];
  }

  std::array<Place, kPlaces> places_;
};

Words g_words;
uint64_t g_now = 0;

constexpr rl::memory_order order_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    default: return rl::mo_seq_cst;
  }
}

struct RelacyPolicy : LocationPolicy {
  static constexpr unsigned kSmallestTable = 0;
  static constexpr std::memory_order kLaneOrder = std::memory_order_seq_cst;

  static uint64_t load(const Word& word, std::memory_order order) {
    return g_words.at(const_cast<Word&>(word)).load(order_of(order), $);
  }
  static void store(Word& word, uint64_t value, std::memory_order order) {
    g_words.at(word).store(value, order_of(order), $);
    g_words.written(word, value);
  }
  static bool compare_exchange(Word& word, uint64_t& expected, uint64_t desired) {
    const bool done =
        g_words.at(word).compare_exchange_strong(expected, desired, rl::mo_seq_cst, $);
    if (done) g_words.written(word, desired);
    return done;
  }
  static uint64_t exchange(Word& word, uint64_t value) {
    const uint64_t before = g_words.at(word).exchange(value, rl::mo_seq_cst, $);
    g_words.written(word, value);
    return before;
  }
  static uint64_t fetch_add(Word& word, uint64_t value) {
    const uint64_t before = g_words.at(word).fetch_add(value, rl::mo_seq_cst, $);
    g_words.written(word, before + value);
    return before;
  }
  static void announce(Word& word, uint64_t value) { exchange(word, value); }
  static void order_announcements() {}
  static void pause(unsigned /*turn*/) { rl::yield(1, $); }
};

using Domain = BasicEpochDomain<RelacyPolicy>;
using Index = BasicLocationIndex<RelacyPolicy>;
using Worker = histories::Worker<RelacyPolicy>;

// What threads do after `before`; see Worker::step.
struct Script {
  const char* name;
  const char* before;
  std::array<const char*, 3> threads;
  bool shards = false;  // keys lie in two shards
};

constexpr const char* kFull = "p1 p2 p3 p4 p5 p6 p7";
constexpr Script kScripts[] = {
    {"two keys", "", {"p0 f1", "p1 f0", ""}, true},
    {"two keys replaced", "p0 p1", {"p0 f1", "p1 f0", ""}, true},
    {"two keys displaced",
     "p2 p4 p6 p8 p10 p12 p14 p3 p5 p7 p9 p11 p13 p15",
     {"p0 f1", "p1 f0", ""},
     true},
    {"insert, insert", "", {"p0", "p0", "f0 f0"}},
    {"replace, remove", "p0", {"p0", "r0", "f0 f0"}},
    {"collide", "p0", {"p1 f1", "r0", "f0 f1"}},
    {"compaction", "p0", {"x0", "p0", "f0 f0"}},
    {"stale lane", "p0", {"r0 p1 r1 p0", "p0 f0", ""}},
    {"growth, replace", "p0", {"p0 f0", "G", "f0 f0"}},
    {"growth, put", "p0", {"p0", "G", "f0"}},
    {"growth, reinsert", "p0", {"r0 p0", "G", "f0 f0"}},
    {"growth, two inserts", "", {"p0", "p0", "G"}},
    {"two growers", "p0", {"G p0", "G r0", "f0"}},
    {"growths in a row", "p0", {"G S G", "f0 f0", "p0"}},
    {"displaced", kFull, {"p0 f8", "p8 f0", ""}},
    {"displaced, growth", kFull, {"p0 f0", "G", "r1"}},
    {"clear", "p0 p1", {"C f0", "p1 f1", "x0"}},
    {"walk", "p0 p1", {"W", "G", "r1 p1"}},
};
const Script* g_script = nullptr;
histories::Layout g_layout = histories::Layout::equal;

struct ScriptTest : rl::test_suite<ScriptTest, 3> {
  static constexpr uint32_t kKeys = 16;

  ScriptTest() {
    g_words.forget();
    const auto clock = [] { return ++g_now; };
    config_.keys = kKeys;
    config_.threads = 3;
    config_.layout = g_layout;
    config_.shards = g_script->shards;
    index_ = std::move(*Index::open(domain_, {.shard_bits = config_.shards ? 1U : 0U}));
    for (size_t thread = 0; thread <= config_.threads; ++thread)
      workers_.push_back(
          std::make_unique<Worker>(*index_, domain_, history_, thread, config_, clock));
  }
  ~ScriptTest() {
    workers_.clear();
    index_.reset();
    g_words.clear();
  }

  void before() { follow(3, g_script->before); }
  void thread(unsigned number) { follow(number, g_script->threads[number]); }
  void after() {
    std::vector<uint64_t> final;
    uint64_t present = 0;
    for (uint32_t key = 0; key < kKeys; ++key) {
      final.push_back(workers_[3]->find_now(key).value);
      if (final.back() != 0) ++present;
    }
    const auto violation = history_.violation(final);
    if (violation) std::fputs(violation->c_str(), stderr);
    RL_ASSERT(!violation);
    RL_ASSERT(workers_[3]->count_now() == present);
    RL_ASSERT(index_->size() == present);
  }

 private:
  void follow(size_t thread, std::string_view script) {
    while (!script.empty()) {
      const size_t end = std::min(script.find(' '), script.size());
      workers_[thread]->step(script.substr(0, end));
      script.remove_prefix(std::min(end + 1, script.size()));
    }
  }

  histories::Config config_;
  Domain domain_;
  std::unique_ptr<Index> index_;
  History history_{4, kKeys};
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Readers look at what a writer replaces, retires and reclaims: nobody may be looking at it then.
// Relacy reports a race if the end of a reader's look does not come before the reclaiming.
struct EpochTest : rl::test_suite<EpochTest, 3> {
  static constexpr size_t kObjects = 3;
  static constexpr unsigned kWriter = 2;

  struct Object : EpochRetired {
    rl::var<uint64_t> content;
  };

  EpochTest() { g_words.forget(); }
  ~EpochTest() { g_words.clear(); }

  void before() {
    for (Object& object : objects_) {
      object.content($) = 1;
      object.owner = this;
      object.reclaim = [](EpochRetired* retired, void*) {
        static_cast<Object*>(retired)->content($) = 0;
      };
    }
  }
  void thread(unsigned number) {
    if (number == kWriter) return replace_all();
    for (int look = 0; look < 2; ++look) {
      const BasicEpochPin<RelacyPolicy> pin(sessions_[number]);
      RL_ASSERT(objects_[index::current_table(shard_).word].content($) == 1);
    }
  }
  void after() {
    domain_.collect();
    RL_ASSERT(domain_.bytes_retired() == 0);
  }

 private:
  void replace_all() {
    for (uint64_t object = 1; object < kObjects; ++object) {
      RelacyPolicy::store(shard_.ref, object, std::memory_order_seq_cst);
      domain_.retire(objects_[object - 1]);
      domain_.collect();
    }
  }

  Domain domain_;
  std::array<BasicEpochSession<RelacyPolicy>, 2> sessions_{
      BasicEpochSession<RelacyPolicy>(domain_), BasicEpochSession<RelacyPolicy>(domain_)};
  std::array<Object, kObjects> objects_;
  index::LocationShard<RelacyPolicy> shard_{};  // which object is the present one
};

template <class Test>
bool simulate(const char* name, unsigned iterations) {
  std::ostringstream output;
  rl::test_params parameters;
  parameters.iteration_count = iterations;
  parameters.execution_depth_limit = 100'000;
  parameters.output_stream = &output;
  parameters.progress_stream = &output;
  const bool done = rl::simulate<Test>(parameters);
  if (!done) std::fprintf(stderr, "%s: %s\n", name, output.str().c_str());
  return done;
}

int run_all(unsigned iterations, std::string_view only) {
  constexpr const char* kEpochs = "epochs";
  if (only.empty() || only == kEpochs) {
    if (!simulate<EpochTest>(kEpochs, 4 * iterations)) return 1;
    std::printf("%-24s %u iterations\n", kEpochs, 4 * iterations);
  }
  for (const Script& script : kScripts) {
    if (!only.empty() && only != script.name) continue;
    for (const histories::Layout layout : histories::kLayouts) {
      g_script = &script;
      g_layout = layout;
      if (!simulate<ScriptTest>(script.name, iterations)) return 1;
    }
    std::printf("%-24s %u iterations\n", script.name, 4 * iterations);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace firn::relacy

// Called by environment.cc: all threads of a simulation are one, and while it holds a mutex it goes
// on.
void hold_processor(bool hold) {
  if (!rl::context::is_instance()) return;
  if (hold)
    rl::ctx().disable_preemption();
  else
    rl::ctx().enable_preemption();
}

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::puts(
        "usage: firn_relacy [ITERATIONS [SCRIPT]]   (of each layout of hashes; default 1000)");
    return 0;
  }
  const unsigned iterations = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 1000;
  return firn::relacy::run_all(iterations, argc > 2 ? argv[2] : "");
}
