// SPDX-License-Identifier: Apache-2.0
#include "firn/io/file_system.h"

#include <utility>

#include "firn/base/random.h"
#include "firn/base/text.h"

namespace firn {

Result<std::unique_ptr<File>> FileSystem::create_file(std::string_view directory,
                                                      std::string_view name, ByteSpan content) {
  TRY_INTO(auto file, open(directory, name, FileMode::create_exclusive));
  Status done = file->write_at(0, std::span(&content, 1));
  if (done) done = file->sync();
  if (done) return file;
  if (remove_file(directory, name)) return pass_on(done);
  return fail(Errc::poisoned, concat(done.error().message,
                                     ", and the half-made file could not be removed; open the "
                                     "store anew"));
}

uint64_t FileSystem::random_seed() {
  return random_seed_from_os();
}

}  // namespace firn
