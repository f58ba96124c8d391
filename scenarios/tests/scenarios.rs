//! One test for every scenario file and every stored plan of this package, named as the file is, and one that no snapshot
//! is left alone.
//!
//! `cargo test -p sordini-scenarios torn` runs those with "torn" in their name. A scenario fails if a step of it does, a
//! stored plan if it comes to something else than is expected, and both if their transcript is not the snapshot beside
//! them; one without a snapshot fails. `INSTA_UPDATE=always` writes snapshots, to be read before they are committed.

use libtest_mimic::{Arguments, Failed, Trial};
use sordini_scenarios::account;
use sordini_sim::regression::Regression;
use sordini_sim::trace::Telling;
use sordini_sim::world::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let arguments = Arguments::from_args();
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (scenarios, plans) = (files(room, "txt"), files(room, "json"));
    assert!(!scenarios.is_empty() && !plans.is_empty(), "there are files in {}", room.display());
    let told = scenarios.clone();
    let mut trials = vec![
        Trial::test("every_snapshot_has_its_scenario", || snapshots_have_scenarios(room)),
        Trial::test("every_expectation_of_every_scenario_can_fail", move || expectations_can_fail(&told)),
    ];
    for path in scenarios {
        let name = name_of(room, &path);
        trials.push(Trial::test(name.clone(), move || tell(&path, &name)));
    }
    for path in plans {
        trials.push(stored(name_of(room, &path), path));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Tells one scenario and compares its transcript with the snapshot beside it.
fn tell(path: &Path, name: &str) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let transcript = sordini_scenarios::run(&format!("scenarios/{name}.txt"), &text)
        .map_err(|failure| format!("{}\n{failure}", failure.transcript))?;
    compare(path, &transcript);
    Ok(())
}

/// The test of a stored plan. One that switches exhibits of the museum on can only be read where none is compiled in, and
/// says so.
fn stored(name: String, path: PathBuf) -> Trial {
    let read = |path: &Path| Regression::parse(&fs::read_to_string(path)?).map_err(Failed::from);
    match read(&path) {
        Ok(stored) if !stored.plan.museum.is_empty() && !cfg!(feature = "museum") => {
            Trial::test(name, || Ok(())).with_kind("read and left out: needs the feature museum")
        }
        Ok(stored) => Trial::test(name, move || replay(&path, &stored)),
        Err(problem) => Trial::test(name, || Err(problem)),
    }
}

/// Runs a stored plan, and compares its short transcript with the snapshot beside it.
fn replay(path: &Path, stored: &Regression) -> Result<(), Failed> {
    let stem = stem_of(path);
    if stored.cause != stem.replace('_', " ") {
        return Err(format!("the file is named {stem} and its cause is '{}'", stored.cause).into());
    }
    let outcome = stored.replay(Telling::Changes)?.ok_or("the world of the plan cannot be made")?;
    compare(path, &told(stored, &outcome));
    Ok(())
}

/// The transcript of a run, and where its plan says what is promised, that before it and what it came to behind.
fn told(stored: &Regression, outcome: &Outcome) -> String {
    if stored.contract.is_empty() {
        return outcome.transcript();
    }
    let promised = stored.contract.iter().map(|line| format!("# {line}\n"));
    let came_to = account(outcome).into_iter().map(|line| format!("# {line}\n"));
    promised.chain([outcome.transcript()]).chain(came_to).collect()
}

/// Panics if the snapshot beside the file says something else, or is not there.
fn compare(path: &Path, transcript: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(path.parent().expect("a file lies in a directory"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(path);
    settings.bind(|| insta::assert_snapshot!(stem_of(path), transcript));
}

fn stem_of(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("files here are named in ASCII")
}

/// What the test of a file is called: its path in `room`, without the extension.
fn name_of(room: &Path, path: &Path) -> String {
    let name = path.strip_prefix(room).expect("it was found there").with_extension("");
    name.to_str().expect("files here are named in ASCII").replace('\\', "/")
}

fn snapshots_have_scenarios(room: &Path) -> Result<(), Failed> {
    let is_alone =
        |path: &PathBuf| !path.with_extension("txt").exists() && !path.with_extension("json").exists();
    let alone: Vec<PathBuf> = files(room, "snap").into_iter().filter(is_alone).collect();
    if alone.is_empty() { Ok(()) } else { Err(format!("snapshots without a scenario: {alone:?}").into()) }
}

/// Tells every scenario once for each thing that it expects, with that thing changed, which must be noticed on that line.
fn expectations_can_fail(scenarios: &[PathBuf]) -> Result<(), Failed> {
    for path in scenarios {
        let text = fs::read_to_string(path)?;
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("expect ")) {
            for spoiled in spoil(line) {
                let mut lines = lines.clone();
                lines[at] = &spoiled;
                let noticed =
                    sordini_scenarios::run("it", &lines.join("\n")).err().map(|failure| failure.line);
                if noticed != Some(at + 1) {
                    return Err(format!("{}:{}: passes as '{spoiled}' too", path.display(), at + 1).into());
                }
            }
        }
    }
    Ok(())
}

/// A line that expects something, with each thing it expects made wrong in turn.
fn spoil(line: &str) -> Vec<String> {
    // One side of an equation is all that is expected there.
    if let Some((side, _)) = line.split_once(" =") {
        return vec![format!("{side} = nothing of the kind")];
    }
    let words: Vec<&str> = line.split(' ').collect();
    let mut spoiled = Vec::new();
    for (at, word) in words.iter().enumerate().skip(1) {
        let wrong = match (*word, word.split_once('=')) {
            ("no", _) => {
                spoiled.push(line.replace("no answer", "answer NONE"));
                continue;
            }
            ("absent", _) => "present".to_owned(),
            ("present", _) => "absent".to_owned(),
            // A value, but not the name of the client that it is about.
            (_, Some((key, value))) if key != "by" => format!("{key}={value}0"),
            // An error, a state, a number; the words before it say what is expected to have it.
            (word, None) if at == 2 && !["file", "partition", "no"].contains(&words[1]) => format!("{word}0"),
            _ => continue,
        };
        let mut words = words.clone();
        words[at] = &wrong;
        spoiled.push(words.join(" "));
    }
    spoiled
}

/// The files with this extension in the directories of `room`, those with Rust in them apart.
fn files(room: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![room.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of this package can be listed") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() && path != room.join("src") && path != room.join("tests") {
                directories.push(path);
            } else if path.extension().is_some_and(|other| other == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
