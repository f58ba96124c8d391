//! Where configuration comes from: a properties file, the environment, the command line, and what `sordini dev` assumes.
//!
//! Of two sources that set one key the stronger wins: `--override`, then `KAFKA_*` variables (as the official container
//! image maps them), then the file, then what is built in. What keys mean is not known here; that is
//! [`sordini_core::config`].

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use java_properties::{LineContent, PropertiesError, PropertiesIter};
use sordini_core::config::BrokerConfig;
use sordini_core::config::broker::{ConfigProblem, Origin, Warning};
use sordini_core::config::definitions::{self, DefaultValue, Definition, Effect};

/// A key, its text, and where it stands.
type Entry = (String, String, Origin);

/// Port on which Kafka's clients look first.
pub const DEFAULT_PORT: u16 = 9092;

/// A configuration that can be started with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the node reads.
    pub config: BrokerConfig,
    /// What its author should know.
    pub warnings: Vec<Warning>,
}

/// Why there is no configuration to start with. The text names the key, the place and the way out, a line for each problem.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not in the format of Java properties.
    #[error("{}: {source}; write \\ as \\\\ and a Unicode character as \\u and four hexadecimal digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: PropertiesError,
    },
    /// An `--override` without a key or without `=`.
    #[error("--override {text}: write it as KEY=VALUE, for instance --override num.partitions=3")]
    Override {
        /// What was given.
        text: String,
    },
    /// The data directory has a name that no list of directories can hold.
    #[error("the data directory {} must have a name in Unicode without commas and without white space around it", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
    },
    /// Keys or values are wrong.
    #[error("{}", Lines(.0))]
    Problems(Vec<ConfigProblem>),
}

struct Lines<'a>(&'a [ConfigProblem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let end_of_line = if at == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{problem}")?;
        }
        Ok(())
    }
}

/// What `sordini dev` can be told in a word.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// Directory of the node's data.
    pub data_dir: PathBuf,
    /// Port for clients; 0 lets the operating system choose.
    pub port: u16,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("./sordini-data"), port: DEFAULT_PORT }
    }
}

/// The configuration of `sordini dev`: one node that is its own quorum, reachable as localhost over IPv4 and IPv6.
///
/// # Errors
/// When an override is not of the form `KEY=VALUE`, or contradicts the rest.
pub fn dev(options: &DevOptions, overrides: &[String]) -> Result<Loaded, LoadError> {
    let overrides = read_overrides(overrides)?;
    finish(dev_entries(options, &overrides)?.into_iter().chain(overrides))
}

/// The configuration of `sordini start`. Where neither file nor variables nor overrides say which node this is, it is the one
/// that `sordini dev` starts.
///
/// # Errors
/// When the file cannot be read, or keys and values are wrong; all wrong ones are reported together.
pub fn start(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &[String],
) -> Result<Loaded, LoadError> {
    let mut set = file.map_or_else(|| Ok(Vec::new()), read_file)?;
    let from_environment = read_environment(environment, sets(&set, "listeners"));
    set.extend(from_environment);
    set.extend(read_overrides(overrides)?);
    let is_somebody = file.is_some() || sets(&set, "node.id") || sets(&set, "process.roles");
    let built_in = if is_somebody { Vec::new() } else { dev_entries(&DevOptions::default(), &set)? };
    finish(built_in.into_iter().chain(set))
}

/// Judges a file by itself, without environment and overrides, as `sordini config check FILE` does.
///
/// # Errors
/// As [`start`].
pub fn check(file: &Path) -> Result<Loaded, LoadError> {
    start(Some(file), [], &[])
}

fn finish(entries: impl IntoIterator<Item = Entry>) -> Result<Loaded, LoadError> {
    let (config, mut warnings) = BrokerConfig::from_entries(entries).map_err(LoadError::Problems)?;
    // Nobody can mend what nobody wrote.
    warnings.retain(|warning| warning.origin != Origin::BuiltIn);
    Ok(Loaded { config, warnings })
}

fn sets(entries: &[Entry], wanted: &str) -> bool {
    entries.iter().any(|(key, _, _)| key == wanted)
}

/// What `dev` assumes where `set` is silent.
fn dev_entries(options: &DevOptions, set: &[Entry]) -> Result<Vec<Entry>, LoadError> {
    let port = options.port;
    let data_dir = options
        .data_dir
        .to_str()
        .filter(|text| !text.is_empty() && text.trim() == *text && !text.contains(','))
        .ok_or_else(|| LoadError::DataDir { path: options.data_dir.clone() })?;
    let mut assumed = vec![
        ("node.id", "1".to_owned()),
        ("process.roles", "broker,controller".to_owned()),
        ("listeners", format!("PLAINTEXT://:{port}")),
        ("log.dirs", data_dir.to_owned()),
        ("auto.create.topics.enable", "true".to_owned()),
        // One node holds one replica, and a laptop should not wait for members that never come.
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("share.coordinator.state.topic.replication.factor", "1".to_owned()),
        ("share.coordinator.state.topic.min.isr", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
    ];
    // An address that was meant for other listeners would send clients astray.
    if !sets(set, "listeners") {
        assumed.push(("advertised.listeners", format!("PLAINTEXT://localhost:{port}")));
    }
    Ok(assumed.into_iter().map(|(key, value)| (key.to_owned(), value, Origin::BuiltIn)).collect())
}

fn read_file(path: &Path) -> Result<Vec<Entry>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    read_properties(BufReader::new(file), path)
}

fn read_properties(input: impl Read, path: &Path) -> Result<Vec<Entry>, LoadError> {
    let mut entries = Vec::new();
    for line in PropertiesIter::new(input) {
        let line = line.map_err(|source| LoadError::Malformed { path: path.to_owned(), source })?;
        let number = u32::try_from(line.line_number()).unwrap_or(u32::MAX);
        if let LineContent::KVPair(key, value) = line.consume_content() {
            let origin = Origin::File { path: path.display().to_string(), line: number };
            entries.push((key, value, origin));
        }
    }
    Ok(entries)
}

fn read_overrides(overrides: &[String]) -> Result<Vec<Entry>, LoadError> {
    let entry = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned(), Origin::CommandLine))
        }
        Some(_) | None => Err(LoadError::Override { text: text.clone() }),
    };
    overrides.iter().map(entry).collect()
}

/// Variables that begin like a key and are none: the official image's, those of Kafka's scripts, and common ones.
const NO_KEYS: [&str; 16] = [
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_MODE",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

/// Entries of the `KAFKA_*` variables, in the order of the variables' names. A node that is told what to advertise and not
/// where to listen listens on the advertised ports of every interface, as in the official image.
fn read_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    file_sets_listeners: bool,
) -> Vec<Entry> {
    let mut variables: Vec<(String, String)> = environment.into_iter().collect();
    variables.sort_unstable();
    let mut entries: Vec<Entry> = variables
        .into_iter()
        .filter_map(|(variable, value)| {
            let key = key_of_variable(&variable, &value)?;
            Some((key, value, Origin::Environment { variable }))
        })
        .collect();
    let find = |wanted: &str| entries.iter().find(|(key, _, _)| key == wanted);
    let is_controller_only = find("process.roles").is_some_and(|(_, roles, _)| roles.trim() == "controller");
    if let Some((_, advertised, origin)) = find("advertised.listeners")
        && find("listeners").is_none()
        && !file_sets_listeners
        && !is_controller_only
    {
        let bound = on_every_interface(advertised);
        let origin = origin.clone();
        entries.push(("listeners".to_owned(), bound, origin));
    }
    entries
}

/// The key that a variable sets: `_` stands for `.`, `__` for `_`, `___` for `-`. `None` for variables that set none.
fn key_of_variable(variable: &str, value: &str) -> Option<String> {
    let name = variable.strip_prefix("KAFKA_")?;
    if name.is_empty() || NO_KEYS.contains(&variable) || is_service_link(name, value) {
        return None;
    }
    Some(name.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

/// Whether Kubernetes or Docker put the variable there because a service nearby is called kafka.
fn is_service_link(name: &str, value: &str) -> bool {
    let mentions_port_protocol = name.split_once("PORT_").is_some_and(|(_, rest)| {
        rest.split_once('_').is_some_and(|(port, protocol)| {
            port.parse::<u16>().is_ok() && (protocol.starts_with("TCP") || protocol.starts_with("UDP"))
        })
    });
    let is_link = name == "PORT" || name.ends_with("_PORT");
    mentions_port_protocol
        || name.contains("SERVICE_HOST")
        || name.contains("SERVICE_PORT")
        || (is_link && (value.starts_with("tcp://") || value.starts_with("udp://")))
}

fn on_every_interface(advertised: &str) -> String {
    let bound = advertised.split(',').map(|listener| {
        let parts =
            listener.split_once("://").and_then(|(name, address)| Some((name, address.rsplit_once(':')?)));
        match parts {
            Some((name, (_, port))) => format!("{name}://0.0.0.0:{port}"),
            // The core says what is wrong with it.
            None => listener.to_owned(),
        }
    });
    bound.collect::<Vec<_>>().join(",")
}

/// Which keys `sordini config list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope {
    /// Those of `server.properties`.
    Broker,
    /// Those of a topic.
    Topic,
}

/// Prints every key with its type, default, dynamic mode, effect and documentation.
///
/// # Errors
/// When `out` cannot be written to.
pub fn list(scope: ListScope, out: &mut impl Write) -> io::Result<()> {
    let table: &[Definition] = match scope {
        ListScope::Broker => &definitions::BROKER,
        ListScope::Topic => &definitions::TOPIC,
    };
    for definition in table.iter().filter(|definition| !definition.internal) {
        let default = match definition.default {
            DefaultValue::Required => "required",
            DefaultValue::Null => "unset",
            DefaultValue::Is("") => "empty",
            DefaultValue::Is(text) => text,
        };
        let effect = match definition.effect {
            Effect::Effective => "effective",
            Effect::NoEffect => "no effect",
        };
        let (name, kind, mode) = (definition.name, definition.kind.name(), definition.mode.name());
        writeln!(out, "{name}\n    {kind}, default: {default}, {mode}, {effect}\n    {}", definition.doc())?;
    }
    Ok(())
}

/// Prints every key that was set, its text and where it was set. Secrets stay hidden, and so do the values of keys nobody
/// knows, since they may be secrets too.
///
/// # Errors
/// When `out` cannot be written to.
pub fn show(config: &BrokerConfig, out: &mut impl Write) -> io::Result<()> {
    for (key, entry) in &config.entries {
        let base = definitions::without_listener_prefix(key).unwrap_or(key);
        let is_hidden = definitions::broker_static(base).is_none_or(Definition::is_sensitive);
        let value = if is_hidden { "[hidden]" } else { &entry.value };
        writeln!(out, "{key}={value}    # {}", entry.origin)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sordini_core::config::broker::Note;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn overrides(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("room for it");
        file
    }

    fn texts(listeners: &[sordini_core::config::broker::Listener]) -> Vec<String> {
        listeners.iter().map(ToString::to_string).collect()
    }

    const SMALLEST: &str = "node.id=7\nprocess.roles=broker,controller\n";

    #[test]
    fn dev_is_a_quorum_of_one_that_localhost_reaches() {
        let Loaded { config, warnings } = dev(&DevOptions::default(), &[]).expect("it needs nothing");
        assert_eq!((config.node_id.0, warnings.len()), (1, 0));
        assert!(config.process_roles.broker && config.process_roles.controller);
        assert_eq!(texts(&config.listeners), ["PLAINTEXT://:9092"]);
        assert_eq!(texts(&config.advertised_listeners), ["PLAINTEXT://localhost:9092"]);
        assert_eq!(config.log_dirs, ["./sordini-data"]);
        assert!(config.controller_listener_names.is_empty() && config.auto_create_topics_enable);
    }

    #[test]
    fn dev_takes_a_port_and_overrides() {
        let options = DevOptions { data_dir: "/data".into(), port: 19092 };
        let wishes = overrides(&["num.partitions=4", "auto.create.topics.enable=false"]);
        let config = dev(&options, &wishes).expect("all fine").config;
        assert_eq!(texts(&config.advertised_listeners), ["PLAINTEXT://localhost:19092"]);
        assert_eq!((config.num_partitions, config.auto_create_topics_enable), (4, false));
        let moved = dev(&options, &overrides(&["listeners=PLAINTEXT://h:1"])).expect("all fine").config;
        assert_eq!(texts(&moved.advertised_listeners), ["PLAINTEXT://h:1"]);
    }

    #[test]
    fn dev_refuses_a_directory_that_reads_as_two() {
        let options = DevOptions { data_dir: "/a,b".into(), ..DevOptions::default() };
        assert!(matches!(dev(&options, &[]), Err(LoadError::DataDir { .. })));
    }

    #[test]
    fn command_line_beats_environment_beats_file() {
        let file = file(&format!("{SMALLEST}num.partitions=1\nfetch.max.bytes=2000\nmessage.max.bytes=1\n"));
        let environment = variables(&[("KAFKA_NUM_PARTITIONS", "2"), ("KAFKA_FETCH_MAX_BYTES", "3000")]);
        let config = start(Some(file.path()), environment, &overrides(&["num.partitions=3"]))
            .expect("all fine")
            .config;
        assert_eq!((config.num_partitions, config.fetch_max_bytes), (3, 3000));
        assert_eq!(config.topic_defaults.max_message_bytes, 1);
        assert_eq!(config.entries["num.partitions"].origin, Origin::CommandLine);
    }

    #[test]
    fn start_with_nothing_at_all_is_what_dev_starts() {
        let bare = start(None, [], &[]).expect("it needs nothing").config;
        assert_eq!(bare, dev(&DevOptions::default(), &[]).expect("it needs nothing").config);
        let named = start(None, variables(&[("KAFKA_NODE_ID", "3")]), &[]);
        assert!(named.is_err(), "who names a node has to name its roles");
    }

    #[test]
    fn problems_name_file_and_line_through_comments_and_continued_lines() {
        let file = file(
            "# a comment\nnode.id=1\n\nprocess.roles=broker,\\\n    controller\nlog.retention.sm = 5\nnum.partitions:x\n",
        );
        let refusal = check(file.path()).expect_err("two are wrong").to_string();
        let path = file.path().display();
        let lines: Vec<_> = refusal.lines().collect();
        assert_eq!(
            lines,
            [
                format!("{path}:6: log.retention.sm: Kafka has no such key; did you mean log.retention.ms?"),
                format!(
                    "{path}:7: num.partitions: Invalid value x for configuration num.partitions: \
                     expected a number of type INT"
                ),
            ]
        );
    }

    #[test]
    fn key_set_twice_in_a_file_is_a_warning_with_both_lines() {
        let file = file(&format!("{SMALLEST}num.partitions=1\nnum.partitions=2\n"));
        let Loaded { config, warnings } = check(file.path()).expect("not wrong");
        let path = file.path().display().to_string();
        assert_eq!(config.num_partitions, 2);
        let first = Origin::File { path: path.clone(), line: 3 };
        assert_eq!(warnings[0].note, Note::Repeated { first });
        assert_eq!(warnings[0].origin, Origin::File { path, line: 4 });
    }

    #[test]
    fn missing_file_directory_and_malformed_text_are_told_apart() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let missing = check(&directory.path().join("none"));
        assert!(matches!(missing, Err(LoadError::Unreadable { .. })), "{missing:?}");
        assert!(matches!(check(directory.path()), Err(LoadError::Unreadable { .. })));
        let malformed = check(file("node.id=\\u12\n").path());
        assert!(matches!(malformed, Err(LoadError::Malformed { .. })), "{malformed:?}");
    }

    #[test]
    fn override_without_a_key_is_refused_with_an_example() {
        for text in ["num.partitions", "=3", ""] {
            let refusal = start(None, [], &overrides(&[text])).expect_err(text).to_string();
            assert!(refusal.contains("KEY=VALUE"), "{refusal}");
        }
    }

    #[test]
    fn variables_become_keys_as_in_the_official_image() {
        let table = [
            ("KAFKA_LOG_RETENTION_MS", "1", Some("log.retention.ms")),
            ("KAFKA_MY__PLUGIN_KEY", "1", Some("my_plugin.key")),
            ("KAFKA_MY___PLUGIN_KEY", "1", Some("my-plugin.key")),
            ("KAFKA_HEAP_OPTS", "-Xmx1g", None),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", "INFO", None),
            ("KAFKA_HOME", "/opt/kafka", None),
            ("CLUSTER_ID", "x", None),
            ("PATH", "/bin", None),
            ("KAFKA_", "x", None),
            ("KAFKA_SERVICE_HOST", "10.0.0.1", None),
            ("KAFKA_SERVICE_PORT_CLIENTS", "9092", None),
            ("KAFKA_PORT", "tcp://10.0.0.1:9092", None),
            ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1", None),
            ("KAFKA_HEADLESS_PORT_9092_TCP", "tcp://10.0.0.1:9092", None),
        ];
        for (variable, value, key) in table {
            assert_eq!(key_of_variable(variable, value).as_deref(), key, "{variable}");
        }
    }

    #[test]
    fn advertised_listeners_alone_say_where_to_listen() {
        let environment = [
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://broker.example:19092"),
        ];
        let config = start(None, variables(&environment), &[]).expect("all fine").config;
        assert_eq!(texts(&config.listeners), ["PLAINTEXT://0.0.0.0:19092"]);
        assert_eq!(texts(&config.advertised_listeners), ["PLAINTEXT://broker.example:19092"]);
        let mut explicit = variables(&environment);
        explicit.extend(variables(&[("KAFKA_LISTENERS", "PLAINTEXT://:5")]));
        let config = start(None, explicit, &[]).expect("all fine").config;
        assert_eq!(texts(&config.listeners), ["PLAINTEXT://:5"]);
    }

    #[test]
    fn misspelt_variable_is_refused_by_its_own_name() {
        let environment = variables(&[
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_ADVERTIZED_LISTENERS", "PLAINTEXT://h:1"),
        ]);
        let refusal = start(None, environment, &[]).expect_err("misspelt").to_string();
        assert_eq!(
            refusal,
            "environment variable KAFKA_ADVERTIZED_LISTENERS: advertized.listeners: Kafka has no such key; \
             did you mean advertised.listeners?"
        );
    }

    #[test]
    fn list_prints_every_public_key_with_default_mode_and_effect() {
        let mut out = Vec::new();
        list(ListScope::Broker, &mut out).expect("a vector takes all");
        let text = String::from_utf8(out).expect("it is text");
        assert_eq!(text.lines().count(), 3 * 340);
        assert!(
            text.contains(
                "node.id\n    INT, default: required, read-only, effective\n    Number of this node"
            )
        );
        assert!(text.contains("log.dirs\n    LIST, default: unset, read-only, effective\n"));
        assert!(text.contains("num.io.threads\n    INT, default: 8, cluster-wide, no effect\n"));
        let mut out = Vec::new();
        list(ListScope::Topic, &mut out).expect("a vector takes all");
        assert_eq!(String::from_utf8(out).expect("it is text").lines().count(), 3 * 33);
    }

    #[test]
    fn show_hides_secrets_and_says_where_each_value_is_from() {
        let file = file(&format!("{SMALLEST}ssl.keystore.password=swordfish\nsuper.users=User:a\n"));
        let config =
            start(Some(file.path()), [], &overrides(&["num.partitions=3"])).expect("all fine").config;
        let mut out = Vec::new();
        show(&config, &mut out).expect("a vector takes all");
        let text = String::from_utf8(out).expect("it is text");
        assert!(!text.contains("swordfish"), "{text}");
        assert!(text.contains("num.partitions=3    # --override\n"), "{text}");
        assert!(text.contains(&format!("node.id=7    # {}:1\n", file.path().display())), "{text}");
    }
}
