//! A script from its first line to its last, or to the first that goes wrong.

use crate::script::{self, Wrong};
use crate::verbs;
use crate::world::World;

/// A scenario that could not be told to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}:{line}: {wrong}")]
pub struct Failure {
    /// The scenario file.
    pub file: String,
    /// The line of it, from 1.
    pub line: usize,
    /// What is wrong, in a sentence.
    pub wrong: Wrong,
    /// What happened up to there.
    pub transcript: String,
}

/// Tells the scenario in `text` and answers its transcript. `file` is its name, for whoever reads an error.
///
/// # Errors
/// The line at which the script asks for something that cannot be done, or expects what is not so.
pub fn run(file: &str, text: &str) -> Result<String, Failure> {
    let failure = |line, wrong, transcript| Failure { file: file.to_owned(), line, wrong, transcript };
    let lines = script::lines(text).map_err(|(line, wrong)| failure(line, wrong, String::new()))?;
    let mut world = World::new();
    for line in lines {
        world.transcript.step(line.text);
        if line.is_comment() {
            continue;
        }
        if let Err(wrong) = verbs::run(&mut world, line.text) {
            return Err(failure(line.number, wrong, world.transcript.into_text()));
        }
    }
    Ok(world.transcript.into_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let failure = run("x.txt", text).expect_err("this script goes wrong");
        (failure.line, failure.wrong)
    }

    #[test]
    fn what_goes_wrong_is_told_with_file_line_and_reason() {
        let failure =
            run("x.txt", "# A story.\nstart\n\nfly away\nexpect node running").expect_err("no such verb");
        assert_eq!(failure.to_string(), "x.txt:4: there is no verb 'fly'");
        assert!(failure.transcript.starts_with("> start\n"), "{}", failure.transcript);
    }

    #[test]
    fn a_scenario_teaches_and_expects() {
        assert_eq!(wrong("start\nexpect node running").0, 1);
        assert_eq!(wrong("# A story.\nstart").0, 2);
        assert_eq!(
            run("x.txt", "# A story.\nexpect node dead").as_deref().ok(),
            Some("> expect node dead\n")
        );
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        for step in ["stop now", "crash kill lose=unsynced", "stabilize loudly", "expect node starting today"]
        {
            let (line, wrong) = wrong(&format!("# A story.\nstart\n{step}\nexpect node dead"));
            assert!(line == 3 && wrong.ends_with("means nothing here"), "{step}: {line}: {wrong}");
        }
    }

    #[test]
    fn what_is_expected_and_not_so_is_told_with_what_is() {
        let (line, wrong) = wrong("# A story.\nexpect node running");
        assert_eq!((line, wrong.as_str()), (2, "the node: expected 'running' and found 'dead'"));
    }

    #[test]
    fn an_operation_cannot_overtake_one_that_the_contract_puts_before_it() {
        let (line, wrong) = wrong(
            "# A story.\nstart\nstabilize\ntopic t flush.messages=1\nstabilize\nproduce t-0 values=a\n\
             complete-storage sync t-0\nexpect node running",
        );
        assert_eq!(line, 7);
        assert!(wrong.starts_with("sync 0/t-0/") && wrong.contains(" waits behind append 0/t-0/"), "{wrong}");
    }
}
