// SPDX-License-Identifier: Apache-2.0
//
// Power cuts at the level of blocks: stricter than any kernel's own idea of them. The device says
// what it was sent, and what was not flushed may be there in part, in any order.
#include "campaign/interruptions.h"
#include "campaign/power_cuts.h"
#include "campaign/recorded_disk.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr uint64_t kCyclesOfLifeMax = 10;
constexpr uint64_t kStatesOfCycle = 12;
constexpr uint64_t kThoroughEvery = 10;

class LostWriteLife {
 public:
  LostWriteLife(const DeviceRow& row, Stage& stage, const SubjectKind& kind, uint64_t seed,
                const LoopDevice& loop, RecordedDisk& device)
      : row_(row),
        stage_(stage),
        random_(seed),
        loop_(loop),
        device_(device),
        disk_(row.file_system, loop.path(),
              concat(stage.arguments().directory, "/", row.name, "-", seed)),
        firn_(stage.arguments().firn),
        subject_(kind.make(concat(disk_.folder(), "/store"), seed, random_)) {}

  Status run() {
    const uint64_t cycles = random_.between(2, kCyclesOfLifeMax);
    for (uint64_t cycle = 1; cycle <= cycles && !is_cut_by_repair_; ++cycle) {
      what_.clear();
      const Status done = run_cycle();
      if (!done)
        return fail(done.error().code, concat("cycle ", cycle, what_, ": ", done.error().message));
    }
    return {};
  }

 private:
  Status run_cycle() {
    device_.start_recording();
    TRY(disk_.mount());
    if (random_.one_in(3)) {
      TRY(run_call(drawn_interruption(random_)));
      subject_->observe(outcome_);
      TRY(subject_->check(firn_, random_, false, Settled::no));
    }
    const size_t begin = device_.record_count();
    Interruption kill = random_.one_in(2) ? drawn_interruption(random_) : Interruption();
    kill.watch = [&](int output) { device_.watch(output); };
    TRY(run_call(kill));
    TRY(disk_.unmount());
    const std::vector<DiskRecord> records = device_.stop_recording();

    const std::string before = what_;
    const std::unique_ptr<Subject> unobserved = std::move(subject_);
    for (uint64_t state = 0; state < kStatesOfCycle; ++state) {
      const size_t end = random_.between(begin, records.size());
      what_ = concat(before, ", cut before record ", end, " of ", records.size());
      subject_ = unobserved->clone();
      observe_until(records, end);
      cut_power(device_, records, end, random_);
      TRY(loop_.forget_cache());
      TRY(look_at_state());
    }
    // The last one is where life goes on.
    device_.commit();
    return {};
  }

  Status run_call(Interruption interruption) {
    const Call call = subject_->next_call(random_);
    interruption.act = kill_process;
    what_ += concat(", ", call.arguments[0], " ", call.arguments[1], " ", described(interruption));
    TRY_INTO(outcome_, firn_.run(call, interruption));
    return expect_exit(outcome_, call);
  }

  [[nodiscard]] static Status expect_exit(const Outcome& outcome, const Call& call) {
    if (outcome.exit_code.value_or(call.exit_code) == call.exit_code) return {};
    return fail(Errc::io, concat("ended with code ", *outcome.exit_code, ": ", outcome.errors));
  }

  // What the command had said when the power failed.
  void observe_until(const std::vector<DiskRecord>& records, size_t end) {
    Outcome outcome = outcome_;
    if (end < records.size()) {
      outcome.exit_code.reset();
      outcome.output.resize(std::min(outcome.output.size(), records[end].output_size));
      outcome.output.resize(outcome.output.rfind('\n') + 1);
    }
    subject_->observe(outcome);
  }

  Status look_at_state() {
    TRY_INTO(const Repair repair, disk_.repair());
    // No store can keep its promise then. If it is the last state, the life ends with it.
    is_cut_by_repair_ = repair == Repair::cut_files;
    if (is_cut_by_repair_) {
      stage_.add_note(row_.name, kCutByRepair);
      return {};
    }
    TRY(disk_.mount());
    stage_.add_case(row_.name);
    TRY(subject_->check(firn_, random_, random_.one_in(kThoroughEvery), Settled::yes));
    if (random_.one_in(2)) {
      what_ += ", recovered";
      const Call call = subject_->recovering_call();
      TRY_INTO(const Outcome recovered, firn_.run(call));
      TRY(expect_exit(recovered, call));
      stage_.add_note(row_.name, "recovered by a writer, too");
      TRY(subject_->check(firn_, random_, true, Settled::yes));
    }
    return disk_.unmount();
  }

  const DeviceRow& row_;
  Stage& stage_;
  Random random_;
  const LoopDevice& loop_;
  RecordedDisk& device_;
  MountedFileSystem disk_;
  const Firn firn_;
  std::unique_ptr<Subject> subject_;
  Outcome outcome_;  // of the call of this cycle, as it would have ended
  std::string what_;
  bool is_cut_by_repair_ = false;  // the last state
};

}  // namespace

Status live_with_lost_writes(const DeviceRow& row, Stage& stage, const SubjectKind& kind,
                             uint64_t seed) {
  TRY_INTO(const Descriptor image, make_image(row.file_system));
  TRY_INTO(const auto device, RecordedDisk::serve(image.get(), row.file_system.size_bytes,
                                                  concat(stage.arguments().directory, "/device-",
                                                         row.name, "-", seed)));
  TRY_INTO(const LoopDevice loop, LoopDevice::attach(device->file()));
  return LostWriteLife(row, stage, kind, seed, loop, *device).run();
}

}  // namespace firn::campaign
