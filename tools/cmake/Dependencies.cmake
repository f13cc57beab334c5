# Where the client libraries come from. Debian 12 ships no CMake config for librdkafka and neither a
# config nor a .pc file for Connector/C++, hence pkg-config and FindMySQLCppConn.cmake.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis>=0.14)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus>=3.0)
pkg_check_modules(MARIADB REQUIRED IMPORTED_TARGET libmariadb>=3.3)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
find_package(MySQLCppConn REQUIRED)
find_package(spdlog REQUIRED)         # by its target only: its flags select the compiled library
find_package(nlohmann_json REQUIRED)
if(ONCEMARK_TOOLS)
  find_package(CLI11 REQUIRED)
  find_library(JQ_LIBRARY jq REQUIRED)  # 1.6 has no .pc file
  find_path(JQ_INCLUDE_DIR jq.h REQUIRED)
endif()
if(ONCEMARK_TESTS)
  find_package(GTest REQUIRED)
endif()
