// SPDX-License-Identifier: Apache-2.0
#include "firn/journal/indexed_value_salvage.h"

#include <algorithm>
#include <map>
#include <memory>
#include <ranges>
#include <utility>
#include <vector>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/base/value.h"
#include "firn/io/blob_header.h"
#include "firn/io/page_salvage.h"
#include "firn/journal/section_name.h"
#include "firn/journal/value_entry.h"

namespace firn::journal {
namespace {

// How much of a value blob without an index is looked at a time; larger values end the look.
constexpr uint64_t kOrphanWindowBytes = 16 * kMiB;

struct FoundEntry {
  uint64_t offset = 0;  // of its value
  uint32_t size_bytes = 0;
  uint64_t position = 0;

  [[nodiscard]] ValueLocation location() const { return {offset, size_bytes}; }
  [[nodiscard]] std::pair<uint64_t, uint64_t> order() const { return {offset, position}; }
};

// The system gave no access: that says nothing of what is in the file or folder.
bool is_unread(const Error& error) {
  return error.code == Errc::io;
}

class SectionSalvage {
 public:
  SectionSalvage(Storage& storage, const IndexedValueSalvageOptions& options, Section section,
                 EntrySink& sink, SalvageLog& log)
      : storage_(storage),
        options_(options),
        section_(section),
        hex_(section_hex(section)),
        record_(options.record_size_bytes),
        page_(options.page_size_bytes),
        floor_(options.floors == nullptr ? 0 : options.floors->floor(section)),
        sink_(sink),
        log_(log),
        entry_(record_),
        other_(record_) {}

  // A section whose index blob exists.
  Status run(bool has_values) {
    auto opened = io::open_salvaged(storage_, options_.index_partition, section_name(section_));
    if (!opened) return lose_index(opened.error());
    if (opened->damage) TRY(lose(index_range(0, 0, *opened->damage), 0, false));
    index_ = std::move(opened->blob);
    pages_ =
        std::make_unique<io::PageSalvage>(*index_, options_.page_size_bytes, record_ / page_ + 2,
                                          concat("blob ", options_.index_partition, "/", hex_));
    TRY(read_index());
    if (found_.empty()) return has_values && !is_told_ ? lose_orphans("is empty") : Status();
    if (!std::ranges::is_sorted(found_, {}, &FoundEntry::offset))
      std::ranges::sort(found_, {}, &FoundEntry::order);
    return read_values();
  }

  // One whose index blob does not.
  Status run_without_index(bool has_values) {
    if (floor_ > 0)
      TRY(lose_index(
          {Errc::corrupt, concat("missing, although ", floor_, " bytes of it were synced")}));
    return has_values ? lose_orphans("does not exist") : Status();
  }

 private:
  [[nodiscard]] BlobRange index_range(uint64_t offset, uint64_t size, std::string reason) const {
    return {options_.index_partition, hex_, offset, size, std::move(reason)};
  }
  [[nodiscard]] BlobRange value_range(ValueLocation location, std::string reason) const {
    return {options_.values_partition, hex_, location.offset, location.size_bytes,
            std::move(reason)};
  }

  Status lose(BlobRange range, uint64_t items, bool unsynced, ByteSpan entry = {}) {
    is_told_ = true;
    SalvageLoss loss;
    loss.range = std::move(range);
    loss.items = items;
    loss.unsynced = unsynced;
    return sink_.lose(std::move(loss), entry);
  }

  // A whole blob, because of `why`.
  Status lose_blob(BlobRange range, uint64_t items, const Error& why) {
    is_told_ = true;
    SalvageLoss loss;
    loss.range = std::move(range);
    loss.items = items;
    loss.unread = is_unread(why);
    return sink_.lose(std::move(loss), {});
  }

  Status lose_index(const Error& why) {
    return lose_blob(index_range(0, 0, why.message), floor_ / record_, why);
  }

  [[nodiscard]] bool is_unsynced(uint64_t stream_offset) const {
    return options_.floors_are_exact && stream_offset >= floor_;
  }

  // The bytes [begin, end) of the stream, and every record that has some of them.
  Status lose_stream(uint64_t begin, uint64_t end, std::string reason) {
    const uint64_t from = pages_->physical_offset(begin / page_);
    const uint64_t to =
        std::min(pages_->physical_offset(divide_rounding_up(end, page_)), index_->size());
    return lose(index_range(from, to - std::min(from, to), std::move(reason)),
                divide_rounding_up(end, record_) - begin / record_, is_unsynced(begin));
  }

  // Finds the entries, and tells what of the stream is missing.
  Status read_index() {
    uint64_t next = 0;        // the record to take next
    uint64_t valid_from = 0;  // from here to the end of the current page everything is valid
    uint64_t end = 0;         // of the last valid byte
    std::string reason;       // why the stream does not go on at `end`; empty: it does
    for (uint64_t page = 0; page < pages_->pages(); ++page) {
      const uint64_t begin = page * page_;
      const uint64_t valid = pages_->payload(page).size();
      log_.has_read(pages_->physical_offset(1));
      if (valid == 0) {
        if (reason.empty()) reason = pages_->problem(page);
        continue;
      }
      if (end < begin) {
        TRY(lose_stream(end, begin, std::move(reason)));
        valid_from = begin;
      }
      reason.clear();
      end = begin + valid;
      if (next < valid_from) next = divide_rounding_up(valid_from, record_) * record_;
      for (; next + record_ <= end; next += record_)
        TRY(take_entry(next));
      if (valid < page_) reason = pages_->problem(page);
    }
    return read_index_end(end, std::move(reason));
  }

  // What follows the last valid byte. A page that is not full ends an undamaged stream.
  Status read_index_end(uint64_t end, std::string reason) {
    const uint64_t on_disk = divide_rounding_up(index_->size(), pages_->physical_offset(1)) * page_;
    const uint64_t last_page = end == 0 ? 0 : (end - 1) / page_;
    uint64_t missing_to = std::max(end, floor_);
    if (pages_->pages() > last_page + 1 || (end == 0 && pages_->pages() > 0)) {
      missing_to = std::max(missing_to, pages_->pages() * page_);
    } else if (end > 0 && pages_->fell_back(last_page)) {
      missing_to = std::max(missing_to, (last_page + 1) * page_);
    } else if (on_disk > pages_->pages() * page_) {
      reason = "the blob ends with a fraction of a page";
      missing_to = std::max(missing_to, on_disk);
    } else if (end < floor_) {
      reason = concat(floor_, " bytes were synced, ", end, " are left");
    } else if (end % record_ != 0) {
      reason = concat("the blob ends inside a record of ", record_, " bytes");
      missing_to = end + 1;
    }
    return missing_to == end ? Status() : lose_stream(end, missing_to, std::move(reason));
  }

  Status take_entry(uint64_t stream_offset) {
    if (!pages_->read(stream_offset, entry_)) return {};  // not after valid pages
    const Position position(stream_offset / record_);
    const ValueLocation location = IndexedValueLog::location_of(entry_);
    const bool follows = last_position_ + 1 == position.value && position.value > 0;
    const bool is_in_two_pages = stream_offset / page_ != (stream_offset + record_ - 1) / page_;
    const uint64_t expected = last_end_;
    last_position_ = position.value;
    last_end_ = end_of(location);
    auto misfit = sink_.misfit(section_, position, entry_);
    if (!misfit && follows && is_in_two_pages && location.offset != expected)
      misfit = "the pages that it lies in do not belong together";
    if (!misfit) {
      found_.push_back({location.offset, location.size_bytes, position.value});
      return {};
    }
    return lose_entry(position.value, *misfit);
  }

  // The entry itself is not trusted: it does not tell whose place it is in.
  Status lose_entry(uint64_t position, std::string_view why) {
    const uint64_t at = position * record_;
    return lose(index_range(pages_->physical_offset(at / page_) + at % page_, record_,
                            concat("record ", position, ": ", why)),
                1, is_unsynced(at));
  }

  Status read_values() {
    auto opened = io::open_salvaged(storage_, options_.values_partition, section_name(section_));
    if (!opened && is_unread(opened.error()))
      return lose_blob(value_range({}, opened.error().message), found_.size(), opened.error());
    if (!opened) {
      values_problem_ = opened.error().message;
    } else {
      if (opened->damage) TRY(lose(value_range({}, *opened->damage), 0, false));
      values_ = std::move(opened->blob);
    }
    uint64_t kept_to = 0;
    for (size_t i = 0; i < found_.size();) {
      size_t same = i + 1;
      while (same < found_.size() && found_[same].location() == found_[i].location())
        ++same;
      if (same > i + 1) {
        TRY(take_copies(i, same, kept_to));
      } else {
        TRY(take_value(found_[i], kept_to));
      }
      i = same;
    }
    return read_values_end();
  }

  // Values behind the last record are those of puts that no sync covered. Or of records that are
  // lost without a trace, as long as nobody knows how many were synced.
  Status read_values_end() {
    if (options_.floors_are_exact || is_told_ || values_ == nullptr) return {};
    const uint64_t end = end_of(found_.back().location());
    if (values_->size() <= end) return {};
    return lose_values(*values_, end,
                       "values behind the last record: theirs are lost, or were never written");
  }

  // Several entries name the same value: copies of a page, or nothing that can be trusted.
  Status take_copies(size_t begin, size_t end, uint64_t& kept_to) {
    const FoundEntry& first = found_[begin];
    bool are_copies = pages_->read(first.position * record_, other_);
    for (size_t i = begin + 1; i < end && are_copies; ++i) {
      are_copies =
          pages_->read(found_[i].position * record_, entry_) && equal_bytes(entry_, other_);
    }
    if (are_copies) TRY(take_value(first, kept_to));
    for (size_t i = are_copies ? begin + 1 : begin; i < end; ++i) {
      const uint64_t position = found_[i].position;
      const uint64_t twin = i == begin ? found_[begin + 1].position : first.position;
      TRY(lose_entry(position, are_copies ? concat("its page holds a copy of record ", twin)
                                          : concat("it names the same value as record ", twin)));
    }
    return {};
  }

  Status take_value(const FoundEntry& found, uint64_t& kept_to) {
    const uint64_t at = found.position * record_;
    if (!pages_->read(at, entry_)) return lose_entry(found.position, "it could be read only once");
    const auto lost = [&](const auto&... why) {
      return lose(
          value_range(found.location(), concat("value of record ", found.position, ": ", why...)),
          1, is_unsynced(at), entry_);
    };
    if (values_ == nullptr) return lost(values_problem_);
    const uint64_t size = values_->size();
    if (found.size_bytes < kChecksumSizeBytes || end_of(found.location()) > size) {
      return lost("it should lie at file offset ", file_offset(found.offset), " with ",
                  found.size_bytes, " bytes, but the blob has ", size);
    }
    if (found.offset < kept_to) return lost("another value lies there");
    Buffer buffer(found.size_bytes);
    if (const auto read = values_->read_at(found.offset, buffer.mutable_bytes()); !read)
      return lost(read.error().message);
    log_.has_read(found.size_bytes);
    const EntryPlace place{options_.values_partition, section_, found.location()};
    auto value = check_entry(Value(std::move(buffer), 0, found.size_bytes), place);
    if (!value) return lost(value.error().message);
    if (options_.compressed) {
      auto plain = decompress_entry(value->bytes(), UINT32_MAX, place);
      if (!plain) return lost(plain.error().message);
      *value = std::move(*plain);
    }
    kept_to = end_of(found.location());
    return sink_.keep(entry_, value->bytes());
  }

  // Values without an index: whose they are is lost.
  Status lose_orphans(std::string_view index_state) {
    auto opened = io::open_salvaged(storage_, options_.values_partition, section_name(section_));
    if (!opened) return lose_blob(value_range({}, opened.error().message), 0, opened.error());
    if (opened->blob->size() == 0) return {};
    return lose_values(*opened->blob, 0,
                       concat("values whose index and keys are lost, because blob ",
                              options_.index_partition, "/", hex_, " ", index_state));
  }

  // All values from `begin` on. How many there are can be counted where they tell their own length.
  Status lose_values(Blob& blob, uint64_t begin, std::string why) {
    uint64_t count = 0;
    uint64_t offset = begin;
    while (offset < blob.size()) {
      Buffer window(std::min<uint64_t>(kOrphanWindowBytes, blob.size() - offset));
      if (!blob.read_at(offset, window.mutable_bytes())) break;
      uint64_t used = 0;
      while (const auto size =
                 guess_entry_size(window.bytes().subspan(used), options_.compressed)) {
        used += *size;
        ++count;
      }
      log_.has_read(used);
      if (used == 0) break;
      offset += used;
    }
    if (count > 0)
      why += concat("; ", offset == blob.size() ? "" : "at least ", count, " of them are intact");
    return lose({options_.values_partition, hex_, begin, blob.size() - begin, std::move(why)},
                count, options_.floors_are_exact && floor_ == 0);
  }

  Storage& storage_;
  const IndexedValueSalvageOptions& options_;
  const Section section_;
  const std::string hex_;
  const uint64_t record_;
  const uint64_t page_;
  const uint64_t floor_;
  EntrySink& sink_;
  SalvageLog& log_;
  Bytes entry_;
  Bytes other_;
  std::unique_ptr<Blob> index_;
  std::unique_ptr<io::PageSalvage> pages_;
  std::unique_ptr<Blob> values_;
  std::string values_problem_;
  bool is_told_ = false;  // something is lost
  std::vector<FoundEntry> found_;
  uint64_t last_position_ = UINT64_MAX;
  uint64_t last_end_ = 0;
};

// How many values must be frames, before a store without a manifest is taken for a compressed one.
constexpr int kSampledValues = 8;

// Looks at values until one is no frame, or there are enough.
class FrameSample final : public EntrySink {
 public:
  std::optional<std::string> misfit(Section, Position, ByteSpan) override { return std::nullopt; }
  Status keep(ByteSpan /*entry*/, ByteSpan value) override {
    ++values_;
    has_other_ = !is_compressed(value);
    return is_done() ? fail(Errc::io, "this is no failure: enough values were seen") : Status();
  }
  Status lose(SalvageLoss, ByteSpan) override { return {}; }

  [[nodiscard]] bool is_done() const { return has_other_ || values_ == kSampledValues; }
  [[nodiscard]] bool has_only_frames() const { return values_ > 0 && !has_other_; }

 private:
  int values_ = 0;
  bool has_other_ = false;
};

struct SectionFiles {
  bool has_index = false;
  bool has_values = false;
};

enum class Listed : uint8_t { no, yes };

Result<Listed> list_sections(Storage& storage, const std::string& partition,
                             bool SectionFiles::* has, std::map<Section, SectionFiles>& sections,
                             EntrySink& sink) {
  const auto lose = [&](std::string name, std::string reason, bool unread = false) {
    SalvageLoss loss;
    loss.range = {partition, std::move(name), 0, 0, std::move(reason)};
    loss.unread = unread;
    return sink.lose(std::move(loss), {});
  };
  const auto listing = storage.list(partition);
  if (!listing) {
    TRY(lose({}, listing.error().message, is_unread(listing.error())));
    return Listed::no;
  }
  for (const std::string& name : listing->others)
    TRY(lose(name, "it is no blob"));
  for (const Bytes& name : listing->blobs) {
    if (name.size() == sizeof(uint64_t))
      sections[Section(load_big_endian<uint64_t>(name.data()))].*has = true;
    else
      TRY(lose(to_hex(name), "its name is no section number"));
  }
  return Listed::yes;
}

}  // namespace

Status salvage_indexed_values(Storage& storage, const IndexedValueSalvageOptions& options,
                              EntrySink& sink, SalvageLog& log) {
  std::map<Section, SectionFiles> sections;
  TRY_INTO(const Listed has_index, list_sections(storage, options.index_partition,
                                                 &SectionFiles::has_index, sections, sink));
  if (has_index == Listed::no) return {};  // nothing can be said of any section
  TRY(list_sections(storage, options.values_partition, &SectionFiles::has_values, sections, sink));
  Section boundary;
  if (options.floors != nullptr) {
    boundary = options.floors->boundary();
    for (const Section section : options.floors->sections())
      sections.try_emplace(section);
  }
  const auto retained = sections.lower_bound(boundary);
  if (retained != sections.begin()) {
    log.summary.notes.push_back(
        concat("ignored ", counted(std::distance(sections.begin(), retained), "section"),
               " below the prune boundary"));
  }
  for (auto found = retained; found != sections.end(); ++found) {
    const auto& [section, files] = *found;
    SectionSalvage salvage(storage, options, section, sink, log);
    TRY(files.has_index ? salvage.run(files.has_values)
                        : salvage.run_without_index(files.has_values));
  }
  return {};
}

Status check_not_compressed(Storage& storage, const IndexedValueSalvageOptions& options) {
  const SalvageObserver nobody;
  SalvageLog ignored(nobody);
  FrameSample oldest;
  FrameSample newest;
  std::map<Section, SectionFiles> sections;
  TRY(list_sections(storage, options.index_partition, &SectionFiles::has_index, sections, oldest));
  const auto sample = [&](const auto& order, FrameSample& values) -> Status {
    for (const auto& [section, files] : order) {
      const Status ended = SectionSalvage(storage, options, section, values, ignored).run(false);
      if (values.is_done()) break;
      TRY(ended);
    }
    return {};
  };
  TRY(sample(sections, oldest));
  if (!oldest.has_only_frames()) return {};
  TRY(sample(std::views::reverse(sections), newest));
  if (!newest.has_only_frames()) return {};
  return fail(Errc::invalid_argument,
              concat("the values in partition ", options.values_partition,
                     " look compressed, each is a zstd frame: give the compression level, or say "
                     "that there is no compression, to take them as they are stored "
                     "(--compression LEVEL, or none). Nothing was changed"));
}

Status check_not_compressed(Storage& storage, const IndexedValueLogOptions& options) {
  IndexedValueSalvageOptions reading;
  reading.index_partition = options.index.partition;
  reading.values_partition = options.values.partition;
  reading.record_size_bytes = options.index.record_size_bytes;
  reading.page_size_bytes = options.index.page_size_bytes;
  return check_not_compressed(storage, reading);
}

}  // namespace firn::journal
