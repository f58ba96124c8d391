//! Where a machine puts what should happen. Write-only for the core: nothing pushed is ever read back.

use crate::mark::{Mark, Marks};
use crate::node::Output;
use alloc::vec::Vec;

/// The effects of one or more steps, in the order in which they were decided.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: Vec<Output>,
    marks: Marks,
}

impl Outbox {
    /// An empty outbox; keep it and [`Self::drain`] it to save allocations.
    #[must_use]
    pub const fn new() -> Self {
        Self { outputs: Vec::new(), marks: Marks::NONE }
    }

    /// Adds an effect.
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Notes that a rare branch was taken.
    pub(crate) const fn sometimes(&mut self, mark: Mark) {
        self.marks.insert(mark);
    }

    /// Notes that a rare branch was taken, if it was.
    pub(crate) const fn sometimes_if(&mut self, was_taken: bool, mark: Mark) {
        if was_taken {
            self.marks.insert(mark);
        }
    }

    /// The rare branches that were taken since [`Self::take_marks`] was last called, for observers.
    #[must_use]
    pub const fn marks(&self) -> Marks {
        self.marks
    }

    /// Takes the marks.
    pub const fn take_marks(&mut self) -> Marks {
        core::mem::replace(&mut self.marks, Marks::NONE)
    }

    /// Takes every effect, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.outputs.drain(..)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}
