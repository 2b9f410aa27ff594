// SPDX-License-Identifier: Apache-2.0
//
// A sync that fails. The kernel then forgets that the pages were dirty: reads show what never
// reached the device, and the next sync succeeds without it. So the command must say that it
// failed, and whoever opens the store next must not believe the page cache. If blocks fail that
// are the file system's own, it may refuse every change from then on.
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
constexpr int kRecoveriesMax = 4;
constexpr int kInputOutput = 5;

// What fails, from a sync on.
enum class Failing : uint8_t {
  contents,    // of files: the blocks that the sync is about to write
  own_blocks,  // of the file system: its journal, inodes, directories
  everything,
};

std::string_view name_of(Failing failing) {
  switch (failing) {
    case Failing::contents: return "contents";
    case Failing::own_blocks: return "the file system's own blocks";
    case Failing::everything: return "everything";
  }
  return {};
}

// Every block that a file below `folder` has in the page cache. Only those that somebody syncs:
// without zeros, hints and the text in the lock file, as losing these is no failure.
std::unordered_set<uint64_t> blocks_below(const std::string& folder, bool only_synced) {
  std::unordered_set<uint64_t> hashes;
  std::error_code none;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, none)) {
    constexpr std::string_view kHints = "666c6f6f7273";  // "floors"
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file()) continue;
    if (only_synced && (name == kHints || name == "LOCK")) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    bytes.resize((bytes.size() + kDiskBlockBytes - 1) / kDiskBlockBytes * kDiskBlockBytes);
    for (size_t at = 0; at < bytes.size(); at += kDiskBlockBytes) {
      const std::string_view block = std::string_view(bytes).substr(at, kDiskBlockBytes);
      if (!only_synced || block.find_first_not_of('\0') != std::string_view::npos)
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
    const auto failing = static_cast<Failing>(random_.below(3));
    failure.act = [&](pid_t) { begin_failing(failing); };
    const Call call = subject_->next_call(random_);
    what_ = concat(", ", call.arguments[0], " ", call.arguments[1], ", from sync ", failure.moment,
                   " on ", name_of(failing), " fails");
    TRY_INTO(const Outcome outcome, firn_.run(call, failure));
    const uint64_t failures = device_.heal();
    subject_->observe(outcome);
    if (failures > 0) {
      stage_.add_case(row_.name);
      stage_.add_note(row_.name, std::string(name_of(failing)));
    }
    const bool is_killed = outcome.interrupted && failure.kills_afterwards && !outcome.exit_code;
    if (!is_killed) TRY(expect_told(outcome, call.exit_code, failures));

    // The next one opens the store with the page cache as it is, or a new mount has no such cache.
    if (random_.one_in(2)) TRY(recover(failing, failures));
    TRY(disk_.unmount());
    TRY(disk_.repair());
    TRY(disk_.mount());
    what_ += ", mounted anew";
    return subject_->check(firn_, random_, random_.one_in(4), Settled::yes);
  }

  void begin_failing(Failing failing) {
    switch (failing) {
      case Failing::contents: return device_.fail_writes_of(blocks_below(store_, true));
      case Failing::own_blocks: return device_.fail_writes_beside(blocks_below(store_, false));
      case Failing::everything: return device_.fail_everything();
    }
  }

  // A file system that lost blocks of its own may refuse changes until it is mounted anew. Of
  // blocks of files that failed when nobody synced them, as XFS writes some when a file is closed,
  // the kernel tells whoever syncs that file next: once.
  Status recover(Failing failing, uint64_t failures) {
    what_ += ", recovered";
    const Call call = subject_->recovering_call();
    for (int attempt = 0; attempt < kRecoveriesMax; ++attempt) {
      TRY_INTO(const Outcome outcome, firn_.run(call));
      if (outcome.exit_code == call.exit_code) {
        if (failures > 0) stage_.add_note(row_.name, "recovered with the old page cache");
        return subject_->check(firn_, random_, false, Settled::yes);
      }
      if (failures == 0 || outcome.exit_code != kInputOutput)
        return fail(Errc::io, concat("recovery failed: ", outcome.errors));
      const bool is_contents = failing == Failing::contents;
      stage_.add_note(row_.name, is_contents ? "told to the next" : "refused until mounted anew");
      if (!is_contents) return {};
    }
    return fail(Errc::io, "recovery fails again and again");
  }

  [[nodiscard]] static Status expect_told(const Outcome& outcome, int exit_code,
                                          uint64_t failures) {
    if (outcome.exit_code == (failures > 0 ? kInputOutput : exit_code)) return {};
    return fail(Errc::io, concat(failures, " writes failed, but the command ended with code ",
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
