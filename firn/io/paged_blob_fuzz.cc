// SPDX-License-Identifier: Apache-2.0
//
// Hostile bytes under a paged blob. The input draws a page size and a content, then changes the
// file. Either it is damaged: bytes changed, the tail cut or extended; opening and reading it may
// fail, but what it returns must be the content that was written. Or pages are forged: bytes and
// lengths changed, with checksums that fit; then it must not crash, and ends where the file does.
#include "firn/io/paged_blob.h"

#include <algorithm>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/io/blob_header.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/page_record.h"
#include "firn/io/recovery_report.h"
#include "testkit/fuzz_input.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

const ByteSpan kName = as_bytes("b");

PagedBlobOptions options_of(uint32_t page_size, PageCache& cache) {
  return {.partition = "p",
          .blob_name = "62",
          .page_size = page_size,
          .write_buffer_bytes = 1,
          .cache = &cache,
          .cache_id = cache.new_blob_id()};
}

// Writes a healthy blob in two steps, so that a page has records in both of its slots.
Bytes write_content(MemoryStorage& storage, testkit::FuzzInput& input, uint32_t page_size) {
  PageCache cache(1 << 16);
  RecoveryLog recovery(storage, false);
  Bytes content = Random(input.number(1)).bytes(input.number(2) % 2048);
  const ByteSpan all(content);
  const size_t first_size = std::min<size_t>(input.number(2), content.size());
  auto blob = storage.open("p", kName, OpenMode::create);
  CHECK(blob.has_value(), "memory has room");
  auto paged = PagedBlob::open(std::move(*blob), options_of(page_size, cache), recovery);
  CHECK(paged.has_value(), "an empty blob opens");
  for (const ByteSpan part : {all.first(first_size), all.subspan(first_size)}) {
    CHECK((*paged)->append(part).has_value(), "memory does not fail");
    CHECK((*paged)->sync().has_value(), "memory does not fail");
  }
  return content;
}

void damage(MemoryStorage& storage, testkit::FuzzInput& input) {
  Bytes raw = storage.raw("p", kName).value();
  if (const uint64_t resize = input.number(1); resize < 64)
    raw.resize(raw.size() - std::min<size_t>(resize, raw.size()));
  else if (resize < 128)
    raw.resize(raw.size() + resize);
  while (!input.empty() && !raw.empty())
    raw[input.number(2) % raw.size()] = static_cast<std::byte>(input.number(1));
  storage.set_raw("p", kName, std::move(raw));
}

void forge(MemoryStorage& storage, testkit::FuzzInput& input, uint32_t page_size) {
  Bytes raw = storage.raw("p", kName).value();
  const uint64_t physical = uint64_t{page_size} + kPageRecordSize;
  const uint64_t pages = (raw.size() - kBlobHeaderSizeBytes) / physical;
  while (!input.empty() && pages > 0) {
    const uint64_t at = kBlobHeaderSizeBytes + input.below(pages) * physical;
    const MutableByteSpan page = MutableByteSpan(raw).subspan(at, physical);
    PageRecord record = decode_page_record(page.data() + page_size);
    if (input.below(2) == 0)
      record.slots[input.below(2)].size_bytes = static_cast<uint16_t>(input.interesting(page_size));
    else
      page[input.below(page_size)] = static_cast<std::byte>(input.number(1));
    testkit::seal_page(page, record);
  }
  storage.set_raw("p", kName, std::move(raw));
}

void read_back(PagedBlob& paged, ByteSpan content) {
  CHECK(paged.size() <= content.size(), "nothing appears that was not written");
  Bytes found(1);
  for (uint64_t offset = 0; offset < paged.size(); ++offset)
    if (paged.read_at(offset, found))
      CHECK(found[0] == content[offset], "a byte that is read is the byte that was written");
  Bytes all(paged.size());
  if (paged.read_sequential(0, all))
    CHECK(equal_bytes(all, content.first(all.size())), "replay returns what was written");
}

void read_forged(PagedBlob& paged, uint64_t size_max) {
  CHECK(paged.size() <= size_max, "it ends where the file does");
  Bytes found(1);
  for (uint64_t offset = 0; offset < paged.size(); ++offset)
    (void)paged.read_at(offset, found);
  Bytes all(paged.size());
  (void)paged.read_sequential(0, all);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  MemoryStorage storage;
  const auto page_size = static_cast<uint32_t>(1 + input.number(1));
  const uint64_t drawn = input.number(2);
  const bool is_forged = drawn >> 15 != 0;
  const uint64_t floor = drawn & 0x7FFF;
  const Bytes content = write_content(storage, input, page_size);
  if (is_forged)
    forge(storage, input, page_size);
  else
    damage(storage, input);

  PageCache cache(1 << 16);
  RecoveryLog recovery(storage, false);
  auto blob = storage.open("p", kName, OpenMode::read_write);
  if (!blob) return 0;
  const uint64_t size_max = (*blob)->size();
  PagedBlobOptions options = options_of(page_size, cache);
  if (floor <= content.size()) options.floor = floor;
  auto paged = PagedBlob::open(std::move(*blob), options, recovery);
  if (!paged) return 0;
  CHECK(!options.floor || (*paged)->size() >= floor, "nothing below the floor is cut");
  if (is_forged)
    read_forged(**paged, size_max);
  else
    read_back(**paged, content);
  CHECK((*paged)->verify(recovery).has_value(), "verify reports damage, it does not fail");
  return 0;
}
