// SPDX-License-Identifier: Apache-2.0
//
// SimulatedFileSystem: a FileSystem in memory that forgets what no sync covered. It is how the test
// kit cuts the power a million times an hour, with FileStorage's real protocol on top.
//
//   SimulatedFileSystem disk;
//   disk.set_faults({.crashes = {{.call = 40}}});
//   run_the_store(disk);                                  // fails from call 40 on
//   disk.cut_power(SurvivorPlan::random(seed));           // or disk.kill()
//   reopen_and_check(disk);
//
// What a power cut may do, every part of it independently:
//   - Each 512-byte sector of an unsynced write is lost, kept, cut at a byte on either side, any
//     subset of its bytes, or garbage. Where writes overlap, an older one never covers a newer one
//     that survived.
//   - A file's length is any that it had since its last sync, whatever became of the data. Bytes
//     without data are zeros. Truncations may be lost.
//   - Each creation or removal of a directory entry since that directory's last sync is lost or
//     kept. A synced file whose entry was lost is gone; an unlinked file may be back.
// A sync that fails makes any subset durable and forgets that the rest was pending: reads still
// show it, later syncs succeed without writing it, and the next power cut takes it away.
// PosixFile drops such pages from the cache at once, which drop_ghosts stands for. A directory's
// cannot be dropped: a real file system has aborted its journal by then, so a machine with
// has_ghost_entries() needs cut_power(), not kill().
// kill() ends the program, not the machine: everything stays visible and pending.
//
// After either, and after a crash point of the fault plan, handles from before fail, and so does
// every call between a crash point and the kill() or cut_power() that follows it.
//
// Threads: all calls, concurrently, under one mutex. With several threads the order of calls, and
// so the trace, is the scheduler's. Handles must not outlive the file system.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/random.h"
#include "firn/base/result.h"
#include "firn/io/file_system.h"
#include "firn/io/lock_counts.h"
#include "firn/io/storage.h"
#include "testkit/fault_plan.h"
#include "testkit/simulated_inode.h"
#include "testkit/survivors.h"

namespace firn::testkit {

class SimulatedFile;
class SimulatedLock;

class SimulatedFileSystem final : public FileSystem {
 public:
  SimulatedFileSystem();

  // An independent copy of everything except open handles and locks, as if the program had been
  // killed in the copy. Costs a copy of all bytes.
  [[nodiscard]] std::unique_ptr<SimulatedFileSystem> clone() const;

  [[nodiscard]] Result<std::unique_ptr<File>> open(std::string_view directory,
                                                   std::string_view name, FileMode mode) override;
  // One call: it is not seen as a write and a sync, because no crash parts them. But a crash point
  // in it may leave the name with a part of the content, as the original leaves it when it is
  // killed: `CrashMoment::drawn`.
  [[nodiscard]] Result<std::unique_ptr<File>> create_file(std::string_view directory,
                                                          std::string_view name,
                                                          ByteSpan content) override;
  [[nodiscard]] Status make_directory(std::string_view directory) override;
  [[nodiscard]] Status remove_file(std::string_view directory, std::string_view name) override;
  [[nodiscard]] Status remove_directory(std::string_view directory) override;
  [[nodiscard]] Result<std::vector<DirectoryEntry>> list(std::string_view directory) override;
  [[nodiscard]] Status sync_directory(std::string_view directory) override;
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> lock(LockMode mode) override;
  [[nodiscard]] Result<std::optional<StorageWriter>> find_writer() override;
  // Of the calls so far and of the draws so far: equal seeds give equal ones. No call.
  [[nodiscard]] uint64_t random_seed() override;
  [[nodiscard]] std::string description() const override { return "simulated"; }

  // Faults. A new plan replaces the old one; call numbers go on.
  void set_faults(FaultPlan plan);
  void clear_faults() { set_faults({}); }
  [[nodiscard]] uint64_t call_count() const;   // calls so far; the next one has this number + 1
  [[nodiscard]] uint64_t fault_count() const;  // calls that failed because of a plan, crashes too
  [[nodiscard]] uint64_t used_bytes() const;   // what capacity_bytes bounds
  [[nodiscard]] bool is_down() const;  // a crash point was hit; kill() or cut_power() bring it up

  // How often something happened that is rare, and that recovery must have met to be tested.
  struct RareEvents {
    uint64_t files_back = 0;    // unlinked, and back after a power cut
    uint64_t ghosts_taken = 0;  // files of which a power cut took what a failed sync left visible
    uint64_t torn_files = 0;    // opened with only a part of what they were to be created with
    uint64_t full_calls = 0;    // that failed with Errc::no_space
  };
  [[nodiscard]] RareEvents rare_events() const;

  // A device or driver that lies: these syncs succeed and settle nothing. A sim test runs its
  // scenario once on such a device and expects violations; that shows that it can fail.
  struct Lies {
    bool file_syncs = false;
    bool directory_syncs = false;
  };
  void set_lies(Lies lies);

  // Crashes.
  void kill();
  void cut_power(const SurvivorPlan& survivors);
  // Reads of all files show what the device holds and what is pending, no longer what a failed sync
  // left in the cache. Lengths stay in memory while files are open; after a kill they go, too.
  enum class Ghosts : uint8_t { pages, pages_and_lengths };
  void drop_ghosts(Ghosts ghosts);
  [[nodiscard]] bool has_ghost_entries() const;
  [[nodiscard]] std::vector<PendingItem> pending_items();

  // Observation. The trace hash covers every call with its data; equal seeds must give equal
  // hashes. Operations are recorded from the call of record_operations(true) on.
  [[nodiscard]] uint64_t trace_hash() const;
  void record_operations(bool on);
  [[nodiscard]] std::vector<Operation> operations() const;
  // Covers names and visible contents of all files: equal before and after means nothing changed.
  [[nodiscard]] uint64_t content_hash() const;

  // Damage. These act at once on the visible and the durable state, without faults, call numbers
  // or trace. Naming a file that does not exist is a mistake in the test, except for write_raw,
  // which makes it.
  using FileName = std::pair<std::string, std::string>;  // directory, name
  [[nodiscard]] std::vector<FileName> raw_files() const;
  [[nodiscard]] bool has_raw(std::string_view directory, std::string_view name) const;
  [[nodiscard]] Bytes read_raw(std::string_view directory, std::string_view name) const;
  void write_raw(std::string_view directory, std::string_view name, Bytes content);
  void remove_raw(std::string_view directory, std::string_view name);
  // Overwrites what of the range lies inside the file.
  void corrupt(std::string_view directory, std::string_view name, uint64_t offset, ByteSpan bytes);
  // Reads of these bytes fail with Errc::io until they are written again.
  void make_unreadable(std::string_view directory, std::string_view name, uint64_t offset,
                       uint64_t size);
  // What is unreadable of the file reads again, as it was.
  void make_readable(std::string_view directory, std::string_view name);

 private:
  friend class SimulatedFile;
  friend class SimulatedLock;

  // What a call is to do: how much of its effect happens, and what it answers.
  struct Verdict {
    bool performed = true;
    bool partly = false;  // a write: any leading part of it
    std::optional<Error> error;
  };
  struct Call {
    CallKind kind;
    std::string_view directory;
    std::string_view name;
    uint64_t offset = 0;
    uint64_t size = 0;
    std::span<const ByteSpan> data = {};
  };

  Verdict admit(const Call& call) REQUIRES(mutex_);
  [[nodiscard]] static Status answer(Verdict verdict, Status outcome);
  void trace(const Call& call, const Verdict& verdict) REQUIRES(mutex_);
  Verdict crash(const Call& call, CrashMoment moment) REQUIRES(mutex_);
  Verdict failure(const Call& call, Errc code) REQUIRES(mutex_);
  [[nodiscard]] const CallFailure* planned_failure() const REQUIRES(mutex_);
  [[nodiscard]] Status check_handle(uint64_t generation, const Call& call) const REQUIRES(mutex_);
  [[nodiscard]] SimulatedDirectory* find_directory(std::string_view name) const REQUIRES(mutex_);
  [[nodiscard]] SimulatedInode& raw_inode(std::string_view directory, std::string_view name) const
      REQUIRES(mutex_);
  // Also fills `owners` with what the items point to.
  [[nodiscard]] std::vector<PendingItem> collect_pending(
      std::vector<SimulatedDirectory::Entry>& owners) REQUIRES(mutex_);
  void count_full() REQUIRES(mutex_) {
    ++faults_hit_;
    ++rare_.full_calls;
  }
  // The size that the file may grow to on this device.
  [[nodiscard]] uint64_t room_for(const SimulatedInode& inode) const REQUIRES(mutex_);
  void begin_generation() REQUIRES(mutex_);
  void count_ghosts() REQUIRES(mutex_);
  void settle_partly(SimulatedInode& inode) REQUIRES(mutex_);
  void settle_partly(SimulatedDirectory& directory) REQUIRES(mutex_);

  // The verbs of SimulatedFile.
  Status read(SimulatedFile& file, uint64_t offset, MutableByteSpan out);
  Status write(SimulatedFile& file, uint64_t offset, std::span<const ByteSpan> buffers);
  Status resize(SimulatedFile& file, uint64_t size);
  Status sync(SimulatedFile& file);
  Result<uint64_t> size_of(SimulatedFile& file);
  Result<std::unique_ptr<Mapping>> map(SimulatedFile& file, uint64_t size);
  void release(const SimulatedLock& lock);
  void settle(const SimulatedLock& lock);

  mutable Mutex mutex_;
  std::shared_ptr<SimulatedDirectory> root_ GUARDED_BY(mutex_);
  FaultPlan faults_ GUARDED_BY(mutex_);
  Random fault_random_ GUARDED_BY(mutex_){0};
  uint64_t calls_ GUARDED_BY(mutex_) = 0;
  uint64_t faults_hit_ GUARDED_BY(mutex_) = 0;
  RareEvents rare_ GUARDED_BY(mutex_);
  uint64_t sequence_ GUARDED_BY(mutex_) = 0;
  uint64_t numbers_ GUARDED_BY(mutex_) = 0;  // of files and directories
  uint64_t generation_ GUARDED_BY(mutex_) = 1;
  uint64_t mark_ GUARDED_BY(mutex_) = 0;
  uint64_t used_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t trace_ GUARDED_BY(mutex_) = 0;
  uint64_t seeds_drawn_ GUARDED_BY(mutex_) = 0;
  bool down_ GUARDED_BY(mutex_) = false;
  bool recording_ GUARDED_BY(mutex_) = false;
  Lies lies_ GUARDED_BY(mutex_);
  io::LockCounts locks_ GUARDED_BY(mutex_);
  std::vector<Operation> operations_ GUARDED_BY(mutex_);
};

}  // namespace firn::testkit
