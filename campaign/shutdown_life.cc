// SPDX-License-Identifier: Apache-2.0
//
// Power cuts through the shutdown ioctl: fast, and the kernel's own idea of what is lost, which is
// everything that it has not sent to the device, and nothing that it has.
#include "campaign/interruptions.h"
#include "campaign/power_cuts.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr uint64_t kCyclesOfLifeMax = 40;
constexpr uint64_t kThoroughEvery = 10;

class ShutDownLife {
 public:
  ShutDownLife(const DeviceRow& row, Stage& stage, const SubjectKind& kind, uint64_t seed,
               const LoopDevice& loop)
      : row_(row),
        stage_(stage),
        random_(seed),
        disk_(row.file_system, loop.path(),
              concat(stage.arguments().directory, "/", row.name, "-", seed)),
        firn_(stage.arguments().firn),
        subject_(kind.make(concat(disk_.folder(), "/store"), seed, random_)) {}

  Status run() {
    TRY(disk_.mount());
    const uint64_t cycles = random_.between(4, kCyclesOfLifeMax);
    for (uint64_t cycle = 1; cycle <= cycles && !is_cut_by_repair_; ++cycle) {
      what_.clear();
      const Status done = run_cycle(cycle % kThoroughEvery == 0);
      if (!done)
        return fail(done.error().code, concat("cycle ", cycle, what_, ": ", done.error().message));
    }
    return is_cut_by_repair_ ? Status() : disk_.unmount();
  }

 private:
  Status run_cycle(bool thorough) {
    // What a killed program left in the page cache is adopted by the next, and then the power goes.
    if (random_.one_in(3)) {
      Interruption kill = drawn_interruption(random_);
      kill.act = kill_process;
      TRY(run_call(kill));
      TRY(subject_->check(firn_, random_, false, Settled::no));
    }
    Interruption cut = drawn_interruption(random_);
    Status shut_down;
    bool is_down = false;
    cut.act = [&](pid_t) {
      shut_down = disk_.shut_down();
      is_down = true;
    };
    TRY(run_call(cut));
    if (!is_down) shut_down = disk_.shut_down();
    TRY(std::move(shut_down));
    TRY(disk_.unmount());
    TRY_INTO(const Repair repair, disk_.repair());
    is_cut_by_repair_ = repair == Repair::cut_files;
    if (is_cut_by_repair_) {
      stage_.add_note(row_.name, kCutByRepair);
      return {};
    }
    TRY(disk_.mount());
    stage_.add_case(row_.name);
    stage_.add_note(row_.name, is_down ? "during a call" : "after a call");
    return subject_->check(firn_, random_, thorough, Settled::yes);
  }

  Status run_call(const Interruption& interruption) {
    const Call call = subject_->next_call(random_);
    what_ += concat(", ", call.arguments[0], " ", call.arguments[1], " ", described(interruption));
    TRY_INTO(const Outcome outcome, firn_.run(call, interruption));
    subject_->observe(outcome);
    constexpr int kInputOutput = 5;
    const bool is_told = outcome.interrupted && outcome.exit_code == kInputOutput;
    if (!outcome.exit_code || *outcome.exit_code == call.exit_code || is_told) return {};
    return fail(Errc::io, concat("ended with code ", *outcome.exit_code, ": ", outcome.errors));
  }

  const DeviceRow& row_;
  Stage& stage_;
  Random random_;
  MountedFileSystem disk_;
  const Firn firn_;
  const std::unique_ptr<Subject> subject_;
  std::string what_;
  bool is_cut_by_repair_ = false;
};

}  // namespace

Status live_with_shutdowns(const DeviceRow& row, Stage& stage, const SubjectKind& kind,
                           uint64_t seed) {
  TRY_INTO(const Descriptor image, make_image(row.file_system));
  TRY_INTO(const LoopDevice loop, LoopDevice::attach(image.get()));
  return ShutDownLife(row, stage, kind, seed, loop).run();
}

}  // namespace firn::campaign
