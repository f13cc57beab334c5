#include <oncemark/mysql/pool.hpp>

#include <cstdio>
#include <fstream>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;

PoolOptions valid() { return {.user = "shop", .schema = "shop"}; }

std::string rejected_field(const PoolOptions& options) {
  try {
    options.validate();
    return "";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::StartsWith(error.key()));
    return error.key();
  }
}

TEST(PoolOptions, AreValidWithAUserAndASchema) { EXPECT_EQ(rejected_field(valid()), ""); }

TEST(PoolOptions, NameTheFieldThatIsWrong) {
  const auto with = [](auto change) {
    PoolOptions options = valid();
    change(options);
    return rejected_field(options);
  };
  EXPECT_EQ(with([](auto& o) { o.user = ""; }), "user");
  EXPECT_EQ(with([](auto& o) { o.schema = ""; }), "schema");
  EXPECT_EQ(with([](auto& o) { o.schema = std::string(65, 's'); }), "schema");
  EXPECT_EQ(with([](auto& o) { o.size = 0; }), "size");
  EXPECT_EQ(with([](auto& o) { o.size = 1'001; }), "size");
  EXPECT_EQ(with([](auto& o) { o.connect_timeout = 0s; }), "connect_timeout");
  EXPECT_EQ(with([](auto& o) { o.read_timeout = 3'601s; }), "read_timeout");
  EXPECT_EQ(with([](auto& o) { o.wait_timeout = 0s; }), "wait_timeout");
  EXPECT_EQ(with([](auto& o) { o.lock_wait_timeout = 0s; }), "lock_wait_timeout");
  EXPECT_EQ(with([](auto& o) { o.acquire_timeout = 0ms; }), "acquire_timeout");
  EXPECT_EQ(with([](auto& o) { o.transact_tries = 0; }), "transact_tries");
}

TEST(PoolOptions, WantALongerReadTimeoutThanLockWait) {
  PoolOptions options = valid();
  options.read_timeout = 5s;

  EXPECT_EQ(rejected_field(options), "read_timeout");
}

TEST(PoolOptions, TakeTcpAndUnixAddresses) {
  PoolOptions options = valid();
  for (const char* url : {"tcp://db:3306", "tcp://[::1]:3306", "unix:///run/mysqld/mysqld.sock"}) {
    options.url = url;
    EXPECT_EQ(rejected_field(options), "") << url;
  }
  for (const char* url : {"", "db:3306", "mysql://db", "tcp://", "tcp://db:3306/shop", "tcp://root:x@db", "unix://x"}) {
    options.url = url;
    EXPECT_EQ(rejected_field(options), "url") << url;
  }
}

TEST(Pool, ValidatesItsOptionsBeforeItConnects) { EXPECT_THROW(Pool({}), ConfigError); }

// A connection is refused at once where nothing listens; the password file is read before that.
PoolOptions unreachable() {
  PoolOptions options = valid();
  options.url = "tcp://127.0.0.1:1";
  options.password = "s3cret";
  return options;
}

TEST(Pool, IsUnavailableWhenNothingListens) {
  Pool pool(unreachable());

  try {
    (void)pool.acquire();
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_EQ(error.code(), 2002);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("tcp://127.0.0.1:1"));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("s3cret")));
  }
  EXPECT_FALSE(pool.is_reachable());
}

TEST(Pool, NamesTheFileOfItsAuthorityWhenItIsMissing) {
  PoolOptions options = unreachable();
  options.tls_ca = "/no/such/authority.pem";
  Pool pool(options);
  try {
    (void)pool.acquire();
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.key(), "tls_ca");
    EXPECT_THAT(error.what(), ::testing::HasSubstr("/no/such/authority.pem"));
  }
}

std::string password_file_error(const std::string& path) {
  PoolOptions options = unreachable();
  options.password_file = path;
  Pool pool(options);
  try {
    (void)pool.acquire();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.key(), "password_file");
    EXPECT_THAT(error.what(), ::testing::HasSubstr(path));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("s3cret")));
    return error.what();
  } catch (const MysqlError&) {
  }
  return "";
}

class PasswordFileTest : public ::testing::Test {
 protected:
  ~PasswordFileTest() override { std::remove(path_.c_str()); }
  const std::string& with(std::string_view text) {
    std::ofstream(path_) << text;
    return path_;
  }
  std::string path_ = ::testing::TempDir() + "oncemark_password_" + std::to_string(::getpid());
};

TEST_F(PasswordFileTest, IsNamedWhenItIsMissing) {
  EXPECT_THAT(password_file_error(path_), ::testing::HasSubstr("No such file"));
}

TEST_F(PasswordFileTest, MustNotBeEmptyADirectoryOrLong) {
  EXPECT_THAT(password_file_error(with("")), ::testing::HasSubstr("empty"));
  EXPECT_THAT(password_file_error("/"), ::testing::HasSubstr("not a file"));
  EXPECT_THAT(password_file_error(with("s3cret\nmore\n")), ::testing::HasSubstr("more than one line"));
}

TEST_F(PasswordFileTest, MayEndWithANewline) { EXPECT_EQ(password_file_error(with("s3cret\n")), ""); }

}  // namespace
}  // namespace oncemark::mysql
