// SPDX-License-Identifier: Apache-2.0
//
// RestoreTree: puts files below one directory and nowhere else. Every component of a path is opened
// from its parent's descriptor without following symbolic links, so neither a hostile path nor a
// link that lies in the directory leads out of it, nor into the store that is being read. A file
// appears under its name when it is complete, replacing what was there.
#pragma once

#include <string>
#include <string_view>

#include <sys/stat.h>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "tools/firn/descriptor.h"
#include "tools/firn/item.h"

namespace firn::command {

class RestoreTree {
 public:
  // Makes the directory and its parents if they do not exist. `store` is left alone, where it lies
  // below the directory. Errors: invalid_argument (the directory is the store, or lies in it), io.
  [[nodiscard]] static Result<RestoreTree> open(const std::string& directory,
                                                const std::string& store);

  // Mode and modification time as in `file`; bits that change identities (setuid, setgid) and the
  // sticky bit are dropped, as the owner is not restored either.
  // Errors: corrupt (a path that leaves the directory), invalid_argument (one that leads into the
  // store), io, no_space.
  [[nodiscard]] Status restore(const FileInfo& file, ByteSpan content);

 private:
  RestoreTree(std::string directory, Descriptor root, const struct stat& store)
      : directory_(std::move(directory)), root_(std::move(root)), store_(store) {}

  [[nodiscard]] Result<int> open_parent(std::string_view parent, const std::string& shown);

  std::string directory_;
  Descriptor root_;
  struct stat store_;
  std::string last_parent_;  // the parent that is open
  Descriptor last_;
};

}  // namespace firn::command
