//! Users of SASL/SCRAM with which a cluster begins, as `--add-scram` names them.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use sordini::server::{ServerError, random_bytes};
use sordini_core::format::{SCRAM_ITERATIONS, ScramMechanism};
use sordini_protocol::records::UserScramCredentialRecord;
use std::collections::BTreeMap;
use std::str::FromStr;

/// As often as Kafka hashes a password if nobody says how often.
const ITERATIONS_DEFAULT: i32 = 4096;

const SALT_LEN: usize = 16;

/// What stands for bytes may be filled up at its end or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user under one mechanism: `SCRAM-SHA-256=[name=alice,password=alice-secret]`.
pub(super) struct AddScram {
    mechanism: ScramMechanism,
    name: String,
    salt: Option<Vec<u8>>,
    iterations: i32,
    secret: Secret,
}

enum Secret {
    Password(String),
    SaltedPassword(Vec<u8>),
}

/// What is no user. It is not repeated, for there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MalformedScram {
    #[error("Failed to find equals sign: write for instance SCRAM-SHA-256=[name=alice,password=...]")]
    NoMechanism,
    #[error("The add-scram mechanism {0} is not supported: there are SCRAM-SHA-256 and SCRAM-SHA-512")]
    UnknownMechanism(String),
    #[error("Expected configuration string to start with [")]
    NoStart,
    #[error("Expected configuration string to end with ]")]
    NoEnd,
    #[error("No equals sign found in SCRAM component {0} of those that commas separate")]
    NoEqualsSign(usize),
    #[error("You must supply 'name' to add-scram")]
    NoName,
    #[error("You must supply one of 'password' or 'saltedpassword' to add-scram")]
    NoPassword,
    #[error("You must supply 'salt' with 'saltedpassword' to add-scram")]
    NoSalt,
    #[error("Failed to decode given {0}: it is not Base64")]
    NotBase64(&'static str),
    #[error("Failed to parse iterations count: {0}")]
    NotNumber(String),
    #[error("The 'iterations' value must be >= {} and <= {} for add-scram", SCRAM_ITERATIONS.start(), SCRAM_ITERATIONS.end())]
    Iterations,
    #[error("Unknown SCRAM configurations: {0}")]
    Unknown(String),
}

impl FromStr for AddScram {
    type Err = MalformedScram;

    fn from_str(text: &str) -> Result<Self, MalformedScram> {
        let (mechanism, settings) = text.trim().split_once('=').ok_or(MalformedScram::NoMechanism)?;
        let mechanism = match mechanism {
            "SCRAM-SHA-256" => ScramMechanism::Sha256,
            "SCRAM-SHA-512" => ScramMechanism::Sha512,
            other => return Err(MalformedScram::UnknownMechanism(other.to_owned())),
        };
        let settings = settings.strip_prefix('[').ok_or(MalformedScram::NoStart)?;
        let settings = settings.strip_suffix(']').ok_or(MalformedScram::NoEnd)?;
        let mut values = BTreeMap::new();
        for (index, setting) in settings.split(',').enumerate() {
            let (key, value) = setting.split_once('=').ok_or(MalformedScram::NoEqualsSign(index + 1))?;
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            values.insert(key, bare.unwrap_or(value));
        }
        let bytes = |what, value: &str| BASE64.decode(value).map_err(|_| MalformedScram::NotBase64(what));
        let name = values.remove("name").ok_or(MalformedScram::NoName)?;
        let salt = values.remove("salt").map(|salt| bytes("salt", salt)).transpose()?;
        let iterations = match values.remove("iterations") {
            Some(count) => count.parse().map_err(|_| MalformedScram::NotNumber(count.to_owned()))?,
            None => ITERATIONS_DEFAULT,
        };
        let secret = match (values.remove("password"), values.remove("saltedpassword")) {
            (Some(password), _) => Secret::Password(password.to_owned()),
            (None, Some(_)) if salt.is_none() => return Err(MalformedScram::NoSalt),
            (None, Some(salted)) => Secret::SaltedPassword(bytes("saltedpassword", salted)?),
            (None, None) => return Err(MalformedScram::NoPassword),
        };
        if !values.is_empty() {
            return Err(MalformedScram::Unknown(values.into_keys().collect::<Vec<_>>().join(", ")));
        }
        if !SCRAM_ITERATIONS.contains(&iterations) {
            return Err(MalformedScram::Iterations);
        }
        Ok(Self { mechanism, name: name.to_owned(), salt, iterations, secret })
    }
}

impl AddScram {
    /// What the log is to hold of the user.
    ///
    /// # Errors
    ///
    /// There is no salt, and none could be drawn.
    pub(super) fn credential(&self) -> Result<UserScramCredentialRecord, ServerError> {
        let salt = match &self.salt {
            Some(salt) => salt.clone(),
            None => random_bytes::<SALT_LEN>()?.to_vec(),
        };
        let rounds = u32::try_from(self.iterations).unwrap_or(u32::MAX);
        let salted = match &self.secret {
            Secret::SaltedPassword(salted) => salted.clone(),
            Secret::Password(password) => match self.mechanism {
                ScramMechanism::Sha256 => {
                    pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), &salt, rounds).to_vec()
                }
                ScramMechanism::Sha512 => {
                    pbkdf2::pbkdf2_hmac_array::<sha2::Sha512, 64>(password.as_bytes(), &salt, rounds).to_vec()
                }
            },
        };
        Ok(self.mechanism.credential(&self.name, Bytes::from(salt), self.iterations, &salted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> UserScramCredentialRecord {
        let parsed: Result<AddScram, _> = text.parse();
        parsed.unwrap_or_else(|error| panic!("{text}: {error}")).credential().expect("a credential")
    }

    fn base64(bytes: &[u8]) -> String {
        BASE64.encode(bytes)
    }

    /// As `kafka-storage.sh format` of 4.3.1 writes them.
    #[test]
    fn keys_are_those_that_apache_kafka_computes() {
        let salt = r#"salt="N3E=""#;
        let of_password = credential(&format!("SCRAM-SHA-256=[name=alice,password=\"alice-secret\",{salt}]"));
        assert_eq!((of_password.mechanism, of_password.iterations, &*of_password.name), (1, 4096, "alice"));
        assert_eq!(base64(&of_password.salt), "N3E=");
        assert_eq!(base64(&of_password.stored_key), "/SiYuuBKZ2xQYBVGTen6jSfvhEZCfw2t/HsiWRVtlTY=");
        assert_eq!(base64(&of_password.server_key), "SkjIAcDevnSCWoKyt0o2EBcoZISnxSWq81cLLD0Q050=");
        let of_salted =
            credential(&format!("SCRAM-SHA-512=[name=alice,iterations=8192,{salt},saltedpassword=\"YCE=\"]"));
        assert_eq!((of_salted.mechanism, of_salted.iterations), (2, 8192));
        let stored =
            "cXajSfkesuEdmelXMIE1FvL2RXPfwlrmGKyq6ai/1my6GnQBkALTiDfj8bysiAAVsysjd15xpW2sEiappLOxvQ==";
        assert_eq!(base64(&of_salted.stored_key), stored);
        let server =
            "TGF8Dt3uWsZYXy+/UBt86VtHDWvwHxtUnCY8GKG1QG6muF9I08fZ3MQ0cupwRZ2uY6KK9INaZHi4OxHCDwYMBw==";
        assert_eq!(base64(&of_salted.server_key), server);
    }

    #[test]
    fn a_salt_is_drawn_where_none_is_given() {
        let text = " SCRAM-SHA-512=[name=a,password=b] ";
        let (one, other) = (credential(text), credential(text));
        assert_eq!((one.salt.len(), one.stored_key.len()), (SALT_LEN, 64));
        assert!(one.salt != other.salt && one.stored_key != other.stored_key);
    }

    #[test]
    fn what_is_no_user_is_refused_and_not_repeated() {
        let table = [
            ("SCRAM-SHA-256", "Failed to find equals sign"),
            ("SCRAM-SHA-1=[secret]", "mechanism SCRAM-SHA-1 is not supported"),
            ("SCRAM-SHA-256=secret", "to start with ["),
            ("SCRAM-SHA-256=[secret", "to end with ]"),
            ("SCRAM-SHA-256=[name=a,secret]", "SCRAM component 2"),
            ("SCRAM-SHA-256=[password=secret]", "You must supply 'name'"),
            ("SCRAM-SHA-256=[name=a]", "You must supply one of 'password' or 'saltedpassword'"),
            ("SCRAM-SHA-256=[name=a,saltedpassword=YCE=]", "You must supply 'salt'"),
            ("SCRAM-SHA-256=[name=a,password=secret,salt=!]", "Failed to decode given salt"),
            ("SCRAM-SHA-256=[name=a,salt=YCE,saltedpassword=!]", "Failed to decode given saltedpassword"),
            ("SCRAM-SHA-256=[name=a,password=secret,iterations=x]", "Failed to parse iterations count: x"),
            ("SCRAM-SHA-256=[name=a,password=secret,iterations=4095]", ">= 4096 and <= 16384"),
            ("SCRAM-SHA-256=[name=a,password=secret,iterations=16385]", ">= 4096 and <= 16384"),
            ("SCRAM-SHA-256=[name=a,password=secret,foo=1,bar=2]", "Unknown SCRAM configurations: bar, foo"),
        ];
        for (text, why) in table {
            let Err(error) = text.parse::<AddScram>() else { panic!("{text} is taken") };
            let error = error.to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
