//! Plans that failed once, as files: what is replayed for ever, so that what was mended stays mended.

use crate::plan::Plan;
use crate::shrink::Signature;
use crate::sweep::{self, Verdict};
use crate::trace::Telling;
use crate::world::Outcome;
use serde::{Deserialize, Serialize};

/// A plan and what a run of it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// Why it failed, in a few words. The file is named for it.
    pub cause: String,
    /// Of a story, what is promised in it and what is not, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contract: Vec<String>,
    /// "passed", or what the failure is known by that the plan must end in because something in it is broken on purpose.
    pub expect: Signature,
    /// The hash of the run that was stored. Another one says that what the plan comes to has changed since, which is no
    /// failure.
    pub hash: String,
    /// The plan.
    pub plan: Plan,
}

impl Regression {
    /// What is expected of a plan whose bug is mended.
    pub const PASSED: &'static str = "passed";

    /// A plan to be stored, with the hash of its run.
    #[must_use]
    pub fn new(cause: String, expect: Signature, plan: Plan) -> Self {
        let (_, outcome) = sweep::run(&plan, Telling::Nothing);
        let hash =
            outcome.map_or_else(|| "none".to_owned(), |outcome| format!("{:016x}", outcome.trace_hash));
        Self { cause, contract: Vec::new(), expect, hash, plan }
    }

    /// Reads one. Whether this program can run it is another question, if it needs the museum: see [`Plan::museum`].
    ///
    /// # Errors
    /// What is wrong with the text, or with the plan in it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let regression: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match regression.plan.problem_anywhere() {
            Some(problem) => Err(problem),
            None => Ok(regression),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan can be written") + "\n"
    }

    /// Runs the plan.
    ///
    /// # Errors
    /// What it came to, if that is not what is expected.
    pub fn replay(&self, telling: Telling) -> Result<Option<Outcome>, String> {
        let (verdict, outcome) = sweep::run(&self.plan, telling);
        let name = verdict.signature().map_or_else(|| Self::PASSED.to_owned(), |signature| signature.0);
        match verdict {
            _ if name == self.expect.0 => Ok(outcome),
            Verdict::Passed => Err(format!("{} is expected, and it passed", self.expect)),
            Verdict::Failed(_) | Verdict::Panicked(_) | Verdict::Nondeterministic(_) => {
                Err(format!("{} is expected, and it came to: {}", self.expect, verdict.line()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Mutation;

    #[test]
    fn a_stored_plan_is_replayed_as_it_was_stored() {
        let passed = Signature(Regression::PASSED.to_owned());
        let stored = Regression::new("nothing at all".to_owned(), passed, sweep::plan_of(1, None));
        let read = Regression::parse(&stored.to_text()).expect("it was written as it is read");
        assert_eq!(read, stored);
        let outcome = read.replay(Telling::Nothing).expect("it passes").expect("the world can be made");
        assert_eq!(format!("{:016x}", outcome.trace_hash), read.hash);
    }

    #[test]
    fn a_stored_plan_that_comes_to_something_else_says_to_what() {
        let plan = sweep::plan_of(1, Some(Mutation::CompletionSwallowed));
        let stored = |expect: &str| {
            Regression::new("swallowed".to_owned(), Signature(expect.to_owned()), plan.clone())
        };
        assert!(stored("liveness").replay(Telling::Nothing).is_ok());
        let error = stored("passed").replay(Telling::Nothing).expect_err("it does not pass");
        assert!(error.starts_with("passed is expected, and it came to: liveness: "), "{error}");
        let error = stored("topics").replay(Telling::Nothing).expect_err("that holds");
        assert!(error.starts_with("topics is expected"), "{error}");
    }

    #[test]
    fn a_text_that_is_no_plan_says_why() {
        let stored = Regression::new("x".to_owned(), Signature("passed".to_owned()), sweep::plan_of(1, None));
        let broken = stored.to_text().replace("\"version\": 2", "\"version\": 1");
        assert_eq!(Regression::parse(&broken), Err("it is of version 1 and this reads 2".to_owned()));
        assert!(Regression::parse("{}").is_err());
    }
}
