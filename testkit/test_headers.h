// SPDX-License-Identifier: Apache-2.0
//
// What nearly every test includes, compiled once for all of them. A test still includes what it
// uses: trees without precompiled headers (lint, fuzz) would not compile otherwise.
#pragma once

#include <algorithm>
#include <array>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
