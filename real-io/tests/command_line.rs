//! What the commands print and with which code they end.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use support::{Broker, sordini};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = sordini(arguments).output().expect("it can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

fn properties(directory: &Path, more: &str) -> String {
    let file = directory.join("server.properties");
    let data = directory.join("data");
    let text = format!(
        "node.id=1\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\n{more}",
        data.display()
    );
    std::fs::write(&file, text).expect("there is room for it");
    file.to_str().expect("its name is text").to_owned()
}

#[test]
fn a_clean_stop_ends_with_0_and_the_next_start_finds_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for _ in 0..3 {
        let mut broker = Broker::start_on(directory.path(), &[]);
        broker.assert_serves();
        assert_eq!(broker.stop().code(), Some(0));
    }
    assert!(directory.path().join(".kafka_cleanshutdown").exists());
}

#[test]
fn a_directory_that_is_not_formatted_is_refused_with_3_and_the_way_out() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "");
    let (code, _, stderr) = run(&["start", "--config", &file]);
    assert_eq!(code, 3);
    assert!(stderr.contains("sordini format") && stderr.contains("--format-if-needed"), "{stderr}");
}

#[test]
fn a_directory_of_another_cluster_is_refused_with_3_and_both_ids() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "");
    let id = "5L6g3nShT-eMCtK--X86sw";
    let (code, stdout, _) = run(&["format", "--config", &file, "--cluster-id", id]);
    assert_eq!((code, stdout.contains(id)), (0, true));
    let (code, _, stderr) = run(&["format", "--config", &file]);
    assert_eq!((code, stderr.contains("--ignore-formatted")), (1, true), "{stderr}");
    let (code, stdout, _) = run(&["format", "--config", &file, "--ignore-formatted"]);
    assert_eq!((code, stdout.contains("already")), (0, true));
    let (code, _, stderr) = run(&["format", "--config", &file, "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"]);
    assert_eq!(code, 3);
    assert!(stderr.contains(id) && stderr.contains("AAAAAAAAAAAAAAAAAAAAAQ"), "{stderr}");
}

#[test]
fn a_cluster_begins_with_the_levels_and_users_that_formatting_names() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "");
    let user = "SCRAM-SHA-512=[name=alice,password=alice-secret]";
    let (code, _, stderr) =
        run(&["format", "-c", &file, "-r", "4.2-IV0", "-f", "group.version=0", "--add-scram", user]);
    assert_eq!(code, 0, "{stderr}");
    let bytes = std::fs::read(directory.path().join("data/bootstrap.checkpoint")).expect("it is there");
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for (text, is_there) in [
        ("metadata.version\0\x1c", true),
        ("share.version\0\x01", true),
        ("transaction.version\0\x02", true),
        ("group.version", false),
        ("streams.version", false),
        ("alice", true),
        ("alice-secret", false),
    ] {
        assert_eq!(contains(text), is_there, "{text}");
    }
}

#[test]
fn what_a_cluster_cannot_begin_with_ends_with_2_and_nothing_is_formatted() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "");
    let table = [
        (["--feature", "nonsense=1"], "Unsupported feature: nonsense"),
        (["--feature", "group.version=7"], "level 7"),
        (["--feature", "group.version"], "equals sign"),
        (["--feature", "kraft.version=0"], "controller.quorum.voters is empty"),
        (["--release-version", "2.8"], "Unknown metadata.version '2.8'"),
        (["--add-scram", "SCRAM-SHA-256=[password=secret]"], "You must supply 'name'"),
    ];
    for (options, why) in table {
        let (code, _, stderr) = run(&[&["format", "--config", &file], &options[..]].concat());
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(why) && !stderr.contains("secret"), "{stderr}");
    }
    assert!(!directory.path().join("data/bootstrap.checkpoint").exists());
}

#[test]
fn voters_stand_in_the_configuration_or_in_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let more = "controller.listener.names=C\nlisteners=C://127.0.0.1:9,PLAINTEXT://127.0.0.1:0\n";
    let snapshot = "data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
    let format = |more: &str, option: Option<&str>| {
        let file = properties(directory.path(), more);
        let (code, _, stderr) = run(&[&["format", "--config", &file][..], option.as_slice()].concat());
        let is_in_log = directory.path().join(snapshot).exists();
        let _ = std::fs::remove_dir_all(directory.path().join("data"));
        (code, is_in_log, stderr)
    };
    let configured = format!("{more}controller.quorum.voters=1@127.0.0.1:9\n");
    assert!(!format(&configured, None).1);
    let (code, _, stderr) = format(&configured, Some("--standalone"));
    assert!(code == 1 && stderr.contains("controller.quorum.voters"), "{stderr}");
    let told = format!("{more}controller.quorum.bootstrap.servers=127.0.0.1:9\n");
    assert!(format(&told, Some("--standalone")).1);
    assert!(format(&told, None).1, "there is nobody else");
    let (code, is_in_log, stderr) =
        format(&told.replace("servers=127.0.0.1:9", "servers=127.0.0.1:10"), None);
    assert!(code == 1 && !is_in_log && stderr.contains("--no-initial-controllers"), "{stderr}");
    assert!(!format(&told, Some("--no-initial-controllers")).1);
}

#[test]
fn a_port_in_use_ends_with_4_and_nothing_is_formatted() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let port = taken.local_addr().expect("it is bound").port();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "");
    let setting = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    let (code, _, stderr) = run(&["start", "--config", &file, "--format-if-needed", "--override", &setting]);
    assert_eq!(code, 4);
    assert!(stderr.contains(&port.to_string()), "{stderr}");
    assert!(!directory.path().join("data/meta.properties").exists());
}

#[test]
fn a_directory_in_use_is_refused_and_the_other_process_named() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let broker = Broker::start_on(directory.path(), &[]);
    let path = directory.path().to_str().expect("its name is text");
    let (code, _, stderr) = run(&["dev", "--port", "0", "--data-dir", path]);
    assert_eq!(code, 1);
    assert!(stderr.contains(path) && stderr.contains(&broker.process.id().to_string()), "{stderr}");
    broker.assert_serves();
}

#[test]
fn a_wrong_configuration_ends_with_2_and_names_the_line() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = properties(directory.path(), "log.retention.sm=5\n");
    for arguments in [["config", "check", &file], ["start", "--config", &file]] {
        let (code, _, stderr) = run(&arguments);
        assert_eq!(code, 2);
        assert!(stderr.contains(&format!("{file}:5: log.retention.sm")), "{stderr}");
        assert!(stderr.contains("log.retention.ms"), "{stderr}");
    }
    assert_eq!(run(&["config", "check", &properties(directory.path(), "")]).0, 0);
    assert_eq!(run(&["dev", "--no-such-option"]).0, 2);
}

#[test]
fn every_key_is_listed() {
    let (code, stdout, _) = run(&["config", "list"]);
    assert_eq!(code, 0);
    for key in ["log.dirs", "advertised.listeners", "queued.max.request.bytes"] {
        assert!(stdout.lines().any(|line| line == key), "{key} is not listed");
    }
}

#[test]
fn the_quorum_of_a_broker_is_described_and_where_nobody_is_that_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let broker = Broker::start_on(directory.path(), &[]);
    let server = format!("127.0.0.1:{}", broker.port);
    let (code, stdout, stderr) = run(&["quorum", "--server", &server]);
    assert_eq!(code, 0, "{stderr}");
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["leader", "1,", "epoch", "1,"], "{stdout}");
    assert_eq!(rows[3][..2], ["1", "leader"], "{stdout}");
    drop(broker);
    let (code, _, stderr) = run(&["quorum", "--server", &server]);
    assert!(code == 1 && stderr.contains(&server), "{stderr}");
}
