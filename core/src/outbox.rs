//! Where a machine puts what should happen. Write-only for the core: nothing pushed is ever read back.

use crate::node::Output;
use alloc::vec::Vec;

/// The effects of one or more steps, in the order in which they were decided.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: Vec<Output>,
}

impl Outbox {
    /// An empty outbox; keep it and [`Self::drain`] it to save allocations.
    #[must_use]
    pub const fn new() -> Self {
        Self { outputs: Vec::new() }
    }

    /// Adds an effect.
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push(output);
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
