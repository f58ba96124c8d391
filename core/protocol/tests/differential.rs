//! Against two other codecs, of other generators: what we read and write, they read and write.
//!
//! The bytes come from a second reading of the tables (`support::tables`), so that all three are strangers to them.

#[path = "support/shared_messages.rs"]
mod shared_messages;
mod support;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use shared_messages::{with_messages_of_kacrab_protocol, with_messages_of_kafka_protocol};
use sordini_protocol::wire::Message;
use support::generated::{NAMES, Visitor, visit};
use support::hex;
use support::tables::{Seed, Tables, Tags};

/// How many values of each message at each version.
const VALUES: u64 = 12;

/// Calls `check(name, version, bytes)` for random bytes of every message at every version.
fn for_values(tables: &Tables, names: &[&str], tags: Tags, mut check: impl FnMut(&str, i16, Bytes)) {
    for (i, name) in names.iter().enumerate() {
        let (first, last) = tables.table(name).versions;
        for version in first..=last {
            for value in 0..VALUES {
                let mut seed = Seed((i as u64) << 32 | u64::from(version.unsigned_abs()) << 16 | value);
                check(name, version, tables.bytes(name, version, &mut seed, tags).into());
            }
        }
    }
}

/// Reads and writes again with our codec.
struct Ours<'a> {
    version: i16,
    bytes: &'a Bytes,
}

impl Visitor for Ours<'_> {
    fn visit<M: Message>(&mut self, _: M) {
        let what = format!("{} {} {}", M::NAME, self.version, hex(self.bytes));
        let read =
            M::decode_all(self.version, self.bytes.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let written = read.to_bytes(self.version).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(hex(&written), hex(self.bytes), "{what}: read as {read:?}");
        assert_eq!(read.encoded_len(self.version), Ok(written.len()), "{what}");
        let again = M::decode_all(self.version, written);
        assert_eq!(again, Ok(read), "{what}");
    }
}

#[test]
fn any_value_of_any_message_survives_reading_and_writing_unknown_tagged_fields_included() {
    let tables = Tables::read();
    let mut values = 0;
    for_values(&tables, &NAMES, Tags::KnownAndUnknown, |name, version, bytes| {
        assert!(visit(name, &mut Ours { version, bytes: &bytes }), "no message {name}");
        values += 1;
    });
    assert_eq!(values, 8736);
}

/// How often two codecs were compared, and what they differed in.
#[derive(Default)]
struct Outcome {
    values: usize,
    /// Pairs of a message and a version.
    versions: std::collections::BTreeSet<(String, i16)>,
    differences: std::collections::BTreeMap<(String, i16), String>,
}

impl Outcome {
    /// Notes what their reading and writing made of our bytes.
    fn note(&mut self, name: &str, version: i16, bytes: &Bytes, theirs: Result<Bytes, String>) {
        self.values += 1;
        self.versions.insert((name.into(), version));
        match theirs {
            Ok(theirs) if theirs == *bytes => {
                assert!(visit(name, &mut Ours { version, bytes: &theirs }), "no message {name}");
            }
            Ok(theirs) => {
                let difference = format!("{} became {}", hex(bytes), hex(&theirs));
                self.differences.insert((name.into(), version), difference);
            }
            Err(error) => {
                self.differences
                    .entry((name.into(), version))
                    .or_insert_with(|| format!("{}: {error}", hex(bytes)));
            }
        }
    }
}

macro_rules! through_kafka_protocol {
    ($(($name:ident $data:ident))*) => {
        fn through_kafka_protocol(name: &str, version: i16, bytes: &Bytes) -> Option<Result<Bytes, String>> {
            fn through<M: kafka_protocol::protocol::Message + Decodable + Encodable>(
                version: i16,
                bytes: &Bytes,
            ) -> Option<Result<Bytes, String>> {
                if version < M::VERSIONS.min || version > M::VERSIONS.max {
                    return None;
                }
                let mut rest = bytes.clone();
                let mut written = BytesMut::new();
                Some(match M::decode(&mut rest, version) {
                    Ok(_) if !rest.is_empty() => Err(format!("{} bytes left", rest.len())),
                    Ok(read) => match read.encode(&mut written, version) {
                        Ok(()) => Ok(written.freeze()),
                        Err(error) => Err(error.to_string()),
                    },
                    Err(error) => Err(error.to_string()),
                })
            }
            match name {
                $(stringify!($name) => through::<kafka_protocol::messages::$name>(version, bytes),)*
                _ => None,
            }
        }
    };
}

macro_rules! through_kacrab_protocol {
    ($(($name:ident $data:ident))*) => {
        fn through_kacrab_protocol(name: &str, version: i16, bytes: &Bytes) -> Option<Result<Bytes, String>> {
            let mut rest = bytes.clone();
            let mut written = BytesMut::new();
            let result = match name {
                $(stringify!($name) => kacrab_protocol::generated::$data::read(&mut rest, version)
                    .and_then(|read| read.write(&mut written, version)),)*
                _ => return None,
            };
            Some(match result {
                Ok(()) if !rest.is_empty() => Err(format!("{} bytes left", rest.len())),
                Ok(()) => Ok(written.freeze()),
                Err(error) => Err(error.to_string()),
            })
        }
    };
}

with_messages_of_kafka_protocol!(through_kafka_protocol);
with_messages_of_kacrab_protocol!(through_kacrab_protocol);

fn compare(through: fn(&str, i16, &Bytes) -> Option<Result<Bytes, String>>) -> Outcome {
    let tables = Tables::read();
    let mut outcome = Outcome::default();
    for_values(&tables, &NAMES, Tags::Known, |name, version, bytes| {
        if let Some(theirs) = through(name, version, &bytes) {
            outcome.note(name, version, &bytes, theirs);
        }
    });
    outcome
}

#[test]
fn kafka_protocol_reads_and_writes_the_same_bytes() {
    let outcome = compare(through_kafka_protocol);
    // It holds the structures inside these two to the versions of other messages' structures of the same name.
    let refused = [("LeaderChangeMessage", 0), ("LeaderChangeMessage", 1), ("VotersRecord", 0)];
    let different: Vec<(&str, i16)> =
        outcome.differences.keys().map(|(name, version)| (name.as_str(), *version)).collect();
    assert_eq!(different, refused, "{:?}", outcome.differences);
    assert_eq!((outcome.values, outcome.versions.len()), (7164, 597));
}

#[test]
fn kacrab_protocol_reads_and_writes_the_same_bytes() {
    let outcome = compare(through_kacrab_protocol);
    assert_eq!(outcome.differences, std::collections::BTreeMap::new());
    assert_eq!((outcome.values, outcome.versions.len()), (7500, 625));
}
