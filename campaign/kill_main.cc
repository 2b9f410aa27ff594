// SPDX-License-Identifier: Apache-2.0
//
// firn_kill: SIGKILLs of the command, at random moments and at its n-th call that changes
// something, and what a later call of the command finds.
//
// A kill loses the memory of one process and nothing else: the page cache stays. What this shows is
// that recovery copes with every state that a writer leaves behind, not that flushes are in place.
#include <filesystem>

#include "campaign/interruptions.h"
#include "campaign/stage.h"
#include "campaign/subject.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr uint64_t kCyclesOfLifeMax = 40;
// Tables double while stores are small.
constexpr uint64_t kCyclesWithBuffersMax = 8;
constexpr uint64_t kThoroughEvery = 10;
constexpr uint64_t kOtherBuffersEvery = 10;
constexpr uint64_t kLaterFactor = 20;  // small buffers make many more calls
// So many kills meet whatever is rare, under any seed.
constexpr uint64_t kKillsThatMeetAll = 2000;

class KilledLife {
 public:
  KilledLife(Stage& stage, const SubjectKind& kind, uint64_t seed)
      : stage_(stage),
        row_(kind.name),
        seed_(seed),
        random_(seed),
        store_(concat(stage.arguments().directory, "/", row_, "-", seed)),
        firn_(stage.arguments().firn),
        subject_(kind.make(store_, seed, random_)),
        buffers_every_(random_.one_in(3) ? 2 : kOtherBuffersEvery) {}

  void run() {
    std::filesystem::remove_all(store_);
    const uint64_t cycles =
        random_.between(4, subject_->wants_buffers() ? kCyclesWithBuffersMax : kCyclesOfLifeMax);
    for (uint64_t cycle = 1; cycle <= cycles; ++cycle) {
      // The last call of a life is left alone.
      const Status done = run_cycle(cycle, cycle == cycles);
      if (!done) {
        stage_.add_violation(
            row_, seed_,
            concat("cycle ", cycle, ", ", what_, ": ", done.error().message, "; see ", store_));
        return;
      }
    }
    std::filesystem::remove_all(store_);
  }

 private:
  Status run_cycle(uint64_t cycle, bool last) {
    // Lives end at different cycles: counted from the seed, every cycle is the tenth of some.
    std::optional<Call> other;
    if (subject_->wants_buffers() || (cycle + seed_) % buffers_every_ == 0)
      other = subject_->next_call_with_buffers(random_);
    const Call call = other ? std::move(*other) : subject_->next_call(random_);
    Interruption interruption = last ? Interruption() : drawn_interruption(random_);
    interruption.act = kill_process;
    if (call.to_writer) interruption.moment *= 1 + random_.below(kLaterFactor);
    what_ = concat(call.arguments[0], " ",
                   call.to_writer ? std::string("import with other buffers") : call.arguments[1],
                   " ", described(interruption));
    TRY_INTO(const Outcome outcome, firn_.run(call, interruption));
    subject_->observe(outcome);
    if (!outcome.exit_code) {
      stage_.add_case(row_);
      stage_.add_note(
          row_, interruption.when == Interruption::When::after_time ? "at a moment" : "at a call");
      if (call.to_writer) stage_.add_note(row_, std::string(kWithOtherBuffers));
      if (const auto inside = subject_->interrupted_inside(); !inside.empty())
        stage_.add_note(row_, std::string(inside));
    } else if (*outcome.exit_code != call.exit_code) {
      return fail(Errc::io, concat("ended with code ", *outcome.exit_code, ": ", outcome.errors));
    }
    return subject_->check(firn_, random_, last || cycle % kThoroughEvery == 0, Settled::yes);
  }

  Stage& stage_;
  const std::string row_;
  const uint64_t seed_;
  Random random_;
  const std::string store_;
  const Firn firn_;
  const std::unique_ptr<Subject> subject_;
  const uint64_t buffers_every_;  // one life in three more often
  std::string what_;
};

Status run_all(Stage& stage) {
  stage.run_in_turns(subject_kinds(), [&](const SubjectKind& kind, uint64_t seed) {
    KilledLife(stage, kind, seed).run();
  });
  for (const SubjectKind& kind : subject_kinds())
    for (const std::string_view what : kind.rare)
      stage.demand_note(std::string(kind.name), std::string(what), kKillsThatMeetAll);
  return {};
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  using namespace firn::campaign;
  return stage_main(argc, argv, {"kill", names_of(subject_kinds())}, run_all);
}
