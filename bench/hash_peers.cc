// SPDX-License-Identifier: Apache-2.0
//
// Tkrzw's HashDBM: as many buckets as keys, with checksums. Kyoto Cabinet's HashDB: two buckets a
// key, no checksums. Both map their file, except for reads of a store that exceeds memory; both
// flush it with sync.
#include <kclangc.h>
#include <tkrzw_dbm_hash.h>
#include <tkrzw_file_mmap.h>
#include <tkrzw_file_pos.h>

#include "bench/key_engine.h"
#include "bench/report.h"

namespace firn::bench {
namespace {

void check(const tkrzw::Status& status) {
  if (!status.IsOK()) give_up("tkrzw: " + tkrzw::ToString(status));
}

std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TkrzwKeys final : public KeyEngine {
 public:
  void open(const std::string& directory, const KeyEngineOptions& options) override {
    std::unique_ptr<tkrzw::File> file = std::make_unique<tkrzw::MemoryMapParallelFile>();
    if (options.exceeds_memory) file = std::make_unique<tkrzw::PositionalParallelFile>();
    map_ = std::make_unique<tkrzw::HashDBM>(std::move(file));
    tkrzw::HashDBM::TuningParameters tuning;
    tuning.record_crc_mode = tkrzw::HashDBM::RECORD_CRC_32;
    tuning.num_buckets = static_cast<int64_t>(options.items_expected);
    check(map_->OpenAdvanced(directory + "/map.tkh", true, tkrzw::File::OPEN_DEFAULT, tuning));
  }
  void put(ByteSpan key, ByteSpan value) override {
    check(map_->Set(as_text(key), as_text(value)));
  }
  void sync() override { check(map_->Synchronize(true)); }
  uint64_t get(ByteSpan key) override {
    const tkrzw::Status status = map_->Get(as_text(key), &value_);
    if (status == tkrzw::Status::NOT_FOUND_ERROR) return 0;
    check(status);
    return sum_words(as_bytes(std::string_view(value_)));
  }
  void close() override {
    sync();
    check(map_->Close());
    map_.reset();
  }

 private:
  std::unique_ptr<tkrzw::HashDBM> map_;
  std::string value_;
};

class KyotoKeys final : public KeyEngine {
 public:
  void open(const std::string& directory, const KeyEngineOptions& options) override {
    map_ = kcdbnew();
    const std::string path = directory +
                             "/map.kch#bnum=" + std::to_string(options.items_expected * 2) +
                             "#msiz=" + (options.exceeds_memory ? "0" : "4g");
    check(kcdbopen(map_, path.c_str(), KCOWRITER | KCOCREATE));
  }
  void put(ByteSpan key, ByteSpan value) override {
    check(kcdbset(map_, as_text(key).data(), key.size(), as_text(value).data(), value.size()));
  }
  void sync() override { check(kcdbsync(map_, 1, nullptr, nullptr)); }
  uint64_t get(ByteSpan key) override {
    const int32_t size =
        kcdbgetbuf(map_, as_text(key).data(), key.size(), value_.data(), value_.size());
    if (size < 0) return 0;
    return sum_words(as_bytes(std::string_view(value_).substr(0, static_cast<size_t>(size))));
  }
  void close() override {
    sync();
    check(kcdbclose(map_));
    kcdbdel(map_);
  }

 private:
  void check(int32_t succeeded) {
    if (succeeded == 0) give_up(std::string("kyoto: ") + kcdbemsg(map_));
  }

  KCDB* map_ = nullptr;
  std::string value_ = std::string(4096, '\0');
};

}  // namespace

std::unique_ptr<KeyEngine> make_tkrzw_keys() {
  return std::make_unique<TkrzwKeys>();
}

std::unique_ptr<KeyEngine> make_kyoto_keys() {
  return std::make_unique<KyotoKeys>();
}

}  // namespace firn::bench
