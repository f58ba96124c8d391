//! A second reading of the schema tables, straight from the notation to random bytes: it shares nothing with the
//! generator, so that a mistake in either shows.

use std::collections::BTreeMap;

/// A seeded generator of numbers (SplitMix64).
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below a usize")
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// The tables of all messages.
pub(crate) struct Tables(BTreeMap<String, Table>);

/// One message.
pub(crate) struct Table {
    /// The versions there are.
    pub(crate) versions: (i16, i16),
    flexible: (i16, i16),
    structures: BTreeMap<String, Vec<Field>>,
}

struct Field {
    kind: String,
    versions: (i16, i16),
    nullable: (i16, i16),
    tag: Option<u32>,
    attributes: Vec<String>,
}

/// Whether fields may be left out of the random bytes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tags {
    /// Only those of the schema.
    Known,
    /// Also some that no schema has.
    KnownAndUnknown,
}

fn within(versions: (i16, i16), version: i16) -> bool {
    versions.0 <= version && version <= versions.1
}

fn range(text: &str) -> (i16, i16) {
    let number = |text: &str| text.parse().expect("a version");
    if text == "none" {
        (1, 0)
    } else if let Some(first) = text.strip_suffix('+') {
        (number(first), i16::MAX)
    } else {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (number(first), number(last))
    }
}

fn attribute<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

impl Tables {
    /// All tables of the crate.
    pub(crate) fn read() -> Self {
        let texts = [
            include_str!("../../schema/rpc-4.3.txt"),
            include_str!("../../schema/metadata-records-4.3.txt"),
            include_str!("../../schema/coordinator-records-4.3.txt"),
            include_str!("../../schema/storage-records-4.3.txt"),
            include_str!("../../schema/data-4.3.txt"),
        ];
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for text in texts {
            for message in text.split("\nMSG ").skip(1) {
                let mut lines = message.lines();
                let head: Vec<&str> = lines.next().expect("a first line").split(' ').collect();
                let mut structures = BTreeMap::from([(head[0].to_string(), Vec::new())]);
                // The name of the structure whose fields have this indentation, by half the indentation.
                let mut owners = vec![String::new(), head[0].to_string()];
                for line in lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
                    let depth = (line.len() - line.trim_start().len()) / 2;
                    let words: Vec<&str> = line.split_whitespace().collect();
                    owners.truncate(depth + 1);
                    if words[0] == "STRUCT" {
                        structures.insert(words[1].into(), Vec::new());
                        owners.push(words[1].into());
                        continue;
                    }
                    let field = Field {
                        kind: words[1].into(),
                        versions: range(attribute(&words, "v").expect("versions")),
                        nullable: range(attribute(&words, "null").unwrap_or("none")),
                        tag: attribute(&words, "tag").map(|tag| {
                            tag.split_once('@').expect("versions of a tag").0.parse().expect("a tag")
                        }),
                        attributes: words[2..].iter().map(|word| (*word).to_string()).collect(),
                    };
                    structures.entry(owners[depth].clone()).or_default().push(field);
                    owners.push(words[1].trim_start_matches("[]").into());
                }
                let table = Table {
                    versions: range(attribute(&head, "valid").expect("versions")),
                    flexible: range(attribute(&head, "flex").expect("flexible versions")),
                    structures,
                };
                tables.insert(head[0].into(), table);
            }
        }
        Self(tables)
    }

    /// A message's table.
    pub(crate) fn table(&self, name: &str) -> &Table {
        self.0.get(name).unwrap_or_else(|| panic!("no table of {name}"))
    }

    /// The bytes of some value of a message, as an encoder writes them.
    pub(crate) fn bytes(&self, name: &str, version: i16, seed: &mut Seed, tags: Tags) -> Vec<u8> {
        let table = self.table(name);
        let mut out = Vec::new();
        let mut value =
            Value { table, version, flexible: within(table.flexible, version), seed, tags, out: &mut out };
        value.structure(name);
        out
    }
}

fn uvarint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A random value being written.
struct Value<'a> {
    table: &'a Table,
    version: i16,
    flexible: bool,
    seed: &'a mut Seed,
    tags: Tags,
    out: &'a mut Vec<u8>,
}

impl Value<'_> {
    fn structure(&mut self, name: &str) {
        let table = self.table;
        let fields: Vec<&Field> =
            table.structures[name].iter().filter(|field| within(field.versions, self.version)).collect();
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            let null = within(field.nullable, self.version) && self.seed.one_in(4);
            self.field(field, null, false);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields.iter().filter(|field| field.tag.is_some()) {
            if self.seed.one_in(3) {
                continue;
            }
            // A default is left out, so a null is written exactly where null is not the default.
            let null_is_default = field.attributes.iter().any(|attribute| attribute == "def=null");
            let null = !null_is_default && within(field.nullable, self.version) && self.seed.one_in(3);
            let mut content = Vec::new();
            std::mem::swap(self.out, &mut content);
            self.field(field, null, true);
            std::mem::swap(self.out, &mut content);
            tagged.push((field.tag.expect("filtered"), content));
        }
        if self.tags == Tags::KnownAndUnknown && self.seed.one_in(2) {
            let mut tag = 40;
            for _ in 0..=self.seed.below(3) {
                tag += 1 + u32::try_from(self.seed.below(300)).expect("small");
                let len = self.seed.below(200);
                tagged.push((tag, self.seed.bytes(len)));
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        uvarint(self.out, tagged.len());
        for (tag, content) in tagged {
            uvarint(self.out, tag as usize);
            uvarint(self.out, content.len());
            self.out.extend(content);
        }
    }

    fn field(&mut self, field: &Field, null: bool, tagged: bool) {
        let compact = self.flexible && !field.attributes.iter().any(|attribute| attribute == "flex=none");
        let nullable = within(field.nullable, self.version);
        self.value(&field.kind, compact, nullable, null, tagged);
    }

    /// A length of 2 or 4 bytes where lengths are not compact; none for null.
    fn length(&mut self, length: Option<usize>, width: usize, compact: bool) {
        match (compact, length) {
            (true, length) => uvarint(self.out, length.map_or(0, |length| length + 1)),
            (false, None) => self.out.extend([0xff; 4].iter().take(width)),
            (false, Some(length)) => self.out.extend(&length.to_be_bytes()[8 - width..]),
        }
    }

    fn value(&mut self, kind: &str, compact: bool, nullable: bool, null: bool, tagged: bool) {
        // Tagged values differ from any default: not empty, not 0, not -1; structures by the integers they have.
        let least = usize::from(tagged);
        if let Some(element) = kind.strip_prefix("[]") {
            let count = least + self.seed.below(3);
            self.length((!null).then_some(count), 4, compact);
            for _ in 0..if null { 0 } else { count } {
                self.value(element, compact, false, false, false);
            }
            return;
        }
        match kind {
            "bool" => self.out.push(u8::from(tagged || self.seed.one_in(2))),
            "int8" => self.out.push(if tagged { 77 } else { self.seed.bytes(1)[0] }),
            "int16" | "uint16" => self.integer(2),
            "int32" | "uint32" => self.integer(4),
            "int64" => self.integer(8),
            "float64" => {
                let value = self.seed.below(1000) as f64 / 7.0;
                self.out.extend(value.to_be_bytes());
            }
            "uuid" => self.integer(16),
            "string" => {
                const LETTERS: [&str; 6] = ["a", "Z", "-", "é", "ß", "水"];
                let letters = least + self.seed.below(if self.seed.0.is_multiple_of(9) { 200 } else { 9 });
                let text: String = (0..letters).map(|_| LETTERS[self.seed.below(LETTERS.len())]).collect();
                self.length((!null).then_some(text.len()), 2, compact);
                self.out.extend(if null { "" } else { text.as_str() }.as_bytes());
            }
            "bytes" | "records" => {
                let len = least + self.seed.below(40);
                let bytes = self.seed.bytes(len);
                self.length((!null).then_some(len), 4, compact);
                self.out.extend(if null { &[] } else { bytes.as_slice() });
            }
            structure => {
                match (nullable, tagged, null) {
                    (false, ..) => {}
                    (true, false, true) => return self.out.push(0xff),
                    (true, true, true) => return self.out.push(0),
                    (true, _, false) => self.out.push(1),
                }
                self.structure(structure);
            }
        }
    }

    /// An integer that is no field's default.
    fn integer(&mut self, width: usize) {
        let mut bytes = self.seed.bytes(width);
        bytes[width - 1] = 77;
        self.out.extend(bytes);
    }
}
