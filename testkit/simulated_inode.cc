// SPDX-License-Identifier: Apache-2.0
#include "testkit/simulated_inode.h"

#include <algorithm>
#include <utility>

#include "firn/base/random.h"

namespace firn::testkit {

void SimulatedInode::write(uint64_t sequence, uint64_t offset, std::span<const ByteSpan> buffers,
                           uint64_t size) {
  if (size == 0) return;
  const uint64_t end = offset + size;
  Change change{
      .sequence = sequence, .is_write = true, .offset = offset, .data = {}, .new_length = {}};
  change.data.reserve(size);
  for (const ByteSpan buffer : buffers) {
    const size_t wanted = std::min<size_t>(buffer.size(), size - change.data.size());
    change.data.insert(change.data.end(), buffer.begin(),
                       buffer.begin() + static_cast<std::ptrdiff_t>(wanted));
  }
  if (end > visible_.size()) visible_.resize(end);
  copy_bytes(std::span(visible_).subspan(offset), change.data);
  if (end > length_if_settled_) {
    length_if_settled_ = end;
    change.new_length = end;
  }
  make_readable(offset, end);
  pending_.push_back(std::move(change));
  diverged_ = true;
}

void SimulatedInode::resize(uint64_t sequence, uint64_t size) {
  visible_.resize(size);
  length_if_settled_ = size;
  pending_.push_back(
      {.sequence = sequence, .is_write = false, .offset = 0, .data = {}, .new_length = size});
  diverged_ = true;
}

void SimulatedInode::put_durable(uint64_t offset, ByteSpan bytes) {
  if (bytes.empty()) return;
  if (durable_.size() < offset + bytes.size()) durable_.resize(offset + bytes.size());
  copy_bytes(std::span(durable_).subspan(offset), bytes);
}

void SimulatedInode::settle() {
  for (const Change& change : pending_) {
    if (change.is_write)
      put_durable(change.offset, change.data);
    else
      durable_.resize(*change.new_length);
  }
  pending_.clear();
  length_if_settled_ = durable_.size();
  diverged_ = has_ghosts_;
}

void SimulatedInode::add_pending_items(std::vector<PendingItem>& items) {
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Change& change = pending_[i];
    PendingItem item{.kind = PendingItem::Kind::data,
                     .sequence = change.sequence,
                     .owner = number_,
                     .offset = 0,
                     .size = 0,
                     .inode = this,
                     .directory = nullptr,
                     .change = i};
    const uint64_t end = change.offset + change.data.size();
    for (uint64_t begin = change.offset; begin < end; begin += item.size) {
      item.offset = begin;
      item.size = std::min(end, (begin / kSectorSizeBytes + 1) * kSectorSizeBytes) - begin;
      items.push_back(item);
    }
    if (!change.new_length) continue;
    item.kind = PendingItem::Kind::length;
    item.offset = *change.new_length;
    item.size = 0;
    items.push_back(item);
  }
}

void SimulatedInode::keep(const PendingItem& item, const Fate& fate) {
  if (fate.kind == Fate::Kind::lost) return;
  const Change& change = pending_[item.change];
  if (item.kind == PendingItem::Kind::length) {
    settled_length_ = *change.new_length;
    if (!change.is_write && durable_.size() > settled_length_) durable_.resize(settled_length_);
    return;
  }
  const ByteSpan data = ByteSpan(change.data).subspan(item.offset - change.offset, item.size);
  switch (fate.kind) {
    case Fate::Kind::front: return put_durable(item.offset, data.first(fate.cut));
    case Fate::Kind::back: return put_durable(item.offset + fate.cut, data.subspan(fate.cut));
    case Fate::Kind::garbage: {
      Bytes garbage(data.size());
      Random(fate.seed).fill(garbage);
      return put_durable(item.offset, garbage);
    }
    case Fate::Kind::mixed: {
      Random coin(fate.seed);
      for (size_t i = 0; i < data.size(); ++i)
        if (coin.one_in(2)) put_durable(item.offset + i, data.subspan(i, 1));
      return;
    }
    default: return put_durable(item.offset, data);
  }
}

void SimulatedInode::finish_settling() {
  durable_.resize(settled_length_);
  pending_.clear();
  length_if_settled_ = durable_.size();
  has_ghosts_ = true;
}

Bytes SimulatedInode::without_ghosts() const {
  Bytes bytes = durable_;
  for (const Change& change : pending_) {
    if (!change.is_write) {
      bytes.resize(*change.new_length);
      continue;
    }
    bytes.resize(std::max(bytes.size(), change.offset + change.data.size()));
    copy_bytes(std::span(bytes).subspan(change.offset), change.data);
  }
  return bytes;
}

void SimulatedInode::drop_ghosts(bool keep_length) {
  if (!has_ghosts_) return;
  const size_t length = visible_.size();
  visible_ = without_ghosts();
  if (keep_length) visible_.resize(length);
}

bool SimulatedInode::shows_ghosts() const {
  return has_ghosts_ && visible_ != without_ghosts();
}

void SimulatedInode::show_durable() {
  if (!diverged_) return;
  visible_ = durable_;
  diverged_ = has_ghosts_ = false;
}

void SimulatedInode::overwrite(Bytes content) {
  pending_.clear();
  unreadable_.clear();
  visible_ = std::move(content);
  durable_ = visible_;
  length_if_settled_ = durable_.size();
  diverged_ = has_ghosts_ = false;
}

void SimulatedInode::corrupt(uint64_t offset, ByteSpan bytes) {
  for (Bytes* state : {&visible_, &durable_}) {
    if (offset >= state->size()) continue;
    const size_t count = std::min<size_t>(bytes.size(), state->size() - offset);
    copy_bytes(std::span(*state).subspan(offset), bytes.first(count));
  }
}

void SimulatedInode::make_unreadable(uint64_t offset, uint64_t size) {
  if (size > 0) unreadable_.push_back({offset, offset + size});
}

void SimulatedInode::make_readable() {
  unreadable_.clear();
}

bool SimulatedInode::is_unreadable(uint64_t offset, uint64_t size) const {
  return std::ranges::any_of(unreadable_, [&](const Range& range) {
    return range.begin < offset + size && offset < range.end;
  });
}

void SimulatedInode::make_readable(uint64_t begin, uint64_t end) {
  if (unreadable_.empty()) return;
  std::vector<Range> left;
  for (const Range& range : unreadable_) {
    if (range.begin < std::min(range.end, begin))
      left.push_back({range.begin, std::min(range.end, begin)});
    if (std::max(range.begin, end) < range.end)
      left.push_back({std::max(range.begin, end), range.end});
  }
  unreadable_ = std::move(left);
}

bool SimulatedInode::visit(uint64_t mark) {
  return std::exchange(mark_, mark) != mark;
}

const SimulatedDirectory::Entry* SimulatedDirectory::find(std::string_view name) const {
  const auto found = visible_.find(name);
  return found == visible_.end() ? nullptr : &found->second;
}

void SimulatedDirectory::link(uint64_t sequence, std::string_view name, Entry entry) {
  visible_.emplace(name, entry);
  pending_.push_back({sequence, std::string(name), std::move(entry)});
  diverged_ = true;
}

void SimulatedDirectory::unlink(uint64_t sequence, std::string_view name) {
  visible_.erase(visible_.find(name));
  pending_.push_back({sequence, std::string(name), std::nullopt});
  diverged_ = true;
}

void SimulatedDirectory::settle() {
  for (const Change& change : pending_) {
    if (change.linked)
      durable_.insert_or_assign(change.name, *change.linked);
    else
      durable_.erase(change.name);
  }
  pending_.clear();
  diverged_ = has_ghosts_;
}

void SimulatedDirectory::add_pending_items(std::vector<PendingItem>& items) {
  for (size_t i = 0; i < pending_.size(); ++i) {
    items.push_back({.kind = PendingItem::Kind::entry,
                     .sequence = pending_[i].sequence,
                     .owner = number_,
                     .offset = 0,
                     .size = 0,
                     .inode = nullptr,
                     .directory = this,
                     .change = i});
  }
}

void SimulatedDirectory::keep(const PendingItem& item) {
  const Change& change = pending_[item.change];
  if (change.linked)
    durable_.insert_or_assign(change.name, *change.linked);
  else
    durable_.erase(change.name);
}

void SimulatedDirectory::finish_settling() {
  pending_.clear();
  has_ghosts_ = true;
}

uint64_t SimulatedDirectory::files_to_come_back() const {
  if (!diverged_) return 0;
  const auto comes_back = [this](const auto& named) {
    const Entry* const before = find(named.first);
    return named.second.file && (before == nullptr || before->file != named.second.file);
  };
  return static_cast<uint64_t>(std::ranges::count_if(durable_, comes_back));
}

void SimulatedDirectory::show_durable() {
  if (!diverged_) return;
  visible_ = durable_;
  diverged_ = has_ghosts_ = false;
}

void SimulatedDirectory::link_durably(std::string_view name, Entry entry) {
  std::erase_if(pending_, [&](const Change& change) { return change.name == name; });
  visible_.insert_or_assign(std::string(name), entry);
  durable_.insert_or_assign(std::string(name), std::move(entry));
}

void SimulatedDirectory::unlink_durably(std::string_view name) {
  std::erase_if(pending_, [&](const Change& change) { return change.name == name; });
  const std::string key(name);
  visible_.erase(key);
  durable_.erase(key);
}

std::shared_ptr<SimulatedDirectory> SimulatedDirectory::deep_copy(Copies& copies) const {
  auto copy = std::make_shared<SimulatedDirectory>(*this);
  const auto replace = [&copies](Entry& entry) {
    const void* original = entry.file ? static_cast<const void*>(entry.file.get())
                                      : static_cast<const void*>(entry.directory.get());
    auto found = copies.find(original);
    if (found == copies.end()) {
      Entry fresh;
      if (entry.file)
        fresh.file = std::make_shared<SimulatedInode>(*entry.file);
      else
        fresh.directory = entry.directory->deep_copy(copies);
      found = copies.emplace(original, std::move(fresh)).first;
    }
    entry = found->second;
  };
  for (auto& [name, entry] : copy->visible_)
    replace(entry);
  for (auto& [name, entry] : copy->durable_)
    replace(entry);
  for (Change& change : copy->pending_)
    if (change.linked) replace(*change.linked);
  return copy;
}

bool SimulatedDirectory::visit(uint64_t mark) {
  return std::exchange(mark_, mark) != mark;
}

}  // namespace firn::testkit
