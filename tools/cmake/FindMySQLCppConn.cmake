# Finds MySQL Connector/C++ 1.1 (the JDBC-style API); Debian's package has no CMake config and no .pc file.
# Defines the imported target MySQLCppConn::MySQLCppConn.
find_path(MySQLCppConn_INCLUDE_DIR cppconn/driver.h)
find_library(MySQLCppConn_LIBRARY mysqlcppconn)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MySQLCppConn
  REQUIRED_VARS MySQLCppConn_LIBRARY MySQLCppConn_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libmysqlcppconn-dev (Connector/C++ 1.1)")
if(MySQLCppConn_FOUND AND NOT TARGET MySQLCppConn::MySQLCppConn)
  add_library(MySQLCppConn::MySQLCppConn UNKNOWN IMPORTED)
  set_target_properties(MySQLCppConn::MySQLCppConn PROPERTIES
    IMPORTED_LOCATION ${MySQLCppConn_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${MySQLCppConn_INCLUDE_DIR})
endif()
mark_as_advanced(MySQLCppConn_INCLUDE_DIR MySQLCppConn_LIBRARY)
