// SPDX-License-Identifier: Apache-2.0
#include "testkit/logged_storage.h"

#include <algorithm>

#include "firn/base/text.h"

namespace firn::testkit {
namespace {

// Printable names as they are, others in hexadecimal.
std::string readable(std::string_view partition, ByteSpan name) {
  const std::string_view text = as_text(name);
  const bool printable =
      std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != '/'; });
  return concat(partition, "/", printable ? std::string(text) : to_hex(name));
}

}  // namespace

class LoggedStorage::LoggedBlob : public ForwardingBlob {
 public:
  LoggedBlob(LoggedStorage& storage, std::unique_ptr<Blob> inner, std::string name)
      : ForwardingBlob(std::move(inner)), storage_(storage), name_(std::move(name)) {}

  Status write_at(uint64_t offset, std::span<const ByteSpan> buffers) override {
    uint64_t size = 0;
    for (const ByteSpan buffer : buffers)
      size += buffer.size();
    TRY(storage_.note(concat("write ", name_, " ", offset, "+", size)));
    storage_.written_bytes_ += size;
    return ForwardingBlob::write_at(offset, buffers);
  }
  Status resize(uint64_t size) override {
    TRY(storage_.note(concat("resize ", name_, " ", size)));
    return ForwardingBlob::resize(size);
  }
  Status sync() override {
    TRY(storage_.note(concat("sync ", name_)));
    return ForwardingBlob::sync();
  }

 private:
  LoggedStorage& storage_;
  std::string name_;
};

size_t LoggedStorage::count(std::string_view prefix) const {
  return static_cast<size_t>(std::ranges::count_if(
      log_, [&](const std::string& entry) { return entry.starts_with(prefix); }));
}

void LoggedStorage::fail_change(uint64_t number, bool and_later) {
  failing_change_ = changes_ + number;
  and_later_ = and_later;
}

Status LoggedStorage::note(std::string entry) {
  const uint64_t number = changes_++;
  if (failing_change_ && (number == *failing_change_ || (and_later_ && number > *failing_change_)))
    return fail(Errc::io, concat("planted failure of: ", entry));
  log_.push_back(std::move(entry));
  return {};
}

Result<std::unique_ptr<Blob>> LoggedStorage::open(std::string_view partition, ByteSpan name,
                                                  OpenMode mode, BlobVersions versions) {
  if (mode == OpenMode::create || mode == OpenMode::create_new) {
    TRY_INTO(const auto names, scan(partition));
    const bool exists = std::ranges::any_of(
        names, [&](const Bytes& existing) { return equal_bytes(existing, name); });
    if (!exists) TRY(note(concat("create ", readable(partition, name))));
  }
  return ForwardingStorage::open(partition, name, mode, versions);
}

std::unique_ptr<Blob> LoggedStorage::wrap(std::unique_ptr<Blob> blob, std::string_view partition,
                                          ByteSpan name) {
  return std::make_unique<LoggedBlob>(*this, std::move(blob), readable(partition, name));
}

Status LoggedStorage::remove(std::string_view partition, std::span<const Bytes> names) {
  std::string entry = "remove";
  for (const Bytes& name : names)
    entry += concat(" ", readable(partition, name));
  TRY(note(std::move(entry)));
  return ForwardingStorage::remove(partition, names);
}

Status LoggedStorage::remove_partition(std::string_view partition) {
  TRY(note(concat("remove ", partition)));
  return ForwardingStorage::remove_partition(partition);
}

}  // namespace firn::testkit
