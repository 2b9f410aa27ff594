// SPDX-License-Identifier: Apache-2.0
#include "bench/map_engine.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <fcntl.h>
#include <unistd.h>

#include "bench/report.h"
#include "firn/base/endian.h"
#include "firn/io/posix_storage.h"
#include "firn/metadata/metadata_store.h"

namespace firn::bench {
namespace {

void check(const Status& outcome) {
  if (!outcome) give_up(outcome.error().message);
}

std::array<std::byte, 8> as_key(uint64_t key) {
  std::array<std::byte, 8> bytes;
  store_big_endian(bytes.data(), key);
  return bytes;
}

class FirnMap final : public MapEngine {
 public:
  void open(const std::string& directory) override {
    auto storage = open_posix_storage(directory, {.create = true});
    if (!storage) give_up(storage.error().message);
    storage_ = std::move(*storage);
    recovery_ = std::make_unique<RecoveryLog>(*storage_, false);
    auto store = MetadataStore::open(*storage_, {}, *recovery_);
    if (!store) give_up(store.error().message);
    store_ = std::move(*store);
  }
  void put(uint64_t key, ByteSpan value) override { check(store_->put(as_key(key), value)); }
  void sync() override { check(store_->sync()); }
  size_t value_size(uint64_t key) override {
    const auto value = store_->get(as_key(key));
    return value ? value->size() : 0;
  }
  void close() override {
    store_.reset();
    recovery_.reset();
    storage_.reset();
  }

 private:
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<RecoveryLog> recovery_;
  std::unique_ptr<MetadataStore> store_;
};

class RenameMap final : public MapEngine {
 public:
  void open(const std::string& directory) override {
    std::filesystem::create_directories(directory);
    directory_ = directory;
    std::ifstream file(directory + "/map", std::ios::binary);
    const std::string image((std::istreambuf_iterator<char>(file)), {});
    const ByteSpan bytes = as_bytes(image);
    for (size_t at = 0; at + 12 <= bytes.size();) {
      const uint64_t key = load_big_endian<uint64_t>(bytes.data() + at);
      const auto size = load_big_endian<uint32_t>(bytes.data() + at + 8);
      map_[key] = to_bytes(bytes.subspan(at + 12, size));
      at += 12 + size;
    }
  }
  void put(uint64_t key, ByteSpan value) override { map_[key] = to_bytes(value); }
  void sync() override {
    Bytes image;
    for (const auto& [key, value] : map_) {
      const size_t at = image.size();
      image.resize(at + 12);
      store_big_endian<uint64_t>(image.data() + at, key);
      store_big_endian<uint32_t>(image.data() + at + 8, static_cast<uint32_t>(value.size()));
      image.insert(image.end(), value.begin(), value.end());
    }
    const std::string path = directory_ + "/map";
    const std::string temporary = path + ".new";
    const int file = ::open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    bool good = file >= 0 &&
                ::write(file, image.data(), image.size()) == static_cast<ssize_t>(image.size());
    good = good && ::fsync(file) == 0;
    ::close(file);
    good = good && std::rename(temporary.c_str(), path.c_str()) == 0;
    const int folder = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = good && folder >= 0 && ::fsync(folder) == 0;
    ::close(folder);
    if (!good) give_up("write, flush and rename failed");
  }
  size_t value_size(uint64_t key) override {
    const auto found = map_.find(key);
    return found == map_.end() ? 0 : found->second.size();
  }
  void close() override { map_.clear(); }

 private:
  std::string directory_;
  std::map<uint64_t, Bytes> map_;
};

}  // namespace

std::unique_ptr<MapEngine> make_firn_map() {
  return std::make_unique<FirnMap>();
}

std::unique_ptr<MapEngine> make_rename_map() {
  return std::make_unique<RenameMap>();
}

std::vector<NamedMapEngine> map_engines() {
  return {{"firn", make_firn_map},
          {"lmdb", make_lmdb_map},
          {"rename", make_rename_map},
          {"rocksdb", make_rocksdb_map}};
}

}  // namespace firn::bench
