//! Bytes from whoever can reach the port: judged without a panic, and without more memory than they are worth.
#![expect(unsafe_code, reason = "counting what is allocated takes an allocator")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use sordini_protocol::frame::{decode_request, decode_response};
use sordini_protocol::records::{MetadataRecord, RemoteLogMetadata};
use sordini_protocol::{ApiKey, Message};
use support::generated::{NAMES, Visitor, visit};
use support::hex;
use support::tables::{Seed, Tables, Tags};

/// Counts what each thread has allocated.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(difference: isize) {
    let live = LIVE.get() + difference;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: everything is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may live at once.
        count(size.cast_signed());
        // SAFETY: the caller keeps the contract.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-layout.size().cast_signed());
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of memory that a byte of input may cost. The dearest is an unknown tagged field: 2 bytes on the wire, 40 as a
/// list's element, and the list grows by doubling with the old one still there. A text of 1 byte takes 32.
const MEMORY_PER_BYTE: usize = 96;

/// Memory that any input may cost: the smallest lists, a message's own boxes, the count of references to the input.
const MEMORY_ANYWAY: usize = 1024;

/// Runs `work` on `input` and fails if it took more memory than the input justifies.
fn bounded<T>(input: &Bytes, work: impl FnOnce(Bytes) -> T) -> T {
    let copy = input.clone();
    let before = LIVE.get();
    PEAK.set(before);
    let result = work(copy);
    let peak = (PEAK.get() - before).unsigned_abs();
    let allowed = MEMORY_PER_BYTE * input.len() + MEMORY_ANYWAY;
    assert!(
        peak <= allowed,
        "{peak} bytes of memory for {} bytes {}",
        input.len(),
        hex(&input[..input.len().min(99)])
    );
    result
}

/// Decodes; what is read is written and read again as the same.
struct Judge {
    version: i16,
    bytes: Bytes,
    read: bool,
}

impl Visitor for Judge {
    fn visit<M: Message>(&mut self, _: M) {
        let version = self.version;
        let Ok(message) = bounded(&self.bytes, |bytes| M::decode_all(version, bytes)) else { return };
        self.read = true;
        let written = message.to_bytes(version);
        let written =
            written.unwrap_or_else(|error| panic!("{} {version} {}: {error}", M::NAME, hex(&self.bytes)));
        let again = M::decode_all(version, written.clone()).expect("what was written can be read");
        // Not the messages themselves: a quota may be not a number, which is not equal to itself.
        assert_eq!(again.to_bytes(version), Ok(written), "{} {version} {}", M::NAME, hex(&self.bytes));
    }
}

/// Whether the bytes are a message of this name and version.
fn judge(name: &str, version: i16, bytes: Bytes) -> bool {
    let mut judge = Judge { version, bytes, read: false };
    assert!(visit(name, &mut judge), "no message {name}");
    judge.read
}

/// One value of every message at every version.
fn for_each_value(mut with: impl FnMut(&str, i16, Vec<u8>)) {
    let tables = Tables::read();
    for (i, name) in NAMES.iter().enumerate() {
        let (first, last) = tables.table(name).versions;
        for version in first..=last {
            let mut seed = Seed((i as u64) << 16 | u64::from(version.unsigned_abs()));
            with(name, version, tables.bytes(name, version, &mut seed, Tags::KnownAndUnknown));
        }
    }
}

#[test]
fn message_cut_anywhere_is_refused() {
    let mut cuts = 0;
    for_each_value(|name, version, bytes| {
        let bytes = Bytes::from(bytes);
        for len in 0..bytes.len() {
            assert!(!judge(name, version, bytes.slice(..len)), "{name} {version} {len} of {}", hex(&bytes));
            cuts += 1;
        }
        assert!(judge(name, version, bytes));
    });
    assert!(cuts > 50_000, "{cuts}");
}

#[test]
fn message_with_any_four_bytes_at_their_highest_costs_no_more_memory_than_its_length_justifies() {
    for_each_value(|name, version, bytes| {
        for highest in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07]] {
            for at in 0..(bytes.len() + 1).saturating_sub(highest.len()).min(150) {
                let mut bytes = bytes.clone();
                bytes[at..at + highest.len()].copy_from_slice(highest);
                judge(name, version, bytes.into());
            }
        }
    });
}

#[test]
fn long_message_of_shortest_elements_costs_no_more_memory_than_its_length_justifies() {
    // A length that promises as many elements as there are bytes, and bytes that make each of them as short as can be.
    for (filler, highest) in [(0u8, &[0xff, 0x3e][..]), (1, &[0x80, 0x3e]), (0, &[0x00, 0x00, 0x1f, 0x00])] {
        for_each_value(|name, version, bytes| {
            for at in 0..bytes.len().min(24) {
                let mut bytes = bytes[..at].to_vec();
                bytes.extend(highest);
                bytes.resize(0x2000, filler);
                judge(name, version, bytes.into());
            }
        });
    }
}

#[test]
fn four_bytes_that_promise_the_longest_array_are_refused_at_once() {
    let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    assert!(!judge("MetadataRequest", 1, body.clone()));
    assert!(!judge(
        "ProduceRequest",
        3,
        Bytes::from_static(b"\xff\xff\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff")
    ));
    let tables = Tables::read();
    for name in NAMES {
        let (first, last) = tables.table(name).versions;
        for version in first..=last {
            judge(name, version, body.clone());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_judged_as_any_message(
        name in proptest::sample::select(&NAMES[..]),
        version in 0i16..14,
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..400),
    ) {
        judge(name, version, bytes.into());
    }

    #[test]
    fn random_bytes_are_judged_as_metadata_records(
        kind in 0u8..32,
        version in 0u8..4,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut value = vec![1, kind, version];
        value.extend(bytes);
        for value in [Bytes::from(value.clone()), Bytes::from(value).slice(3..)] {
            if let Ok(record) = bounded(&value, MetadataRecord::decode) {
                prop_assert!(record.to_bytes(version.into()).is_ok());
            }
            let _ = bounded(&value, RemoteLogMetadata::decode);
        }
    }

    #[test]
    fn random_frames_are_judged_as_requests_and_responses(
        key in -2i16..100,
        version in -2i16..20,
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..300),
    ) {
        let mut frame = Vec::new();
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(bytes);
        let frame = Bytes::from(frame);
        let _ = bounded(&frame, decode_request);
        if let Ok(api_key) = ApiKey::try_from(key) {
            let _ = bounded(&frame, |frame| decode_response(api_key, version, frame));
        }
        for len in 0..4 {
            prop_assert!(bounded(&frame.slice(..len), decode_request).is_err());
        }
    }
}
