// SPDX-License-Identifier: Apache-2.0
#include "testkit/simulated_file_system.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "firn/base/check.h"
#include "firn/base/text.h"
#include "testkit/simulated_handles.h"

namespace firn::testkit {
namespace {

constexpr std::string_view kLockFileName = "LOCK";

uint64_t mix(uint64_t hash, ByteSpan bytes) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash);
}

uint64_t mix(uint64_t hash, uint64_t number) {
  uint64_t state = hash ^ (number * 0x9E3779B97F4A7C15u);
  return split_mix64(state);
}

}  // namespace

SimulatedFileSystem::SimulatedFileSystem() : root_(std::make_shared<SimulatedDirectory>(0)) {}

std::unique_ptr<SimulatedFileSystem> SimulatedFileSystem::clone() const {
  auto copy = std::make_unique<SimulatedFileSystem>();
  MutexLock copy_lock(copy->mutex_);
  MutexLock lock(mutex_);
  SimulatedDirectory::Copies copies;
  copy->root_ = root_->deep_copy(copies);
  copy->faults_ = faults_;
  copy->fault_random_ = fault_random_;
  copy->calls_ = calls_;
  copy->faults_hit_ = faults_hit_;
  copy->rare_ = rare_;
  copy->sequence_ = sequence_;
  copy->numbers_ = numbers_;
  copy->mark_ = mark_;
  copy->used_bytes_ = used_bytes_;
  copy->trace_ = trace_;
  copy->seeds_drawn_ = seeds_drawn_;
  copy->recording_ = recording_;
  copy->lies_ = lies_;
  copy->operations_ = operations_;
  return copy;
}

// Faults.

void SimulatedFileSystem::set_faults(FaultPlan plan) {
  MutexLock lock(mutex_);
  fault_random_ = Random(plan.seed);
  faults_ = std::move(plan);
}

void SimulatedFileSystem::set_lies(Lies lies) {
  MutexLock lock(mutex_);
  lies_ = lies;
}

uint64_t SimulatedFileSystem::call_count() const {
  MutexLock lock(mutex_);
  return calls_;
}

uint64_t SimulatedFileSystem::fault_count() const {
  MutexLock lock(mutex_);
  return faults_hit_;
}

SimulatedFileSystem::RareEvents SimulatedFileSystem::rare_events() const {
  MutexLock lock(mutex_);
  return rare_;
}

uint64_t SimulatedFileSystem::used_bytes() const {
  MutexLock lock(mutex_);
  return used_bytes_;
}

bool SimulatedFileSystem::is_down() const {
  MutexLock lock(mutex_);
  return down_;
}

const CallFailure* SimulatedFileSystem::planned_failure() const {
  for (const CallFailure& failure : faults_.failures)
    if (calls_ == failure.call || (failure.for_ever && calls_ > failure.call)) return &failure;
  return nullptr;
}

SimulatedFileSystem::Verdict SimulatedFileSystem::crash(const Call& call, CrashMoment moment) {
  down_ = true;
  Verdict verdict;
  verdict.error =
      Error{Errc::io, concat("simulated crash in call ", calls_, ", ", call_kind_name(call.kind),
                             " of ", simulated_path(call.directory, call.name))};
  if (moment == CrashMoment::drawn) {
    verdict.performed = fault_random_.one_in(2);
    verdict.partly = verdict.performed && fault_random_.one_in(2);
  } else {
    verdict.performed = moment == CrashMoment::after;
  }
  return verdict;
}

SimulatedFileSystem::Verdict SimulatedFileSystem::failure(const Call& call, Errc code) {
  if (code == Errc::no_space) ++rare_.full_calls;
  Verdict verdict;
  verdict.performed = call.kind == CallKind::write && fault_random_.one_in(2);
  verdict.partly = verdict.performed;
  verdict.error =
      Error{code, concat("simulated failure of call ", calls_, ", ", call_kind_name(call.kind),
                         " of ", simulated_path(call.directory, call.name))};
  return verdict;
}

SimulatedFileSystem::Verdict SimulatedFileSystem::admit(const Call& call) {
  Verdict verdict;
  if (call.kind == CallKind::read && !faults_.count_reads) return verdict;
  ++calls_;
  if (const CallFailure* planned = planned_failure()) verdict = failure(call, planned->code);
  for (const FailureRate& rate : faults_.rates) {
    if (verdict.error || rate.kind != call.kind) continue;
    if (fault_random_.below(1000) < rate.per_thousand) verdict = failure(call, rate.code);
  }
  for (const CrashPoint& point : faults_.crashes)
    if (point.call == calls_) verdict = crash(call, point.moment);
  if (verdict.error) ++faults_hit_;
  trace(call, verdict);
  return verdict;
}

// An injected error hides what the call would have answered.
Status SimulatedFileSystem::answer(Verdict verdict, Status outcome) {
  if (verdict.error) return std::unexpected(*std::move(verdict.error));
  return outcome;
}

void SimulatedFileSystem::trace(const Call& call, const Verdict& verdict) {
  trace_ = mix(trace_, static_cast<uint64_t>(call.kind) | (verdict.error ? 256u : 0u));
  trace_ = mix(trace_, as_bytes(call.directory));
  trace_ = mix(trace_, as_bytes(call.name));
  trace_ = mix(mix(trace_, call.offset), call.size);
  for (const ByteSpan piece : call.data)
    trace_ = mix(trace_, piece);
  if (!recording_) return;
  operations_.push_back({call.kind, std::string(call.directory), std::string(call.name),
                         call.offset, call.size, verdict.error.has_value()});
}

Status SimulatedFileSystem::check_handle(uint64_t generation, const Call& call) const {
  if (down_)
    return fail(Errc::io, concat("simulated machine is down, ", call_kind_name(call.kind), " of ",
                                 simulated_path(call.directory, call.name)));
  if (generation != generation_)
    return fail(Errc::io,
                concat("handle from before a simulated crash, ", call_kind_name(call.kind), " of ",
                       simulated_path(call.directory, call.name)));
  return {};
}

// The verbs of FileSystem.

SimulatedDirectory* SimulatedFileSystem::find_directory(std::string_view name) const {
  if (name.empty()) return root_.get();
  const SimulatedDirectory::Entry* entry = root_->find(name);
  return entry == nullptr ? nullptr : entry->directory.get();
}

Result<std::unique_ptr<File>> SimulatedFileSystem::open(std::string_view directory,
                                                        std::string_view name, FileMode mode) {
  MutexLock lock(mutex_);
  const bool create = mode == FileMode::create_exclusive;
  const Call call{
      .kind = CallKind::open, .directory = directory, .name = name, .offset = create ? 1u : 0u};
  TRY(check_handle(generation_, call));
  Verdict verdict = admit(call);
  if (verdict.error && !(verdict.performed && create)) return std::unexpected(*verdict.error);
  SimulatedDirectory* parent = find_directory(directory);
  if (parent == nullptr)
    return fail(Errc::not_found, concat("no directory ", simulated_path(directory, "")));
  const SimulatedDirectory::Entry* entry = parent->find(name);
  std::shared_ptr<SimulatedInode> inode;
  if (create) {
    if (entry != nullptr)
      return fail(Errc::invalid_argument, concat(simulated_path(directory, name), " exists"));
    inode = std::make_shared<SimulatedInode>(++numbers_);
    parent->link(++sequence_, name, {inode, nullptr});
    if (verdict.error) return std::unexpected(*verdict.error);
  } else {
    if (entry == nullptr)
      return fail(Errc::not_found, concat("no file ", simulated_path(directory, name)));
    if (!entry->file)
      return fail(Errc::io, concat(simulated_path(directory, name), " is a directory"));
    inode = entry->file;
    if (inode->take_torn()) ++rare_.torn_files;
  }
  return std::make_unique<SimulatedFile>(*this, std::move(inode), generation_,
                                         mode != FileMode::read_only, directory, name);
}

Result<std::unique_ptr<File>> SimulatedFileSystem::create_file(std::string_view directory,
                                                               std::string_view name,
                                                               ByteSpan content) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::create_file,
                  .directory = directory,
                  .name = name,
                  .offset = 0,
                  .size = content.size(),
                  .data = std::span(&content, 1)};
  TRY(check_handle(generation_, call));
  const Verdict verdict = admit(call);
  if (!verdict.performed) return std::unexpected(*verdict.error);
  SimulatedDirectory* parent = find_directory(directory);
  if (parent == nullptr)
    return fail(Errc::not_found, concat("no directory ", simulated_path(directory, "")));
  if (parent->find(name) != nullptr)
    return fail(Errc::invalid_argument, concat(simulated_path(directory, name), " exists"));
  const auto inode = std::make_shared<SimulatedInode>(++numbers_);
  if (content.size() > room_for(*inode)) {
    count_full();
    return fail(Errc::no_space,
                concat("simulated device is full, creation of ", simulated_path(directory, name)));
  }
  uint64_t size = content.size();
  if (verdict.partly && size > 0) {
    size = fault_random_.below(size);
    inode->mark_torn();
  }
  inode->write(++sequence_, 0, std::span(&content, 1), size);
  inode->settle();
  used_bytes_ += size;
  parent->link(++sequence_, name, {inode, nullptr});
  if (verdict.error) return std::unexpected(*verdict.error);
  return std::make_unique<SimulatedFile>(*this, inode, generation_, true, directory, name);
}

Status SimulatedFileSystem::make_directory(std::string_view directory) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::make_directory, .directory = directory, .name = {}};
  TRY(check_handle(generation_, call));
  const Verdict verdict = admit(call);
  const SimulatedDirectory::Entry* entry = root_->find(directory);
  if (entry != nullptr && entry->file)
    return answer(verdict,
                  fail(Errc::io, concat(simulated_path(directory, ""), " exists and is a file")));
  if (verdict.performed && entry == nullptr && !directory.empty())
    root_->link(++sequence_, directory,
                {nullptr, std::make_shared<SimulatedDirectory>(++numbers_)});
  return answer(verdict, {});
}

Status SimulatedFileSystem::remove_file(std::string_view directory, std::string_view name) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::remove_file, .directory = directory, .name = name};
  TRY(check_handle(generation_, call));
  const Verdict verdict = admit(call);
  SimulatedDirectory* parent = find_directory(directory);
  const SimulatedDirectory::Entry* entry = parent == nullptr ? nullptr : parent->find(name);
  if (entry == nullptr)
    return answer(verdict,
                  fail(Errc::not_found, concat("no file ", simulated_path(directory, name))));
  if (!entry->file)
    return answer(verdict,
                  fail(Errc::io, concat(simulated_path(directory, name), " is a directory")));
  if (verdict.performed) {
    used_bytes_ -= entry->file->visible().size();
    entry->file->set_linked(false);
    parent->unlink(++sequence_, name);
  }
  return answer(verdict, {});
}

Status SimulatedFileSystem::remove_directory(std::string_view directory) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::remove_directory, .directory = directory, .name = {}};
  TRY(check_handle(generation_, call));
  const Verdict verdict = admit(call);
  const SimulatedDirectory* found = directory.empty() ? nullptr : find_directory(directory);
  if (found == nullptr)
    return answer(verdict,
                  fail(Errc::not_found, concat("no directory ", simulated_path(directory, ""))));
  if (!found->visible().empty())
    return answer(verdict, fail(Errc::io, concat(simulated_path(directory, ""), " is not empty")));
  if (verdict.performed) root_->unlink(++sequence_, directory);
  return answer(verdict, {});
}

Result<std::vector<DirectoryEntry>> SimulatedFileSystem::list(std::string_view directory) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::list, .directory = directory, .name = {}};
  TRY(check_handle(generation_, call));
  Verdict verdict = admit(call);
  if (verdict.error) return std::unexpected(*verdict.error);
  const SimulatedDirectory* found = find_directory(directory);
  if (found == nullptr)
    return fail(Errc::not_found, concat("no directory ", simulated_path(directory, "")));
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, entry] : found->visible())
    entries.push_back(
        {name, entry.file ? DirectoryEntry::Kind::file : DirectoryEntry::Kind::directory});
  return entries;
}

Status SimulatedFileSystem::sync_directory(std::string_view directory) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::sync_directory, .directory = directory, .name = {}};
  TRY(check_handle(generation_, call));
  const Verdict verdict = admit(call);
  SimulatedDirectory* found = find_directory(directory);
  if (found == nullptr)
    return answer(verdict,
                  fail(Errc::not_found, concat("no directory ", simulated_path(directory, ""))));
  if (lies_.directory_syncs) return answer(verdict, {});
  // A crash leaves the entries pending for cut_power to decide. Only a failure makes ghosts.
  if (!verdict.error || (down_ && verdict.performed && !verdict.partly))
    found->settle();
  else if (!down_)
    settle_partly(*found);
  return answer(verdict, {});
}

Result<std::unique_ptr<StorageLock>> SimulatedFileSystem::lock(LockMode mode) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::lock, .directory = {}, .name = kLockFileName};
  TRY(check_handle(generation_, call));
  Verdict verdict = admit(call);
  if (verdict.error) return std::unexpected(*verdict.error);
  if (is_for_writing(mode) && root_->find(kLockFileName) == nullptr)
    root_->link(++sequence_, kLockFileName,
                {std::make_shared<SimulatedInode>(++numbers_), nullptr});
  if (!locks_.take(mode))
    return fail(Errc::locked, "simulated is locked by another handle of this process");
  return std::make_unique<SimulatedLock>(*this, mode, generation_);
}

void SimulatedFileSystem::release(const SimulatedLock& held) {
  MutexLock lock(mutex_);
  if (held.generation_ != generation_) return;
  locks_.release(held.mode_);
}

void SimulatedFileSystem::settle(const SimulatedLock& held) {
  MutexLock lock(mutex_);
  if (held.generation_ == generation_ && held.mode_ == LockMode::exclusive) locks_.settle();
}

Result<std::optional<StorageWriter>> SimulatedFileSystem::find_writer() {
  MutexLock lock(mutex_);
  return locks_.find_writer();
}

uint64_t SimulatedFileSystem::random_seed() {
  MutexLock lock(mutex_);
  return mix(trace_, ++seeds_drawn_);
}

// Observation and damage.

uint64_t SimulatedFileSystem::trace_hash() const {
  MutexLock lock(mutex_);
  return trace_;
}

void SimulatedFileSystem::record_operations(bool on) {
  MutexLock lock(mutex_);
  recording_ = on;
  if (on) operations_.clear();
}

std::vector<Operation> SimulatedFileSystem::operations() const {
  MutexLock lock(mutex_);
  return operations_;
}

std::vector<SimulatedFileSystem::FileName> SimulatedFileSystem::raw_files() const {
  MutexLock lock(mutex_);
  std::vector<FileName> files;
  for (const auto& [name, entry] : root_->visible()) {
    if (entry.file) files.emplace_back("", name);
    if (!entry.directory) continue;
    for (const auto& [child_name, child] : entry.directory->visible())
      files.emplace_back(name, child_name);
  }
  return files;
}

uint64_t SimulatedFileSystem::content_hash() const {
  uint64_t hash = 0;
  for (const auto& [directory, name] : raw_files()) {
    MutexLock lock(mutex_);
    hash = mix(mix(hash, as_bytes(directory)), as_bytes(name));
    hash = mix(hash, raw_inode(directory, name).visible());
  }
  return hash;
}

SimulatedInode& SimulatedFileSystem::raw_inode(std::string_view directory,
                                               std::string_view name) const {
  const SimulatedDirectory* parent = find_directory(directory);
  const SimulatedDirectory::Entry* entry = parent == nullptr ? nullptr : parent->find(name);
  CHECK(entry != nullptr && entry->file, "the test names a file that exists");
  return *entry->file;
}

bool SimulatedFileSystem::has_raw(std::string_view directory, std::string_view name) const {
  MutexLock lock(mutex_);
  const SimulatedDirectory* parent = find_directory(directory);
  const SimulatedDirectory::Entry* entry = parent == nullptr ? nullptr : parent->find(name);
  return entry != nullptr && entry->file;
}

Bytes SimulatedFileSystem::read_raw(std::string_view directory, std::string_view name) const {
  MutexLock lock(mutex_);
  return raw_inode(directory, name).visible();
}

void SimulatedFileSystem::write_raw(std::string_view directory, std::string_view name,
                                    Bytes content) {
  MutexLock lock(mutex_);
  if (find_directory(directory) == nullptr)
    root_->link_durably(directory, {nullptr, std::make_shared<SimulatedDirectory>(++numbers_)});
  SimulatedDirectory* parent = find_directory(directory);
  const SimulatedDirectory::Entry* entry = parent->find(name);
  auto inode = entry != nullptr ? entry->file : std::make_shared<SimulatedInode>(++numbers_);
  used_bytes_ += content.size() - inode->visible().size();
  inode->overwrite(std::move(content));
  parent->link_durably(name, {std::move(inode), nullptr});
}

void SimulatedFileSystem::remove_raw(std::string_view directory, std::string_view name) {
  MutexLock lock(mutex_);
  used_bytes_ -= raw_inode(directory, name).visible().size();
  find_directory(directory)->unlink_durably(name);
}

void SimulatedFileSystem::corrupt(std::string_view directory, std::string_view name,
                                  uint64_t offset, ByteSpan bytes) {
  MutexLock lock(mutex_);
  raw_inode(directory, name).corrupt(offset, bytes);
}

void SimulatedFileSystem::make_unreadable(std::string_view directory, std::string_view name,
                                          uint64_t offset, uint64_t size) {
  MutexLock lock(mutex_);
  raw_inode(directory, name).make_unreadable(offset, size);
}

void SimulatedFileSystem::make_readable(std::string_view directory, std::string_view name) {
  MutexLock lock(mutex_);
  raw_inode(directory, name).make_readable();
}

}  // namespace firn::testkit
