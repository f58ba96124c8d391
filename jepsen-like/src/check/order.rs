//! What came before what, and what consumers were told of it.
//!
//! The history is gone through in its order. Of what was acknowledged with acks=all in a partition only what lies farthest
//! counts: whatever is before it is before all that it is to be compared with.

use std::collections::BTreeMap;

use super::index::{Index, write_numbers};
use super::{asked, finding};
use crate::anomaly::{Anomaly, Finding};
use crate::history::{Acks, At, Body, Fate, Op, Send};
use crate::verdict::Lag;

/// A value of a send, and where it is.
#[derive(Clone, Copy)]
struct Placed {
    offset: i64,
    write: u32,
    op: u32,
}

/// What the sweep knows of a partition.
#[derive(Clone, Copy, Default)]
struct Front {
    /// What was acknowledged with acks=all and lies farthest.
    acknowledged: Option<Placed>,
    /// It was told already that something came before it that was sent later; one such finding for each is enough.
    is_order_told: bool,
    /// It was told already that somebody did not know of it.
    is_lag_told: bool,
}

pub(super) fn check(index: &Index<'_>, findings: &mut Vec<Finding>) -> Lag {
    let history = index.history;
    let mut sweep = Sweep {
        index,
        fronts: vec![Front::default(); history.contracts().len()],
        producers: BTreeMap::new(),
        lag: Lag::default(),
        findings,
    };
    let mut ended = history.ended().iter().copied().peekable();
    for (op, at) in history.ops().iter().zip(0..) {
        while let Some(earlier) = ended.next_if(|&earlier| history.op(earlier).ended < op.invoked) {
            sweep.on_end(earlier);
        }
        sweep.on_invoke(op, at);
    }
    sweep.lag
}

struct Sweep<'a, 'h> {
    index: &'a Index<'h>,
    /// By partition.
    fronts: Vec<Front>,
    /// By process and partition, of what it has sent: what lies farthest.
    producers: BTreeMap<(u32, u32), Placed>,
    lag: Lag,
    findings: &'a mut Vec<Finding>,
}

impl Sweep<'_, '_> {
    fn on_end(&mut self, at: u32) {
        let op = self.index.history.op(at);
        let Some(send) = op.send().filter(|send| send.acks == Acks::All && op.fate == Fate::Ok) else {
            return;
        };
        let Some(last) = self.last_of(&send, at) else { return };
        let front = &mut self.fronts[op.partition as usize];
        if front.acknowledged.is_none_or(|farthest| farthest.offset < last.offset) {
            *front = Front { acknowledged: Some(last), ..Front::default() };
        }
    }

    fn on_invoke(&mut self, op: &Op, at: u32) {
        match op.body {
            Body::Send { .. } => {
                if let Some(send) = op.send() {
                    self.on_send(op, at, &send);
                }
            }
            Body::Poll { high_watermark: Some(told), .. }
            | Body::ListOffsets { at: At::Latest, told: Some(told) } => self.on_told(op, told),
            Body::Poll { .. } | Body::ListOffsets { .. } | Body::Seek { .. } | Body::Scan { .. } => {}
        }
    }

    fn on_send(&mut self, op: &Op, at: u32, send: &Send) {
        self.check_inside(op, send);
        let producer = (op.process, op.partition);
        if let Some(first) = self.first_of(send, at) {
            let front = &mut self.fronts[op.partition as usize];
            let acknowledged = front.acknowledged.filter(|earlier| earlier.offset > first.offset);
            let own = self.producers.get(&producer).copied().filter(|earlier| earlier.offset > first.offset);
            if let Some(earlier) = acknowledged {
                if !front.is_order_told {
                    front.is_order_told = true;
                    self.report_order(Anomaly::RealtimeOrder, earlier, first, send);
                }
            } else if let Some(earlier) = own {
                self.report_order(Anomaly::NonmonotonicSend, earlier, first, send);
            }
        }
        if let Some(last) = self.last_of(send, at) {
            let farthest = self.producers.entry(producer).or_insert(last);
            if farthest.offset < last.offset {
                *farthest = last;
            }
        }
    }

    fn on_told(&mut self, op: &Op, high_watermark: i64) {
        let front = &mut self.fronts[op.partition as usize];
        let Some(unknown) = front.acknowledged.filter(|farthest| farthest.offset >= high_watermark) else {
            return;
        };
        let send = self.index.history.op(unknown.op);
        self.lag.reads += 1;
        self.lag.us_max = self.lag.us_max.max(op.invoked_at_us.saturating_sub(send.ended_at_us));
        if front.is_lag_told {
            return;
        }
        front.is_lag_told = true;
        self.findings.push(Finding {
            offset: Some(unknown.offset),
            value: Some(self.index.value(unknown.write)),
            other_offset: Some(high_watermark),
            operations: vec![send.invoked, op.invoked],
            ..finding(Anomaly::StaleRead, op.partition)
        });
    }

    /// Values of one send lie in the order in which they were sent.
    fn check_inside(&mut self, op: &Op, send: &Send) {
        let mut before: Option<Placed> = None;
        for write in write_numbers(&send.range) {
            let Some((low, high)) = self.places(write) else { continue };
            if let Some(earlier) = before.filter(|earlier| earlier.offset > high) {
                let later = Placed { offset: high, write, op: earlier.op };
                let mut found = self.order(Anomaly::InternalNonmonotonicSend, earlier, later, send);
                found.operations = vec![op.invoked];
                self.findings.push(found);
            }
            before = Some(Placed { offset: low, write, op: self.index.writes[write as usize].op });
        }
    }

    fn report_order(&mut self, anomaly: Anomaly, earlier: Placed, later: Placed, send: &Send) {
        let found = self.order(anomaly, earlier, later, send);
        self.findings.push(found);
    }

    fn order(&self, anomaly: Anomaly, earlier: Placed, later: Placed, send: &Send) -> Finding {
        let history = self.index.history;
        Finding {
            offset: Some(later.offset),
            value: Some(self.index.value(later.write)),
            other_offset: Some(earlier.offset),
            other_value: Some(self.index.value(earlier.write)),
            operations: vec![history.op(earlier.op).invoked, history.op(later.op).invoked],
            asked: Some(asked(send)),
            ..finding(anomaly, history.op(later.op).partition)
        }
    }

    /// Where a value is; a lost one is nowhere.
    fn places(&self, write: u32) -> Option<(i64, i64)> {
        let write = &self.index.writes[write as usize];
        write.places().filter(|_| !write.is_lost)
    }

    /// The value that lies first, as far behind as it may be: a duplicate is no proof that it came early.
    fn first_of(&self, send: &Send, op: u32) -> Option<Placed> {
        let placed = write_numbers(&send.range)
            .filter_map(|write| self.places(write).map(|(_, high)| Placed { offset: high, write, op }));
        placed.min_by_key(|placed| placed.offset)
    }

    /// The value that lies last, as far in front as it may be.
    fn last_of(&self, send: &Send, op: u32) -> Option<Placed> {
        let placed = write_numbers(&send.range)
            .filter_map(|write| self.places(write).map(|(low, _)| Placed { offset: low, write, op }));
        placed.max_by_key(|placed| placed.offset)
    }
}
