// SPDX-License-Identifier: Apache-2.0
//
// A sync that fails. The kernel then forgets that the pages were dirty: reads show what never
// reached the device, and the next sync succeeds without it. So the command must say that it
// failed, and whoever opens the store next must not believe the page cache.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "campaign/interruptions.h"
#include "campaign/power_cuts.h"
#include "campaign/recorded_disk.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr uint64_t kCyclesOfLifeMax = 20;

// Every block that a file below `folder` has in the page cache, zeros aside. Hints and the text in
// the lock file are left out: nobody syncs them, and losing them is no failure.
std::unordered_set<uint64_t> blocks_below(const std::string& folder) {
  std::unordered_set<uint64_t> hashes;
  std::error_code none;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, none)) {
    constexpr std::string_view kHints = "666c6f6f7273";  // "floors"
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file() || name == kHints || name == "LOCK") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    bytes.resize((bytes.size() + kDiskBlockBytes - 1) / kDiskBlockBytes * kDiskBlockBytes);
    for (size_t at = 0; at < bytes.size(); at += kDiskBlockBytes) {
      const std::string_view block = std::string_view(bytes).substr(at, kDiskBlockBytes);
      if (block.find_first_not_of('\0') != std::string_view::npos)
        hashes.insert(RecordedDisk::hash_of_block(std::as_bytes(std::span(block))));
    }
  }
  return hashes;
}

class FailedWriteLife {
 public:
  FailedWriteLife(const DeviceRow& row, Stage& stage, const SubjectKind& kind, uint64_t seed,
                  const LoopDevice& loop, RecordedDisk& device)
      : row_(row),
        stage_(stage),
        random_(seed),
        device_(device),
        disk_(row.file_system, loop.path(),
              concat(stage.arguments().directory, "/", row.name, "-", seed)),
        store_(concat(disk_.folder(), "/store")),
        firn_(stage.arguments().firn),
        subject_(kind.make(store_, seed, random_)) {}

  Status run() {
    TRY(disk_.mount());
    const uint64_t cycles = random_.between(4, kCyclesOfLifeMax);
    for (uint64_t cycle = 1; cycle <= cycles; ++cycle) {
      what_.clear();
      const Status done = run_cycle();
      if (!done)
        return fail(done.error().code, concat("cycle ", cycle, what_, ": ", done.error().message));
    }
    return disk_.unmount();
  }

 private:
  Status run_cycle() {
    Interruption failure;
    failure.when = Interruption::When::before_sync;
    failure.moment = 1 + random_.below(uint64_t{4} << random_.below(4));
    failure.kills_afterwards = random_.one_in(3);
    failure.act = [&](pid_t) { device_.fail_writes_of(blocks_below(store_)); };
    const Call call = subject_->next_call(random_);
    what_ =
        concat(", ", call.arguments[0], " ", call.arguments[1], " fails at sync ", failure.moment);
    TRY_INTO(const Outcome outcome, firn_.run(call, failure));
    const uint64_t failed = device_.heal();
    subject_->observe(outcome);
    TRY(expect_told(outcome, call, failed));

    // The next one opens the store with the page cache as it is, or a new mount has no such cache.
    if (random_.one_in(2)) {
      what_ += ", recovered";
      const Call recovering = subject_->recovering_call();
      TRY_INTO(const Outcome recovered, firn_.run(recovering));
      if (recovered.exit_code != recovering.exit_code)
        return fail(Errc::io, concat("recovery failed: ", recovered.errors));
      TRY(subject_->check(firn_, random_, false, Settled::yes));
      stage_.add_note(row_.name, "recovered with the old page cache");
    }
    TRY(disk_.unmount());
    TRY(disk_.mount());
    what_ += ", mounted anew";
    return subject_->check(firn_, random_, random_.one_in(4), Settled::yes);
  }

  Status expect_told(const Outcome& outcome, const Call& call, uint64_t failed) {
    constexpr int kInputOutput = 5;
    if (failed > 0) stage_.add_case(row_.name);
    const int expected = failed > 0 ? kInputOutput : call.exit_code;
    if (!outcome.exit_code && outcome.interrupted) return {};  // killed before it could tell
    if (outcome.exit_code == expected) return {};
    return fail(Errc::io, concat(failed, " writes failed, but the command ended with code ",
                                 outcome.exit_code.value_or(-1), ": ", outcome.errors));
  }

  const DeviceRow& row_;
  Stage& stage_;
  Random random_;
  RecordedDisk& device_;
  MountedFileSystem disk_;
  const std::string store_;
  const Firn firn_;
  const std::unique_ptr<Subject> subject_;
  std::string what_;
};

}  // namespace

Status live_with_failed_writes(const DeviceRow& row, Stage& stage, const SubjectKind& kind,
                               uint64_t seed) {
  TRY_INTO(const Descriptor image, make_image(row.file_system));
  TRY_INTO(const auto device, RecordedDisk::serve(image.get(), row.file_system.size_bytes,
                                                  concat(stage.arguments().directory, "/device-",
                                                         row.name, "-", seed)));
  TRY_INTO(const LoopDevice loop, LoopDevice::attach(device->file()));
  return FailedWriteLife(row, stage, kind, seed, loop, *device).run();
}

}  // namespace firn::campaign
