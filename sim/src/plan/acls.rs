//! Who may do what, as clients of a plan say it: entries and filters from a small world of names, so that they meet each other.

use serde::{Deserialize, Serialize};

/// What a client does that creates access control entries, asks which there are, and deletes some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatekeeperPlan {
    /// Its number among all clients.
    pub client: u64,
    /// The place in the plan of the node that it asks first.
    pub node: usize,
    /// How long it waits for an answer before it goes on without knowing what became of its request.
    pub request_timeout_us: u64,
    /// What it does, in the order of the times.
    pub deeds: Vec<GatekeeperDeedPlan>,
}

/// Something that it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatekeeperDeedPlan {
    /// When, at the earliest.
    pub at_us: u64,
    /// What.
    pub deed: GatekeeperDeed,
}

/// What a gatekeeper does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GatekeeperDeed {
    /// Creates entries, by their numbers. One may be named twice.
    Create {
        /// The numbers.
        acls: Vec<u64>,
    },
    /// Deletes what a filter matches.
    Delete {
        /// The filter's number.
        filter: u64,
    },
    /// Asks what a filter matches.
    Describe {
        /// The filter's number.
        filter: u64,
    },
}

impl GatekeeperPlan {
    /// What a gatekeeper needs every node to have.
    pub const AUTHORIZER: (&str, &str) =
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
    /// How many deeds one of them has at most.
    pub const DEEDS_MAX: usize = 1_000;
    /// How many entries one request creates at most.
    pub const ACLS_MAX: usize = 100;
}

const TYPES: [i8; 2] = [2, 3];
const NAMES: [&str; 4] = ["or", "order", "orders", "*"];
const PATTERN_MATCH: i8 = 2;
const PATTERN_PREFIXED: i8 = 4;
const PATTERNS: [i8; 2] = [3, PATTERN_PREFIXED];
const PRINCIPALS: [&str; 3] = ["User:ada", "User:bob", "User:*"];
const OPERATIONS: [i8; 2] = [3, 4];
/// In a filter: all there are.
const ANY: i8 = 1;

/// An entry: it allows a principal an operation, from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedAcl {
    /// A topic or a group, as records call it.
    pub resource_type: i8,
    /// Its name.
    pub name: &'static str,
    /// Whether that is all of its name, or the beginning.
    pub pattern: i8,
    /// Who.
    pub principal: &'static str,
    /// What.
    pub operation: i8,
}

/// A filter of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFilter {
    /// A type, or 1 for any.
    pub resource_type: i8,
    /// A name, or any.
    pub name: Option<&'static str>,
    /// A kind of pattern, 1 for any, or 2 for whatever stands for the name.
    pub pattern: i8,
    /// Somebody, or anybody.
    pub principal: Option<&'static str>,
    /// An operation, or 1 for any.
    pub operation: i8,
}

/// Takes the next digit from a number, each of which has its own base.
fn digit<T: Copy>(number: &mut u64, choices: &[T]) -> T {
    let base = choices.len() as u64;
    let digit = usize::try_from(*number % base).expect("a digit is small");
    *number /= base;
    choices[digit]
}

impl PlannedAcl {
    /// How many there are; their numbers are below.
    pub const COUNT: u64 =
        (TYPES.len() * NAMES.len() * PATTERNS.len() * PRINCIPALS.len() * OPERATIONS.len()) as u64;

    /// The entry of a number.
    #[must_use]
    pub fn of(mut number: u64) -> Self {
        let number = &mut number;
        Self {
            resource_type: digit(number, &TYPES),
            name: digit(number, &NAMES),
            pattern: digit(number, &PATTERNS),
            principal: digit(number, &PRINCIPALS),
            operation: digit(number, &OPERATIONS),
        }
    }

    /// All of them with their numbers.
    pub fn all() -> impl Iterator<Item = (u64, Self)> {
        (0..Self::COUNT).map(|number| (number, Self::of(number)))
    }
}

impl PlannedFilter {
    /// How many there are; their numbers are below.
    pub const COUNT: u64 = 3 * 5 * 4 * 4 * 3;

    /// The filter of a number. Number 0 matches everything.
    #[must_use]
    pub fn of(mut number: u64) -> Self {
        let [topic, group] = TYPES;
        let [or, order, orders, star] = NAMES.map(Some);
        let [literal, prefixed] = PATTERNS;
        let [ada, bob, all] = PRINCIPALS.map(Some);
        let [read, write] = OPERATIONS;
        let number = &mut number;
        Self {
            resource_type: digit(number, &[ANY, topic, group]),
            name: digit(number, &[None, or, order, orders, star]),
            pattern: digit(number, &[ANY, PATTERN_MATCH, literal, prefixed]),
            principal: digit(number, &[None, ada, bob, all]),
            operation: digit(number, &[ANY, read, write]),
        }
    }

    /// Whether it matches an entry.
    #[must_use]
    pub fn matches(&self, acl: &PlannedAcl) -> bool {
        let is = |wanted: i8, said: i8| wanted == ANY || wanted == said;
        let is_pattern = self.pattern == PATTERN_MATCH || is(self.pattern, acl.pattern);
        let stands_for = |name: &str| {
            name == acl.name
                || self.pattern == PATTERN_MATCH
                    && if acl.pattern == PATTERN_PREFIXED {
                        name.starts_with(acl.name)
                    } else {
                        acl.name == "*"
                    }
        };
        is(self.resource_type, acl.resource_type)
            && is_pattern
            && self.name.is_none_or(stands_for)
            && self.principal.is_none_or(|principal| principal == acl.principal)
            && is(self.operation, acl.operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_another() {
        let differ = |count: u64, are_equal: &dyn Fn(u64, u64) -> bool| {
            (0..count).all(|one| (0..one).all(|other| !are_equal(one, other)))
        };
        assert!(differ(PlannedAcl::COUNT, &|one, other| PlannedAcl::of(one) == PlannedAcl::of(other)));
        assert!(
            differ(PlannedFilter::COUNT, &|one, other| PlannedFilter::of(one) == PlannedFilter::of(other))
        );
        assert!(PlannedAcl::all().all(|(_, acl)| PlannedFilter::of(0).matches(&acl)));
    }

    #[test]
    fn a_name_is_asked_for_as_it_is_or_by_what_stands_for_it() {
        let acl = |name, pattern| PlannedAcl { name, pattern, ..PlannedAcl::of(0) };
        let filter = |pattern| PlannedFilter { name: Some("orders"), pattern, ..PlannedFilter::of(0) };
        // Any, what stands for it, literal and prefixed.
        let table = [
            (acl("orders", 3), [true, true, true, false]),
            (acl("orders", 4), [true, true, false, true]),
            (acl("or", 3), [false, false, false, false]),
            (acl("or", 4), [false, true, false, false]),
            (acl("*", 3), [false, true, false, false]),
            (acl("*", 4), [false, false, false, false]),
        ];
        for (acl, expected) in table {
            assert_eq!([1, 2, 3, 4].map(|pattern| filter(pattern).matches(&acl)), expected, "{acl:?}");
        }
    }
}
