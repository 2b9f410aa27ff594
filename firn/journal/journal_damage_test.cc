// SPDX-License-Identifier: Apache-2.0
//
// Damage sweeps: small stores with floors, in which every byte is changed, every length cut and
// every file removed, one at a time. Whatever is left, a synced entry is read right or an error
// says so: never a wrong value, never a shorter history without a word.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "firn/journal/journal_test_support.h"

namespace firn {
namespace {

class JournalDamageTest : public IndexedValueLogTest {
 protected:
  using BlobKey = std::pair<std::string, Bytes>;

  // Sections 1 and 2 with 5 and 2 synced entries; section 1 gets 2 more, which no floor covers.
  void make_store(bool clean) {
    use_floors();
    reopen();
    append_entries(1, 5);
    append_entries(2, 2);
    ASSERT_OK(log_->sync_all());
    synced_ = {{1, 5}, {2, 2}};
    issued_ = synced_;
    if (clean) {
      ASSERT_OK(log_->close());
    } else {
      used_floors_ = nullptr;  // these raises of the floor are lost
      reopen();
      append_entries(1, 2);
      ASSERT_OK(log_->sync_all());
      issued_[1] = 7;
    }
    log_.reset();
    clean_ = clean;
    storage_.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
      original_[{std::string(partition), to_bytes(name)}] = to_bytes(content);
    });
    ASSERT_EQ(original_.size(), 4u);
  }

  // Opens and reads the store with one blob replaced (or removed), then appends to it.
  void check_with(const BlobKey& key, const std::optional<Bytes>& content) {
    MemoryStorage storage;
    for (const auto& [blob, bytes] : original_)
      if (blob != key) storage.set_raw(blob.first, blob.second, bytes);
    if (content) storage.set_raw(key.first, key.second, *content);
    testkit::MemoryFloors floors;
    for (const auto& [section, count] : synced_)
      floors.plant(Section(section), count * kEntrySizeBytes);
    if (clean_) floors.mark_clean();
    used_floors_ = &floors;

    auto opened = try_open(storage);
    if (!opened) {
      ++refused_;
      EXPECT_NE(opened.error().message, "");
      // A file that is shorter than its header is reset when it is opened.
      if (!content || content->size() < kBlobHeaderSizeBytes) return;
      const auto left = storage.raw(key.first, key.second);
      EXPECT_EQ(left, content) << "changed by a refused open";
      return;
    }
    log_ = *std::move(opened);
    check_entries();
    for (const auto& [section, count] : synced_) {
      const auto appended = append(section, 77);
      if (appended) {
        EXPECT_EQ(get_value(section, appended->location), value(77));
      }
    }
    check_entries();
    log_.reset();
  }

  void check_entries() {
    for (const auto& [section, issued] : issued_) {
      const auto count = log_->entry_count(Section(section));
      if (!count) {
        ++reported_;
        continue;
      }
      EXPECT_GE(*count, synced_[section]) << "section " << section;
      EXPECT_TRUE(*count >= issued || !report_.empty()) << "cut without a word";
      for (uint64_t position = 0; position < std::min(*count, issued); ++position)
        check_entry(section, position);
    }
  }

  void check_entry(uint64_t section, uint64_t position) {
    const auto entry = get(section, position);
    if (!entry) {
      ++reported_;
      return;
    }
    if (entry->id == 77 && position >= synced_[section]) return;  // where a cut entry was
    EXPECT_EQ(entry->id, id_of(section, position));
    const auto read = get_value(section, entry->location);
    if (read)
      EXPECT_EQ(*read, value(entry->id));
    else
      ++reported_;
  }

  void sweep() {
    for (const auto& [key, content] : original_) {
      for (size_t at = 0; at < content.size(); ++at) {
        for (const unsigned flip : {0x01u, 0xFFu}) {
          SCOPED_TRACE(::testing::Message() << key.first << "/" << to_hex(key.second) << " byte "
                                            << at << " ^ " << flip);
          Bytes damaged = content;
          damaged[at] ^= static_cast<std::byte>(flip);
          check_with(key, damaged);
          if (HasFailure()) return;
        }
        SCOPED_TRACE(::testing::Message()
                     << key.first << "/" << to_hex(key.second) << " cut to " << at);
        check_with(key, Bytes(content.begin(), content.begin() + static_cast<ptrdiff_t>(at)));
        if (HasFailure()) return;
      }
      SCOPED_TRACE(::testing::Message() << key.first << "/" << to_hex(key.second) << " removed");
      check_with(key, std::nullopt);
    }
    EXPECT_GT(refused_ + reported_, original_.size() * 100);
  }

  std::map<uint64_t, uint64_t> synced_;
  std::map<uint64_t, uint64_t> issued_;
  std::map<BlobKey, Bytes> original_;
  bool clean_ = false;
  size_t refused_ = 0;   // by open
  size_t reported_ = 0;  // by a read
};

TEST_F(JournalDamageTest, GivenACleanStore_WhenAnyByteIsDamaged_ThenItIsNeverSilentlyWrong) {
  make_store(true);

  sweep();
}

TEST_F(JournalDamageTest, GivenAnUncleanStore_WhenAnyByteIsDamaged_ThenItIsNeverSilentlyWrong) {
  make_store(false);

  sweep();
}

TEST_F(JournalDamageTest, GivenOneEntryAPage_WhenAnyByteIsDamaged_ThenItIsNeverSilentlyWrong) {
  use_one_entry_a_page();
  make_store(false);

  sweep();
}

}  // namespace
}  // namespace firn
