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
    let (code, stdout, _) = run(&["format", "--config", &file]);
    assert_eq!((code, stdout.contains("already")), (0, true));
    let (code, _, stderr) = run(&["format", "--config", &file, "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"]);
    assert_eq!(code, 3);
    assert!(stderr.contains(id) && stderr.contains("AAAAAAAAAAAAAAAAAAAAAQ"), "{stderr}");
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
