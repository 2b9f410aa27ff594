// SPDX-License-Identifier: Apache-2.0
//
// What a SimulatedFileSystem stores: one file, one directory. Each has a visible state, which the
// program reads, a durable state, which the device holds, and the ordered changes between the two
// that no sync has covered. After a failed sync nothing is pending, yet visible and durable differ:
// the difference is a ghost that no later sync writes (as on Linux, where a failed fsync marks the
// pages clean).
//
// Not thread-safe: the file system's mutex covers them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "testkit/survivors.h"

namespace firn::testkit {

class SimulatedInode {
 public:
  explicit SimulatedInode(uint64_t number) : number_(number) {}

  [[nodiscard]] const Bytes& visible() const { return visible_; }
  [[nodiscard]] const Bytes& durable() const { return durable_; }

  // Issue a change; `sequence` is its place in the order of the whole device.
  void write(uint64_t sequence, uint64_t offset, std::span<const ByteSpan> buffers, uint64_t size);
  void resize(uint64_t sequence, uint64_t size);

  // A sync: everything pending becomes durable.
  void settle();

  void add_pending_items(std::vector<PendingItem>& items);
  // Between begin_settling and finish_settling, keep() makes single items durable, in issue order.
  void begin_settling() { settled_length_ = durable_.size(); }
  void keep(const PendingItem& item, const Fate& fate);
  void finish_settling();
  // The page cache forgets what a failed sync left in it: reads show the device and what is
  // pending.
  // `keep_length`: but the length stays, as it does in memory while the file is open.
  void drop_ghosts(bool keep_length);
  // Whether reads show something of that now.
  [[nodiscard]] bool shows_ghosts() const;
  // After a power cut, the program sees what the device holds.
  void show_durable();

  // Both states at once, and nothing pending: damage done behind the file system's back.
  void overwrite(Bytes content);
  void corrupt(uint64_t offset, ByteSpan bytes);

  // Sectors that cannot be read until they are written.
  void make_unreadable(uint64_t offset, uint64_t size);
  void make_readable();
  [[nodiscard]] bool is_unreadable(uint64_t offset, uint64_t size) const;

  // A crash left a part of what it was to be created with. take_torn() is true once.
  void mark_torn() { torn_ = true; }
  [[nodiscard]] bool take_torn() { return std::exchange(torn_, false); }

  // Whether its bytes count as used space: not after it was unlinked.
  [[nodiscard]] bool is_linked() const { return linked_; }
  void set_linked(bool linked) { linked_ = linked; }

  // True for the first caller with this mark; visits each inode once without a set of pointers.
  bool visit(uint64_t mark);

 private:
  struct Change {
    uint64_t sequence = 0;
    bool is_write = true;
    uint64_t offset = 0;                 // of a write
    Bytes data;                          // of a write
    std::optional<uint64_t> new_length;  // always of a resize; of a write where it extends the file
  };
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  void put_durable(uint64_t offset, ByteSpan bytes);
  [[nodiscard]] Bytes without_ghosts() const;
  void make_readable(uint64_t begin, uint64_t end);

  uint64_t number_;
  Bytes visible_;
  Bytes durable_;
  std::vector<Change> pending_;
  std::vector<Range> unreadable_;
  uint64_t length_if_settled_ = 0;  // of durable_, if everything pending survived
  uint64_t settled_length_ = 0;     // between begin_settling and finish_settling
  bool diverged_ = false;           // visible_ and durable_ may differ
  bool linked_ = true;
  bool torn_ = false;
  bool has_ghosts_ = false;  // they do, and no later sync will change that
  uint64_t mark_ = 0;
};

class SimulatedDirectory {
 public:
  struct Entry {
    std::shared_ptr<SimulatedInode> file;
    std::shared_ptr<SimulatedDirectory> directory;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  explicit SimulatedDirectory(uint64_t number) : number_(number) {}

  [[nodiscard]] const Entries& visible() const { return visible_; }
  [[nodiscard]] const Entries& durable() const { return durable_; }

  [[nodiscard]] const Entry* find(std::string_view name) const;
  void link(uint64_t sequence, std::string_view name, Entry entry);
  void unlink(uint64_t sequence, std::string_view name);

  // A directory sync: all pending entry changes become durable.
  void settle();

  void add_pending_items(std::vector<PendingItem>& items);
  void keep(const PendingItem& item);
  void finish_settling();
  [[nodiscard]] bool has_ghosts() const { return has_ghosts_; }
  // Files that it would bring back: unlinked before.
  [[nodiscard]] uint64_t files_to_come_back() const;
  void show_durable();

  // Both states at once, and nothing pending for the name.
  void link_durably(std::string_view name, Entry entry);
  void unlink_durably(std::string_view name);

  // Every entry that is visible, durable or pending, one after another.
  template <class Visitor>
  void for_each_reachable(Visitor visitor) const {
    for (const auto& [name, entry] : visible_)
      visitor(entry);
    for (const auto& [name, entry] : durable_)
      visitor(entry);
    for (const Change& change : pending_)
      if (change.linked) visitor(*change.linked);
  }

  // Replaces all entries by copies; `inodes` maps originals to copies made so far.
  using Copies = std::unordered_map<const void*, Entry>;
  [[nodiscard]] std::shared_ptr<SimulatedDirectory> deep_copy(Copies& copies) const;

  bool visit(uint64_t mark);

 private:
  struct Change {
    uint64_t sequence = 0;
    std::string name;
    std::optional<Entry> linked;  // nullopt: unlinked
  };

  uint64_t number_;
  Entries visible_;
  Entries durable_;
  std::vector<Change> pending_;
  bool diverged_ = false;
  bool has_ghosts_ = false;
  uint64_t mark_ = 0;
};

}  // namespace firn::testkit
