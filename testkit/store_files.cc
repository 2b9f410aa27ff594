// SPDX-License-Identifier: Apache-2.0
#include "testkit/store_files.h"

#include "firn/base/text.h"

namespace firn::testkit {

StoreFiles files_of(MemoryStorage& storage) {
  StoreFiles files;
  const auto partitions = storage.partitions();
  for (const std::string& partition : *partitions) {
    const auto names = storage.scan(partition);
    for (const Bytes& name : *names)
      files[{partition, name}] = *storage.raw(partition, name);
  }
  return files;
}

void load_files(MemoryStorage& storage, const StoreFiles& files) {
  for (const auto& [name, content] : files)
    storage.set_raw(name.first, name.second, content);
}

std::string file_text(const FileName& name) {
  return concat(name.first, "/", to_hex(name.second));
}

}  // namespace firn::testkit
