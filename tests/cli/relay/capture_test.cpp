// oncemark capture as a process.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/id.hpp>
#include <oncemark/kafka/admin.hpp>

#include "support/eventually.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CaptureProgramTest : public ::testing::Test {
 protected:
  CaptureProgramTest() {
    session_->control("CREATE TABLE orders (order_id INT PRIMARY KEY, state VARCHAR(9))");
    session_->control("SET GLOBAL binlog_row_metadata = FULL");
    kafka::Admin(Stack::brokers()).create({{.name = topic_}});
    std::filesystem::create_directories(folder_);
    std::ofstream(file()) << "name = \"shop\"\n[[tables]]\ntable = \"orders\"\ntopic = \"" << topic_
                          << "\"\nkey = \"order_id\"\nchanges = [\"insert\"]\nwhere = \"after.state = 'paid'\"\n";
  }
  ~CaptureProgramTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string file() const { return (folder_ / "capture.toml").string(); }
  [[nodiscard]] std::map<std::string, std::string> environment() const {
    return with(environment_of(schema_, {}), account_);
  }
  [[nodiscard]] Process::Options running() const {
    return {.arguments = {program(), "capture", "run", file(), "--json"}, .environment = environment()};
  }
  Ended status() { return run({program(), "capture", "status", file(), "--json"}, environment()); }
  static bool is_reading(Process& process) {
    return eventually(30s, [&] { return process.err().find("capturing changes") != std::string::npos; });
  }
  void insert(int id, const std::string& state) {
    pool_.transact([&](mysql::Transaction& tx) { tx.execute("INSERT INTO orders VALUES (?, ?)", id, state); });
  }
  [[nodiscard]] bool has_records(std::int64_t count) const {
    return eventually(30s, [&] { return kafka::Admin(Stack::brokers()).watermarks({topic_, 0}).high == count; });
  }

  /// From here on the program has the rights of its role and no others.
  void use_account_of_its_role() {
    const std::string user = "om_" + schema_.name().substr(8, 12);
    account_ = {{"ONCEMARK_MYSQL__USER", user}};
    session_->control("CREATE USER '" + user + "'@'%' IDENTIFIED BY 'secret-17'");
    const Ended grants = run({program(), "schema", "grants", "--role", "capture"}, environment());
    std::istringstream statements(grants.out);
    for (std::string one; std::getline(statements, one);) {
      if (one.starts_with("GRANT")) session_->control(one.substr(0, one.find(';')));
    }
    session_->control("GRANT SELECT ON " + schema_.name() + ".orders TO '" + user + "'@'%'");
    const std::filesystem::path password = folder_ / "password";
    std::ofstream(password) << "secret-17\n";
    std::filesystem::permissions(password, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    account_["ONCEMARK_MYSQL__PASSWORD_FILE"] = password.string();
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  std::unique_ptr<mysql::Connection> session_ = pool_.connect(60s);
  const std::string topic_ = "capture-program-" + std::to_string(random_token());
  const std::filesystem::path folder_ = std::filesystem::temp_directory_path() / topic_;
  std::map<std::string, std::string> account_;
};

TEST_F(CaptureProgramTest, TellsChangesOfItsFileAndGoesOnWhereItStopped) {
  use_account_of_its_role();
  EXPECT_EQ(status().code, 4);
  {
    Process process(running());
    ASSERT_TRUE(is_reading(process)) << process.err();
    insert(1, "paid");
    insert(2, "new");
    EXPECT_TRUE(has_records(1)) << process.err();
    const Ended seen = status();
    EXPECT_EQ(seen.code, 0) << seen.err;
    EXPECT_THAT(seen.out, AllOf(HasSubstr(R"("capture":"shop")"), HasSubstr(R"("running":1)"), HasSubstr(R"("end":)")));
    process.send(SIGTERM);
    const Ended ended = process.wait();
    EXPECT_EQ(ended.code, 0);
    EXPECT_THAT(ended.out, HasSubstr(R"({"capture":"shop","sent":1,"filtered":)"));
    EXPECT_EQ(ended.err.find("denied"), std::string::npos) << ended.err;
  }
  EXPECT_THAT(status().out, HasSubstr(R"("running":0)"));
  insert(3, "paid");

  Process process(running());
  EXPECT_TRUE(has_records(2)) << process.err();
  process.send(SIGKILL);
  (void)process.wait();
  session_->control("DROP USER '" + account_["ONCEMARK_MYSQL__USER"] + "'@'%'");
}

TEST_F(CaptureProgramTest, EndsWithOneWhereItsBinlogIsGone) {
  session_->control("INSERT INTO relay_checkpoint VALUES ('capture.shop', 'binlog.000000', 4, '', UTC_TIMESTAMP(6))");
  session_->control("COMMIT");
  const Ended ended = Process(running()).wait();

  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("the capture has ended"), HasSubstr("binlog.000000")));
}

TEST_F(CaptureProgramTest, RefusesAFileWithoutTables) {
  std::ofstream(file()) << "name = \"shop\"\n";
  const Ended ended = Process(running()).wait();

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("[[tables]]"));
}

}  // namespace
}  // namespace oncemark::testing
