// SPDX-License-Identifier: Apache-2.0
//
// firn_sweep: every damage to small stores of every structure, one at a time. After each, a reader
// and a writer open the store, or are told why not, and every item that was synced is there, or an
// error or a finding says that it is not, which names the damaged file: never another value, never
// "not found" without a word, never a crash, and within a second. A reader changes nothing. A byte
// whose flip changes nothing is on a list of such bytes, which has nothing else.
#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>

#include <malloc.h>

#include "campaign/stage.h"
#include "campaign/swept_stores.h"
#include "campaign/unused_bytes.h"
#include "campaign/watchdog.h"
#include "firn/base/hash.h"
#include "firn/base/random.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr size_t kSectorBytes = 512;
constexpr double kCaseMaxSeconds = 1;  // of this process
constexpr uint64_t kStoresForList = 40;
constexpr std::array kAccesses = {Access::reading, Access::writing};

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Of all stores: how often a byte of the list was met, and what became of each damage.
class Census {
 public:
  void add_store(const std::string& kind) { ++stores_[kind]; }
  void add_unused(const std::string& kind, size_t row) { ++met_[{row, kind}]; }
  void add_outcome(std::string_view kind, const Reading& reading) {
    uint64_t hash = hash64(as_bytes(kind), reading.is_open() ? 1 : 2);
    for (const Answer& answer : reading.answers)
      hash = split_mix64(hash) + static_cast<uint64_t>(answer.outcome);
    trace_ = split_mix64(trace_) + hash;
  }

  // The list, with what was met of it. Once there were enough stores, each entry must have been.
  void report(Stage& stage) const {
    std::printf("bytes whose flip changes nothing, and how many flips did that:\n");
    const std::vector<UnusedBytes>& list = unused_bytes();
    for (size_t row = 0; row < list.size(); ++row) {
      std::printf("  %s: %s: %s\n", std::string(list[row].partition).c_str(),
                  std::string(list[row].what).c_str(), std::string(list[row].why).c_str());
      for (const auto& [kind, stores] : stores_) {
        const auto found = met_.find({row, kind});
        const uint64_t flips = found == met_.end() ? 0 : found->second;
        const bool is_listed = std::ranges::find(list[row].kinds, kind) != list[row].kinds.end();
        if (flips > 0)
          std::printf("    %-20s %10llu\n", kind.c_str(), static_cast<unsigned long long>(flips));
        if ((flips > 0 && !is_listed) || (flips == 0 && is_listed && stores >= kStoresForList))
          stage.add_violation(kind, stage.arguments().seed,
                              concat("the list of unused bytes says ", is_listed ? "" : "not ",
                                     "that it has: ", list[row].what));
      }
    }
    std::printf("trace %016llx\n", static_cast<unsigned long long>(trace_));
  }

 private:
  std::map<std::string, uint64_t> stores_;
  std::map<std::pair<size_t, std::string>, uint64_t> met_;
  uint64_t trace_ = 0;
};

// One store and everything that is done to it.
class Sweep {
 public:
  Sweep(Stage& stage, Census& census, const SweptKind& kind, uint64_t seed, Ending ending)
      : stage_(stage), census_(census), row_(kind.name), limits_(kind.limits), seed_(seed) {
    Random random(seed);
    watch(concat(kind.name, ", seed ", seed, ending == Ending::closed ? ", closed" : ", killed"));
    store_ = kind.make(random, ending);
    unused_.emplace(store_);
    for (const Access access : kAccesses) {
      MemoryStorage storage;
      load(storage, store_.files);
      undamaged_.push_back(store_.read(storage, access));
      const Reading& reading = undamaged_.back();
      for (size_t i = 0; i < store_.synced_count; ++i)
        if (!reading.is_open() || reading.answers[i].outcome != Outcome::right)
          stage_.add_violation(row_, seed_, "an undamaged store lacks an item that was synced");
    }
  }

  void run() {
    for (const auto& [name, content] : store_.files) {
      watch_on();
      flip_bits(name, content);
      cut(name, content);
      damage_sectors(name, content);
      exchange(name, content);
    }
    watch_no_more();
    census_.add_store(row_);
  }

 private:
  // What was done to which files.
  struct Damage {
    std::string_view what;
    std::vector<FileName> files;
    std::string where;
  };

  static void load(MemoryStorage& storage, const Files& files) {
    for (const auto& [name, content] : files)
      storage.set_raw(name.first, name.second, content);
  }

  void violate(const Damage& damage, Access access, const auto&... how) {
    stage_.add_violation(
        row_, seed_,
        concat(watched(), ": ", damage.what, " ", file_text(damage.files.front()), damage.where,
               ", opened for ", access == Access::reading ? "reading: " : "writing: ", how...));
  }

  // Returns whether the damage had any effect.
  bool judge(const Files& files, const Damage& damage) {
    stage_.add_case(row_);
    MemoryStorage storage;
    load(storage, files);
    bool has_effect = false;
    for (size_t i = 0; i < kAccesses.size(); ++i) {  // the reader first: it changes nothing
      const double begin = processor_seconds();
      const Reading reading = store_.read(storage, kAccesses[i]);
      if (processor_seconds() - begin > kCaseMaxSeconds)
        violate(damage, kAccesses[i], "it takes more than a second");
      judge_reading(reading, undamaged_[i], damage, kAccesses[i]);
      census_.add_outcome(row_, reading);
      has_effect = has_effect || reading != undamaged_[i];
      if (kAccesses[i] == Access::reading && !holds(storage, files))
        violate(damage, kAccesses[i], "a reader changed a file");
    }
    return has_effect;
  }

  static bool holds(const MemoryStorage& storage, const Files& files) {
    return std::ranges::all_of(files, [&](const auto& file) {
      return storage.raw(file.first.first, file.first.second) == file.second;
    });
  }

  void judge_reading(const Reading& reading, const Reading& undamaged, const Damage& damage,
                     Access access) {
    if (!reading.is_open()) {
      if (!names_any(reading.refusal, damage.files))
        violate(damage, access, "it does not say which file it refuses: ", reading.refusal);
      return;
    }
    const bool is_told = has_news(reading.findings, undamaged.findings, damage.files);
    const bool is_verified = has_news(reading.verified, undamaged.verified, damage.files);
    bool is_worse = false;
    for (size_t i = 0; i < reading.answers.size(); ++i) {
      const Answer& answer = reading.answers[i];
      const bool is_missing = answer.outcome == Outcome::absent && i < store_.synced_count;
      is_worse = is_worse || is_missing || answer.outcome == Outcome::failed;
      if (answer.outcome == Outcome::failed && !names_any(answer.error, damage.files))
        violate(damage, access, "the error of item ", i, " names no such file: ", answer.error);
      if ((!is_missing || is_told) && answer.outcome != Outcome::wrong) continue;
      if (is_beyond_promise(damage)) return;
      violate(damage, access, "item ", i,
              is_missing ? " is missing, and nobody said so" : " is another one");
    }
    if (is_worse && access == Access::reading && !is_told && !is_verified)
      violate(damage, access, "items cannot be read, and verify does not find the file");
  }

  bool is_beyond_promise(const Damage& damage) {
    const std::string& partition = damage.files.front().first;
    const bool is_limit = std::ranges::any_of(limits_, [&](const Limit& limit) {
      return limit.damage == damage.what && limit.partition == partition;
    });
    if (is_limit) stage_.add_note(row_, concat("unseen: ", damage.what, " in ", partition));
    return is_limit;
  }

  // Files that are read together: an index and its values, the copies of a map.
  static bool belong_together(const FileName& a, const FileName& b) {
    const auto is_section = [](const FileName& name) {
      return name.first == "index" || name.first == "values";
    };
    return a == b || (is_section(a) && is_section(b) && a.second == b.second) ||
           (a.first == b.first && !is_section(a));
  }

  [[nodiscard]] bool is_related(const FileName& file, const std::vector<FileName>& damaged) const {
    return std::ranges::any_of(damaged,
                               [&](const FileName& other) { return belong_together(file, other); });
  }

  // Whether the text names one of these files, or one that is read together with one of them.
  [[nodiscard]] bool names_any(std::string_view text, const std::vector<FileName>& damaged) const {
    return std::ranges::any_of(store_.files, [&](const auto& file) {
      return is_related(file.first, damaged) &&
             text.find(file.first.first) != std::string_view::npos &&
             text.find(to_hex(file.first.second)) != std::string_view::npos;
    });
  }

  [[nodiscard]] bool has_news(const std::vector<Finding>& findings,
                              const std::vector<Finding>& before,
                              const std::vector<FileName>& damaged) const {
    return std::ranges::any_of(findings, [&](const Finding& finding) {
      if (std::ranges::find(before, finding) != before.end()) return false;
      return names_any(finding.file.empty() ? finding.text : finding.file, damaged);
    });
  }

  // The store with one file replaced.
  bool judge_with(const FileName& name, Bytes content, std::string_view damage,
                  const auto&... where) {
    Bytes& place = files_of_case()[name];
    std::swap(place, content);
    const bool has_effect = judge(*changed_, {damage, {name}, concat(where...)});
    std::swap(place, content);
    return has_effect;
  }

  Files& files_of_case() {
    if (!changed_) changed_ = store_.files;
    return *changed_;
  }

  void flip_bits(const FileName& name, const Bytes& content) {
    for (size_t offset = 0; offset < content.size(); ++offset) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        Bytes flipped = content;
        flipped[offset] ^= std::byte(1u << bit);
        stage_.add_note(row_, "flips");
        if (judge_with(name, std::move(flipped), "flipped bit", " ", bit, " at ", offset)) continue;
        if (const auto row = unused_->row_of(name, offset)) {
          census_.add_unused(row_, *row);
          continue;
        }
        stage_.add_violation(row_, seed_,
                             concat(watched(), ": flipped bit ", bit, " of ", file_text(name),
                                    " at ", offset, " has no effect, and is not on the list"));
      }
    }
  }

  void cut(const FileName& name, const Bytes& content) {
    for (size_t size = 0; size < content.size(); ++size)
      judge_with(name, Bytes(content.begin(), content.begin() + static_cast<ptrdiff_t>(size)),
                 "cut", " to ", size);
  }

  void damage_sectors(const FileName& name, const Bytes& content) {
    const auto sector = [](Bytes& bytes, size_t begin) {
      return MutableByteSpan(bytes).subspan(begin, std::min(kSectorBytes, bytes.size() - begin));
    };
    for (size_t begin = 0; begin < content.size(); begin += kSectorBytes) {
      Bytes zeroed = content;
      std::ranges::fill(sector(zeroed, begin), std::byte{0});
      judge_with(name, std::move(zeroed), "zeroed sector", " at ", begin);
      for (const Files& earlier : store_.earlier) {
        const auto found = earlier.find(name);
        if (found == earlier.end() || found->second.size() <= begin) continue;
        Bytes stale = content;
        Bytes old = found->second;
        const size_t size = std::min(sector(stale, begin).size(), sector(old, begin).size());
        copy_bytes(sector(stale, begin), sector(old, begin).first(size));
        // A whole file that went back in time is a valid one: nothing in it can tell.
        if (stale != content && stale != found->second)
          judge_with(name, std::move(stale), "earlier content of the sector", " at ", begin);
      }
      for (size_t other = 0; other + kSectorBytes <= content.size(); other += kSectorBytes) {
        if (other == begin || begin + kSectorBytes > content.size()) continue;
        Bytes duplicated = content;
        copy_bytes(sector(duplicated, other), ByteSpan(content).subspan(begin, kSectorBytes));
        Bytes swapped = duplicated;
        copy_bytes(sector(swapped, begin), ByteSpan(content).subspan(other, kSectorBytes));
        judge_with(name, std::move(duplicated), "sector", " at ", begin, " also at ", other);
        if (other > begin)
          judge_with(name, std::move(swapped), "sectors swapped", " at ", begin, " and ", other);
      }
    }
  }

  void exchange(const FileName& name, const Bytes& content) {
    Files without = store_.files;
    without.erase(name);
    judge(without, {"removed", {name}, ""});
    judge_with(name, Bytes(), "emptied");
    for (const auto& [sibling, other] : store_.files) {
      if (sibling.first != name.first || sibling <= name) continue;
      Files exchanged = store_.files;
      exchanged[name] = other;
      exchanged[sibling] = content;
      judge(exchanged, {"exchanged", {name, sibling}, concat(" and ", file_text(sibling))});
    }
  }

  Stage& stage_;
  Census& census_;
  const std::string row_;
  const std::span<const Limit> limits_;
  const uint64_t seed_;
  SweptStore store_;
  std::optional<UnusedMap> unused_;
  std::vector<Reading> undamaged_;  // as kAccesses
  std::optional<Files> changed_;    // equal to the store's files between cases
};

int run(const StageArguments& arguments) {
  install_watchdog();
  // An open's large buffers come from the heap, not from the kernel anew: a third of the time.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
  Stage stage("sweep", arguments);
  Census census;
  stage.run_in_turns(swept_kinds(), [&](const SweptKind& kind, uint64_t seed) {
    // One seed alone has both, each of half of the structures.
    const auto number = static_cast<uint64_t>(&kind - swept_kinds().data());
    const Ending ending = (seed + number) % 2 == 0 ? Ending::killed : Ending::closed;
    Sweep(stage, census, kind, seed, ending).run();
    stage.add_note(std::string(kind.name),
                   ending == Ending::closed ? "stores closed" : "stores killed");
  });
  census.report(stage);
  return stage.finish();
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  const auto arguments =
      firn::campaign::parse_stage_arguments(argc, argv, firn::campaign::StageNeeds::nothing);
  if (!arguments) {
    std::fprintf(stderr, "firn_sweep: %s\n", arguments.error().message.c_str());
    return 2;
  }
  return firn::campaign::run(*arguments);
}
