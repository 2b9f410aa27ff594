# What users get: headers, library, CMake package and pkg-config file; and the Debian packages of it.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/firn)

# While the API may still change in every minor version, so may the ABI: the SONAME says which.
set_target_properties(firn PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
install(TARGETS firn EXPORT firnTargets
  LIBRARY COMPONENT library NAMELINK_COMPONENT development
  ARCHIVE COMPONENT development
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT firnTargets NAMESPACE firn:: DESTINATION ${package_dir} COMPONENT development)

if(TARGET firn_testkit)
  install(TARGETS firn_testkit EXPORT firnTestkitTargets ARCHIVE COMPONENT testkit)
  # Without the headers that need firn's private ones, or that are of firn's own tests.
  install(DIRECTORY testkit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT testkit
    FILES_MATCHING PATTERN "*.h"
    PATTERN canary_scenario.h EXCLUDE
    PATTERN fuzz_input.h EXCLUDE
    PATTERN paged_blob_fixture.h EXCLUDE
    PATTERN store_mutator.h EXCLUDE
    PATTERN test_headers.h EXCLUDE)
  install(EXPORT firnTestkitTargets NAMESPACE firn:: DESTINATION ${package_dir} COMPONENT testkit)
  set_target_properties(firn_testkit PROPERTIES EXPORT_NAME testkit)
endif()

configure_package_config_file(cmake/firnConfig.cmake.in firnConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(firnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/firnConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/firnConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT development)

# Relative to the file itself, so that the installed tree can be moved.
set(FIRN_PC_LIBDIR ${CMAKE_INSTALL_LIBDIR})
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
           OUTPUT_VARIABLE FIRN_PC_PREFIX)
if(NOT BUILD_SHARED_LIBS)
  set(FIRN_PC_REQUIRES "libzstd libisal")
endif()
configure_file(cmake/firn.pc.in firn.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/firn.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR firn)
set(CPACK_PACKAGE_CONTACT "The firn authors <firn@localhost>")
set(CPACK_PACKAGE_FILE_NAME firn-${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL library development)
if(FIRN_TOOLS)
  list(APPEND CPACK_COMPONENTS_ALL tools)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
# Without it dpkg-shlibdeps does not find the library that the command links against.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})

set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libfirn${soversion})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "Crash-safe append-only storage: shared library")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libfirn-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEVELOPMENT_DEPENDS library)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Crash-safe append-only storage: headers")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME firn-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION database)
set(CPACK_COMPONENT_TOOLS_DEPENDS library)
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "Crash-safe append-only storage: the firn command")
if(PROJECT_IS_TOP_LEVEL)
  include(CPack)
endif()
