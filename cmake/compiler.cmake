# Language level, warnings, hardening and sanitizers for everything that this project compiles.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# Sanitized trees: line tables for the reports, and as little optimisation as keeps the tests fast.
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1")

find_program(FIRN_CCACHE ccache)
if(FIRN_CCACHE)
  # Without this it caches nothing that uses precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                                  ${FIRN_CCACHE})
endif()

add_library(firn_warnings INTERFACE)
target_compile_options(firn_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wimplicit-fallthrough $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
  $<$<BOOL:${FIRN_WERROR}>:-Werror>)
target_compile_definitions(firn_warnings INTERFACE _GLIBCXX_ASSERTIONS
  $<$<CONFIG:Debug,Sanitize>:FIRN_DCHECKS>)

if(FIRN_SANITIZE)
  # Instrumented code confuses this warning: it names members of optionals that are never read.
  add_compile_options(-Wno-maybe-uninitialized)
  add_compile_options(-fsanitize=${FIRN_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  if(FIRN_SANITIZE MATCHES undefined AND NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    # What the address sanitizer finds as well; they would be a quarter of the compiler's time.
    add_compile_options(-fno-sanitize=null,object-size,vptr)
  endif()
  add_link_options(-fsanitize=${FIRN_SANITIZE})
endif()
if(FIRN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
