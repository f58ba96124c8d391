//! `honest_controller`: a value that a controller said is set is what everybody reads later, until another is asked for; and
//! nobody reads what nobody asked for (K17). At the end all controllers say the same.

use super::Reading;
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

    pub(super) fn check(&self, readings: &[Reading<'_>]) -> Result<(), Violation> {
        let violation = |sentence| Err(Violation { property: "honest_controller", sentence });
        for Reading { node, at_us: read_at, values, .. } in readings {
            if let Some(first) = readings.first().filter(|first| first.values != *values) {
                return violation(format!(
                    "at the end node {} says that {:?} is set, and node {node} {values:?}",
                    first.node, first.values
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

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::wire::Str;

    const KEY: &str = "log.cleaner.backoff.ms";

    fn settings(entries: &[(u64, u64, Stage)]) -> Settings {
        let mut settings = Settings::default();
        for (at_us, value, stage) in entries {
            let entry = Entry::new(*at_us, 30, *stage, Operation::SetConfig, Str::from_static(KEY));
            settings.note(&Entry { values: vec![(*value, 1)], ..entry });
        }
        settings
    }

    /// What is said of a reading by two controllers at 100.
    fn judge(entries: &[(u64, u64, Stage)], read: [Option<&str>; 2]) -> Result<(), String> {
        let read = read.map(|value| value.map(|value| (KEY.to_owned(), value.to_owned())));
        let [first, second] = read.map(|value| value.into_iter().collect::<BTreeMap<_, _>>());
        let topics = BTreeMap::new();
        let reading = |node, values| Reading { node, at_us: 100, values, topics: &topics };
        let judged = settings(entries).check(&[reading(0, &first), reading(1, &second)]);
        judged.map_err(|violation| violation.sentence)
    }

    #[test]
    fn what_was_answered_to_be_set_is_read_until_another_is_asked_for() {
        let set = [(1, 7, Stage::Invoke), (2, 7, Stage::Ok)];
        assert_eq!(judge(&set, [Some("7"); 2]), Ok(()));
        assert!(judge(&set, [None; 2]).is_err_and(|why| why.contains("answered to be set to 7")));
        let unknown = [&set[..], &[(3, 8, Stage::Invoke), (4, 8, Stage::Info)]].concat();
        assert_eq!((judge(&unknown, [Some("7"); 2]), judge(&unknown, [Some("8"); 2])), (Ok(()), Ok(())));
        let later = [&set[..], &[(3, 8, Stage::Invoke), (4, 8, Stage::Ok)]].concat();
        assert_eq!(judge(&later, [Some("8"); 2]), Ok(()));
        assert!(judge(&later, [Some("7"); 2]).is_err_and(|why| why.contains("8 was asked for later")));
    }

    #[test]
    fn two_that_were_asked_for_at_one_time_may_have_come_in_either_order() {
        let both = [(1, 7, Stage::Invoke), (2, 8, Stage::Invoke), (3, 7, Stage::Ok), (4, 8, Stage::Ok)];
        assert_eq!((judge(&both, [Some("7"); 2]), judge(&both, [Some("8"); 2])), (Ok(()), Ok(())));
    }

    #[test]
    fn what_nobody_asked_for_is_not_read_and_all_controllers_say_the_same() {
        let set = [(1, 7, Stage::Invoke), (2, 7, Stage::Ok)];
        assert!(judge(&set, [Some("9"); 2]).is_err_and(|why| why.contains("nobody asked for")));
        assert!(judge(&set, [Some("7"), None]).is_err_and(|why| why.contains("node 1 {}")));
    }
}
