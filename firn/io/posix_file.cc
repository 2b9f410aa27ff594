// SPDX-License-Identifier: Apache-2.0
#include "firn/io/posix_file.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "firn/io/gather.h"

namespace firn::io {
namespace {

// Large enough for large extents and requests, small enough that little is left for the sync.
constexpr uint64_t kWriteOutStepBytes = 8 * kMiB;

off_t to_offset(uint64_t offset) {
  return static_cast<off_t>(offset);
}

bool fits_offset(uint64_t offset, uint64_t size) {
  uint64_t end = 0;
  return add_without_overflow(offset, size, end) && end <= static_cast<uint64_t>(INT64_MAX);
}

class PosixMapping final : public Mapping {
 public:
  PosixMapping(void* address, size_t size) : address_(address), size_(size) {}
  ~PosixMapping() override {
    if (size_ > 0) ::munmap(address_, size_);
  }
  [[nodiscard]] ByteSpan bytes() const override {
    return {static_cast<const std::byte*>(address_), size_};
  }

 private:
  void* const address_;
  const size_t size_;
};

}  // namespace

Result<uint64_t> PosixFile::size() {
  struct stat status;
  if (::fstat(descriptor_.get(), &status) != 0) return posix_failure(errno, "examine", what_);
  return static_cast<uint64_t>(status.st_size);
}

Status PosixFile::read_at(uint64_t offset, MutableByteSpan out) {
  if (!fits_offset(offset, out.size()))
    return fail(Errc::out_of_range, concat("read of ", out.size(), " bytes at file offset ", offset,
                                           " of ", what_, " passes the largest file offset"));
  while (!out.empty()) {
    const size_t size = std::min(out.size(), kTransferMaxBytes);
    const ssize_t got = ::pread(descriptor_.get(), out.data(), size, to_offset(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return posix_failure(errno, concat("read ", size, " bytes at file offset ", offset, " of"),
                           what_);
    }
    if (got == 0)
      return fail(Errc::out_of_range, concat(what_, " ends at file offset ", offset, ", where ",
                                             out.size(), " more bytes were expected"));
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

Status PosixFile::write_at(uint64_t offset, std::span<const ByteSpan> buffers) {
  uint64_t total = 0;
  for (const ByteSpan buffer : buffers)
    total += buffer.size();
  if (!fits_offset(offset, total)) return posix_failure(EFBIG, "write to", what_);
  const uint64_t begin = offset;
  Gather gather(buffers);
  while (!gather.done()) {
    const auto vectors = gather.next(kTransferMaxBytes);
    const ssize_t put = ::pwritev(descriptor_.get(), vectors.data(),
                                  static_cast<int>(vectors.size()), to_offset(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return posix_failure(errno, concat("write at file offset ", offset, " of"), what_);
    }
    if (put == 0)
      return fail(Errc::io, concat("the system wrote nothing at file offset ", offset, " of ",
                                   what_, " and gave no reason"));
    offset += static_cast<uint64_t>(put);
    gather.advance(static_cast<size_t>(put));
  }
  return write_out_stream(begin, offset);
}

// After a write of [offset, end). Promises nothing about durability: only sync() does. A failure
// counts as one of the write, because nobody says that the next sync would report it again.
Status PosixFile::write_out_stream(uint64_t offset, uint64_t end) {
  if (offset != stream_end_) written_out_ = offset;
  stream_end_ = end;
  if (end - written_out_ < kWriteOutStepBytes) return {};
  const int result = ::sync_file_range(descriptor_.get(), to_offset(written_out_),
                                       to_offset(end - written_out_), SYNC_FILE_RANGE_WRITE);
  written_out_ = end;
  if (result == 0 || errno == ENOSYS || errno == EINVAL || errno == EINTR) return {};
  return posix_failure(errno, concat("write out what is before file offset ", end, " of"), what_);
}

Status PosixFile::resize(uint64_t new_size) {
  if (!fits_offset(new_size, 0)) return posix_failure(EFBIG, "resize", what_);
  const int result =
      repeat_after_signals([&] { return ::ftruncate(descriptor_.get(), to_offset(new_size)); });
  if (result != 0) return posix_failure(errno, concat("resize to ", new_size, " bytes"), what_);
  sync_metadata_.store(true, std::memory_order_relaxed);
  return {};
}

Status PosixFile::sync() {
  const bool metadata = sync_metadata_.exchange(false, std::memory_order_relaxed);
  const int result = metadata ? ::fsync(descriptor_.get()) : ::fdatasync(descriptor_.get());
  if (result == 0) return {};
  const int error_number = errno;
  // The kernel now takes the pages that it could not write for clean and would go on serving them.
  // Dropping them makes reads show what the device holds.
  static_cast<void>(::posix_fadvise(descriptor_.get(), 0, 0, POSIX_FADV_DONTNEED));
  return posix_failure(error_number, "sync", what_);
}

Result<std::unique_ptr<Mapping>> PosixFile::map(uint64_t size_to_map) {
  if (!may_map_) return std::unique_ptr<Mapping>();
  TRY_INTO(const uint64_t size_now, size());
  if (size_to_map > size_now)
    return fail(Errc::out_of_range,
                concat("cannot map ", size_to_map, " bytes of ", what_, ", it has ", size_now));
  const auto size = static_cast<size_t>(size_to_map);
  if (size == 0) return std::make_unique<PosixMapping>(nullptr, 0);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_.get(), 0);
  if (address == MAP_FAILED) return posix_failure(errno, "map", what_);
  return std::make_unique<PosixMapping>(address, size);
}

}  // namespace firn::io
