//! What is to come, in its total order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time, and at one time in the order in which they were pushed.
#[derive(Clone, Debug)]
pub(super) struct Queue<E> {
    /// Time, number, slot: small, because a heap moves its elements about.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<E>>,
    free: Vec<usize>,
    pushed: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0 }
    }
}

impl<E> Queue<E> {
    pub(super) fn push(&mut self, at: u64, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(event);
        self.pushed += 1;
        self.order.push(Reverse((at, self.pushed, slot)));
    }

    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}
