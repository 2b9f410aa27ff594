// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/section_name.h"

#include "firn/base/endian.h"
#include "firn/base/text.h"

namespace firn::journal {

Bytes section_name(Section section) {
  Bytes name(sizeof(uint64_t));
  store_big_endian(name.data(), section.value);
  return name;
}

std::string section_hex(Section section) {
  return to_hex(section_name(section));
}

Result<std::vector<Section>> scan_sections(Storage& storage, const std::string& partition) {
  TRY_INTO(const std::vector<Bytes> names, storage.scan(partition));
  std::vector<Section> sections;
  sections.reserve(names.size());
  for (const Bytes& name : names) {
    if (name.size() != sizeof(uint64_t)) {
      return fail(Errc::corrupt,
                  concat("partition ", partition, " holds a blob named ", to_hex(name),
                         ", which is no section (16 hex digits): move it elsewhere"));
    }
    sections.emplace_back(load_big_endian<uint64_t>(name.data()));
  }
  return sections;
}

Status settle_removals(Storage& storage, const std::string& partition) {
  // Removing settles the partition, found or not. This name is no section's.
  const Bytes never_used(1);
  return storage.remove(partition, std::span(&never_used, 1));
}

Status remove_sections(Storage& storage, const std::string& partition,
                       const std::vector<Section>& sections) {
  std::vector<Bytes> names;
  names.reserve(sections.size());
  for (const Section section : sections)
    names.push_back(section_name(section));
  return storage.remove(partition, names);
}

}  // namespace firn::journal
