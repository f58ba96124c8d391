//! The notation of the schema tables, parsed.
#![expect(clippy::wildcard_enum_match_arm, reason = "one rule for the rest; `rust_type` lists every kind")]

use std::ops::RangeInclusive;

/// Versions from the first to the second, both included; a missing end is `i16::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) first: i16,
    pub(super) last: i16,
}

impl Versions {
    pub(super) const NONE: Self = Self { first: 1, last: 0 };
    const ALL: Self = Self { first: 0, last: i16::MAX };

    pub(super) fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    pub(super) fn is_empty(self) -> bool {
        self.first > self.last
    }

    pub(super) fn range(self) -> RangeInclusive<i16> {
        self.first..=self.last
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i16>().map_err(|_| format!("not versions: {text}"));
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(first) = text.strip_suffix('+') {
            return Ok(Self { first: number(first)?, last: i16::MAX });
        }
        match text.split_once('-') {
            Some((first, last)) => Ok(Self { first: number(first)?, last: number(last)? }),
            None => Ok(Self { first: number(text)?, last: number(text)? }),
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.last) {
            (0, i16::MAX) => write!(f, "all versions"),
            (first, i16::MAX) => write!(f, "versions {first}+"),
            (first, last) if first == last => write!(f, "version {first}"),
            (first, last) => write!(f, "versions {first}-{last}"),
        }
    }
}

/// What kind of message this is and where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Request { key: i16, listeners: Vec<String>, unstable_latest: bool },
    Response { key: i16 },
    Header,
    Data,
    Metadata { key: i16 },
    RemoteLogMetadata { key: i16 },
    CoordinatorKey { key: i16 },
    CoordinatorValue { key: i16 },
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) valid: Versions,
    pub(super) flexible: Versions,
    /// All structures of the message; the first is the message itself.
    pub(super) structures: Vec<Structure>,
}

impl Message {
    pub(super) fn structure(&self, name: &str) -> Result<&Structure, String> {
        let found = self.structures.iter().find(|structure| structure.name == name);
        found.ok_or_else(|| format!("{}: no structure {name}", self.name))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Structure {
    pub(super) name: String,
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: FieldKind,
    pub(super) versions: Versions,
    pub(super) nullable: Versions,
    pub(super) tag: Option<(u32, Versions)>,
    pub(super) default: Option<String>,
    pub(super) ignorable: bool,
    pub(super) key: bool,
    /// Whether the field keeps its inflexible form in flexible versions.
    pub(super) never_flexible: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldKind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Text,
    Uuid,
    Bytes,
    Records,
    Structure(String),
    Array(Box<Self>),
}

impl FieldKind {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Self::Array(Box::new(Self::parse(element)?)));
        }
        Ok(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "string" => Self::Text,
            "uuid" => Self::Uuid,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Structure(name.into()),
            name => return Err(format!("unknown type {name}")),
        })
    }

    /// The structure in this field or in the array that it is.
    pub(super) fn structure(&self) -> Option<&str> {
        match self {
            Self::Structure(name) => Some(name),
            Self::Array(element) => element.structure(),
            _ => None,
        }
    }
}

/// Parses one table.
pub(super) fn parse(table: &str, text: &str) -> Result<Vec<Message>, String> {
    let mut messages: Vec<Message> = Vec::new();
    // The structures that following lines may add fields to, outermost first, with the indentation of their fields.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |error: String| format!("line {}: {error}", number + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        let indent = line.len() - line.trim_start().len();
        match (words.as_slice(), messages.last_mut()) {
            ([], _) => {}
            ([first, ..], _) if first.starts_with('#') => {}
            (["MSG", name, attributes @ ..], _) => {
                messages.push(message(table, name, attributes).map_err(at)?);
                open = vec![(2, 0)];
            }
            (["STRUCT", name, versions], Some(message)) => {
                let versions = versions.strip_prefix("v=").ok_or_else(|| at("no versions".into()))?;
                let versions = Versions::parse(versions).map_err(at)?;
                open = vec![(indent + 2, message.structures.len())];
                message.structures.push(Structure { name: (*name).into(), versions, fields: Vec::new() });
            }
            ([name, kind, attributes @ ..], Some(message)) => {
                open.retain(|(open_indent, _)| *open_indent <= indent);
                // A field one deeper than the innermost open structure's opens the structure of the field before it.
                let (innermost, structure) = *open.last().ok_or_else(|| at("indented too little".into()))?;
                let structure = if indent == innermost {
                    structure
                } else if indent == innermost + 2 {
                    let parent = message.structures[structure].fields.last();
                    let parent = parent.ok_or_else(|| at("no field to belong to".into()))?;
                    let name =
                        parent.kind.structure().ok_or_else(|| at("fields below a primitive".into()))?.into();
                    let versions = parent.versions;
                    message.structures.push(Structure { name, versions, fields: Vec::new() });
                    open.push((indent, message.structures.len() - 1));
                    message.structures.len() - 1
                } else {
                    return Err(at("indented too far".into()));
                };
                let field = field(name, kind, attributes).map_err(at)?;
                message.structures[structure].fields.push(field);
            }
            _ => return Err(at(format!("cannot read {line:?}"))),
        }
    }
    for message in &mut messages {
        // Some tables still name fields of versions that are gone: nothing can carry them.
        for structure in &mut message.structures {
            structure.fields.retain(|field| !field.versions.and(message.valid).is_empty());
        }
        check(message)?;
    }
    Ok(messages)
}

fn message(table: &str, name: &str, attributes: &[&str]) -> Result<Message, String> {
    let value = |wanted: &str| {
        attributes
            .iter()
            .filter_map(|attribute| attribute.split_once('='))
            .find(|(n, _)| *n == wanted)
            .map(|(_, v)| v)
    };
    let required = |wanted: &str| value(wanted).ok_or_else(|| format!("{name} has no {wanted}"));
    let key = || required("key")?.parse::<i16>().map_err(|error| format!("{name}: {error}"));
    let kind = match required("kind")? {
        "request" => Kind::Request {
            key: key()?,
            listeners: required("listeners")?.split(',').map(String::from).collect(),
            unstable_latest: attributes.contains(&"unstable-latest"),
        },
        "response" => Kind::Response { key: key()? },
        "header" => Kind::Header,
        "data" => Kind::Data,
        "metadata" if table == "storage-records" => Kind::RemoteLogMetadata { key: key()? },
        "metadata" => Kind::Metadata { key: key()? },
        "coordinator-key" => Kind::CoordinatorKey { key: key()? },
        "coordinator-value" => Kind::CoordinatorValue { key: key()? },
        other => return Err(format!("{name}: unknown kind {other}")),
    };
    let valid = Versions::parse(required("valid")?)?;
    let flexible = Versions::parse(required("flex")?)?;
    let itself = Structure { name: name.into(), versions: Versions::ALL, fields: Vec::new() };
    Ok(Message { name: name.into(), kind, valid, flexible, structures: vec![itself] })
}

fn field(name: &str, kind: &str, attributes: &[&str]) -> Result<Field, String> {
    let mut field = Field {
        name: name.into(),
        kind: FieldKind::parse(kind)?,
        versions: Versions::NONE,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
        key: false,
        never_flexible: false,
    };
    for attribute in attributes {
        match attribute.split_once('=') {
            Some(("v", value)) => field.versions = Versions::parse(value)?,
            Some(("null", value)) => field.nullable = Versions::parse(value)?,
            Some(("tag", value)) => {
                let (tag, versions) = value.split_once('@').ok_or_else(|| format!("not a tag: {value}"))?;
                field.tag = Some((
                    tag.parse().map_err(|_| format!("not a tag: {value}"))?,
                    Versions::parse(versions)?,
                ));
            }
            Some(("def", value)) => field.default = Some(value.into()),
            Some(("flex", "none")) => field.never_flexible = true,
            // What the field names, and how Java holds it, make no difference on the wire.
            Some(("ent", _)) => {}
            None if *attribute == "ign" => field.ignorable = true,
            None if *attribute == "key" => field.key = true,
            None if *attribute == "zerocopy" => {}
            _ => return Err(format!("{name}: unknown attribute {attribute}")),
        }
    }
    Ok(field)
}

/// Refuses what the emitter could not express.
fn check(message: &Message) -> Result<(), String> {
    let name = &message.name;
    for (i, structure) in message.structures.iter().enumerate() {
        if message.structures[..i].iter().any(|other| other.name == structure.name) {
            return Err(format!("{name} has two structures {}", structure.name));
        }
        for field in &structure.fields {
            if let Some(inner) = field.kind.structure() {
                // A structure comes after whatever holds it, so that none can hold itself.
                let at = message.structures.iter().position(|other| other.name == inner);
                let at = at.ok_or_else(|| format!("{name} has no structure {inner}"))?;
                if holds(message, at, i, message.structures.len()) {
                    return Err(format!("{name}: {inner} holds itself"));
                }
            }
            let nullable_structure = matches!(field.kind, FieldKind::Structure(_))
                && !field.nullable.and(message.valid).is_empty();
            if nullable_structure && field.nullable != field.versions {
                return Err(format!("{name}.{} is a structure nullable at some versions only", field.name));
            }
            if let Some((_, versions)) = field.tag
                && versions != field.versions
            {
                return Err(format!("{name}.{} is tagged at some versions only", field.name));
            }
            if let Some((_, versions)) = field.tag
                && field
                    .versions
                    .and(message.valid)
                    .range()
                    .any(|v| versions.contains(v) && !message.flexible.contains(v))
            {
                return Err(format!("{name}.{} is tagged in an inflexible version", field.name));
            }
        }
    }
    Ok(())
}

/// Whether a structure holds another, directly or not, or is it, or is nested deeper than there are structures.
fn holds(message: &Message, holder: usize, held: usize, depth: usize) -> bool {
    holder == held
        || depth == 0
        || message.structures[holder].fields.iter().filter_map(|field| field.kind.structure()).any(|inner| {
            let inner = message.structures.iter().position(|structure| structure.name == inner);
            inner.is_some_and(|inner| holds(message, inner, held, depth - 1))
        })
}
