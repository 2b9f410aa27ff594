// SPDX-License-Identifier: Apache-2.0
//
// Hostile bytes under a paged blob. The input draws a page size and a content, then damages the
// file: bytes changed, the tail cut or extended. Opening and reading it may fail; it must not
// crash, and what it returns must be the content that was written.
#include "firn/io/paged_blob.h"

#include <algorithm>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/recovery_report.h"

namespace {

using namespace firn;

// Takes numbers from the input, zeros after its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint64_t number(size_t width_bytes) {
    uint64_t result = 0;
    for (size_t i = 0; i < width_bytes; ++i)
      result = result << 8 | (at_ < size_ ? data_[at_++] : 0);
    return result;
  }
  [[nodiscard]] bool empty() const { return at_ >= size_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

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
Bytes write_content(MemoryStorage& storage, Input& input, uint32_t page_size) {
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

void damage(MemoryStorage& storage, Input& input) {
  Bytes raw = storage.raw("p", kName).value();
  if (const uint64_t resize = input.number(1); resize < 64)
    raw.resize(raw.size() - std::min<size_t>(resize, raw.size()));
  else if (resize < 128)
    raw.resize(raw.size() + resize);
  while (!input.empty() && !raw.empty())
    raw[input.number(2) % raw.size()] = static_cast<std::byte>(input.number(1));
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  MemoryStorage storage;
  const auto page_size = static_cast<uint32_t>(1 + input.number(1));
  const uint64_t floor = input.number(2);
  const Bytes content = write_content(storage, input, page_size);
  damage(storage, input);

  PageCache cache(1 << 16);
  RecoveryLog recovery(storage, false);
  auto blob = storage.open("p", kName, OpenMode::read_write);
  if (!blob) return 0;
  PagedBlobOptions options = options_of(page_size, cache);
  if (floor <= content.size()) options.floor = floor;
  auto paged = PagedBlob::open(std::move(*blob), options, recovery);
  if (!paged) return 0;
  CHECK(!options.floor || (*paged)->size() >= floor, "nothing below the floor is cut");
  read_back(**paged, content);
  CHECK((*paged)->verify(recovery).has_value(), "verify reports damage, it does not fail");
  return 0;
}
