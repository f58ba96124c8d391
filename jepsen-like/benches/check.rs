//! How long a history of 10^6 operations is checked, and read from its file.
//!
//! `cargo bench -p sordini-jepsen`. Throughput counts operations.

use divan::Bencher;
use divan::counter::ItemsCount;
use sordini_jepsen::check;
use sordini_jepsen::history::{
    Acks, Answer, Contract, Event, History, Isolation, Line, Operation, Record, Step,
};

const OPERATIONS: u64 = 1_000_000;
const PARTITIONS: u32 = 12;

fn main() {
    divan::main();
}

/// What happened, without anomaly: of every four operations two sends of three values each, and two polls, of two consumers,
/// that get what was sent since the last ones. `spread` lies between the values.
fn events(operations: u64, spread: u64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut logs: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
    let mut read = vec![[0_usize; 2]; PARTITIONS as usize];
    let mut value = 0;
    let mut tell = |process, operation, answer| {
        let op = events.len() as u64;
        let event = |seq, step| Event { seq, at_us: seq, process, op, step };
        events.push(event(op, Step::Invoke(operation)));
        events.push(event(op + 1, Step::Ok(answer)));
    };
    for at in 0..operations {
        let partition = u32::try_from(at / 4 % u64::from(PARTITIONS)).unwrap_or(0);
        let log = &mut logs[partition as usize];
        let consumer = match at % 4 {
            2 => 0,
            3 => 1,
            _ => {
                let values: Vec<u64> = (value..value + 3).map(|value| value * spread).collect();
                let base = i64::try_from(log.len()).unwrap_or(0);
                log.extend((base..).zip(&values).map(|(offset, &value)| Record { offset, value }));
                value += 3;
                let send =
                    Operation::Send { partition, values: values.into(), acks: Acks::All, idempotent: true };
                tell(1, send, Answer::Sent { base_offset: Some(base) });
                continue;
            }
        };
        let position = &mut read[partition as usize][consumer];
        let end = i64::try_from(log.len()).unwrap_or(0);
        let from = i64::try_from(*position).unwrap_or(0);
        let records = log[*position..].into();
        *position = log.len();
        let poll = Operation::Poll { partition, from, isolation: Isolation::ReadUncommitted };
        let answer = Answer::Polled { records, high_watermark: Some(end), log_start: Some(0) };
        tell(2 + u32::try_from(consumer).unwrap_or(0), poll, answer);
    }
    events
}

fn contracts() -> Vec<Contract> {
    (0..PARTITIONS).map(|at| Contract::new("orders", at)).collect()
}

fn history(operations: u64, spread: u64) -> History {
    let mut history = History::new(contracts());
    for event in events(operations, spread) {
        history.push(event).expect("it is well formed");
    }
    history
}

/// Values are a counter's, and are spread over all numbers.
#[divan::bench(args = [1, 1 << 40], sample_count = 10, sample_size = 1)]
fn million(bencher: Bencher<'_, '_>, spread: u64) {
    let history = history(OPERATIONS, spread);
    assert!(check(&history).holds());
    bencher.counter(ItemsCount::new(OPERATIONS)).bench(|| check(&history));
}

/// As after a simulated run.
#[divan::bench(args = [100, 1000, 10_000])]
fn small(bencher: Bencher<'_, '_>, operations: u64) {
    let history = history(operations, 1);
    bencher.counter(ItemsCount::new(operations)).bench(|| check(&history));
}

/// Event by event.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn push(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(OPERATIONS)).with_inputs(|| events(OPERATIONS, 1)).bench_values(
        |events| {
            let mut history = History::new(contracts());
            for event in events {
                history.push(event).expect("it is well formed");
            }
            history
        },
    );
}

/// From JSON Lines.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn read(bencher: Bencher<'_, '_>) {
    let contracts = contracts().into_iter().map(Line::Contract);
    let mut text = Vec::new();
    for line in contracts.chain(events(OPERATIONS, 1).into_iter().map(Line::Event)) {
        serde_json::to_writer(&mut text, &line).expect("memory takes everything");
        text.push(b'\n');
    }
    bencher
        .counter(ItemsCount::new(OPERATIONS))
        .bench(|| History::read(&text[..]).expect("it is well formed"));
}
