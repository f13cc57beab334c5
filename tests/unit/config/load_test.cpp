#include <oncemark/config/load.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/error.hpp>

#include "config/keys.hpp"

namespace oncemark::config {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/// A folder of this test's own, which is also the working directory.
class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = (fs::temp_directory_path() / "oncemark-config.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    fs::current_path(folder_);
  }
  ~ConfigTest() override {
    fs::current_path("/");
    fs::remove_all(folder_);
  }

  fs::path write(const fs::path& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }

  /// What load() says about a file with this text.
  [[nodiscard]] std::string refusal(const std::string& text, const Environment& environment = {}) const {
    const fs::path file = write("o.toml", text);
    try {
      (void)load(file, environment);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
};

TEST_F(ConfigTest, HasTheDefaultsWithoutAnyFile) {
  const Settings settings = load({}, {});

  EXPECT_EQ(settings.mysql.url, mysql::PoolOptions{}.url);
  EXPECT_EQ(settings.origin_of("mysql.url"), "default");
}

TEST_F(ConfigTest, ReadsEverySection) {
  const fs::path file = write("all.toml", R"(
[mysql]
url = "tcp://db:3306"
user = "shop"
schema = "shop"
pool = 3
lock_wait_timeout = "7s"
[kafka]
brokers = ["a:9092", "b:9092"]
linger = "0ms"
properties = { "security.protocol" = "SSL", "socket.nagle.disable" = true, "batch.size" = 4096 }
[redis]
url = "tcp://redis:6379"
database = 2
command_timeout = "5ms"
[relay]
name = "shipping"
batch = 20
poll_interval = "1s"
[topics]
retry = "r.{group}.{topic}"
[retention]
marks = "30d"
letters = "0s"
[watchdog]
overdue = "2h"
)");

  const Settings settings = load(file, {});

  EXPECT_EQ(settings.mysql.url, "tcp://db:3306");
  EXPECT_EQ(settings.mysql.size, 3u);
  EXPECT_EQ(settings.mysql.lock_wait_timeout, 7s);
  EXPECT_EQ(settings.kafka.brokers, "a:9092,b:9092");
  EXPECT_EQ(settings.kafka.linger, 0ms);
  EXPECT_EQ(
      settings.kafka.properties,
      (kafka::Properties{{"batch.size", "4096"}, {"security.protocol", "SSL"}, {"socket.nagle.disable", "true"}}));
  EXPECT_EQ(settings.redis.url, "tcp://redis:6379");
  EXPECT_EQ(settings.redis.database, 2);
  EXPECT_EQ(settings.redis.command_timeout, 5ms);
  EXPECT_EQ(settings.relay.name, "shipping");
  EXPECT_EQ(settings.relay.batch, 20u);
  EXPECT_EQ(settings.relay.poll_interval, 1s);
  EXPECT_EQ(settings.topics.retry, "r.{group}.{topic}");
  EXPECT_EQ(settings.retention.marks, 720h);
  EXPECT_EQ(settings.retention.letters, 0s);
  EXPECT_EQ(settings.watchdog.overdue, 2h);
  EXPECT_EQ(settings.watchdog.resend.topics.retry, "r.{group}.{topic}");
}

TEST_F(ConfigTest, TheEnvironmentOverridesTheFile) {
  const fs::path file = write("o.toml", "[mysql]\nuser = \"file\"\nschema = \"shop\"\n");

  const Settings settings = load(file, {{"ONCEMARK_MYSQL__USER", "environment"}});

  EXPECT_EQ(settings.mysql.user, "environment");
  EXPECT_EQ(settings.mysql.schema, "shop");
  EXPECT_EQ(settings.origin_of("mysql.user"), "environment variable ONCEMARK_MYSQL__USER");
  EXPECT_THAT(std::string(settings.origin_of("mysql.schema")), EndsWith("o.toml line 3, column 1"));
}

TEST_F(ConfigTest, EveryKeyHasAVariable) {
  for (const Key& key : all_keys()) {
    std::string name = "ONCEMARK_" + key.name;
    name.replace(name.find('.'), 1, "__");
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::string value = key.name + ".{group}.{topic}";
    if (key.name == "reconcile.pairs") value = "shipping:orders";
    if (key.name == "reconcile.contents") value = "ignored";
    if (key.kind == Kind::number) value = "7";
    if (key.kind == Kind::duration) value = key.name.starts_with("reconcile.") ? "2h" : "7s";
    if (key.kind == Kind::properties) value = "a=b";

    EXPECT_EQ(load({}, {{name, value}}).origin_of(key.name), "environment variable " + name);
  }
}

TEST_F(ConfigTest, ReadsPropertiesFromTheEnvironment) {
  const Settings settings = load({}, {{"ONCEMARK_KAFKA__PROPERTIES", "debug=broker,topic;x=a=b"}});

  EXPECT_EQ(settings.kafka.properties, (kafka::Properties{{"debug", "broker,topic"}, {"x", "a=b"}}));
}

TEST_F(ConfigTest, LeavesTheStacksOwnVariablesAlone) {
  EXPECT_NO_THROW((void)load({}, {{"ONCEMARK_STACK_DIR", "/x"},
                                  {"ONCEMARK_MYSQL_SOCKET", "/y"},
                                  {"ONCEMARK_KAFKA_PID", "1"},
                                  {"ONCEMARK_LOG", "debug"},
                                  {"ONCEMARK_FAULT", ""}}));
}

TEST_F(ConfigTest, NamesAnUnknownKeyItsPlaceAndTheOneThatWasMeant) {
  EXPECT_THAT(refusal("[kafka]\n  brokrs = \"x\"\n"),
              AllOf(HasSubstr("unknown key \"brokrs\""), HasSubstr("o.toml line 2, column 3"),
                    HasSubstr("Did you mean \"brokers\"?")));
  EXPECT_THAT(refusal("[kafak]\n"), HasSubstr("line 1, column 2. Did you mean \"kafka\"?"));
  EXPECT_THAT(refusal("[mysql]\nbrokers = \"x\"\n"), HasSubstr("Did you mean \"kafka.brokers\"?"));
  EXPECT_THAT(refusal("brokers = \"x\"\n"), HasSubstr("Did you mean \"kafka.brokers\"?"));
  EXPECT_THAT(refusal("[mysql]\nxyzzy = 1\n"), AllOf(HasSubstr("unknown key"), Not(HasSubstr("Did you mean"))));
}

TEST_F(ConfigTest, RefusesAnUnknownVariable) {
  EXPECT_THAT(refusal("", {{"ONCEMARK_MYSQL__USR", "x"}}),
              AllOf(HasSubstr("ONCEMARK_MYSQL__USR"), HasSubstr("Did you mean \"ONCEMARK_MYSQL__USER\"?")));
}

TEST_F(ConfigTest, RefusesAValueOfTheWrongTypeOrRange) {
  EXPECT_THAT(refusal("[relay]\nbatch = \"9\"\n"),
              AllOf(HasSubstr("relay.batch must be a whole number from 1 to 10000, got a text"),
                    HasSubstr("line 2, column 9")));
  EXPECT_THAT(refusal("[relay]\nbatch = 0\n"), HasSubstr("from 1 to 10000, got 0"));
  EXPECT_THAT(refusal("[relay]\npoll_interval = 200\n"), HasSubstr("duration"));
  EXPECT_THAT(refusal("[relay]\npoll_interval = \"200\"\n"), HasSubstr("a number and its unit"));
  EXPECT_THAT(refusal("[kafka]\nbrokers = [1]\n"), HasSubstr("a list of texts, got a whole number"));
  EXPECT_THAT(refusal("[kafka]\nproperties = { a.b = \"x\" }\n"), HasSubstr("names with dots need quotes"));
  EXPECT_THAT(refusal("kafka = 1\n"), HasSubstr("must be a section"));
  EXPECT_THAT(refusal("", {{"ONCEMARK_RELAY__BATCH", "many"}}), HasSubstr("ONCEMARK_RELAY__BATCH"));
}

TEST_F(ConfigTest, SaysWhereATemplateStandsThatCannotWork) {
  EXPECT_THAT(refusal("[topics]\nretry = \"retry.{topic}\"\n"), HasSubstr("o.toml line 2, column 1"));
}

TEST_F(ConfigTest, RefusesAPasswordAndDoesNotRepeatIt) {
  const auto never_shown = AllOf(HasSubstr("password_file"), Not(HasSubstr("hunter2")));

  EXPECT_THAT(refusal("[mysql]\npassword = \"hunter2\"\n"), AllOf(never_shown, HasSubstr("line 2, column 1")));
  EXPECT_THAT(refusal("[kafka]\nproperties = { \"sasl.password\" = \"hunter2\" }\n"), never_shown);
  EXPECT_THAT(refusal("[redis]\npassword = \"hunter2\"\n"), never_shown);
  EXPECT_THAT(refusal("", {{"ONCEMARK_MYSQL__PASSWORD", "hunter2"}}), HasSubstr("ONCEMARK_MYSQL__PASSWORD_FILE"));
  EXPECT_THAT(refusal("[mysql]\npassword = hunter2\n"), Not(HasSubstr("hunter2")));
}

TEST_F(ConfigTest, SaysWhereTheTomlIsBroken) {
  EXPECT_THAT(refusal("[relay\n"), AllOf(HasSubstr("invalid TOML at"), HasSubstr("o.toml line 1, column 7")));
  EXPECT_THAT(refusal("[relay]\nname = \"a\"\nname = \"b\"\n"), HasSubstr("cannot redefine"));
}

TEST_F(ConfigTest, APathStartsAtTheFilesOwnFolder) {
  const fs::path file = write("etc/o.toml", "[mysql]\npassword_file = \"secret\"\ntls_ca = \"/ca.pem\"\n");

  const Settings settings = load(fs::relative(file), {});

  EXPECT_EQ(settings.mysql.password_file, (folder_ / "etc/secret").string());
  EXPECT_EQ(settings.mysql.tls_ca, "/ca.pem");
}

TEST_F(ConfigTest, SearchesTheNamedFileThenTheVariableThenTheFoldersInOrder) {
  const Environment nothing{{"XDG_CONFIG_HOME", (folder_ / "xdg").string()}};
  Environment all = nothing;
  all["ONCEMARK_CONFIG"] = "variable.toml";

  EXPECT_EQ(find_file("named.toml", all), "named.toml");
  EXPECT_EQ(find_file({}, all), "variable.toml");
  write("xdg/oncemark/oncemark.toml", "");
  EXPECT_EQ(find_file({}, nothing), folder_ / "xdg/oncemark/oncemark.toml");
  EXPECT_EQ(find_file({}, {{"HOME", folder_.string()}}), std::nullopt);
  write("oncemark.toml", "");
  EXPECT_EQ(find_file({}, nothing), "oncemark.toml");
}

TEST_F(ConfigTest, AFileThatIsNamedMustBeReadable) {
  EXPECT_THROW((void)load("absent.toml", {}), ConfigError);
  EXPECT_THROW((void)load({}, {{"ONCEMARK_CONFIG", "absent.toml"}}), ConfigError);
  EXPECT_THROW((void)load(folder_, {}), ConfigError);
}

}  // namespace
}  // namespace oncemark::config
