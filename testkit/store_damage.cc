// SPDX-License-Identifier: Apache-2.0
#include "testkit/store_damage.h"

#include <algorithm>

#include "firn/base/text.h"
#include "firn/io/blob_header.h"

namespace firn::testkit {
namespace {

void change_bytes(const StoreFiles& files, const FileName& name, const DamageVisitor& visit) {
  DamagedStore damaged{"", files, {{name, 0, 0}}};
  Bytes& content = damaged.files[name];
  for (size_t at = 0; at < content.size(); ++at) {
    for (const std::byte mask : {std::byte{0x10}, std::byte{0xff}}) {
      damaged.what = concat(file_text(name), ": byte ", at, " changed by ", int(mask));
      damaged.touched.front().begin = at;
      damaged.touched.front().end = at + 1;
      content[at] ^= mask;
      visit(damaged);
      content[at] ^= mask;
    }
  }
}

void change_length(const StoreFiles& files, const FileName& name, const DamageVisitor& visit) {
  const Bytes& content = files.at(name);
  for (size_t length = 0; length < content.size(); ++length) {
    DamagedStore damaged{
        concat(file_text(name), ": cut to ", length, " bytes"), files, {{name, length}}};
    damaged.files[name].resize(length);
    visit(damaged);
  }
  for (const size_t more : {size_t{1}, size_t{7}, size_t{100}, size_t{5000}}) {
    for (const std::byte fill : {std::byte{0}, std::byte{0xa5}}) {
      DamagedStore damaged{
          concat(file_text(name), ": ", more, " bytes more"), files, {{name, content.size()}}};
      damaged.files[name].resize(content.size() + more, fill);
      visit(damaged);
    }
  }
}

void exchange(const StoreFiles& files, const FileName& name, const DamageVisitor& visit) {
  for (const auto& [other, content] : files) {
    if (other.first != name.first || other.second <= name.second) continue;
    DamagedStore damaged{
        concat(file_text(name), ": exchanged with ", file_text(other)), files, {{name}, {other}}};
    std::swap(damaged.files[name], damaged.files[other]);
    visit(damaged);
  }
}

}  // namespace

bool DamagedStore::touches(const FileRange& range) const {
  return std::ranges::any_of(touched,
                             [&](const FileRange& other) { return other.overlaps(range); });
}

uint64_t for_each_damage(const StoreFiles& files, const DamageVisitor& judge) {
  uint64_t count = 0;
  const auto visit = [&](const DamagedStore& damaged) {
    ++count;
    judge(damaged);
  };
  for (const auto& [name, content] : files) {
    DamagedStore removed{concat(file_text(name), ": removed"), files, {{name}}};
    removed.files.erase(name);
    visit(removed);
    change_bytes(files, name, visit);
    change_length(files, name, visit);
    exchange(files, name, visit);
  }
  return count;
}

void for_each_misplaced_page(const StoreFiles& files, const FileName& name, uint64_t physical_page,
                             const DamageVisitor& visit) {
  const uint64_t pages = (files.at(name).size() - kBlobHeaderSizeBytes) / physical_page;
  const auto range = [&](uint64_t page) {
    const uint64_t begin = kBlobHeaderSizeBytes + page * physical_page;
    return FileRange{name, begin, begin + physical_page};
  };
  for (uint64_t from = 0; from < pages; ++from) {
    for (uint64_t to = 0; to < pages; ++to) {
      if (from == to) continue;
      DamagedStore damaged{concat(file_text(name), ": page ", from, " in the place of page ", to),
                           files,
                           {range(to)}};
      Bytes& content = damaged.files[name];
      const auto page = [&](uint64_t number) {
        return content.begin() + static_cast<ptrdiff_t>(range(number).begin);
      };
      const auto size = static_cast<ptrdiff_t>(physical_page);
      std::copy(page(from), page(from) + size, page(to));
      visit(damaged);
      if (from > to) continue;
      content = files.at(name);
      damaged.what = concat(file_text(name), ": pages ", from, " and ", to, " exchanged");
      damaged.touched = {range(from), range(to)};
      std::swap_ranges(page(from), page(from) + size, page(to));
      visit(damaged);
    }
  }
}

}  // namespace firn::testkit
