//! Quotas of users, clients and addresses (KIP-546, KIP-612): set by AlterClientQuotas, shown by DescribeClientQuotas.

use super::image::MetadataImage;
use super::{Controller, Decision, Refusal, text};
use crate::config::definitions::{CLIENT_QUOTA, ConfigType, Definition, IP_QUOTA};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_client_quotas_request as altered;
use sordini_protocol::messages::alter_client_quotas_response as answered;
use sordini_protocol::messages::describe_client_quotas_request::ComponentData;
use sordini_protocol::messages::describe_client_quotas_response as described;
use sordini_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use sordini_protocol::records::client_quota_record::EntityData;
use sordini_protocol::records::{ClientQuotaRecord, MetadataRecord};
use sordini_protocol::wire::Str;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Whom a quota is for: names by type of entity, `user`, `client-id` or `ip`. Without a name it is for everybody of whom
/// nothing closer is said.
pub(crate) type QuotaEntity = BTreeMap<Str, Option<Str>>;

/// A limit, in the unit of its key. Equal is what has the same bits, as in Kafka.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuotaValue(pub(crate) f64);

impl PartialEq for QuotaValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for QuotaValue {}

impl Controller {
    pub(super) fn alter_client_quotas(
        &self,
        request: &AlterClientQuotasRequest,
    ) -> Decision<AlterClientQuotasResponse> {
        let named: Vec<Result<QuotaEntity, Refusal>> =
            request.entries.iter().map(|entry| entity(&entry.entity)).collect();
        let mut times_named: BTreeMap<&QuotaEntity, usize> = BTreeMap::new();
        for entity in named.iter().flatten() {
            *times_named.entry(entity).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut entries = Vec::new();
        for (entry, entity) in request.entries.iter().zip(&named) {
            let outcome = match entity {
                // Nothing is set by a request that says it twice: one of the two may be a mistake.
                Ok(entity) if times_named[entity] > 1 => {
                    Err(invalid("the request names the entity more than once"))
                }
                Ok(entity) => self.alter_quotas_of(entity, &entry.ops),
                Err(refusal) => Err(refusal.clone()),
            };
            let mut answer = answer(entry);
            match outcome {
                Ok(mut changes) => records.append(&mut changes),
                Err(refusal) => {
                    answer.error_code = refusal.code.as_i16();
                    answer.error_message = text(&refusal.message);
                }
            }
            entries.push(answer);
        }
        if request.validate_only {
            records.clear();
        }
        Decision { records, response: AlterClientQuotasResponse { entries, ..Default::default() } }
    }

    fn alter_quotas_of(
        &self,
        entity: &QuotaEntity,
        ops: &[altered::OpData],
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let keys = keys_of(entity)?;
        let current = self.image.client_quotas().get(entity);
        let mut wanted: BTreeMap<&Str, Option<f64>> = BTreeMap::new();
        for op in ops {
            if wanted.insert(&op.key, (!op.remove).then_some(op.value)).is_some() {
                return Err(invalid(format!("quota '{}' is named more than once", op.key)));
            }
        }
        let mut records = Vec::new();
        for (key, value) in wanted {
            let present = current.and_then(|quotas| quotas.get(key)).copied();
            if let Some(value) = value {
                judge(keys, key, value)?;
            }
            if present == value.map(QuotaValue) {
                continue;
            }
            records.push(record(entity, key, value).into());
        }
        Ok(records)
    }
}

/// That an entity has a quota of this value, or none.
pub(super) fn record(entity: &QuotaEntity, key: &Str, value: Option<f64>) -> ClientQuotaRecord {
    let parts = entity.iter().map(|(entity_type, entity_name)| EntityData {
        entity_type: entity_type.clone(),
        entity_name: entity_name.clone(),
        ..EntityData::default()
    });
    ClientQuotaRecord {
        entity: parts.collect(),
        key: key.clone(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
        ..ClientQuotaRecord::default()
    }
}

/// The answer to an entry that is as it should be.
fn answer(entry: &altered::EntryData) -> answered::EntryData {
    let parts = entry.entity.iter().map(|part| answered::EntityData {
        entity_type: part.entity_type.clone(),
        entity_name: part.entity_name.clone(),
        ..Default::default()
    });
    answered::EntryData { error_message: None, entity: parts.collect(), ..Default::default() }
}

/// The answer to a request that is not decided on.
pub(super) fn refuse(request: &AlterClientQuotasRequest, code: ErrorCode) -> AlterClientQuotasResponse {
    let refused =
        |entry: &altered::EntryData| answered::EntryData { error_code: code.as_i16(), ..answer(entry) };
    let entries = request.entries.iter().map(refused).collect();
    AlterClientQuotasResponse { entries, ..AlterClientQuotasResponse::default() }
}

fn invalid(message: impl Into<alloc::string::String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// The entity that a request names.
fn entity(parts: &[altered::EntityData]) -> Result<QuotaEntity, Refusal> {
    let mut entity = QuotaEntity::new();
    for part in parts {
        let (kind, name) = (&part.entity_type, &part.entity_name);
        if !matches!(&**kind, USER | CLIENT_ID | IP) {
            return Err(invalid(format!("there are no quotas for entities of type '{kind}'")));
        }
        if name.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(invalid(format!("the name of an entity of type '{kind}' must not be empty")));
        }
        if entity.insert(kind.clone(), name.clone()).is_some() {
            return Err(invalid(format!("the entity has more than one '{kind}'")));
        }
    }
    Ok(entity)
}

/// The quotas that an entity can have.
fn keys_of(entity: &QuotaEntity) -> Result<&'static [Definition], Refusal> {
    let Some(ip) = entity.get(IP) else {
        if entity.is_empty() {
            return Err(invalid("an entity has at least one part"));
        }
        return Ok(&CLIENT_QUOTA);
    };
    if entity.len() > 1 {
        return Err(invalid("quotas of addresses cannot be narrowed to a user or a client"));
    }
    match ip {
        // Kafka would also look up a host name. An address is what connections are counted by.
        Some(ip) if ip.parse::<IpAddr>().is_err() => Err(invalid(format!("'{ip}' is not an IP address"))),
        Some(_) | None => Ok(&IP_QUOTA),
    }
}

fn judge(keys: &[Definition], key: &Str, value: f64) -> Result<(), Refusal> {
    let Some(definition) = keys.iter().find(|definition| definition.name == &**key) else {
        return Err(invalid(format!("there is no quota '{key}' for entities of this kind")));
    };
    if value.is_nan() || value <= 0.0 {
        return Err(invalid(format!("quota '{key}' must be greater than 0")));
    }
    let most = match definition.kind {
        ConfigType::Int => 2_147_483_647.0,
        ConfigType::Long => 9_223_372_036_854_775_807.0,
        ConfigType::Double
        | ConfigType::Short
        | ConfigType::Boolean
        | ConfigType::String
        | ConfigType::List
        | ConfigType::Class
        | ConfigType::Password => return Ok(()),
    };
    if value > most {
        return Err(invalid(format!("quota '{key}' must not be greater than {most}")));
    }
    #[expect(clippy::float_arithmetic, reason = "the remainder of a division is exact on every machine")]
    if value % 1.0 > 1e-6 {
        return Err(invalid(format!("quota '{key}' must be a whole number")));
    }
    Ok(())
}

/// What DescribeClientQuotas answers.
pub(crate) fn describe(
    image: &MetadataImage,
    request: &DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match Filter::of_request(&request.components) {
        Ok(filter) => filter,
        Err(refusal) => {
            return DescribeClientQuotasResponse {
                error_code: refusal.code.as_i16(),
                error_message: text(&refusal.message),
                entries: None,
                ..Default::default()
            };
        }
    };
    let matching = image.client_quotas().iter().filter(|(entity, _)| filter.matches(entity, request.strict));
    let entries = matching.map(|(entity, quotas)| {
        let parts = entity.iter().map(|(entity_type, entity_name)| described::EntityData {
            entity_type: entity_type.clone(),
            entity_name: entity_name.clone(),
            ..Default::default()
        });
        let values = quotas.iter().map(|(key, value)| described::ValueData {
            key: key.clone(),
            value: value.0,
            ..Default::default()
        });
        described::EntryData { entity: parts.collect(), values: values.collect(), ..Default::default() }
    });
    DescribeClientQuotasResponse {
        error_message: None,
        entries: Some(entries.collect()),
        ..Default::default()
    }
}

/// What an entity must have, by type of its parts.
struct Filter<'a>(BTreeMap<&'a str, Wanted<'a>>);

enum Wanted<'a> {
    /// This name; none for the default.
    Exactly(Option<&'a Str>),
    /// Any name, or the default.
    Any,
}

impl<'a> Filter<'a> {
    fn of_request(components: &'a [ComponentData]) -> Result<Self, Refusal> {
        let mut filter = BTreeMap::new();
        for component in components {
            let kind = &*component.entity_type;
            if kind.is_empty() {
                return Err(invalid("a type of entity must not be empty"));
            }
            if !matches!(kind, USER | CLIENT_ID | IP) {
                let message = format!("there are no quotas for entities of type '{kind}'");
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
            let wanted = match (component.match_type, &component.match_) {
                (0, Some(name)) => Wanted::Exactly(Some(name)),
                (1, None) => Wanted::Exactly(None),
                (2, None) => Wanted::Any,
                (0, None) => return Err(invalid("an exact match needs a name")),
                (1 | 2, Some(_)) => return Err(invalid("only an exact match can have a name")),
                (other, _) => return Err(invalid(format!("there is no match type {other}"))),
            };
            if filter.insert(kind, wanted).is_some() {
                return Err(invalid(format!("the filter has more than one '{kind}'")));
            }
        }
        if filter.contains_key(IP) && filter.len() > 1 {
            return Err(invalid("a filter of addresses cannot be narrowed to users or clients"));
        }
        Ok(Self(filter))
    }

    /// A strict filter speaks of every part that the entity has.
    fn matches(&self, entity: &QuotaEntity, strict: bool) -> bool {
        let has = |(kind, wanted): (&&str, &Wanted<'_>)| match (entity.get(*kind), wanted) {
            (Some(name), Wanted::Exactly(wanted)) => name.as_ref() == *wanted,
            (Some(_), Wanted::Any) => true,
            (None, Wanted::Exactly(_) | Wanted::Any) => false,
        };
        (!strict || entity.len() == self.0.len()) && self.0.iter().all(has)
    }
}
