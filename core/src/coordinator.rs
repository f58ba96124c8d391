//! What the controller, groups and transactions have in common: decide, append, apply, answer at the high watermark.

use crate::ids::Offset;
use alloc::collections::VecDeque;

/// Things to be done when the high watermark of a coordinator's log has passed what they depend on, in the order in
/// which they were decided.
#[derive(Clone, Debug)]
pub(crate) struct UntilCommitted<T> {
    waiting: VecDeque<(Offset, T)>,
}

impl<T> Default for UntilCommitted<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T> UntilCommitted<T> {
    /// Parks `what` until everything below `end` is committed. Ends never fall: a log grows.
    pub(crate) fn park(&mut self, end: Offset, what: T) {
        assert!(self.waiting.back().is_none_or(|(last, _)| *last <= end), "decisions are made in log order");
        self.waiting.push_back((end, what));
    }

    /// Takes everything, oldest first: the log is another's, and may be cut.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        core::mem::take(&mut self.waiting).into_iter().map(|(_, what)| what)
    }

    /// What was parked first of all that is.
    pub(crate) fn oldest(&self) -> Option<&T> {
        self.waiting.front().map(|(_, what)| what)
    }

    /// Takes that, whether it is committed or not.
    pub(crate) fn take_oldest(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, what)| what)
    }

    /// Takes the oldest parked thing if the high watermark has reached it.
    pub(crate) fn release(&mut self, high_watermark: Offset) -> Option<T> {
        if self.waiting.front()?.0 > high_watermark {
            return None;
        }
        self.waiting.pop_front().map(|(_, what)| what)
    }
}
