// SPDX-License-Identifier: Apache-2.0
//
// The precompiled headers of the tests need one source file.
#include "testkit/test_headers.h"
