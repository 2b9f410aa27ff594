// SPDX-License-Identifier: Apache-2.0
#include "tools/firn/salvage_scan.h"

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/io/page_cache.h"
#include "firn/io/paged_blob.h"
#include "firn/journal/indexed_value_log.h"

namespace firn::command {
namespace {

constexpr uint32_t kIndexNumberBytes = 8;
constexpr size_t kCacheBytes = 4 << 20;

class Scan {
 public:
  Scan(Storage& storage, const ScanGeometry& geometry, RecoveryLog& findings,
       const std::function<void(uint64_t)>& progress)
      : storage_(storage), geometry_(geometry), findings_(findings), progress_(progress) {
    entry_.resize(kIndexNumberBytes + geometry.key_size_bytes +
                  IndexedValueLog::kLocationSizeBytes);
  }

  Status run(bool values) {
    if (values) {
      ValueLogOptions options;
      options.partition = geometry_.values_partition;
      options.compression_level = geometry_.compression_level;
      auto log = ValueLog::open(storage_, options, ignored_);
      if (log)
        values_ = std::move(*log);
      else
        TRY(note(geometry_.values_partition, "", log.error()));
    }
    const auto names = storage_.scan(geometry_.index_partition);
    if (!names) return note(geometry_.index_partition, "", names.error());
    for (const Bytes& name : *names)
      TRY(scan_section(name));
    return {};
  }

 private:
  // Damage is noted; other errors end the scan.
  Status note(const std::string& partition, const std::string& blob, const Error& error) {
    if (error.code != Errc::corrupt && error.code != Errc::unsupported_version &&
        error.code != Errc::invalid_argument && error.code != Errc::out_of_range)
      return fail(error.code, error.message);
    findings_.note_damage({partition, blob, 0, 0, error.message});
    return {};
  }

  Status scan_section(const Bytes& name) {
    const std::string hex = to_hex(name);
    const std::string& partition = geometry_.index_partition;
    if (name.size() != sizeof(uint64_t)) {
      findings_.note_damage({partition, hex, 0, 0, "the name is no section number"});
      return {};
    }
    const Section section(load_big_endian<uint64_t>(name.data()));
    if (section.value < geometry_.oldest_section) return {};
    auto file = storage_.open(partition, name, OpenMode::read_only);
    if (!file) return note(partition, hex, file.error());
    PagedBlobOptions options;
    options.partition = partition;
    options.blob_name = hex;
    options.page_size = geometry_.page_size_bytes;
    options.cache = &cache_;
    options.cache_id = cache_.new_blob_id();
    options.record_size = static_cast<uint32_t>(entry_.size());
    RecoveryLog opening(storage_, true);
    auto blob = PagedBlob::open(std::move(*file), options, opening);
    if (!blob) return note(partition, hex, blob.error());
    // Without a floor nobody knows whether an invalid end is torn or damaged: it is shown.
    for (const CutRange& cut : opening.report().cuts)
      findings_.note_damage(cut.range);
    if (const auto verified = (*blob)->verify(findings_); !verified)
      TRY(note(partition, hex, verified.error()));
    progress_((*blob)->size());
    return values_ == nullptr ? Status() : scan_values(section, hex, **blob);
  }

  Status scan_values(Section section, const std::string& hex, const PagedBlob& index) {
    const uint64_t count = index.size() / entry_.size();
    for (uint64_t position = 0; position < count; ++position) {
      if (!index.read_at(position * entry_.size(), entry_)) continue;  // its page is noted
      const ValueLocation location = IndexedValueLog::location_of(entry_);
      if (const auto checked = values_->check(section, location); !checked) {
        const Errc code = checked.error().code;
        if (code == Errc::io) return fail(code, checked.error().message);
        findings_.note_damage({geometry_.values_partition, hex, location.offset,
                               location.size_bytes,
                               concat("value of entry ", position, ": ", checked.error().message)});
      }
      progress_(location.size_bytes);
    }
    return {};
  }

  Storage& storage_;
  const ScanGeometry& geometry_;
  RecoveryLog& findings_;
  const std::function<void(uint64_t)>& progress_;
  RecoveryLog ignored_{storage_, true};
  PageCache cache_{kCacheBytes};
  std::unique_ptr<ValueLog> values_;
  Bytes entry_;
};

}  // namespace

Status scan_archive(Storage& storage, const ScanGeometry& geometry, bool values,
                    RecoveryLog& findings, const std::function<void(uint64_t)>& progress) {
  return Scan(storage, geometry, findings, progress).run(values);
}

}  // namespace firn::command
