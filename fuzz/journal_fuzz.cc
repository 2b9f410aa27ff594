// SPDX-License-Identifier: Apache-2.0
//
// Hostile files under a fixed journal, and under an indexed value log, which the original calls an
// oversized journal; both with a manifest. Where no checksum was forged and no files changed
// places, a record and its value are what was appended, or an error; what was synced is gone only
// if opening or verify tells of damage. What opens for writing takes records and gives them back,
// and has exactly those that a reference finds in the bytes from before.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/io/page_cache.h"
#include "firn/journal/fixed_journal.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/store/manifest.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/reference_bytes.h"
#include "testkit/reference_recovery.h"
#include "testkit/store_files.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;
namespace reference = testkit::reference;

constexpr uint32_t kPrefixSizeBytes = 8;
constexpr uint32_t kRecordSizeBytes = kPrefixSizeBytes + IndexedValueLog::kLocationSizeBytes;
constexpr uint32_t kPageSizeBytes = 44;
constexpr uint64_t kAppends = 14;
constexpr uint64_t kAppendsPerSection = 5;

// What the first byte of an input says.
struct Mode {
  explicit Mode(uint64_t bits)
      : is_indexed((bits & 1) != 0),
        is_compressed((bits & 2) != 0),
        is_closed((bits & 4) != 0),
        is_pruned((bits & 8) != 0),
        is_rewound((bits & 16) != 0) {}

  bool is_indexed;
  bool is_compressed;
  bool is_closed;  // otherwise the writer was killed, with records that no sync covered
  bool is_pruned;
  bool is_rewound;
};

struct Record {
  Section section;
  Position position;
  Bytes prefix;
  Bytes value;  // of a fixed journal: the rest of the record
  bool is_synced = false;
};
using Records = std::vector<Record>;

FixedJournalOptions index_options(Floors* floors, PageCache& cache) {
  FixedJournalOptions options;
  options.partition = "index";
  options.record_size_bytes = kRecordSizeBytes;
  options.page_size_bytes = kPageSizeBytes;
  options.write_buffer_bytes = 0;
  options.cache = &cache;
  options.floors = floors;
  return options;
}

// What the two structures have of one shape.
struct Fixed {
  using Journal = FixedJournal;
  static constexpr const char* kValuesPartition = "";

  static auto open(Storage& storage, const Mode&, Floors* floors, PageCache& cache,
                   RecoveryLog& recovery) {
    return FixedJournal::open(storage, index_options(floors, cache), recovery);
  }
  static uint64_t value_size(uint64_t) { return IndexedValueLog::kLocationSizeBytes; }
  static Result<Position> append(FixedJournal& journal, const Record& record) {
    Bytes bytes = record.prefix;
    bytes.insert(bytes.end(), record.value.begin(), record.value.end());
    return journal.append(record.section, bytes);
  }
  static Result<Bytes> read_value(const FixedJournal&, Section, ByteSpan record) {
    return to_bytes(record.subspan(kPrefixSizeBytes));
  }
  static Status read_record(const FixedJournal& journal, const Record& record,
                            MutableByteSpan out) {
    return journal.read(record.section, record.position, out);
  }
  static Status rewind(FixedJournal& journal, Section section, uint64_t size_bytes) {
    return journal.rewind(section, size_bytes);
  }
  static Status verify(const FixedJournal& journal, RecoveryLog& findings) {
    return journal.verify(findings);
  }
};

struct Indexed {
  using Journal = IndexedValueLog;
  static constexpr const char* kValuesPartition = "values";

  static auto open(Storage& storage, const Mode& mode, Floors* floors, PageCache& cache,
                   RecoveryLog& recovery) {
    IndexedValueLogOptions options;
    options.index = index_options(floors, cache);
    options.values.partition = "values";
    options.values.write_buffer_bytes = 0;
    if (mode.is_compressed) options.values.compression_level = 1;
    return IndexedValueLog::open(storage, options, recovery);
  }
  static uint64_t value_size(uint64_t number) { return number * 5; }
  static Result<Position> append(IndexedValueLog& log, const Record& record) {
    TRY_INTO(const auto appended,
             log.append(record.section, record.prefix, ByteSpan(record.value)));
    return appended.position;
  }
  static Result<Bytes> read_value(const IndexedValueLog& log, Section section, ByteSpan record) {
    TRY_INTO(const Value value, log.read_value(section, IndexedValueLog::location_of(record)));
    return to_bytes(value.bytes());
  }
  static Status read_record(const IndexedValueLog& log, const Record& record, MutableByteSpan out) {
    return log.read_entry(record.section, record.position, out);
  }
  static Status rewind(IndexedValueLog& log, Section section, uint64_t size_bytes) {
    return log.rewind(section, size_bytes);
  }
  static Status verify(const IndexedValueLog& log, RecoveryLog& findings) {
    return log.verify(true, findings, [](uint64_t) {});
  }
};

template <class Kind>
void append(typename Kind::Journal& journal, Records& records, uint64_t number) {
  Record record{.section = Section(number / kAppendsPerSection),
                .position = {},
                .prefix = Random(number).bytes(kPrefixSizeBytes),
                .value = Random(~number).bytes(Kind::value_size(number))};
  const auto position = Kind::append(journal, record);
  CHECK(position.has_value(), "memory has room");
  record.position = *position;
  records.push_back(std::move(record));
}

template <class Kind>
Records make_journal(Storage& storage, const Mode& mode) {
  RecoveryLog recovery(storage, false);
  PageCache cache(0);
  const auto manifest = Manifest::create(
      storage, {.kind = "fuzz", .geometry = {}, .partitions = {}, .id = {}}, recovery);
  CHECK(manifest.has_value(), "memory has room");
  const auto journal =
      Kind::open(storage, mode, &(*manifest)->floors(StoreRole::index), cache, recovery);
  CHECK(journal.has_value(), "memory has room");
  Records records;
  for (uint64_t number = 0; number < kAppends; ++number) {
    append<Kind>(**journal, records, number);
    if (number == 7 || number == 12)
      CHECK((*journal)->sync_all().has_value(), "memory does not fail");
  }
  CHECK((*journal)->sync_all().has_value(), "memory does not fail");
  for (Record& record : records)
    record.is_synced = true;
  if (mode.is_pruned) {
    CHECK((*journal)->prune(Section(1)).has_value(), "memory does not fail");
    records.erase(records.begin(), records.begin() + kAppendsPerSection);
  }
  if (mode.is_rewound) {
    const Record& last = records.back();
    CHECK(Kind::rewind(**journal, last.section, last.position.value * kRecordSizeBytes).has_value(),
          "memory does not fail");
    records.pop_back();
  }
  if (mode.is_closed) {
    CHECK((*journal)->close().has_value(), "memory does not fail");
    CHECK((*manifest)->close().has_value(), "memory does not fail");
  } else if (!mode.is_rewound) {
    append<Kind>(**journal, records, kAppends);
  }
  return records;
}

// A journal that is open, and all that it needs.
template <class Kind>
struct Opened {
  Opened(Storage& storage, const Mode& mode, bool is_read_only)
      : cache(4096), recovery(storage, is_read_only), findings(storage, true) {
    auto found = Manifest::open(storage, is_read_only, recovery);
    if (!found) return;
    manifest = std::move(*found);
    Floors* floors = manifest == nullptr ? nullptr : &manifest->floors(StoreRole::index);
    auto opened = Kind::open(storage, mode, floors, cache, recovery);
    if (opened) journal = std::move(*opened);
  }

  testkit::Told told() {
    testkit::Told told;
    told.add(recovery.report());
    told.add(Kind::verify(*journal, findings));
    told.add(findings.report());
    return told;
  }

  PageCache cache;
  RecoveryLog recovery;
  RecoveryLog findings;
  std::unique_ptr<Manifest> manifest;  // null: it is gone, and nobody knows what was durable
  std::unique_ptr<typename Kind::Journal> journal;
};

template <class Kind>
void read_everything(const typename Kind::Journal& journal) {
  auto replay = journal.replay();
  if (!replay) return;
  for (int i = 0; i < 1000; ++i) {
    const auto item = replay->next();
    if (!item && item.error().code == Errc::corrupt) replay->skip_damaged_page();
    if (!item) continue;
    if (!*item) return;
    (void)Kind::read_value(journal, (*item)->section, (*item)->record);
  }
}

// False if a record that was synced is silently absent.
template <class Kind>
bool find(const typename Kind::Journal& journal, const Record& record) {
  Bytes bytes(kRecordSizeBytes);
  const Status read = Kind::read_record(journal, record, bytes);
  if (!read) return read.error().code != Errc::out_of_range && read.error().code != Errc::pruned;
  CHECK(equal_bytes(ByteSpan(bytes).first(kPrefixSizeBytes), record.prefix), "what was appended");
  const auto value = Kind::read_value(journal, record.section, bytes);
  CHECK(!value || equal_bytes(*value, record.value), "the value that was appended");
  return true;
}

template <class Kind>
bool find_everything(const typename Kind::Journal& journal, const Records& records) {
  bool has_all = true;
  for (const Record& record : records)
    has_all &= find<Kind>(journal, record) || !record.is_synced;
  auto replay = journal.replay();
  if (!replay) return has_all;
  auto next = records.begin();
  while (true) {
    const auto item = replay->next();
    if (!item) return has_all;  // an error tells
    const auto is_replayed = [&](const Record& record) {
      return *item && record.section == (*item)->section && record.position == (*item)->position;
    };
    const auto found = std::find_if(next, records.end(), is_replayed);
    has_all &= std::none_of(next, found, [](const Record& record) { return record.is_synced; });
    if (!*item) return has_all;
    CHECK(found != records.end(), "records are replayed in their order, and no others");
    CHECK(equal_bytes((*item)->record.first(kPrefixSizeBytes), found->prefix), "what was appended");
    next = std::next(found);
  }
}

// What undamaged journals tell.
template <class Kind>
const testkit::Told& told_undamaged(uint64_t bits, bool is_read_only) {
  static std::map<std::pair<uint64_t, bool>, testkit::Told> known;
  const auto found = known.find({bits, is_read_only});
  if (found != known.end()) return found->second;
  testkit::FuzzedStorage storage;
  make_journal<Kind>(storage, Mode(bits));
  Opened<Kind> opened(storage, Mode(bits), is_read_only);
  CHECK(opened.journal != nullptr, "an undamaged journal opens");
  return known[{bits, is_read_only}] = opened.told();
}

template <class Kind>
void check_told(Opened<Kind>& opened, uint64_t bits) {
  if (opened.manifest == nullptr) return;
  CHECK(opened.told().says_more_than(told_undamaged<Kind>(bits, opened.recovery.read_only())),
        "what is absent is told");
}

template <class Kind>
const reference::Geometry kGeometry = {.page_size_bytes = kPageSizeBytes,
                                       .record_size_bytes = kRecordSizeBytes,
                                       .values = Kind::kValuesPartition};

template <class Kind>
void check_recovered(const typename Kind::Journal& journal, const Mode& mode, Section section,
                     uint64_t position, const reference::Section& expected) {
  Record asked{.section = section, .position = Position(position), .prefix = {}, .value = {}};
  Bytes bytes(kRecordSizeBytes);
  const Status read = Kind::read_record(journal, asked, bytes);
  const reference::Fate fate = expected.fate(position);
  if (fate == reference::Fate::unknown) return;
  if (fate == reference::Fate::absent)
    CHECK(!read && read.error().code == Errc::out_of_range, "what recovery must cut is absent");
  if (fate == reference::Fate::damaged)
    CHECK(!read && read.error().code == Errc::corrupt, "what cannot be read is an error");
  if (fate != reference::Fate::readable) return;
  const reference::Record& record = expected.records[position];
  CHECK(read && bytes == record.bytes, "a record that recovery must keep");
  if (!mode.is_indexed) return;
  const auto value = Kind::read_value(journal, section, bytes);
  CHECK(value.has_value() == (record.value_fate == reference::Fate::readable), "and its value");
  CHECK(!value || mode.is_compressed || *value == record.value, "with these bytes");
}

template <class Kind>
void check_recovered(const typename Kind::Journal& journal, const Mode& mode,
                     const reference::Sections& expected) {
  for (const auto& [number, section] : expected)
    for (uint64_t position = 0; position <= section.records.size(); ++position)
      check_recovered<Kind>(journal, mode, Section(number), position, section);
}

template <class Kind>
void append_one_more(typename Kind::Journal& journal) {
  Record record{.section = Section(7),
                .position = {},
                .prefix = Random(77).bytes(kPrefixSizeBytes),
                .value = Random(78).bytes(Kind::value_size(3))};
  const auto position = Kind::append(journal, record);
  if (!position || !journal.sync_all()) return;
  record.position = *position;
  CHECK(find<Kind>(journal, record), "what was appended is there");
  (void)journal.close();
}

template <class Kind>
void run(testkit::FuzzInput& input, uint64_t bits) {
  const Mode mode(bits);
  testkit::FuzzedStorage storage;
  const Records records = make_journal<Kind>(storage, mode);
  const auto hints = storage.hints();
  const testkit::Mutation mutation =
      testkit::StoreMutator(storage, {kPageSizeBytes, kRecordSizeBytes}).mutate(input);
  const bool is_damaged = mutation == testkit::Mutation::damaged;
  const bool has_floors = mode.is_closed || storage.hints() == hints;
  const bool is_forged = mutation == testkit::Mutation::forged;
  const testkit::StoreFiles files = testkit::files_of(storage);
  const auto manifest = reference::read_manifest(files);
  // Of another version, perhaps.
  const bool has_hints = reference::blob_of(files, "manifest", as_bytes("floors")).state !=
                         reference::BlobBytes::State::damaged;
  for (const bool is_read_only : {true, false}) {
    Opened<Kind> opened(storage, mode, is_read_only);
    CHECK(opened.journal == nullptr || manifest, "what must be refused is refused");
    CHECK(opened.journal != nullptr || is_forged || !manifest || !manifest->exists || !has_hints,
          "damage of a section refuses no store");
    if (opened.journal == nullptr) continue;
    // Whether what was forged decompresses, the reference does not know.
    if (!is_read_only && !(is_forged && mode.is_compressed))
      check_recovered<Kind>(*opened.journal, mode,
                            reference::recover(files, *manifest, kGeometry<Kind>));
    read_everything<Kind>(*opened.journal);
    if (is_damaged && !find_everything<Kind>(*opened.journal, records) && has_floors)
      check_told(opened, bits);
    if (!is_read_only) append_one_more<Kind>(*opened.journal);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t bits = input.below(32);
  if (Mode(bits).is_indexed)
    run<Indexed>(input, bits);
  else
    run<Fixed>(input, bits);
  return 0;
}
