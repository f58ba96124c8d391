//! `honest_controller`: a value that a controller said is set is what everybody reads later, until another is asked for; and
//! nobody reads what nobody asked for (K17). At the end all controllers say the same.

use crate::check::Violation;
use crate::history::{Entry, Operation, Stage};
use std::collections::BTreeMap;

/// A value that somebody asked for.
#[derive(Clone, Copy, Debug)]
struct Setting {
    value: u64,
    asked_at: u64,
    /// When it was answered that it is set.
    set_at: Option<u64>,
}

/// All that was asked for, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(BTreeMap<String, Vec<Setting>>);

impl Settings {
    pub(super) fn note(&mut self, entry: &Entry) {
        if entry.operation != Operation::SetConfig {
            return;
        }
        let Some((value, _)) = entry.values.first().copied() else { return };
        let of_key = self.0.entry(entry.topic.to_string()).or_default();
        match entry.stage {
            Stage::Invoke => of_key.push(Setting { value, asked_at: entry.at_us, set_at: None }),
            Stage::Ok => {
                if let Some(setting) = of_key.iter_mut().find(|setting| setting.value == value) {
                    setting.set_at = Some(entry.at_us);
                }
            }
            Stage::Fail | Stage::Info => {}
        }
    }

    pub(super) fn check(
        &self,
        readings: &[(usize, u64, &BTreeMap<String, String>)],
    ) -> Result<(), Violation> {
        let violation = |sentence| Err(Violation { property: "honest_controller", sentence });
        for (node, read_at, values) in readings {
            if let Some((first, _, others)) = readings.first().filter(|(_, _, others)| others != values) {
                return violation(format!(
                    "at the end node {first} says that {others:?} is set, and node {node} {values:?}"
                ));
            }
            for (key, settings) in &self.0 {
                let Some(text) = values.get(key) else {
                    if let Some(set) = settings.iter().find(|setting| setting.set_at.is_some()) {
                        return violation(format!(
                            "at {read_at} us node {node} has nothing set for {key}, which was answered to be set to {}",
                            set.value
                        ));
                    }
                    continue;
                };
                let read = settings.iter().find(|setting| setting.value.to_string() == *text);
                let Some(read) = read else {
                    return violation(format!(
                        "at {read_at} us node {node} has {key} set to {text}, which nobody asked for"
                    ));
                };
                // What nobody was told the outcome of may happen at any time.
                let later = settings.iter().find(|setting| {
                    read.set_at.is_some_and(|set_at| setting.asked_at > set_at) && setting.set_at.is_some()
                });
                if let Some(later) = later {
                    return violation(format!(
                        "at {read_at} us node {node} has {key} set to {text}, and {} was asked for later and answered to be \
                         set",
                        later.value
                    ));
                }
            }
        }
        Ok(())
    }
}
