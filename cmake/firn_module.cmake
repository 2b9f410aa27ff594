# One folder of firn/ is one module. Its CMakeLists.txt lists files by name; no globs.
#
#   firn_module(SOURCES a.cc ... HEADERS a.h ... PRIVATE_HEADERS b.h ... TESTS a_test.cc ... LIBS t ...)
#
# SOURCES and HEADERS (the public ones, installed) become part of the library; all TESTS of a folder
# become one executable, firn_<folder>_test, whose cases ctest lists one by one.
function(firn_module)
  cmake_parse_arguments(MODULE "" "" "SOURCES;HEADERS;PRIVATE_HEADERS;TESTS;LIBS" ${ARGN})
  target_sources(firn PRIVATE ${MODULE_SOURCES} ${MODULE_PRIVATE_HEADERS})
  target_sources(firn PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${MODULE_HEADERS})
  if(FIRN_TESTS AND MODULE_TESTS)
    get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    firn_test(firn_${folder}_test SOURCES ${MODULE_TESTS} LIBS ${MODULE_LIBS})
  endif()
endfunction()

# firn_test(name SOURCES x.cc ... LIBS lib ...): a GoogleTest executable, its cases known to ctest.
function(firn_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE firn firn_testkit firn_warnings GTest::gmock
                                        GTest::gtest_main ${TEST_LIBS})
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
