// SPDX-License-Identifier: Apache-2.0
//
// TemporaryDirectory: an empty directory for one test, removed with everything in it at the end.
#pragma once

#include <string>

namespace firn::testkit {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // The path of an entry: "<path>/<name>".
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace firn::testkit
