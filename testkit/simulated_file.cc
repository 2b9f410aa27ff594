// SPDX-License-Identifier: Apache-2.0
//
// The verbs of a SimulatedFile.
#include <algorithm>
#include <utility>

#include "firn/base/text.h"
#include "firn/base/units.h"
#include "testkit/simulated_handles.h"

namespace firn::testkit {
namespace {

// Beyond this, as beyond a real file system's limit, a file cannot grow: a structure that computes
// a wild offset gets an error instead of the machine's memory.
constexpr uint64_t kFileSizeMaxBytes = kGiB;

class CopiedMapping final : public Mapping {
 public:
  explicit CopiedMapping(Bytes bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] ByteSpan bytes() const override { return bytes_; }

 private:
  Bytes bytes_;
};

}  // namespace

std::string simulated_path(std::string_view directory, std::string_view name) {
  if (name.empty()) return concat("simulated/", directory);
  if (directory.empty()) return concat("simulated/", name);
  return concat("simulated/", directory, "/", name);
}

Result<uint64_t> SimulatedFileSystem::size_of(SimulatedFile& file) {
  MutexLock lock(mutex_);
  TRY(check_handle(file.generation_,
                   {.kind = CallKind::read, .directory = file.directory_, .name = file.name_}));
  return file.inode_->visible().size();
}

Status SimulatedFileSystem::read(SimulatedFile& file, uint64_t offset, MutableByteSpan out) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::read,
                  .directory = file.directory_,
                  .name = file.name_,
                  .offset = offset,
                  .size = out.size()};
  TRY(check_handle(file.generation_, call));
  Verdict verdict = admit(call);
  if (verdict.error) return std::unexpected(*verdict.error);
  const Bytes& bytes = file.inode_->visible();
  if (offset > bytes.size() || out.size() > bytes.size() - offset)
    return fail(Errc::out_of_range, concat("read of ", out.size(), " bytes at ", offset, " of ",
                                           simulated_path(file.directory_, file.name_),
                                           " ends behind its ", bytes.size(), " bytes"));
  if (file.inode_->is_unreadable(offset, out.size())) {
    ++faults_hit_;
    return fail(Errc::io, concat("simulated bad sector in ", out.size(), " bytes at ", offset,
                                 " of ", simulated_path(file.directory_, file.name_)));
  }
  copy_bytes(out, ByteSpan(bytes).subspan(offset, out.size()));
  return {};
}

Status SimulatedFileSystem::write(SimulatedFile& file, uint64_t offset,
                                  std::span<const ByteSpan> buffers) {
  MutexLock lock(mutex_);
  uint64_t size = 0;
  for (const ByteSpan buffer : buffers)
    size += buffer.size();
  const Call call{.kind = CallKind::write,
                  .directory = file.directory_,
                  .name = file.name_,
                  .offset = offset,
                  .size = size,
                  .data = buffers};
  TRY(check_handle(file.generation_, call));
  if (!file.writable_)
    return fail(Errc::invalid_argument,
                concat(simulated_path(file.directory_, file.name_), " was opened read-only"));
  Verdict verdict = admit(call);
  if (!verdict.performed) return answer(verdict, {});
  if (verdict.partly) size = fault_random_.below(size + 1);
  const uint64_t before = file.inode_->visible().size();
  const uint64_t room = room_for(*file.inode_);
  if (offset > room || size > room - offset) {
    if (!verdict.error) {
      count_full();
      verdict.error = Error{
          Errc::no_space, concat("simulated device is full, write of ", size, " bytes at ", offset,
                                 " of ", simulated_path(file.directory_, file.name_))};
    }
    // As much as fits is written, as a short write would.
    size = room > offset ? room - offset : 0;
  }
  file.inode_->write(++sequence_, offset, buffers, size);
  if (file.inode_->is_linked()) used_bytes_ += file.inode_->visible().size() - before;
  return answer(verdict, {});
}

uint64_t SimulatedFileSystem::room_for(const SimulatedInode& inode) const {
  const uint64_t size = inode.visible().size();
  const uint64_t capacity = faults_.capacity_bytes.value_or(UINT64_MAX);
  const uint64_t free = capacity > used_bytes_ ? capacity - used_bytes_ : 0;
  return std::max(size,
                  std::min(kFileSizeMaxBytes, free < UINT64_MAX - size ? size + free : UINT64_MAX));
}

Status SimulatedFileSystem::resize(SimulatedFile& file, uint64_t size) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::resize,
                  .directory = file.directory_,
                  .name = file.name_,
                  .offset = 0,
                  .size = size};
  TRY(check_handle(file.generation_, call));
  if (!file.writable_)
    return fail(Errc::invalid_argument,
                concat(simulated_path(file.directory_, file.name_), " was opened read-only"));
  const Verdict verdict = admit(call);
  if (size > room_for(*file.inode_)) {
    count_full();
    return answer(verdict, fail(Errc::no_space, concat("simulated device is full, resize of ",
                                                       simulated_path(file.directory_, file.name_),
                                                       " to ", size, " bytes")));
  }
  if (!verdict.performed) return answer(verdict, {});
  if (file.inode_->is_linked()) used_bytes_ += size - file.inode_->visible().size();
  file.inode_->resize(++sequence_, size);
  return answer(verdict, {});
}

Status SimulatedFileSystem::sync(SimulatedFile& file) {
  MutexLock lock(mutex_);
  const Call call{.kind = CallKind::sync, .directory = file.directory_, .name = file.name_};
  TRY(check_handle(file.generation_, call));
  const Verdict verdict = admit(call);
  if (lies_.file_syncs) return answer(verdict, {});
  if (!verdict.error || (down_ && verdict.performed && !verdict.partly))
    file.inode_->settle();
  else if (!down_)
    settle_partly(*file.inode_);
  return answer(verdict, {});
}

Result<std::unique_ptr<Mapping>> SimulatedFileSystem::map(SimulatedFile& file, uint64_t size) {
  TRY_INTO(const uint64_t available, size_of(file));
  if (size > available)
    return fail(Errc::out_of_range,
                concat("mapping of ", size, " bytes of ",
                       simulated_path(file.directory_, file.name_), ", which has ", available));
  Bytes bytes(size);
  TRY(read(file, 0, bytes));
  return std::make_unique<CopiedMapping>(std::move(bytes));
}

}  // namespace firn::testkit
