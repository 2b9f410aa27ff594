// SPDX-License-Identifier: Apache-2.0
//
// Sequences of calls of paged blobs that share a small page cache, each answer compared at once
// with plain bytes: appends, syncs, cuts, reads of any range, readers, opening again after a kill
// or a loss of what no sync covered. Beside them pages of nobody's compete for the same cache: it
// may forget, but what it finds is what was last stored there.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/base/read_section.h"
#include "firn/io/cached_reads.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/paged_blob.h"
#include "testkit/fuzz_input.h"

namespace {

using namespace firn;

constexpr uint64_t kCallsMax = 400;
constexpr size_t kBlobs = 2;

struct Stream {
  Bytes name;
  std::unique_ptr<PagedBlob> blob;
  Bytes content;
  size_t synced = 0;
};

class Calls {
 public:
  explicit Calls(testkit::FuzzInput& input)
      : input_(input),
        page_size_(static_cast<uint32_t>(1 + input.below(400))),
        cache_(input.below(3) == 0 ? 0 : 500 + 16 * input.number(1), size_t{1} << input.below(3)),
        foreign_id_(cache_.new_blob_id()) {
    for (size_t i = 0; i < kBlobs; ++i) {
      streams_[i].name = Bytes(1, static_cast<std::byte>(i));
      open(streams_[i]);
    }
  }

  void run() {
    for (uint64_t i = 0; i < kCallsMax && !input_.empty(); ++i)
      call(streams_[input_.below(kBlobs)]);
    for (const Stream& stream : streams_)
      compare(stream);
  }

 private:
  void call(Stream& stream) {
    switch (input_.below(16)) {
      case 0: return sync(stream);
      case 1: return truncate(stream);
      case 2: return lose(stream, false);
      case 3: return lose(stream, true);
      case 4: return verify(stream);
      case 5: return read_beside(stream);
      case 6: return compare(stream);
      case 7: return store_foreign();
      case 8: return find_foreign();
      case 9: return evict_foreign();
      case 10:
      case 11: return read(stream);
      case 12: return seek_many(stream);
      default: return append(stream);
    }
  }

  // Any size up to a few pages, often about that of some.
  uint64_t size_of_some() {
    const uint64_t choice = input_.number(1);
    if (choice % 4 == 0) return choice / 4;
    const uint64_t size = choice / 16 % 4 * page_size_ + choice / 4 % 4;
    return size < 2 ? 0 : size - 2;
  }
  // Of a range of the stream, often at a page.
  std::pair<uint64_t, uint64_t> range(const Stream& stream) {
    const uint64_t size = stream.content.size();
    uint64_t offset = input_.below(size + 1);
    if (input_.below(2) == 0) offset -= offset % page_size_;
    return {offset, std::min(size_of_some(), size - offset)};
  }

  PagedBlobOptions options() {
    return {.partition = "p",
            .blob_name = "00",
            .page_size = page_size_,
            .write_buffer_bytes = input_.below(2) == 0 ? 1 : size_t{5} * page_size_,
            .cache = &cache_,
            .cache_id = cache_.new_blob_id()};
  }

  void open(Stream& stream) {
    RecoveryLog recovery(storage_, false);
    PagedBlobOptions options = this->options();
    if (input_.below(2) == 0) options.floor = stream.synced;
    auto blob = storage_.open("p", stream.name, OpenMode::create);
    CHECK(blob.has_value(), "memory has room");
    auto paged = PagedBlob::open(std::move(*blob), options, recovery);
    CHECK(paged.has_value(), "a blob that nobody damaged opens");
    stream.blob = std::move(*paged);
    CHECK(stream.blob->size() >= stream.synced, "what was synced is there");
    CHECK(stream.blob->size() <= stream.content.size(), "nothing is there that was not appended");
    CHECK(recovery.report().damage.empty(), "nothing is damaged");
    stream.content.resize(stream.blob->size());
    stream.synced = stream.content.size();  // what was adopted was synced
    compare(stream);
  }

  void lose(Stream& stream, bool unsynced) {
    stream.blob.reset();
    if (!unsynced) return open(stream);
    for (Stream& other : streams_)
      other.blob.reset();
    storage_.lose_unsynced();
    for (Stream& other : streams_)
      open(other);
  }

  void append(Stream& stream) {
    const Bytes bytes = Random(input_.number(1)).bytes(size_of_some());
    CHECK(stream.blob->append(bytes).has_value(), "memory has room");
    stream.content.insert(stream.content.end(), bytes.begin(), bytes.end());
    CHECK(stream.blob->size() == stream.content.size(), "what is appended is there at once");
  }

  void sync(Stream& stream) {
    CHECK(stream.blob->sync().has_value(), "memory does not fail");
    stream.synced = stream.content.size();
    CHECK(stream.blob->durable_size() == stream.synced, "a sync covers everything");
  }

  void truncate(Stream& stream) {
    const uint64_t size = range(stream).first;
    CHECK(stream.blob->truncate(size).has_value(), "memory does not fail");
    stream.content.resize(size);
    stream.synced = std::min(stream.synced, stream.content.size());
    const Status beyond = stream.blob->truncate(size + 1);
    CHECK(!beyond && beyond.error().code == Errc::invalid_argument, "a cut adds nothing");
  }

  void read(const Stream& stream) {
    const auto [offset, size] = range(stream);
    Bytes out(size);
    const bool is_replay = input_.below(3) == 0;
    const Status read =
        is_replay ? stream.blob->read_sequential(offset, out) : stream.blob->read_at(offset, out);
    CHECK(read.has_value(), "what is there is read");
    CHECK(equal_bytes(out, ByteSpan(stream.content).subspan(offset, size)), "as it was appended");
    Bytes beyond(stream.content.size() - offset + 1);
    const Status refused = stream.blob->read_at(offset, beyond);
    CHECK(!refused && refused.error().code == Errc::out_of_range,
          "there is nothing behind the end");
  }

  // What the cache has of some ranges.
  void seek_many(const Stream& stream) {
    const ReadSection reading;
    CachedReads<ByteSpan> reads(cache_);
    const auto visit = [&](ByteSpan expected, const PageCache::Wanted& wanted) {
      Bytes memory(wanted.size_bytes);
      const ByteSpan found = cache_.find(wanted, memory);
      CHECK(found.empty() || equal_bytes(found, expected),
            "what the cache has of a blob is what was appended");
    };
    for (int i = 0; i < 20; ++i) {
      const auto [offset, size] = range(stream);
      const auto wanted = stream.blob->wanted(offset, static_cast<uint32_t>(size));
      CHECK(wanted.size_bytes == 0 || wanted.size_bytes == size, "all of it is wanted, or nothing");
      const ByteSpan expected = ByteSpan(stream.content).subspan(offset, size);
      if (wanted.size_bytes > 0) reads.push(wanted, expected, visit);
    }
    reads.finish(visit);
  }

  void compare(const Stream& stream) const {
    Bytes all(stream.content.size());
    CHECK(stream.blob->read_at(0, all).has_value(), "what is there is read");
    CHECK(all == stream.content, "as it was appended");
    CHECK(cache_.used_bytes() <= cache_.capacity_bytes(), "a cache stays within its bound");
  }

  void verify(const Stream& stream) {
    RecoveryLog findings(storage_, true);
    CHECK(stream.blob->verify(findings).has_value(), "verify reports, it does not fail");
    CHECK(findings.report().damage.empty(), "nothing is damaged");
  }

  // A reader sees what was synced, and less once it is told so.
  void read_beside(const Stream& stream) {
    RecoveryLog looking(storage_, true);
    PagedBlobOptions options = this->options();
    options.floor = stream.synced;
    options.ends_at_floor = true;
    auto blob = storage_.open("p", stream.name, OpenMode::read_only);
    CHECK(blob.has_value(), "the blob is there");
    const auto reader = PagedBlob::open(std::move(*blob), options, looking);
    CHECK(reader && (*reader)->size() == stream.synced, "a reader ends at its floor");
    const uint64_t size = input_.below(stream.synced + 1);
    CHECK((*reader)->cut_view(size).has_value(), "a view can be cut");
    Bytes seen(size);
    CHECK((*reader)->read_at(0, seen).has_value(), "what is there is read");
    CHECK(equal_bytes(seen, ByteSpan(stream.content).first(size)), "as it was appended");
  }

  void store_foreign() {
    const uint64_t page = input_.below(16);
    const Bytes payload = Random(input_.number(1)).bytes(input_.below(64));
    cache_.insert(foreign_id_, page, payload);
    foreign_[page] = payload;
  }

  void find_foreign() {
    const uint64_t page = input_.below(16);
    const auto stored = foreign_.find(page);
    const size_t size = stored == foreign_.end() ? 0 : stored->second.size();
    const size_t offset = input_.below(size + 1);
    Bytes out(input_.below(size - offset + 1));
    (void)cache_.is_wanted(foreign_id_, page);
    cache_.fetch(foreign_id_, page, offset, out.size());
    if (!cache_.read(foreign_id_, page, offset, out)) return;
    CHECK(stored != foreign_.end(), "what was not stored is not found");
    CHECK(equal_bytes(out, ByteSpan(stored->second).subspan(offset, out.size())),
          "a page is what was last stored");
  }

  void evict_foreign() {
    const uint64_t first = input_.below(16);
    cache_.evict_from(foreign_id_, first);
    foreign_.erase(foreign_.lower_bound(first), foreign_.end());
  }

  testkit::FuzzInput& input_;
  const uint32_t page_size_;
  PageCache cache_;
  const uint64_t foreign_id_;
  std::map<uint64_t, Bytes> foreign_;
  MemoryStorage storage_;
  std::array<Stream, kBlobs> streams_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  Calls(input).run();
  return 0;
}
