// SPDX-License-Identifier: Apache-2.0
//
// SimulatedFileSystem: what kills and power cuts leave, and failed syncs.
#include <algorithm>
#include <tuple>

#include "testkit/simulated_file_system.h"

namespace firn::testkit {

void SimulatedFileSystem::begin_generation() {
  ++generation_;
  down_ = false;
  locks_ = {};
  uint64_t used = 0;
  const auto add_file = [&used](const SimulatedDirectory::Entry& entry) {
    if (!entry.file) return;
    entry.file->set_linked(true);
    used += entry.file->visible().size();
  };
  for (const auto& [name, entry] : root_->visible()) {
    add_file(entry);
    if (!entry.directory) continue;
    for (const auto& [child_name, child] : entry.directory->visible())
      add_file(child);
  }
  used_bytes_ = used;
}

void SimulatedFileSystem::kill() {
  MutexLock lock(mutex_);
  begin_generation();
}

std::vector<PendingItem> SimulatedFileSystem::collect_pending(
    std::vector<SimulatedDirectory::Entry>& owners) {
  std::vector<PendingItem> items;
  const uint64_t mark = ++mark_;
  const auto add_file = [&](const SimulatedDirectory::Entry& entry) {
    if (!entry.file || !entry.file->visit(mark)) return;
    const size_t before = items.size();
    entry.file->add_pending_items(items);
    if (items.size() > before) owners.push_back(entry);
  };
  root_->add_pending_items(items);
  root_->for_each_reachable([&](const SimulatedDirectory::Entry& entry) {
    add_file(entry);
    if (!entry.directory || !entry.directory->visit(mark)) return;
    const size_t before = items.size();
    entry.directory->add_pending_items(items);
    if (items.size() > before) owners.push_back(entry);
    entry.directory->for_each_reachable(add_file);
  });
  std::ranges::sort(items, {}, [](const PendingItem& item) {
    return std::tuple(item.sequence, item.kind, item.offset);
  });
  return items;
}

std::vector<PendingItem> SimulatedFileSystem::pending_items() {
  MutexLock lock(mutex_);
  std::vector<SimulatedDirectory::Entry> owners;
  return collect_pending(owners);
}

// Before a power cut takes them.
void SimulatedFileSystem::count_ghosts() {
  for (const auto& [name, entry] : root_->visible()) {
    if (!entry.directory) continue;
    for (const auto& [child_name, child] : entry.directory->visible())
      if (child.file && child.file->shows_ghosts()) ++rare_.ghosts_taken;
  }
}

void SimulatedFileSystem::cut_power(const SurvivorPlan& survivors) {
  MutexLock lock(mutex_);
  // Losing an entry may drop the last reference to what later items belong to: `owners` keeps it.
  std::vector<SimulatedDirectory::Entry> owners;
  const std::vector<PendingItem> items = collect_pending(owners);
  const std::vector<Fate> fates = survivors.fates(items);
  count_ghosts();
  for (const SimulatedDirectory::Entry& owner : owners)
    if (owner.file) owner.file->begin_settling();
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].inode != nullptr)
      items[i].inode->keep(items[i], fates[i]);
    else if (fates[i].kind == Fate::Kind::kept)
      items[i].directory->keep(items[i]);
  }
  for (const SimulatedDirectory::Entry& owner : owners) {
    if (owner.file)
      owner.file->finish_settling();
    else
      owner.directory->finish_settling();
  }
  root_->finish_settling();
  root_->show_durable();
  for (const auto& [name, entry] : root_->visible()) {
    if (entry.file) entry.file->show_durable();
    if (!entry.directory) continue;
    rare_.files_back += entry.directory->files_to_come_back();
    entry.directory->show_durable();
    for (const auto& [child_name, child] : entry.directory->visible())
      child.file->show_durable();
  }
  begin_generation();
}

void SimulatedFileSystem::drop_ghosts(Ghosts ghosts) {
  MutexLock lock(mutex_);
  const bool keep_lengths = ghosts == Ghosts::pages;
  const auto drop = [keep_lengths](const SimulatedDirectory::Entry& entry) {
    if (entry.file) entry.file->drop_ghosts(keep_lengths);
  };
  root_->for_each_reachable([&drop](const SimulatedDirectory::Entry& entry) {
    drop(entry);
    if (entry.directory) entry.directory->for_each_reachable(drop);
  });
}

bool SimulatedFileSystem::has_ghost_entries() const {
  MutexLock lock(mutex_);
  bool found = root_->has_ghosts();
  root_->for_each_reachable([&found](const SimulatedDirectory::Entry& entry) {
    found |= entry.directory && entry.directory->has_ghosts();
  });
  return found;
}

void SimulatedFileSystem::settle_partly(SimulatedInode& inode) {
  std::vector<PendingItem> items;
  inode.add_pending_items(items);
  const std::vector<Fate> fates = SurvivorPlan::random(fault_random_.next()).fates(items);
  inode.begin_settling();
  for (size_t i = 0; i < items.size(); ++i)
    inode.keep(items[i], fates[i]);
  inode.finish_settling();
}

void SimulatedFileSystem::settle_partly(SimulatedDirectory& directory) {
  std::vector<PendingItem> items;
  directory.add_pending_items(items);
  const std::vector<Fate> fates = SurvivorPlan::random(fault_random_.next()).fates(items);
  for (size_t i = 0; i < items.size(); ++i)
    if (fates[i].kind == Fate::Kind::kept) directory.keep(items[i]);
  directory.finish_settling();
}

}  // namespace firn::testkit
