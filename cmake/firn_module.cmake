# One folder of firn/ is one module. Its CMakeLists.txt lists files by name; no globs.
#
#   firn_module(SOURCES a.cc ... HEADERS a.h ... PRIVATE_HEADERS b.h ...
#               TESTS a_test.cc ... THREADED c_test.cc ... LONG b_test.cc ... STRESS a_stress_test.cc ...
#               SIMS a_sim.cc ... FUZZ a_fuzz.cc ... LIBS t ...)
#
# SOURCES and HEADERS (the public ones, installed) become part of the library. All TESTS of a folder
# become one executable, firn_<folder>_test, labelled `unit`; all STRESS files, the tests with
# threads, become firn_<folder>_stress, labelled `stress`, which runs under the thread sanitizer, too.
# ctest lists the cases one by one. LIBS are linked into both. LONG files hold tests that do so much that
# a sanitizer would take minutes (published digests, every failure, every damage): those of all folders
# are firn_long_test, which the sanitized trees leave out. SIMS hold crash scenarios, which
# sim/CMakeLists.txt collects. Each FUZZ file is one fuzz target.
# THREADED are TESTS that start threads, too: of firn_<folder>_test, the thread sanitizer gets these, and
# runs those that say Thread, Concurrent or Readers in their names.
function(firn_module)
  cmake_parse_arguments(MODULE "" ""
    "SOURCES;HEADERS;PRIVATE_HEADERS;TESTS;THREADED;LONG;STRESS;SIMS;FUZZ;LIBS" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "firn_module: what is ${MODULE_UNPARSED_ARGUMENTS}?")
  endif()
  target_sources(firn PRIVATE ${MODULE_SOURCES} ${MODULE_PRIVATE_HEADERS})
  target_sources(firn PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${MODULE_HEADERS})
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  set_source_files_properties(${MODULE_SOURCES} TARGET_DIRECTORY firn PROPERTIES UNITY_GROUP ${folder})
  if(FIRN_SANITIZE STREQUAL thread)
    set(MODULE_TESTS)
  endif()
  list(APPEND MODULE_TESTS ${MODULE_THREADED})
  if(FIRN_TESTS AND FIRN_UNIT_TESTS AND MODULE_TESTS)
    firn_test(firn_${folder}_test SOURCES ${MODULE_TESTS} LIBS ${MODULE_LIBS})
    if(MODULE_THREADED)
      add_dependencies(firn_stress_tests firn_${folder}_test)
    endif()
  endif()
  list(TRANSFORM MODULE_LONG PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY FIRN_LONG ${MODULE_LONG})
  list(TRANSFORM MODULE_SIMS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY FIRN_SIMS ${MODULE_SIMS})
  if(FIRN_TESTS AND MODULE_STRESS)
    firn_test(firn_${folder}_stress LABEL stress SOURCES ${MODULE_STRESS} LIBS ${MODULE_LIBS})
  endif()
  if(FIRN_TESTS AND FIRN_UNIT_TESTS)
    foreach(source ${MODULE_FUZZ})
      firn_fuzz(${source})
    endforeach()
  endif()
endfunction()

# Most of the time that tests take is the compiler's. They are optimised less than the library and the
# test kit, and what they do wrong themselves is looked for less closely: the checks of each pointer's
# alignment and type would double their code.
if(FIRN_SANITIZE)
  set(FIRN_FEWER_CHECKS
      -fno-sanitize=alignment,nonnull-attribute,null,object-size,returns-nonnull-attribute,vptr)
endif()
set(FIRN_TEST_OPTIONS $<$<CONFIG:RelWithDebInfo>:-O1> $<$<CONFIG:Sanitize,Coverage>:-O0> ${FIRN_FEWER_CHECKS})

# firn_test(name [LABEL unit] SOURCES x.cc ... LIBS lib ...): a GoogleTest executable, its
# cases known to ctest under the label, and part of the target firn_<label>_tests. All share one set of
# precompiled headers (testkit/CMakeLists.txt).
function(firn_test name)
  cmake_parse_arguments(TEST "" "LABEL" "SOURCES;LIBS" ${ARGN})
  if(NOT TEST_LABEL)
    set(TEST_LABEL unit)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE firn firn_testkit firn_warnings GTest::gmock
                                        GTest::gtest_main ${TEST_LIBS})
  target_compile_options(${name} PRIVATE ${FIRN_TEST_OPTIONS})
  target_precompile_headers(${name} REUSE_FROM firn_test_headers)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 1200 LABELS ${TEST_LABEL})
  add_dependencies(firn_${TEST_LABEL}_tests ${name})
endfunction()

# firn_fuzz(a_fuzz.cc [b.h ...] [LIBS lib ...]): the fuzz target firn_a_fuzz. With FIRN_FUZZ it is a
# libFuzzer program (clang only); otherwise it replays files, and ctest runs it on random inputs, labelled
# `unit`.
function(firn_fuzz source)
  cmake_parse_arguments(FUZZ "" "" "LIBS" ${ARGN})
  get_filename_component(name ${source} NAME_WE)
  set(name firn_${name})
  add_executable(${name} ${source} ${FUZZ_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE firn firn_testkit firn_warnings ${FUZZ_LIBS})
  if(FIRN_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_link_libraries(${name} PRIVATE firn_fuzz_replay)
    add_test(NAME ${name} COMMAND ${name} --inputs 300
             --corpus ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 1200 LABELS unit)
    add_dependencies(firn_unit_tests ${name})
  endif()
endfunction()
